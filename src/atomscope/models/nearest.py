"""The nearest atoms of each: by cells where atoms are evenly dense, by a tree where they are not.

Cells take two thirds of the time of the tree (`scipy.spatial.cKDTree`) for 36 neighbours, since
atoms are worked on together: candidates stand in rows of the same length, and each row is sorted.
Both give the same, but for which of equally distant atoms comes first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.models.blocks import blockwise

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

FEW = 1000  # atoms: fewer are asked of the tree
ASKED = 300  # atoms that tell how far the nearest are
USUAL, MARGIN = 0.9, 1.02  # share of them whose nearest lie well within the cells around
HALF = 2  # cells on each side of that of an atom
ROOM = 64  # candidates of a row of cells, at most
SPARSE = 4  # empty cells per atom beyond which there is no sense in cells
LOW, HIGH = np.uint64(0xFFF), np.uint64(0xFFFFFFFFFFFFF000)  # bits: place, squared distance


def nearest(xy: Floats, most: int) -> tuple[Singles, Ints]:
    """Distances and numbers (N, k) of the nearest other atoms, `most` of them or all, in order.

    Args:
        xy: Positions (N, 2), finite, two or more.
        most: How many are asked for.
    """
    count = len(xy)
    k = min(most, count - 1)
    distance, index = np.empty((count, k), np.float32), np.empty((count, k), np.int32)
    tree = cKDTree(xy, balanced_tree=False, compact_nodes=False)

    def ask(rows: NDArray[np.intp]) -> None:
        apart, found = tree.query(xy[rows], k=k + 1)
        own = found == rows[:, None]
        own[~own.any(axis=1), -1] = True  # atoms in one point may not find themselves
        distance[rows], index[rows] = apart[~own].reshape(-1, k), found[~own].reshape(-1, k)

    cells = _cells(xy, tree, k) if count >= FEW else None

    def search(part: slice) -> None:
        if cells is None:
            ask(np.arange(count)[part])
            return
        rows = cells.order[part]
        distance[rows], index[rows] = apart, _ = cells.nearest(part, k)
        far = rows[~(apart[:, -1] < cells.reach)]
        if len(far):
            ask(far)

    blockwise(search, count)
    return distance, index


@dataclass(frozen=True)
class Cells:
    """Atoms in the order of square cells, row by row.

    Attributes:
        order: (N,) numbers of the atoms in that order.
        cell: (N,) their cells.
        start: Where each cell starts.
        x: (N + longest,) positions, padded.
        y: The same.
        width: Cells of a row.
        reach: Nearer atoms lie in the cells around.
        longest: Candidates of a row of cells around an atom.
    """

    order: NDArray[np.intp]
    cell: NDArray[np.intp]
    start: NDArray[np.intp]
    x: Floats
    y: Floats
    width: int
    reach: float
    longest: int

    def nearest(self, part: slice, k: int) -> tuple[Singles, Ints]:
        """Distances and numbers (n, k) of atoms of this order; NaN where the cells do not tell.

        Windows of the same length begin with each row of cells. What they hold beyond these cells
        are other atoms, farther away, which does no harm unless it is the next row already.
        """
        rows = np.arange(len(self.cell))[part]
        middle = self.cell[part, None] + np.arange(-HALF, HALF + 1) * self.width
        begin, end = self.start[middle - HALF], self.start[middle + HALF + 1]
        square = self._square(self.x, begin, rows)
        square += self._square(self.y, begin, rows)
        own = (rows - begin[:, HALF]).clip(max=self.longest - 1) + HALF * self.longest
        square[np.arange(len(rows)), own] = np.inf
        # positive numbers sort as their bits do; the lowest ones tell where it stands
        bits = square.view(np.uint64)
        bits &= HIGH
        bits |= np.arange(bits.shape[1], dtype=np.uint64)
        bits.partition(k - 1, axis=1)
        bits = np.sort(bits[:, :k], axis=1)
        slot = (bits & LOW).astype(np.intp)
        way = slot // self.longest
        first = begin.ravel()[way + len(begin[0]) * np.arange(len(rows))[:, None]]
        found = first + (slot - way * self.longest)
        distance = np.sqrt((bits & HIGH).view(float)).astype(np.float32)
        unsure = ((end - begin) > self.longest).any(axis=1)
        unsure |= (np.diff(begin, axis=1) < self.longest).any(axis=1)
        distance[unsure] = np.nan
        return distance, self.order[found.clip(max=len(self.order) - 1)].astype(np.int32)

    def _square(self, along: Floats, begin: NDArray[np.intp], rows: NDArray[np.intp]) -> Floats:
        """Squared differences (n, candidates) along one axis."""
        apart: Floats = sliding_window_view(along, self.longest)[begin].reshape(len(rows), -1)
        apart -= along[rows, None]
        apart *= apart
        return apart


def _cells(xy: Floats, tree: cKDTree, k: int) -> Cells | None:
    """Put atoms into cells; None where they are too unevenly dense for it."""
    few = xy[:: max(1, len(xy) // ASKED)]
    reach = float(np.quantile(tree.query(few, k=k + 1)[0][:, -1], USUAL)) * MARGIN
    if not reach > 0:
        return None
    column, row = (((xy - xy.min(axis=0)) / (reach / HALF * (1 + 1e-9))).T.astype(np.intp)) + HALF
    width, height = column.max() + HALF + 1, row.max() + HALF + 1
    if width * height > SPARSE * len(xy):
        return None
    cell = row * width + column
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    start = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=width * height))])
    length = start[2 * HALF + 1 :] - start[: -2 * HALF - 1]
    longest = int(np.clip(np.quantile(length[length > 0], 0.99), k // HALF, ROOM))
    x, y = (np.concatenate([xy[order, axis], np.full(longest, np.inf)]) for axis in (0, 1))
    return Cells(order, cell, start, x, y, int(width), reach, longest)
