"""Tiles: parts of a large frame that are fitted one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atomscope.refine.start import Start
from atomscope.refine.windows import Bools, Floats, Ints, X, Y

_COLUMNS_PER_TILE = 2500
_NODES_PER_EDGE = 160
_LARGE, _WIDEST = 1 << 22, 1536  # pixels of a frame from which on few columns make no wider tiles


@dataclass(frozen=True)
class Tile:
    """A part of the frame: rows and columns of pixels, and its columns of atoms.

    Attributes:
        box: y0, y1, x0, x1 in px, with the margin.
        members: Columns inside the box, shape (M,).
        core: Which of them belong to this tile alone, shape (M,).
    """

    box: tuple[int, int, int, int]
    members: Ints
    core: Bools


def cut(shape: tuple[int, ...], start: Start) -> Iterator[Tile]:
    """Cut a large frame into tiles that overlap by a margin."""
    height, width = shape[0], shape[1]
    density = max(len(start.xy) / (height * width), 1e-9)
    edge = max(min(np.sqrt(_COLUMNS_PER_TILE / density), _NODES_PER_EDGE * 8 * start.width), 32.0)
    if height * width > _LARGE:
        edge = min(edge, _WIDEST)
    rows, columns = (max(1, round(length / edge)) for length in (height, width))
    margin = int(np.ceil(max(14 * start.width, 2 * float(np.median(start.nearest)))))
    ix = np.minimum((start.xy[:, X] * columns / width).astype(np.int64), columns - 1)
    iy = np.minimum((start.xy[:, Y] * rows / height).astype(np.int64), rows - 1)
    home = iy * columns + ix
    by_y = np.argsort(start.xy[:, Y], kind="stable")
    sorted_y = start.xy[by_y, Y]
    for cell in np.unique(home):
        r, c = divmod(int(cell), columns)
        y0, y1 = max(r * height // rows - margin, 0), min((r + 1) * height // rows + margin, height)
        x0, x1 = (
            max(c * width // columns - margin, 0),
            min((c + 1) * width // columns + margin, width),
        )
        strip = by_y[np.searchsorted(sorted_y, y0) : np.searchsorted(sorted_y, y1 - 1, "right")]
        inside = (start.xy[strip, X] >= x0) & (start.xy[strip, X] <= x1 - 1)
        members = np.sort(strip[inside])
        yield Tile((y0, y1, x0, x1), members, home[members] == cell)


def to_frame(theta: Floats, tile: Tile) -> Floats:
    """Move parameters (N, 6) from the tile's coordinates to the frame's."""
    y0, _, x0, _ = tile.box
    return _moved(theta, x0, y0)


def to_tile(theta: Floats, tile: Tile) -> Floats:
    """Move parameters (N, 6) from the frame's coordinates to the tile's."""
    y0, _, x0, _ = tile.box
    return _moved(theta, -x0, -y0)


def _moved(theta: Floats, x: int, y: int) -> Floats:
    moved = theta.copy()
    moved[:, [X, Y]] += (x, y)
    return moved
