"""Points to maps and back: the heat and offset maps that the detector learns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.float32]
Floats = NDArray[np.float64]

HEAT_SIGMA = 1.3  # px
REACH = 4  # px around a column in which its offset is taught


class Targets(NamedTuple):
    """Maps that the network is to give.

    Attributes:
        heat: (y, x), a peak of 1 at every column.
        offset: (2, y, x), the vector (dx, dy) in px from each pixel to the nearest column.
        near: (y, x), True where the offset is defined (within REACH px).
        label: (y, x), class of the nearest column; -1 beyond REACH and where it has none.
    """

    heat: Frame
    offset: Frame
    near: NDArray[np.bool_]
    label: NDArray[np.int64]


def to_maps(xy: Floats, shape: tuple[int, int], label: NDArray[np.int64] | None = None) -> Targets:
    """Draw the target maps of a set of columns.

    Args:
        xy: Positions in px, shape (N, 2).
        shape: (height, width) of the maps.
        label: Class of each column, shape (N,).
    """
    height, width = shape
    squared = np.full(height * width, np.inf)
    offset = np.zeros((2, height * width), dtype=np.float32)
    classes = np.full(height * width, -1)
    if len(xy):
        step = np.arange(-REACH, REACH + 1)
        dy, dx = (g.ravel() for g in np.meshgrid(step, step, indexing="ij"))
        base = np.rint(xy).astype(np.intp)
        cols, rows = base[:, :1] + dx, base[:, 1:] + dy
        inside = (cols >= 0) & (cols < width) & (rows >= 0) & (rows < height)
        vector = np.stack([xy[:, :1] - cols, xy[:, 1:] - rows])
        distance = np.where(inside, (vector**2).sum(0), np.inf).ravel()
        order = np.argsort(-distance, kind="stable")  # the nearest column is written last
        order = order[np.isfinite(distance[order])]
        flat = (rows * width + cols).ravel()[order]
        squared[flat] = distance[order]
        offset[:, flat] = vector.reshape(2, -1)[:, order]
        if label is not None:
            classes[flat] = np.repeat(label, len(dx))[order]
    heat = np.exp(-0.5 * squared / HEAT_SIGMA**2).astype(np.float32)
    near = squared <= REACH**2
    classes[~near] = -1
    return Targets(
        heat.reshape(shape),
        offset.reshape(2, *shape),
        near.reshape(shape),
        classes.reshape(shape),
    )


def to_points(
    heat: Frame, offset: Frame, threshold: float
) -> tuple[Floats, NDArray[np.float64], NDArray[np.intp]]:
    """Read columns from maps: local maxima of the heat, each moved by its offset.

    Args:
        heat: (y, x), 0 to 1.
        offset: (2, y, x), px.
        threshold: Least heat of a maximum.

    Returns:
        Positions (N, 2) in px, heat (N,) at the maxima, and their flat pixel index (N,).
    """
    width = heat.shape[1]
    padded = np.pad(heat, 1, constant_values=-1.0)
    along = np.maximum(np.maximum(padded[:, :-2], padded[:, 2:]), padded[:, 1:-1])
    highest = np.maximum(np.maximum(along[:-2], along[2:]), along[1:-1])
    rows, cols = np.nonzero((heat >= threshold) & (heat >= highest))
    value = heat[rows, cols]
    top = np.ones(len(rows), dtype=bool)
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
        # of equal neighbours the first in reading order wins
        top &= value > padded[rows + 1 + dy, cols + 1 + dx]
    rows, cols, value = rows[top], cols[top], value[top]
    shift = offset[:, rows, cols].astype(np.float64)
    xy = np.stack([cols + shift[0], rows + shift[1]], axis=1)
    return xy, value.astype(np.float64), rows * width + cols
