"""What the network of structures reads: each atom and its twelve nearest, without units.

Nothing here changes with the gain of the detector, a slowly varying brightness, the size of a
pixel, or the order of the atoms; directions turn with the picture. Neighbours are the nearest
atoms, not bonds, since bonds need the elements; the thirteenth ends the neighbourhood smoothly,
so that atoms that swap places at its rim change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.models.blocks import blockwise
from atomscope.models.nearest import nearest

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

NEIGHBOURS = 12
AROUND = 36  # atoms that tell the local brightness
RIM = 0.15  # share of the radius over which neighbours fade out
SOFT = 0.2  # differences of log brightness that count as a clear order
MOST = 2.0  # log brightness: what lies beyond is as bright as can be
FAINT = 0.02  # of the median: less is no brightness
NODE, EDGE = 6, 2  # numbers per atom and per neighbour


@dataclass(frozen=True)
class Surroundings:
    """Atoms of one frame as the network reads them.

    Attributes:
        node: (N, NODE): log brightness over that around, its soft rank among 12 and 36
            neighbours, the spread of brightness around, mean distance of the three nearest and
            radius of the neighbourhood in local spacings.
        index: (N, 12) numbers of the neighbours, the atom itself where padded.
        unit: (N, 12, 2) directions to them, 0 where padded.
        edge: (N, 12, EDGE): distance in local spacings, difference of log brightness.
        weight: (N, 12) from 0 at the rim and where padded to 1.
        spacing: (N,) local spacing in the unit of the positions.
        log: (N,) log brightness over its median.
    """

    node: Singles
    index: Ints
    unit: Singles
    edge: Singles
    weight: Singles
    spacing: Floats
    log: Singles

    def inputs(self) -> dict[str, Singles | Ints]:
        """Inputs of the network by name."""
        names = ("node", "index", "unit", "edge", "weight")
        return {name: getattr(self, name) for name in names}


def surroundings(xy: Floats, brightness: Floats) -> Surroundings:
    """Return what the network reads of the atoms of one frame.

    Args:
        xy: Positions (N, 2), finite, in any unit.
        brightness: (N,) above zero in any unit; NaN where unknown.
    """
    count = len(xy)
    made = _blank(count)
    if count < 2:
        return made
    distance, index = nearest(xy, AROUND)
    k = min(NEIGHBOURS, index.shape[1])
    own = _own_spacing(distance)
    log = made.log
    log[:] = _log_brightness(brightness)

    def spacings(rows: slice) -> None:
        made.spacing[rows] = _median(own, index[rows], rows)

    def describe(rows: slice) -> None:
        near, apart, a = index[rows], distance[rows], made.spacing[rows].astype(np.float32)
        first, close = near[:, :k], apart[:, :k]
        radius = apart[:, k] if apart.shape[1] > k else apart[:, k - 1] * (1 + RIM)
        way = (xy[first] - xy[rows, None]).astype(np.float32)
        np.multiply(way, _inverse(close)[..., None], out=made.unit[rows, :k])
        fade = ((radius[:, None] - close) * (_inverse(radius) / RIM)[:, None]).clip(0, 1)
        made.index[rows, :k], made.weight[rows, :k] = first, fade * fade * (3 - 2 * fade)
        edge, node = made.edge[rows, :k], made.node[rows]
        np.clip(close / a[:, None], 0, 9, out=edge[..., 0])
        np.clip(log[first] - log[rows, None], -MOST, MOST, out=edge[..., 1])
        node[:, :4] = _light(log, near, rows)
        node[:, 4] = (apart[:, :3].mean(axis=1) / a).clip(0, 9)
        node[:, 5] = (radius / a).clip(0, 9)

    blockwise(spacings, count)
    blockwise(describe, count)
    return made


def _inverse(lengths: Singles) -> Singles:
    """One over lengths; of atoms in one point nothing is infinite."""
    return np.asarray(1 / np.maximum(lengths, np.float32(1e-30)))


def _light(log: Singles, near: Ints, rows: slice) -> Singles:
    """Brightness over that around, ranks among 12 and 36, spread around: (n, 4)."""
    own, around = log[rows, None], log[near]
    middle = _median(log, near, rows)[:, None]
    level = middle + (around - middle).clip(-1, 1).mean(axis=1, keepdims=True)
    rank = np.tanh((own - around) * (1 / SOFT))
    spread = np.abs((around - level).clip(-1, 1)).mean(axis=1)
    over = (own - level)[:, 0].clip(-MOST, MOST)
    return np.stack([over, rank[:, :NEIGHBOURS].mean(axis=1), rank.mean(axis=1), spread], axis=1)


def _own_spacing(distance: Singles) -> Singles:
    """Mean distance (N,) of the three nearest; where they are all in one point, the usual one."""
    own = distance[:, :3].mean(axis=1)
    positive = own[own > 0]
    usual = np.median(positive) if len(positive) else np.float32(1)
    return np.asarray(np.where(own > 0, own, usual))


def _median(values: Singles, near: Ints, rows: slice) -> Singles:
    """Median (n,) of the values of each atom of the rows and of those around it."""
    both = np.column_stack([values[near], values[rows]])
    count = both.shape[1]
    if count % 2 == 0:
        return np.asarray(np.median(both, axis=1))
    both.partition(count // 2, axis=1)  # in a third of the time that median takes
    return np.asarray(both[:, count // 2])


def _log_brightness(brightness: Floats) -> Singles:
    """Logarithm of brightness (N,); where it is unknown, that of the median."""
    known = np.isfinite(brightness)
    middle = float(np.median(brightness[known])) if known.any() else 1.0
    if middle == 0:
        return np.zeros(len(brightness), np.float32)
    safe = np.where(known, brightness, middle) / middle  # dark atoms: all below zero
    return np.asarray(np.log(safe.clip(FAINT)), np.float32)


def _blank(count: int) -> Surroundings:
    """Surroundings of atoms without neighbours."""
    shape = (count, NEIGHBOURS)
    return Surroundings(
        np.zeros((count, NODE), np.float32),
        np.repeat(np.arange(count, dtype=np.int32)[:, None], NEIGHBOURS, axis=1),
        np.zeros((*shape, 2), np.float32),
        np.zeros((*shape, EDGE), np.float32),
        np.zeros(shape, np.float32),
        np.ones(count),
        np.zeros(count, np.float32),
    )
