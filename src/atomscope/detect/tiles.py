"""The network over frames of any size, in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from atomscope.models.store import Model
from atomscope.models.targets import to_points

Floats = NDArray[np.float64]
Frame = NDArray[np.float32]

TILE = 1024  # px of a tile without its halo
UNIT = 16  # the network halves its input four times


@dataclass(frozen=True)
class Tile:
    """Corner and size of a tile's own part, px."""

    y: int
    x: int
    height: int
    width: int


def tiles(shape: tuple[int, int]) -> Iterator[Tile]:
    """Split a frame into parts of at most TILE px."""
    for y in range(0, shape[0], TILE):
        for x in range(0, shape[1], TILE):
            yield Tile(y, x, min(TILE, shape[0] - y), min(TILE, shape[1] - x))


def maps(model: Model, frame: Frame, tile: Tile, *, symmetric: bool) -> tuple[Frame, Frame]:
    """Return heat and offsets of one tile of a normalised frame (2, y, x).

    The tile is run with the halo of the model's card; beyond the frame's border there is no
    contrast, as in training.

    Args:
        model: The detector.
        frame: Normalised frame, shape (2, y, x).
        tile: The part to return.
        symmetric: Average over the eight turns and mirrors of the tile. Eight times the work;
            it pays where single atoms hide in the texture of a support.
    """
    halo = model.card.halo_px
    top, left = max(0, tile.y - halo), max(0, tile.x - halo)
    part = frame[:, top : tile.y + tile.height + halo, left : tile.x + tile.width + halo]
    fill = [(0, 0), *((0, -n % UNIT) for n in part.shape[1:])]
    if any(after for _, after in fill):
        part = np.pad(part, fill)
    heat, offset = _averaged(model, part) if symmetric else model.run(np.ascontiguousarray(part))
    rows = slice(tile.y - top, tile.y - top + tile.height)
    cols = slice(tile.x - left, tile.x - left + tile.width)
    return heat[rows, cols], offset[:, rows, cols]


def _averaged(model: Model, part: Frame) -> tuple[Frame, Frame]:
    """Mean heat and offsets over the symmetries of the square, each turned back."""
    heat = np.zeros(part.shape[1:], dtype=np.float32)
    offset = np.zeros((2, *part.shape[1:]), dtype=np.float32)
    for mirror_x, mirror_y, swap in product((1, -1), (1, -1), (False, True)):
        seen = part[:, ::mirror_y, ::mirror_x]
        one, vector = model.run(np.ascontiguousarray(seen.swapaxes(1, 2) if swap else seen))
        if swap:
            one, vector = one.T, vector.swapaxes(1, 2)[::-1]
        heat += one[::mirror_y, ::mirror_x]
        offset[0] += mirror_x * vector[0, ::mirror_y, ::mirror_x]
        offset[1] += mirror_y * vector[1, ::mirror_y, ::mirror_x]
    return heat * np.float32(1 / 8), offset * np.float32(1 / 8)


def columns(model: Model, frame: Frame, *, lattice: bool = True) -> tuple[Floats, Floats]:
    """Return positions (N, 2) in px, and p (N,), of the columns of a normalised frame (2, y, x)."""
    xy, heat = maxima(model, frame, lattice=lattice)
    p = model.card.calibration.probability(heat, lattice=lattice)
    return _without_doubles(xy, p, 0.3 * model.card.spacing_px)


def maxima(model: Model, frame: Frame, *, lattice: bool) -> tuple[Floats, Floats]:
    """Return positions (N, 2) in px, and heat (N,), of all maxima of a normalised frame."""
    found = [_maxima_of(model, frame, tile, lattice=lattice) for tile in tiles(frame.shape[1:])]
    return np.concatenate([xy for xy, _ in found]), np.concatenate([heat for _, heat in found])


def heat_map(model: Model, frame: Frame, *, lattice: bool = True) -> Frame:
    """Return the heat (y, x) of a whole normalised frame (2, y, x)."""
    whole = np.empty(frame.shape[1:], dtype=np.float32)
    for tile in tiles(frame.shape[1:]):
        heat, _ = maps(model, frame, tile, symmetric=not lattice)
        whole[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] = heat
    return whole


def _maxima_of(model: Model, frame: Frame, tile: Tile, *, lattice: bool) -> tuple[Floats, Floats]:
    heat, offset = maps(model, frame, tile, symmetric=not lattice)
    xy, value, _ = to_points(heat, offset, model.card.least_heat)
    return xy + np.array([tile.x, tile.y]), value


def _without_doubles(xy: Floats, p: Floats, distance: float) -> tuple[Floats, Floats]:
    """Of maxima whose offsets meet in one place, keep the most probable."""
    from scipy.spatial import cKDTree

    if len(xy) < 2:
        return xy, p
    pairs = cKDTree(xy).query_pairs(distance, output_type="ndarray")
    if len(pairs) == 0:
        return xy, p
    keep = np.ones(len(xy), dtype=bool)
    strong_first = pairs[np.argsort(-p[pairs].max(1), kind="stable")]
    for a, b in strong_first:
        if keep[a] and keep[b]:
            keep[b if p[a] >= p[b] else a] = False
    return xy[keep], p[keep]
