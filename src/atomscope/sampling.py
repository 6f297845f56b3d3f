"""Bringing a frame to the sampling that the detector wants, and coordinates back."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Frame = NDArray[np.float32]
Floats = NDArray[np.float64]


def resample(frame: Frame, factor: float) -> Frame:
    """Return the frame with `factor` times as many pixels along each axis.

    Linear interpolation; where pixels become fewer, the kernel widens so that it
    averages instead of skipping (no aliasing, and the noise falls).

    Args:
        frame: Values, shape (y, x).
        factor: New pixels per old pixel, above 0.
    """
    if factor == 1.0:
        return np.asarray(frame, dtype=np.float32)
    rows = _weights(frame.shape[0], factor)
    cols = _weights(frame.shape[1], factor)
    half = rows @ np.asarray(frame, dtype=np.float32)
    return np.ascontiguousarray((cols @ np.ascontiguousarray(half.T)).T)


def block_means(frame: Frame, edge: int) -> Frame:
    """Return the means of square blocks, shape (y / edge, x / edge).

    Args:
        frame: Values, shape (y, x), both multiples of `edge`.
        edge: Of a block, px.
    """
    height, width = frame.shape
    rows = frame.reshape(height // edge, edge, width).mean(1)
    # a product sums few neighbours many times as fast as a mean over them
    return np.asarray(rows.reshape(-1, width // edge, edge) @ np.full(edge, 1 / edge, frame.dtype))


class Resampling:
    """`resample` of a frame of a given shape, any part at a time.

    Attributes:
        shape: Of the resampled frame, (y, x).
    """

    def __init__(self, shape: tuple[int, int], factor: float) -> None:
        """Make the weights of both axes."""
        self._axes = [None if factor == 1.0 else _weights(n, factor) for n in shape]
        lengths = [n if w is None else w.shape[0] for n, w in zip(shape, self._axes, strict=True)]
        self.shape = (lengths[0], lengths[1])

    def source(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return the rows and columns of the frame that a part is made of."""
        needed = []
        for asked, weights in zip((rows, columns), self._axes, strict=True):
            if weights is None:
                needed.append(asked)
                continue
            used = weights.indices[weights.indptr[asked.start] : weights.indptr[asked.stop]]
            needed.append(slice(int(used.min()), int(used.max()) + 1))
        return needed[0], needed[1]

    def part(self, source: Frame, rows: slice, columns: slice) -> Frame:
        """Return a part of the resampled frame from what `source` names."""
        over_y, over_x = self._axes
        if over_y is None or over_x is None:
            return np.asarray(source, dtype=np.float32)
        needed = self.source(rows, columns)
        half = over_y[rows, needed[0]] @ np.asarray(source, dtype=np.float32)
        return np.ascontiguousarray((over_x[columns, needed[1]] @ np.ascontiguousarray(half.T)).T)


def to_input(xy: Floats, factor: float) -> Floats:
    """Return positions (N, 2) of a resampled frame in px of the input frame."""
    return (xy + 0.5) / factor - 0.5


@lru_cache(maxsize=8)  # parts of the same size are looked at one after the other
def _weights(length: int, factor: float) -> sparse.csr_matrix:
    """Return the (new, old) matrix of triangle weights along one axis; every row sums to 1."""
    new = max(1, int(np.ceil(length * factor - 1e-9)))
    centre = (np.arange(new) + 0.5) / factor - 0.5
    reach = max(1.0, 1.0 / factor)
    taps = np.arange(int(np.ceil(2 * reach)) + 1)
    old = np.floor(centre - reach).astype(np.intp)[:, None] + taps
    weight = np.maximum(0.0, 1.0 - np.abs(old - centre[:, None]) / reach)
    weight /= weight.sum(1, keepdims=True)
    row = np.repeat(np.arange(new), len(taps))
    col = old.clip(0, length - 1).ravel()
    matrix = sparse.csr_matrix((weight.ravel(), (row, col)), shape=(new, length), dtype=np.float32)
    matrix.eliminate_zeros()
    return matrix
