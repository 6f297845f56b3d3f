"""A smooth background: bilinear between the nodes of a coarse grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import dia_matrix

from atomscope.refine.windows import U_POWER, V_POWER, Floats, Ints, Windows
from atomscope.types import FloatArray


@dataclass(frozen=True)
class Grid:
    """Nodes over a frame (y, x); the background is `down` @ values @ `right`.T.

    Attributes:
        down: Hat functions of the node rows, shape (y, node rows).
        right: Hat functions of the node columns, shape (x, node columns).
        spacing: Least distance between nodes, px.
    """

    down: Floats
    right: Floats
    spacing: float

    @classmethod
    def over(cls, shape: tuple[int, int], spacing: float) -> Grid:
        """Nodes at least `spacing` apart (one node, a constant, along a short axis)."""
        return cls(_hats(shape[0], spacing), _hats(shape[1], spacing), spacing)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of node rows and node columns."""
        return self.down.shape[1], self.right.shape[1]

    @property
    def size(self) -> int:
        """Number of nodes."""
        return self.shape[0] * self.shape[1]

    def render(self, values: Floats) -> Floats:
        """Background image (y, x) from the values at all nodes, shape (size,)."""
        return np.asarray(self.down @ values.reshape(self.shape) @ self.right.T)

    def project(self, image: FloatArray) -> Floats:
        """Sums of an image (y, x) times each node's hat, shape (size,)."""
        return np.asarray(self.down.T @ image @ self.right).ravel()

    def normal(self, weight: FloatArray) -> dia_matrix:
        """Sums of weight times products of two hats, shape (size, size)."""
        rows, columns = self.shape
        diagonals: dict[int, Floats] = {}
        for e in range(min(2, columns)):
            across = weight @ (self.right[:, : columns - e] * self.right[:, e:])
            for f in range(min(2, rows)):
                value = (self.down[:, : rows - f] * self.down[:, f:]).T @ across
                # A pair of hats on a diagonal overlaps as much as the pair on the other one.
                for start in {0, e} if f else {0}:
                    offset = f * columns + (e if start == 0 else -e)
                    line = diagonals.setdefault(offset, np.zeros((rows, columns)))
                    line[: rows - f, start : start + columns - e] += value
        lines, offsets = [], []
        for offset, line in diagonals.items():
            lines.append(line.ravel())
            offsets.append(-offset)
            if offset:
                lines.append(np.roll(line.ravel(), offset))
                offsets.append(offset)
        return dia_matrix((np.array(lines), offsets), shape=(self.size, self.size))

    def preconditioner(self, diagonal: Floats) -> Callable[[Floats], Floats]:
        """Rough inverse of `normal` with a given diagonal (size,): exact for equal weights.

        The matrix of equal weights is a product of those of node rows and node columns; other
        weights are taken into account by scaling the nodes.
        """
        down, right = self.down.T @ self.down, self.right.T @ self.right
        inverse_down, inverse_right = np.linalg.inv(down), np.linalg.inv(right)
        scale = np.sqrt(np.multiply.outer(down.diagonal(), right.diagonal()).ravel() / diagonal)

        def apply(values: Floats) -> Floats:
            scaled = (scale * values).reshape(self.shape)
            return scale * (inverse_down @ scaled @ inverse_right).ravel()

        return apply

    def under(self, windows: Windows) -> Ints:
        """Nodes that reach into windows no wider than the node spacing: numbers (N, m)."""
        rows = _nearby(self.down, windows.half)[windows.iy]
        columns = _nearby(self.right, windows.half)[windows.ix]
        return (rows[:, :, None] * self.shape[1] + columns[:, None, :]).reshape(len(rows), -1)

    def coupling(self, windows: Windows, values: FloatArray) -> Floats:
        """Sums of values times the six monomials times the hats under a window: (N, 6, m)."""
        right = _weighed_hats(self.right, windows).astype(values.dtype)[windows.ix]
        down = _weighed_hats(self.down, windows).astype(values.dtype)[windows.iy]
        sums = down.transpose(0, 2, 1) @ (values @ right)
        sums = sums.reshape(len(sums), 3, down.shape[2] // 3, 3, right.shape[2] // 3)
        picked = sums[:, V_POWER, :, U_POWER, :]  # (6, N, my, mx): indices split by a slice
        return np.moveaxis(picked, 0, 1).reshape(len(sums), 6, -1)


def _hats(length: int, spacing: float) -> Floats:
    count = int((length - 1) // spacing) + 1
    if count < 2:
        return np.ones((length, 1))
    place = np.arange(length) * ((count - 1) / (length - 1))
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(count)), 0.0))


def _nearby(hats: Floats, half: int) -> Ints:
    """Nodes under the windows centred at each pixel of an axis, shape (length, 3 or fewer)."""
    length, count = hats.shape
    keep = min(3, count)
    first_pixel = np.maximum(np.arange(length) - half, 0)
    first = (first_pixel * (count - 1)) // max(length - 1, 1)
    return np.asarray(np.clip(first, 0, count - keep)[:, None] + np.arange(keep))


def _weighed_hats(hats: Floats, windows: Windows) -> Floats:
    """Powers 0 to 2 times hats over the windows centred at each pixel, (length, w, 3 m)."""
    padded = np.pad(hats, ((windows.half, windows.half), (0, 0)))
    local = np.moveaxis(sliding_window_view(padded, 2 * windows.half + 1, axis=0), 2, 1)
    near = np.take_along_axis(local, _nearby(hats, windows.half)[:, None, :], axis=2)
    powers = windows.powers(2)[:, :, None]
    return np.asarray((powers * near[:, :, None, :]).reshape(*near.shape[:2], -1))
