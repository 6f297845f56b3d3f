"""What a named material tells of an image: its columns, and through them the pixel size."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atomscope.columns import by_frame
from atomscope.lattice import Lattice
from atomscope.lattice.compare import Match, matches
from atomscope.lattice.vectors import Floats
from atomscope.species import Lattices

if TYPE_CHECKING:
    from atomscope.simulate.crystals import Basis
    from atomscope.simulate.materials import Material

_OFF = 0.1  # share by which a given pixel size may differ from the lattice's before it is said
_FAINT = 0.45  # of the strongest column: weaker ones need not have been found (S2 beside Mo)
_ALIKE = 0.4  # weakest against strongest of columns that may pass for one kind
_EXPONENTS = (1.2, 1.6, 2.2)  # of Z: low angles, usual, high angles
_MARGIN = 1.4  # on ratios of brightness, for thickness, tilt and neighbours' tails
_CLOSE = 0.7  # of the next distance: columns of a pair, which may have been found as one
_UNLIKE = 1.5  # ratio from which columns of one kind differ
_FEWEST = 5  # columns of a sublattice whose brightness is asked for

Levels = Mapping[int, Floats | None]


@dataclass(frozen=True)
class Known:
    """A material along one of its usual zone axes.

    Attributes:
        name: Of the material.
        zone: As 110.
        basis: One primitive cell of the projection, Å.
        single: Elements of columns of two atoms of a layer, which may have lost one.
    """

    name: str
    zone: str
    basis: Basis
    single: tuple[str, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """Formulas of its columns."""
        return tuple(dict.fromkeys(self.basis.species))

    @property
    def area(self) -> float:
        """Area of the primitive cell of the projection in Å²."""
        return float(abs(np.linalg.det(self.basis.cell)))

    def fits(self, lattice: Lattice, level: Floats | None = None) -> list[Fit]:
        """Ways to lay a lattice that was seen on this one, one for each set of columns.

        The strongest columns must have been found, weaker ones may have been; pairs (dumbbells)
        may have been found as one column.

        Args:
            lattice: Seen, px.
            level: Typical brightness of its sublattices, shape (B,), NaN where it is not known;
                None where brightness says nothing about atomic numbers.
        """
        found = []
        for places, members in self._patterns():
            ways = matches(lattice, self.basis.cell, places)
            laid = (replace(m, sites=tuple(_joined(s, members) for s in m.sites)) for m in ways)
            fit = next((m for m in laid if self._bright_as(m, level)), None)
            if fit is not None:
                species = {self.basis.species[k] for place in fit.sites for k in place}
                found.append(Fit(fit.scale, tuple(s for s in self.elements if s in species)))
        return found

    def _patterns(self) -> Iterator[tuple[Floats, list[tuple[int, ...]]]]:
        """Places (P, 2) that may have been found, and the sites that each stands for."""
        weights = self.basis.weights()
        steps = np.unique(weights.round(6))[::-1]
        for least, weaker in zip(steps, [*steps[1:], 0.0], strict=True):
            if weaker < _FAINT:
                seen = np.flatnonzero(weights > least - 1e-5)
                yield self.basis.sites[seen], [(int(k),) for k in seen]
        yield from _pairs(self.basis.cell, self.basis.sites)

    def _bright_as(self, fit: Match, level: Floats | None) -> bool:
        """Whether sublattices are as bright as the columns that they would be."""
        weights = np.array([self.basis.weights(exponent) for exponent in _EXPONENTS])
        usual = weights[1]
        if any(usual[list(s)].min() < _ALIKE * usual[list(s)].max() for s in fit.sites):
            return False
        if level is None:
            return True
        expected = np.stack([weights[:, list(s)].mean(axis=1) for s in fit.sites], axis=1)
        for i, j in combinations(range(len(fit.sites)), 2):
            ratio = expected[:, i] / expected[:, j]
            margin = _UNLIKE if np.allclose(ratio, 1.0) else _MARGIN
            low, high = ratio.min() / margin, ratio.max() * margin
            if not (np.isnan(level[i] / level[j]) or low < level[i] / level[j] < high):
                return False
        return True


def _joined(places: tuple[int, ...], members: list[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(site for place in places for site in members[place])


def _pairs(cell: Floats, sites: Floats) -> Iterator[tuple[Floats, list[tuple[int, ...]]]]:
    """Yield the middles of pairs and their members, where all columns stand in pairs."""
    shift = np.array([[i, j] for i in range(-2, 3) for j in range(-2, 3)])
    steps = (sites[None, :, None] + shift - sites[:, None, None]).reshape(len(sites), -1, 2)
    apart = np.linalg.norm(steps @ cell, axis=-1)
    apart[apart < 1e-6] = np.inf
    nearest, (first, second) = apart.argmin(axis=1), np.sort(apart, axis=1)[:, :2].T
    own, partner = np.arange(len(sites)), nearest // len(shift)
    if (first < _CLOSE * second).all() and (partner != own).all():
        one = np.flatnonzero(own < partner)
        middles = sites[one] + 0.5 * steps[one, nearest[one]]
        yield middles, [(int(k), int(partner[k])) for k in one]


@dataclass(frozen=True)
class Fit:
    """A pixel size (Å per px) that makes a lattice that of a material, and the columns it shows."""

    size: float
    species: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """What a material tells of an image.

    Attributes:
        axis: Its zone axis; None where it is not what the image shows.
        size: Å per px, or None.
        species: Columns that must be among those found.
        lines: For the user.
    """

    axis: Known | None
    size: float | None
    species: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


def known_material(name: str) -> tuple[Known, ...]:
    """Look a material up: one entry for each of its usual zone axes, the most usual first.

    Raises:
        UsageError: There is no such material; the nearest names are given.
    """
    from atomscope.simulate.materials import material

    found = material(name)
    return tuple(_along(found, zone) for zone in found.zones)


def holding(sets: Iterable[Collection[str]]) -> Iterator[Known]:
    """Yield the materials that hold all elements of one of some sets, along their zone axes."""
    from atomscope.simulate.materials import made_of

    for name in sorted({name for elements in sets for name in made_of(elements)}):
        yield from known_material(name)


def _along(found: Material, zone: tuple[int, int, int]) -> Known:
    from atomscope.simulate.crystals import project

    basis = project(found.atoms, zone)
    words = dict.fromkeys(basis.species)
    pairs = (re.fullmatch("([A-Z][a-z]?)2", word) for word in words if found.kind == "layer")
    single = tuple(pair[1] for pair in pairs if pair and pair[1] not in words)
    return Known(found.name, "".join(map(str, zone)), basis, single)


def levels_of(atoms: pd.DataFrame, lattices: Lattices) -> Levels:
    """Median brightness of the sublattices of each frame; None where atoms are dark."""
    found: dict[int, Floats | None] = {}
    for frame, rows in by_frame(atoms):
        lattice, bright = lattices.get(frame), rows["intensity"].to_numpy(float)
        if lattice is None:
            continue
        sites = [(lattice.sublattice == k) for k in range(len(lattice.basis))]
        own = [bright[site & np.isfinite(bright)] for site in sites]
        level = np.array([np.median(one) if len(one) >= _FEWEST else np.nan for one in own])
        found[frame] = None if (level <= 0).any() else level
    return found


def measured(
    known: tuple[Known, ...], lattices: Lattices, levels: Levels, given: float | None, name: str
) -> Measured:
    """Compare the lattices of all frames with a material.

    Args:
        known: The material.
        lattices: Of the frames.
        levels: Brightness of their sublattices; none where it does not rise with Z.
        given: Å per px that is known already.
        name: Of the image.
    """
    seen = [(lattice, levels.get(k)) for k, lattice in lattices.items() if lattice is not None]
    if not seen:
        line = f"{name}: no lattice was found, so nothing was compared with {known[0].name}"
        more = "." if given else ", and the pixel size was not measured."
        return Measured(known[0], given, (), (line + more,))
    fits = [[axis.fits(*one) for one in seen] for axis in known]
    near = [[_near(one, given) for one in each] for each in fits]
    chosen = near if any(any(each) for each in near) else fits
    most = max(range(len(known)), key=lambda k: sum(bool(one) for one in chosen[k]))
    axis, found = known[most], [one[0] for one in chosen[most] if one]
    if not found:
        return Measured(None, given, (), (_foreign(known, seen[0][0], name),))
    size = float(np.median([fit.size for fit in found]))
    if given is None:
        line = f"Pixel size {size:.4f} Å, measured from the lattice of {axis.name}."
        return Measured(axis, size, found[0].species, (line,))
    line = f"Pixel size {given:.4g} Å given; the lattice of {axis.name} asks for {size:.4g} Å."
    return Measured(axis, given, found[0].species, () if chosen is near else (line,))


def _near(fits: list[Fit], given: float | None) -> list[Fit]:
    """Those that agree with a pixel size."""
    return [fit for fit in fits if given is None or abs(fit.size / given - 1) < _OFF]


def _foreign(known: tuple[Known, ...], lattice: Lattice, name: str) -> str:
    """Say that a lattice is not that of the material, and what it is like."""
    a, b = np.linalg.norm(lattice.vectors, axis=1)
    angle = np.degrees(np.arccos(lattice.vectors[0] @ lattice.vectors[1] / (a * b)))
    count = len(lattice.basis)
    zones = ", ".join(axis.zone for axis in known)
    return (
        f"{name}: the lattice seen is not that of {known[0].name} in any zone axis tried ({zones}):"
        f" it has {count} column{'s' * (count > 1)} per cell, edges as 1 : {b / a:.2f}, "
        f"{angle:.0f}°. So neither pixel size nor species were taken from the material; name the "
        "one that is shown, or give --pixel-size and --elements."
    )


def absent(result: Measured, atoms: pd.DataFrame) -> tuple[str, ...]:
    """Return a line for each kind of column that the lattice asks for and no atom is."""
    named = set(atoms["species"].astype(str)) - {""}
    if result.axis is None or not named:
        return ()
    return tuple(
        f"No atom is {one}, though the lattice of {result.axis.name} has a column of it wherever "
        f"it repeats: is it {result.axis.name}?"
        for one in result.species
        if one not in named
    )
