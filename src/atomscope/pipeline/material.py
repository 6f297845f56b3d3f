"""What a named material tells of an image: its columns, and through them the pixel size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atomscope.lattice import Lattice
from atomscope.lattice.vectors import Floats
from atomscope.species import Lattices

if TYPE_CHECKING:
    from atomscope.simulate.materials import Material

_OFF = 0.1  # share by which a given pixel size may differ from the lattice's before it is said
_MULTIPLES = (1, 2, 3, 4)  # a fitted cell may hold so many primitive ones,
_HALF = 0.5  # or half a one, where two columns look alike
_FITS = 0.055  # share by which distances of columns may be off: drift and scan errors
_SHELLS = 1.9  # shortest distances: how far they are compared


@dataclass(frozen=True)
class Known:
    """A material along one of its usual zone axes.

    Attributes:
        name: Of the material.
        elements: Formulas of its columns.
        single: Elements of columns of two atoms of a layer, which may have lost one.
        area: Of the primitive cell of the projection in Å².
        distances: Between columns, Å, those up to four times the shortest.
    """

    name: str
    elements: tuple[str, ...]
    single: tuple[str, ...]
    area: float
    distances: tuple[float, ...]

    def pixel_sizes(self, lattice: Lattice) -> list[float]:
        """Å per px that make the lattice that of the material, the likeliest first.

        The area of the cell is compared, so columns too weak to be found do no harm. Near columns
        of the lattice and the edges and diagonals of its cell must be distances of columns in
        the material; this tells how many primitive cells the fitted one holds.
        """
        area = float(abs(np.linalg.det(lattice.vectors)))
        scales = [float(np.sqrt(m * self.area / area)) for m in (*_MULTIPLES, _HALF)]
        found = _distances(lattice.vectors, lattice.basis)
        a, b = lattice.vectors
        edges = np.linalg.norm([a, b, a + b, a - b], axis=1)
        found = np.concatenate([found[found < _SHELLS * found[0]], edges])
        ratio = np.log(np.array(self.distances))[:, None] - np.log(found)
        return [s for s in scales if np.abs(ratio - np.log(s)).min(axis=0).max() < _FITS]


def known_material(name: str) -> tuple[Known, ...]:
    """Look a material up: one entry for each of its usual zone axes, the most usual first.

    Raises:
        UsageError: There is no such material; the nearest names are given.
    """
    from atomscope.simulate.materials import material

    found = material(name)
    return tuple(_along(found, zone) for zone in found.zones)


def _along(found: Material, zone: tuple[int, int, int]) -> Known:
    from atomscope.simulate.crystals import project

    basis = project(found.atoms, zone)
    words = dict.fromkeys(basis.species)
    pairs = (re.fullmatch("([A-Z][a-z]?)2", word) for word in words if found.kind == "layer")
    single = tuple(pair[1] for pair in pairs if pair and pair[1] not in words)
    distance = _distances(basis.cell, basis.sites)
    near = distance[distance < 4 * distance[0]]
    area = float(abs(np.linalg.det(basis.cell)))
    return Known(found.name, tuple(words), single, area, tuple(float(d) for d in near))


def _distances(cell: Floats, sites: Floats) -> Floats:
    """Distances between the sites of a lattice, ascending."""
    shift = np.array([[i, j] for i in range(-3, 4) for j in range(-3, 4)])
    apart = (sites[:, None, None] - sites[None, :, None] + shift) @ cell
    distance = np.unique(np.round(np.linalg.norm(apart, axis=-1), 3))
    return np.asarray(distance[distance > 0.1])


def seen(known: tuple[Known, ...], lattices: Lattices, given: float | None) -> Known | None:
    """Return the zone axis that fits most frames, and the pixel size if that is given."""

    def fits(axis: Known) -> int:
        sizes = [axis.pixel_sizes(lattice) for lattice in lattices.values() if lattice is not None]
        return sum(any(given is None or abs(s / given - 1) < _OFF for s in one) for one in sizes)

    best = max(known, key=fits)
    return best if fits(best) else None


def measured(
    known: tuple[Known, ...], lattices: Lattices, given: float | None, name: str
) -> tuple[Known, float | None, tuple[str, ...]]:
    """Return the zone axis, the pixel size, and lines for the user.

    Args:
        known: The material.
        lattices: Of the frames.
        given: Å per px that is known already.
        name: Of the image.
    """
    axis = seen(known, lattices, given)
    if axis is not None and given is not None:
        return axis, given, ()
    other = axis or seen(known, lattices, None)
    if other is None:
        line = (
            f"{name}: its lattice is not that of {known[0].name}; the pixel size was not measured."
        )
        return known[0], given, (line,)
    found = [other.pixel_sizes(lattice) for lattice in lattices.values() if lattice is not None]
    size = float(np.median([sizes[0] for sizes in found if sizes]))
    if given is None:
        line = f"Pixel size {size:.4f} Å, measured from the lattice of {other.name}."
        return other, size, (line,)
    line = f"Pixel size {given:.4g} Å given; the lattice of {other.name} asks for {size:.4g} Å."
    return other, given, (line,)
