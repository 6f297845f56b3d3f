"""Crystals and layers in projection: columns with positions in Å, species and strengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.simulate.plane import independent, primitive, reduced
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from ase import Atoms

MERGE = 0.3  # Å: atoms nearer than this in projection make one column
SAME = 0.05  # Å: how exactly a translation must repeat the crystal


@dataclass(frozen=True)
class Basis:
    """One primitive cell of the projection.

    Attributes:
        cell: Lattice vectors as rows in Å, shape (2, 2); the first is the shortest and lies
            along x, the angle between them is 90° to 120°.
        sites: Fractional positions, shape (B, 2), strongest column first.
        numbers: Atomic numbers of the atoms that one period holds in each column.
        counts: Atoms per column within the thickness, shape (B,).
    """

    cell: Floats
    sites: Floats
    numbers: tuple[tuple[int, ...], ...]
    counts: NDArray[np.int64]

    @property
    def species(self) -> tuple[str, ...]:
        """Formula of one period of each column, metals first: Mo, S2, TiO."""
        return tuple(formula(numbers) for numbers in self.numbers)

    def weights(self, exponent: float = 1.6) -> Floats:
        """Strength (B,) of each column: the sum of Z**exponent over its atoms, strongest = 1.

        About 1.6 to 1.8 holds in HAADF (Krivanek et al., Nature 464, 571 (2010)).
        """
        mean = np.array([np.mean(np.array(n, float) ** exponent) for n in self.numbers])
        total = mean * self.counts
        return np.asarray(total / total.max())


@dataclass(frozen=True)
class Columns:
    """Columns of a crystal in a square field centred on the origin of its cell.

    Attributes:
        xy: Positions (N, 2) in Å; x along the shortest period, and with y and the direction
            of the zone axis, in which the beam flies, right-handed: y down in the image.
        site: Index (N,) of the sublattice in `basis`; columns that are equal by a
            translation of the projection share it.
        basis: One primitive cell of the projection.
    """

    xy: Floats
    site: NDArray[np.int64]
    basis: Basis

    @property
    def cell2d(self) -> Floats:
        """Primitive lattice vectors of the projection as rows in Å, shape (2, 2)."""
        return self.basis.cell

    @property
    def species(self) -> tuple[str, ...]:
        """Formula of one period of each column, length N."""
        species = self.basis.species
        return tuple(species[i] for i in self.site)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Atoms in each column within the thickness, shape (N,)."""
        return self.basis.counts[self.site]

    def weights(self, exponent: float = 1.6) -> Floats:
        """Strength (N,) of each column: the sum of Z**exponent over its atoms, strongest = 1."""
        return self.basis.weights(exponent)[self.site]


def columns_along(
    atoms: Atoms,
    zone: tuple[int, int, int] = (0, 0, 1),
    *,
    edge: float = 20.0,
    thickness: float | None = None,
) -> Columns:
    """Project a crystal or layer along a zone axis.

    Args:
        atoms: One cell. A layer is not periodic along its third vector (`pbc`), and is looked
            at along it.
        zone: Direction [uvw] of the beam in units of the cell vectors.
        edge: Edge of the square field in Å, centred on the origin of the cell.
        thickness: Thickness in Å, rounded to whole periods in each column; None for one
            period. A layer has but one.

    Raises:
        UsageError: The zone axis is (0, 0, 0) or not that of the layer, or the thickness
            is not above zero.
    """
    basis = project(atoms, zone, thickness=thickness)
    reach = edge / np.sqrt(2) * np.linalg.norm(np.linalg.inv(basis.cell), axis=0).max()
    index = np.arange(-np.ceil(reach) - 1, np.ceil(reach) + 2)
    steps = np.stack(np.meshgrid(index, index, indexing="ij"), -1).reshape(-1, 1, 2)
    xy = ((steps + basis.sites) @ basis.cell).reshape(-1, 2)
    site = np.tile(np.arange(len(basis.sites)), len(steps))
    inside = np.all(np.abs(xy) <= edge / 2, axis=1)
    return Columns(xy[inside], site[inside], basis)


def project(
    atoms: Atoms, zone: tuple[int, int, int] = (0, 0, 1), *, thickness: float | None = None
) -> Basis:
    """Return one primitive cell of the projection; see `columns_along`."""
    if not any(zone):
        raise UsageError("zone axis (0, 0, 0): expected a direction, for example (0, 0, 1).")
    if thickness is not None and thickness <= 0:
        raise UsageError(f"thickness {thickness} Å: expected a value above zero, or none.")
    layer = not atoms.pbc[2]
    uvw = np.array(zone) // np.gcd.reduce(zone)
    if layer and (uvw[0] or uvw[1]):
        raise UsageError(f"zone axis {zone}: a layer is looked at along (0, 0, 1).")
    cell = np.asarray(atoms.cell[:])
    turn = _to_z(uvw @ cell)
    flat = (cell @ turn.T)[: 2 if layer else 3, :2]
    period = float(np.linalg.norm(uvw @ cell))
    repeats = 1 if layer else _repeats(atoms, uvw)
    rough = reduced(independent(flat))
    xy, groups = merged((atoms.positions @ turn.T)[:, :2], atoms.numbers, rough)
    # An atom stands once per period of the cell; the true period may be shorter.
    held = [tuple(sorted(atoms.numbers[g])) for g in groups]
    kind = np.unique([formula(h) for h in held], return_inverse=True)[1]
    box, xy, chosen = primitive(rough, xy, kind, SAME)
    held = [held[i][::repeats] for i in chosen]
    layers = 1.0 if layer or thickness is None else thickness * repeats / period
    counts = np.array([max(1, round(len(h) * layers)) for h in held])
    return _ordered(box, xy, held, counts, flat)


def formula(numbers: tuple[int, ...]) -> str:
    """Formula of some atoms, metals first: (8, 22) is TiO, (16, 16) is S2."""
    from ase.data import chemical_symbols
    from ase.formula import Formula

    found: dict[str, int] = {}
    for number in numbers:
        found[chemical_symbols[number]] = found.get(chemical_symbols[number], 0) + 1
    return str(Formula.from_dict(found).format("metal"))


def _to_z(direction: Floats) -> Floats:
    """Return the rotation (3, 3) that turns a direction onto z."""
    z = direction / np.linalg.norm(direction)
    x = np.eye(3)[int(np.argmin(np.abs(z)))]
    x = x - (x @ z) * z
    x /= np.linalg.norm(x)
    return np.array([x, np.cross(z, x), z])


def _repeats(atoms: Atoms, uvw: Any) -> int:
    """How often the crystal repeats within one cell vector [uvw] (2 for fcc along [110])."""
    cell = np.asarray(atoms.cell[:])
    rarest = np.bincount(atoms.numbers)[np.unique(atoms.numbers)].min()
    for count in range(min(int(rarest), 12), 1, -1):
        if rarest % count == 0 and _is_period(atoms, uvw @ cell / count):
            return count
    return 1


def _is_period(atoms: Atoms, shift: Floats) -> bool:
    cell = np.asarray(atoms.cell[:])
    inverse = np.linalg.inv(cell)
    # Distances in fractions of a cell, times its edges, are close enough to Å for small ones.
    scale = np.linalg.norm(cell, axis=1)
    for number in np.unique(atoms.numbers):
        here = atoms.positions[atoms.numbers == number]
        home = np.mod(here @ inverse, 1.0) * scale
        moved = np.mod((here + shift) @ inverse, 1.0) * scale
        tree = cKDTree(np.mod(home, scale), boxsize=scale)
        if tree.query(np.mod(moved, scale))[0].max() > SAME:
            return False
    return True


def merged(
    xy: Floats, numbers: NDArray[np.int64], cell: Floats | None = None
) -> tuple[Floats, list[NDArray[np.intp]]]:
    """Join the atoms that lie over each other in projection.

    Args:
        xy: Positions (N, 2) in Å.
        numbers: Atomic numbers (N,).
        cell: Periods of the plane as rows, shape (2, 2), or None.

    Returns:
        Centres (M, 2) of the columns, and the atoms in each.
    """
    period = np.zeros((2, 2)) if cell is None else cell
    inverse = period if cell is None else np.linalg.inv(cell)
    if cell is not None:
        xy = np.mod(xy @ inverse, 1.0) @ cell
    label = _linked(xy, period)
    order = np.argsort(label, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
    # Heavy atoms count for more, as they do in the dark-field image.
    heavy = numbers.astype(float) ** 1.6
    centres = []
    for group in groups:
        apart = xy[group] - xy[group[0]]
        apart = apart - np.round(apart @ inverse) @ period
        centres.append(xy[group[0]] + np.average(apart, axis=0, weights=heavy[group]))
    return np.array(centres), groups


def _linked(xy: Floats, period: Floats) -> NDArray[np.int64]:
    """Return the group (N,) of each position: positions joined by steps up to MERGE."""
    steps = np.array([[i, j] for i in (0, 1, -1) for j in (0, 1, -1)]) @ period
    images = (np.unique(steps, axis=0)[:, None] + xy).reshape(-1, 2)
    pairs = cKDTree(images).query_pairs(MERGE, output_type="ndarray") % len(xy)
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(xy), len(xy)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def _ordered(
    cell: Floats, xy: Floats, held: list[tuple[int, ...]], counts: Any, flat: Floats
) -> Basis:
    """Turn the shortest lattice vector onto x, and put the strongest column first."""
    first = flat[int(np.argmax(np.linalg.norm(flat, axis=1) > SAME))]
    cell = reduced(cell, first)
    x = cell[0] / np.linalg.norm(cell[0])
    turn = np.array([x, [-x[1], x[0]]])
    sites = np.mod(xy @ np.linalg.inv(cell), 1.0)
    sites[sites > 1 - 1e-6] = 0.0
    strength = np.round([-np.sum(np.array(h, float) ** 1.6) for h in held], 6)
    order = np.lexsort((*np.round(sites.T[::-1], 6), strength))
    numbers = tuple(tuple(int(z) for z in held[i]) for i in order)
    return Basis(cell @ turn.T, sites[order], numbers, counts[order])


def substitute(
    xy: Floats, strength: Floats, site: int, *, factor: float, push: float
) -> tuple[Floats, Floats]:
    """Put another atom on a site; its nearest neighbours move outwards by `push` Å.

    The shift falls off with the square of the distance, as around a point source of
    strain in a plate.
    """
    xy, strength = xy.copy(), strength.copy()
    away: Any = xy - xy[site]
    distance = np.linalg.norm(away, axis=1)
    distance[site] = np.inf
    nearest = distance.min()
    xy += away / distance[:, None] * push * (nearest / distance[:, None]) ** 2
    strength[site] *= factor
    return xy, strength
