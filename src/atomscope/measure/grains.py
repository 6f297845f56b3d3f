"""Grains: connected regions of one orientation, and the boundaries between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.measure.borders import Borders, find_borders
from atomscope.measure.field import Field
from atomscope.measure.orientation import Complex, Orientation, orientation_of
from atomscope.measure.regions import merged
from atomscope.rules.findings import Floats, Ints, joined

LEAST_ANGLE = 4.0  # degrees between grains
_ORDERED = 0.6  # order parameter of an atom inside a grain
_FEWEST = 20  # atoms of a grain
_BESIDE = (2.0, 12.0)  # spacings from a boundary: where the grains beside it are looked at


@dataclass(frozen=True, eq=False)
class Grains:
    """Grains of one frame.

    Attributes:
        field: Of the frame.
        orientation: Of its atoms.
        unit: Order parameter of each atom inside a grain, of modulus 1, else 0, shape (N,).
        grain: Number of the grain of each atom, the largest is 0; -1 where there is none, (N,).
        scatter: Standard deviation of the orientation of one atom, degrees.
    """

    field: Field
    orientation: Orientation
    unit: Complex
    grain: Ints
    scatter: float

    @property
    def count(self) -> int:
        """Number of grains."""
        return int(self.grain.max(initial=-1)) + 1

    @cached_property
    def borders(self) -> Borders:
        """Boundaries between grains."""
        return find_borders(self.field.cells, self.field.xy, self.grain)

    def mean(self, rows: NDArray[np.bool_]) -> complex:
        """Sum of the order parameters of some atoms, marked in shape (N,)."""
        return complex(self.unit[rows].sum())


def find_grains(field: Field, least_angle: float = LEAST_ANGLE) -> Grains | None:
    """Find grains: regions whose mean orientations differ.

    Regions grow by merging, the bonds with the smallest turn first, as long as their means differ
    by less than the least angle and the noise (statistical region merging: Nock, Nielsen, IEEE
    Trans. Pattern Anal. Mach. Intell. 26, 1452 (2004)). Means do not leak through the strained
    lattice between two dislocations, as atom-by-atom comparison does. Then regions are joined
    between which the lattice turns slowly (elastic bending); atoms of cores and of regions of
    fewer than 20 atoms go to the nearest grain.

    Args:
        field: Of the frame.
        least_angle: Between grains, degrees.

    Returns:
        The grains, None where there are no bonds.
    """
    graph = field.graph
    if graph is None or len(graph.bonds) < _FEWEST:
        return None
    words = field.atoms["species"].astype(object).fillna("").to_numpy(object)
    orientation = orientation_of(graph, words)
    psi = orientation.psi
    inside = np.abs(psi) > _ORDERED
    i, j = graph.bonds[inside[graph.bonds].all(axis=1)].T
    if not len(i):
        return None
    turn = orientation.between(psi[i], psi[j])
    scatter = float(np.median(turn)) / 0.6745 / np.sqrt(2)
    unit = np.where(inside, psi / np.maximum(np.abs(psi), 1e-12), 0)
    region = merged(unit, (i, j), turn, orientation, least_angle, scatter)
    region = _large(region, inside)
    if region.max() < 0:
        return None
    region = _settled(field, region)
    region = _unbent(field, orientation, region, unit, least_angle)
    return Grains(field, orientation, unit, _ranked(region), scatter)


def _large(region: Ints, inside: NDArray[np.bool_]) -> Ints:
    """Numbers of regions with enough atoms, -1 for all other atoms."""
    size = np.bincount(region, inside)
    return np.where(inside & (size[region] >= _FEWEST), region, -1)


def _settled(field: Field, region: Ints) -> Ints:
    """Give atoms without a grain to the nearest one."""
    bare, known = np.flatnonzero(region < 0), np.flatnonzero(region >= 0)
    settled = region.copy()
    if len(bare):
        settled[bare] = region[known[cKDTree(field.xy[known]).query(field.xy[bare])[1]]]
    return settled


def _unbent(
    field: Field, orientation: Orientation, region: Ints, unit: Complex, least: float
) -> Ints:
    """Join regions that differ by less than the least angle where they meet."""
    region = _ranked(region)
    borders = find_borders(field.cells, field.xy, region)
    alike = []
    for first, second in np.unique(borders.pair, axis=0).tolist():
        here = borders.middle[(borders.pair == (first, second)).all(axis=1)]
        a, b = (beside(field, unit * (region == r), here)[0] for r in (first, second))
        if abs(a) > 0 and abs(b) > 0 and orientation.between(a, b) < least:
            alike.append((first, second))
    group = np.zeros(int(region.max()) + 1, dtype=np.intp)
    for number, members in enumerate(joined(len(group), alike)):
        group[members] = number
    return np.asarray(group[region])


def beside(field: Field, unit: Complex, border: Floats) -> tuple[complex, int]:
    """Sum and number of the order parameters near a border, but not in its core.

    Args:
        field: Of the frame.
        unit: Order parameter of each atom, 0 for those that do not count, shape (N,).
        border: Places of the border, px, shape (E, 2).
    """
    rows = np.flatnonzero(unit)
    if not len(rows):
        return 0j, 0
    away = cKDTree(border).query(field.xy[rows])[0] / field.spacing
    near = rows[(away > _BESIDE[0]) & (away < _BESIDE[1])]
    return complex(unit[near].sum()), len(near)


def _ranked(region: Ints) -> Ints:
    """Number regions by size, the largest is 0; of equal ones the first atom decides."""
    _, number = np.unique(region, return_inverse=True)
    number = number.reshape(-1)
    order = np.argsort(-np.bincount(number), kind="stable")
    return np.asarray(np.argsort(order)[number])


def grain_rows(found: Grains) -> list[dict[str, Any]]:
    """Return the rows of `tables.GRAINS` of one frame.

    The standard error of an orientation is that of the mean over its atoms, whose errors are
    taken as independent.
    """
    field, rows = found.field, []
    for grain in range(found.count):
        here = found.grain == grain
        mean = found.mean(here)
        count = int((found.unit[here] != 0).sum())
        x, y = field.xy[here].mean(axis=0)
        rows.append(
            {
                "frame": field.frame,
                "grain": grain,
                "x_px": x,
                "y_px": y,
                "n_atoms": int(here.sum()),
                "area": float(field.cells.area[here].sum()) * field.scale**2,
                "orientation": float(found.orientation.angle(mean)),
                "orientation_err": found.scatter / max(count, 1) ** 0.5,
                "period": found.orientation.period,
                "unit": f"{field.unit}²",
            }
        )
    return rows
