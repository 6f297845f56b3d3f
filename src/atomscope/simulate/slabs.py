"""Cells for multislice: right angles, the zone axis along z, as small as the crystal allows."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import UsageError
from atomscope.simulate.crystals import merged
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from ase import Atoms

PADDING = 2.0  # Å of vacuum before and after a layer
SQUARE = 1e-3  # cosine of the angle by which a right angle may fail
INDEX = 3  # largest index of the edges of an oriented cell
PERIOD = 0.02  # Å: how exactly a shift must repeat the atoms


def oriented(
    atoms: Atoms, zone: tuple[int, int, int] = (0, 0, 1), thickness: float | None = None
) -> Atoms:
    """Return a small orthogonal cell with a zone axis along z, in which the beam flies.

    Args:
        atoms: One cell; a layer is not periodic along z and keeps its thickness.
        zone: Direction [uvw] in units of the cell vectors.
        thickness: Å, rounded to whole periods; None for one period.

    Raises:
        UsageError: The zone axis is zero or not that of the layer, or no such cell with small
            indices has right angles.
    """
    from ase.build import make_supercell

    if not any(zone):
        raise UsageError("zone axis (0, 0, 0): expected a direction, for example (0, 0, 1).")
    layer = not atoms.pbc[2]
    if layer and any(zone[:2]):
        raise UsageError(f"zone axis {zone}: a layer is looked at along (0, 0, 1).")
    beam = np.array(zone) // np.gcd.reduce(zone)
    box = make_supercell(atoms, [*_right_angles(np.asarray(atoms.cell[:]), beam, layer), beam])
    lengths = box.cell.lengths()
    places = box.positions @ (box.cell[:] / lengths[:, None]).T
    box.set_cell(np.diag(lengths))
    box.set_positions(places)
    if layer:
        box.center(vacuum=PADDING, axis=2)
        box.pbc = (True, True, False)
        return _smallest(box, (0, 1))
    box.pbc = True
    box = _smallest(box, (0, 1, 2))
    return box.repeat((1, 1, 1 if thickness is None else max(1, round(thickness / box.cell[2, 2]))))


def columns_of_cell(atoms: Atoms) -> tuple[Floats, list[NDArray[np.intp]]]:
    """Return the columns (N, 2) of an orthogonal cell in Å, y up, and the atoms of each."""
    return merged(atoms.positions[:, :2], atoms.numbers, np.asarray(atoms.cell[:2, :2]))


def _right_angles(cell: Floats, beam: NDArray[np.int64], layer: bool) -> tuple[Any, Any]:
    """Find the two shortest lattice vectors at right angles to the beam and to each other."""
    span = range(-INDEX, INDEX + 1)
    index = np.array([i for i in itertools.product(span, span, (0,) if layer else span) if any(i)])
    length = np.linalg.norm(index @ cell, axis=1)
    order = np.lexsort((*index.T, np.round(length, 6)))
    index, length = index[order], length[order]
    unit = index @ cell / length[:, None]
    along = beam @ cell / np.linalg.norm(beam @ cell)
    flat = np.abs(unit @ along) < SQUARE
    index, unit = index[flat], unit[flat]
    for i in range(len(index)):
        square = np.abs(unit @ unit[i]) < SQUARE
        right = square & (np.cross(unit[i], unit) @ along > 0)
        if right.any():
            return index[i], index[np.argmax(right)]
    raise UsageError(
        f"zone axis {tuple(int(i) for i in beam)}: no cell with right angles and small indices."
    )


def _smallest(atoms: Atoms, axes: tuple[int, ...]) -> Atoms:
    """Cut an orthogonal cell as often as it repeats itself along its edges."""
    for axis in axes:
        for parts in (4, 3, 2):
            edge = atoms.cell[axis, axis] / parts
            if len(atoms) % parts == 0 and _repeats(atoms, axis, edge):
                kept = np.mod(atoms.positions[:, axis] + PERIOD, atoms.cell[axis, axis]) < edge
                atoms = atoms[kept]
                atoms.cell[axis, axis] = edge
                break
    atoms.wrap()
    return atoms


def _repeats(atoms: Atoms, axis: int, shift: float) -> bool:
    """Whether the atoms fall onto their like when they are shifted along an axis."""
    edges = atoms.cell.lengths()
    moved = atoms.positions + shift * np.eye(3)[axis]
    apart = moved[:, None] - atoms.positions
    apart -= np.round(apart / edges) * edges
    same = atoms.numbers[:, None] == atoms.numbers
    nearest = np.where(same, np.linalg.norm(apart, axis=-1), np.inf).min(axis=1)
    return bool(nearest.max() < PERIOD)
