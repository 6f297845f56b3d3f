"""The network over frames of any size, in overlapping tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.detect.prepare import Shown
from atomscope.detect.prominence import prominence
from atomscope.models.store import Maps, Model
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


@dataclass(frozen=True)
class Found:
    """Columns of a frame.

    Attributes:
        xy: Positions in px, shape (N, 2).
        p: Probabilities (heat, before the calibration), shape (N,).
        label: Probabilities of the classes, shape (N, K); K may be 0.
    """

    xy: Floats
    p: Floats
    label: Floats

    def keep(self, chosen: NDArray[Any]) -> Found:
        """Return the columns of a mask or of indices."""
        return Found(self.xy[chosen], self.p[chosen], self.label[chosen])


def maps(model: Model, frame: Frame | Shown, tile: Tile, *, symmetric: bool) -> Maps:
    """Return the maps of one tile of a normalised frame (2, y, x).

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
    whole = _averaged(model, part) if symmetric else model.run(np.ascontiguousarray(part))
    rows = slice(tile.y - top, tile.y - top + tile.height)
    cols = slice(tile.x - left, tile.x - left + tile.width)
    return Maps(*(field[..., rows, cols] for field in whole))


def _averaged(model: Model, part: Frame) -> Maps:
    """Mean maps over the symmetries of the square, each turned back."""
    heat = np.zeros(part.shape[1:], dtype=np.float32)
    offset = np.zeros((2, *part.shape[1:]), dtype=np.float32)
    label = np.zeros((len(model.card.classes), *part.shape[1:]), dtype=np.float32)
    for mirror_x, mirror_y, swap in product((1, -1), (1, -1), (False, True)):
        seen = part[:, ::mirror_y, ::mirror_x]
        one, vector, each = model.run(np.ascontiguousarray(seen.swapaxes(1, 2) if swap else seen))
        if swap:
            one, vector, each = one.T, vector.swapaxes(1, 2)[::-1], each.swapaxes(1, 2)
        heat += one[::mirror_y, ::mirror_x]
        offset[0] += mirror_x * vector[0, ::mirror_y, ::mirror_x]
        offset[1] += mirror_y * vector[1, ::mirror_y, ::mirror_x]
        label += each[:, ::mirror_y, ::mirror_x]
    eighth = np.float32(1 / 8)
    return Maps(heat * eighth, offset * eighth, label * eighth)


def columns(model: Model, frame: Frame | Shown, *, lattice: bool = True) -> Found:
    """Return the columns of a normalised frame (2, y, x), with calibrated probabilities."""
    found = maxima(model, frame, lattice=lattice)
    card = model.card
    if lattice or card.calibration.isolated is None:
        p = card.calibration.lattice.probability(found.p)
    else:
        stands_out = prominence(frame, card.sigma_px, found.xy)
        p = card.calibration.isolated.probability(found.p, stands_out)
    return _without_doubles(replace(found, p=p), 0.3 * model.card.spacing_px)


def maxima(model: Model, frame: Frame | Shown, *, lattice: bool) -> Found:
    """Return all maxima of a normalised frame (2, y, x), with their heat as p."""
    found = [_maxima_of(model, frame, tile, lattice=lattice) for tile in tiles(frame.shape[1:])]
    return Found(
        np.concatenate([f.xy for f in found]),
        np.concatenate([f.p for f in found]),
        np.concatenate([f.label for f in found]),
    )


def class_maps(model: Model, frame: Frame | Shown, *, lattice: bool = True) -> Frame:
    """Return the class map (C, y, x) of a whole normalised frame (2, y, x).

    The first class is the background, the others are those of the model; a model that does
    not tell columns apart has one class, the columns.
    """
    count = 1 + max(len(model.card.classes), 1)
    whole = np.empty((count, *frame.shape[1:]), dtype=np.float32)
    for tile in tiles(frame.shape[1:]):
        heat, _, label = maps(model, frame, tile, symmetric=not lattice)
        part = whole[:, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
        part[0] = 1 - heat
        part[1:] = heat * label if len(label) else heat
    return whole


def _maxima_of(model: Model, frame: Frame | Shown, tile: Tile, *, lattice: bool) -> Found:
    heat, offset, label = maps(model, frame, tile, symmetric=not lattice)
    xy, value, index = to_points(heat, offset, model.card.least_heat)
    row, col = np.divmod(index, heat.shape[1])
    each = label[:, row, col].T.astype(np.float64)
    return Found(xy + np.array([tile.x, tile.y]), value, each)


def _without_doubles(found: Found, distance: float) -> Found:
    """Of maxima whose offsets meet in one place, keep the most probable."""
    from scipy.spatial import cKDTree

    p = found.p
    if len(p) < 2:
        return found
    pairs = cKDTree(found.xy).query_pairs(distance, output_type="ndarray")
    if len(pairs) == 0:
        return found
    keep = np.ones(len(p), dtype=bool)
    strong_first = pairs[np.argsort(-p[pairs].max(1), kind="stable")]
    for a, b in strong_first:
        if keep[a] and keep[b]:
            keep[b if p[a] >= p[b] else a] = False
    return found.keep(keep)
