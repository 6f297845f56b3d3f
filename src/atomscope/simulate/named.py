"""Frames with named defects of which everything is known: tables of atoms, and counts.

    frame = named_frame("graphene", ("V1", "Si1C3", "SW(55-77)"), seed=1, dose=14.0)
    frame.atoms, frame.defects, frame.image

Defects lie at random places and in random orientations, well apart, in a layer that is turned
and mirrored at random. The frames are like the sample that comes with the package (`samples`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.simulate.crystals import MERGE, columns_along, formula
from atomscope.simulate.imaging import render, scan_jitter
from atomscope.simulate.materials import material
from atomscope.simulate.named_kinds import HOSTS
from atomscope.simulate.named_templates import (
    CORE,
    Laid,
    Template,
    fits,
    kind_of,
    lay,
    random_turn,
    template,
)
from atomscope.simulate.scene import Floats, Ints

SIGMA = 0.42  # Å: probe and source of an aberration-corrected microscope at 60 kV
EXPONENT = 1.64  # of Z, at 60 to 200 mrad (Krivanek et al., Nature 464, 571 (2010))
APART = 10.0  # Å between the middles of two point defects
CLEAR = 6.0  # Å between the atoms of a defect and the border
MARGIN = 20.0  # Å of the layer around the frame, so that no pattern ends in the void
SEEN = 5.0  # Å: columns farther outside the frame do not shine into it
STARTS, TRIES = 20, 200  # at finding places
LOW, MEDIUM = 14.0, 50.0  # counts in the peak pixel of the weakest column of a host


@dataclass(frozen=True)
class NamedFrame:
    """A frame and the truth about it.

    Attributes:
        atoms: frame, atom, x_px, y_px, x, y (Å) and species of the columns of the relaxed layer
            in projection; species is their formula: C, Mo, S2.
        defects: frame, defect, name, x_px, y_px, x, y (Å) and atoms (numbers joined by spaces).
        image: Counts (y, x), uint16, or None where no dose was given.
        pixel_size: Å.
        shape: (height, width) in px.
        host: Name of the layer.
    """

    atoms: pd.DataFrame
    defects: pd.DataFrame
    image: NDArray[np.uint16] | None
    pixel_size: float
    shape: tuple[int, int]
    host: str


@dataclass(frozen=True)
class _Field:
    """Where a layer lies in a frame.

    Attributes:
        size: Edge in px.
        pixel: Å.
        matrix: Turns, mirrors and strains (2, 2) the layer.
        drift: Way (2,) in Å during the scan.
    """

    size: int
    pixel: float
    matrix: Floats
    drift: Floats

    @property
    def edge(self) -> float:
        """Edge in Å."""
        return self.size * self.pixel

    def to_frame(self, positions: Floats) -> Floats:
        """Return places (N, 2) in Å, 0 = centre of the first pixel."""
        placed = positions[:, :2] @ self.matrix.T + (self.size - 1) / 2 * self.pixel
        return np.asarray(placed + placed[:, 1:] / self.edge * self.drift)


def kinds_of(host: str) -> tuple[str, ...]:
    """Return the names of the defects that a host can have.

    Raises:
        UsageError: There is no such host.
    """
    if host not in HOSTS:
        raise UsageError(f"host {host!r}: expected one of {', '.join(HOSTS)}.")
    return tuple(kind.name for kind in HOSTS[host])


def named_frame(
    host: str,
    kinds: Sequence[str],
    seed: int,
    *,
    size_px: int = 384,
    pixel_size: float = 0.11,
    dose: float | None = None,
    sigma: float = SIGMA,
    tail: float = 0.12,
    background: float = 0.35,
    jitter: float = 0.25,
    drift: tuple[float, float] = (0.0, 0.0),
    strain: float = 0.0,
) -> NamedFrame:
    """Simulate one layer with some defects.

    Args:
        host: graphene, hBN, 1H-MoS2 or 1H-WSe2.
        kinds: Names of the defects, as often as they shall occur; '5-7' makes two of them.
        seed: Of everything random.
        size_px: Edge of the square frame.
        pixel_size: Å.
        dose: Counts in the peak pixel of the weakest column of the perfect host, without
            background; None for tables alone.
        sigma: Standard deviation of the probe in Å.
        tail: Share of the peak in a second one, 2.5 times as wide.
        background: Even background in units of that peak.
        jitter: Rms shift of the scan lines in px.
        drift: Way (x, y) in Å of the specimen while the frame is scanned; the truth goes along.
        strain: Extension along a random direction.

    Raises:
        UsageError: Unknown host or kind, a value out of range, or no room for the defects.
    """
    kinds_of(host)
    _check(size_px=size_px, pixel_size=pixel_size, sigma=sigma, dose=1.0 if dose is None else dose)
    rng = np.random.default_rng(seed)
    field = _Field(size_px, pixel_size, _matrix(rng, strain), np.array(drift, dtype=float))
    laid = _with_defects(rng, host, kinds, field)
    xy, numbers, owner = _columns(laid, field)
    atoms, defects = _tables(xy, numbers, owner, laid, field)
    image = None
    if dose is not None:
        weight = np.array([sum(z**EXPONENT for z in n) for n in numbers]) / _weakest(host)
        shape = (size_px, size_px)
        clean = render(xy / pixel_size, weight, sigma / pixel_size, shape, tail=tail)
        expected = np.maximum(scan_jitter(clean + background, rng, jitter), 0) * dose
        image = rng.poisson(expected).clip(0, 65535).astype(np.uint16)
    return NamedFrame(atoms, defects, image, pixel_size, (size_px, size_px), host)


def _check(**above_zero: float) -> None:
    for name, value in above_zero.items():
        if not value > 0:
            raise UsageError(f"{name} {value}: expected a value above 0.")


def _matrix(rng: np.random.Generator, strain: float) -> Floats:
    """Return a random turn and mirror (2, 2), after an extension along a random direction."""
    (a, b), flip = rng.uniform(0, 2 * np.pi, 2), rng.choice([-1.0, 1.0])
    along = np.array([np.cos(b), np.sin(b)])
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.asarray((np.eye(2) + strain * np.outer(along, along)) @ turn @ np.diag([1.0, flip]))


def _with_defects(rng: np.random.Generator, host: str, kinds: Sequence[str], field: _Field) -> Laid:
    """Lay defects on a perfect layer that covers the frame."""
    sheet = _perfect(host, field.edge / np.sqrt(2) + MARGIN, rng.uniform(-2, 2, 2))
    variants = [rng.integers(len(kind_of(host, name).builds)) for name in kinds]
    patterns = [template(host, name, int(v)) for name, v in zip(kinds, variants, strict=True)]
    tree = cKDTree(sheet.positions)
    for _ in range(STARTS):
        chosen = _placed(rng, sheet, tree, patterns, field)
        if chosen is not None:
            return lay(sheet, chosen, tree)
    raise UsageError(
        f"{len(kinds)} defects in {field.edge:.0f} Å: found no room; give fewer or a larger frame."
    )


def _perfect(host: str, radius: float, origin: Floats) -> Laid:
    """Return a round piece of a layer about the origin."""
    unit = material(host).atoms
    cell = np.asarray(unit.cell[:2])
    count = int(np.ceil(radius * np.linalg.norm(np.linalg.pinv(cell), axis=0).max())) + 1
    steps = np.stack(np.meshgrid(*[np.arange(-count, count + 1)] * 2), -1).reshape(-1, 1, 2)
    positions = (unit.positions + steps @ cell).reshape(-1, 3) - [*origin, 0.0]
    numbers = np.tile(unit.numbers, len(steps))
    kept = np.hypot(positions[:, 0], positions[:, 1]) < radius
    return Laid(positions[kept], numbers[kept], np.full(int(kept.sum()), -1))


def _placed(
    rng: np.random.Generator, sheet: Laid, tree: cKDTree, patterns: list[Template], field: _Field
) -> list[tuple[int, Template]] | None:
    """Choose sites and turns for patterns, the largest first; None where one finds no room."""
    flat = field.to_frame(sheet.positions)
    chosen: list[tuple[int, Template]] = []
    centres, extents = np.zeros((0, 2)), np.zeros(0)
    for pattern in sorted(patterns, key=lambda p: -p.extent):
        number = pattern.was[0]
        height = sheet.positions[sheet.numbers == number, 2].max()
        like = (sheet.numbers == number) & (sheet.positions[:, 2] > height - 0.1)
        low = CLEAR + CORE + pattern.extent
        if low > field.edge / 2:
            return None
        for _ in range(TRIES):
            wanted = rng.uniform(low, field.edge - low, 2)
            turned = pattern.turned(random_turn(rng))
            anchor = wanted - field.matrix @ turned.middle.mean(axis=0)[:2]
            site = int(np.argmin(np.where(like, np.linalg.norm(flat - anchor, axis=1), np.inf)))
            centre = field.to_frame(sheet.positions[site] + turned.middle).mean(axis=0)
            apart = np.linalg.norm(centres - centre, axis=1) - extents - pattern.extent
            if np.all(apart >= APART) and fits(sheet, tree, turned, site):
                chosen.append((site, turned))
                centres, extents = np.vstack([centres, centre]), np.append(extents, pattern.extent)
                break
        else:
            return None
    return chosen


def _columns(laid: Laid, field: _Field) -> tuple[Floats, list[tuple[int, ...]], Ints]:
    """Join what lies over each other: places (N, 2) in Å, atomic numbers, and defects (N,)."""
    places = field.to_frame(laid.positions)
    seen = np.all(np.abs(places - field.edge / 2) < field.edge / 2 + SEEN, axis=1)
    places, atomic, owner = places[seen], laid.numbers[seen], laid.owner[seen]
    pairs = cKDTree(places).query_pairs(MERGE, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(places),) * 2)
    count, column = connected_components(links, directed=False)
    heavy = atomic**EXPONENT  # the stronger atom of a column pulls its peak
    total = np.bincount(column, heavy)
    xy = np.stack([np.bincount(column, heavy * at) / total for at in places.T], axis=1)
    numbers: list[list[int]] = [[] for _ in range(count)]
    for one, z in zip(column, atomic.tolist(), strict=True):
        numbers[one].append(z)
    owners = np.full(count, -1)
    np.maximum.at(owners, column, owner)
    return xy, [tuple(sorted(n)) for n in numbers], owners


def _tables(
    xy: Floats,
    numbers: list[tuple[int, ...]],
    owner: Ints,
    laid: Laid,
    field: _Field,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the columns within the frame, and the defects."""
    low, high = -0.5 * field.pixel, field.edge - 0.5 * field.pixel
    inside = np.flatnonzero(np.all((xy >= low) & (xy < high), axis=1))
    inside = inside[np.lexsort(xy[inside].T)]  # row by row
    words = {n: formula(n) for n in set(numbers)}
    species = [words[numbers[i]] for i in inside]
    atoms = _table("atom", xy[inside], field.pixel).assign(species=species)
    defects = _table("defect", field.to_frame(laid.middle), field.pixel)
    members = [np.flatnonzero(owner[inside] == number) for number in range(len(laid.names))]
    defects.insert(2, "name", np.array(laid.names, dtype=object))
    return atoms, defects.assign(atoms=[" ".join(map(str, m)) for m in members])


def _table(number: str, xy: Floats, pixel: float) -> pd.DataFrame:
    x, y = xy.T
    data = {"frame": np.zeros(len(xy), dtype=np.int64), number: np.arange(len(xy))}
    return pd.DataFrame({**data, "x_px": x / pixel, "y_px": y / pixel, "x": x, "y": y})


def _weakest(host: str) -> float:
    """Sum of Z**EXPONENT of the weakest column of a perfect layer."""
    basis = columns_along(material(host).atoms).basis
    return float(min(sum(z**EXPONENT for z in numbers) for numbers in basis.numbers))
