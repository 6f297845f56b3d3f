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
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

NEIGHBOURS = 12
AROUND = 36  # atoms that tell the local brightness
RIM = 0.15  # share of the radius over which neighbours fade out
SOFT = 0.2  # differences of log brightness that count as a clear order
MOST = 2.0  # log brightness: what lies beyond is as bright as can be
MANY = 20_000  # atoms from which on all cores look for neighbours
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
    """

    node: NDArray[np.float32]
    index: NDArray[np.int64]
    unit: NDArray[np.float32]
    edge: NDArray[np.float32]
    weight: NDArray[np.float32]
    spacing: Floats

    def inputs(self) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
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
    if count < 2:
        return _alone(count)
    near = min(AROUND, count - 1)
    workers = -1 if count > MANY else 1
    distance, index = cKDTree(xy).query(xy, k=near + 1, workers=workers)
    distance, index = _without_self(distance, index)
    log = _log_brightness(brightness)
    k = min(NEIGHBOURS, near)
    spacing = _spacing(distance, index)
    radius = distance[:, k] if near > k else distance[:, k - 1] * (1 + RIM)
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.nan_to_num((xy[index[:, :k]] - xy[:, None]) / distance[:, :k, None])
        fade = np.clip(np.nan_to_num((1 - distance[:, :k] / radius[:, None]) / RIM), 0, 1)
    step = (log[index[:, :k]] - log[:, None]).clip(-MOST, MOST)
    edge = np.stack([(distance[:, :k] / spacing[:, None]).clip(0, 9), step], axis=-1)
    node = _nodes(log, distance, index, spacing, radius)
    return Surroundings(
        node.astype(np.float32),
        _padded(index[:, :k], np.arange(count)[:, None]).astype(np.int64),
        _padded(unit).astype(np.float32),
        _padded(edge).astype(np.float32),
        _padded(fade**2 * (3 - 2 * fade)).astype(np.float32),
        spacing,
    )


def _nodes(log: Floats, distance: Floats, index: NDArray[np.intp], a: Floats, r: Floats) -> Floats:
    around = log[index]
    middle = _median(np.concatenate([around, log[:, None]], axis=1))[:, None]
    level = middle[:, 0] + (around - middle).clip(-1, 1).mean(axis=1)
    rank = np.tanh((log[:, None] - around) / SOFT)
    spread = np.abs((around - level[:, None]).clip(-1, 1)).mean(axis=1)
    return np.stack(
        [
            (log - level).clip(-MOST, MOST),
            rank[:, :NEIGHBOURS].mean(axis=1),
            rank.mean(axis=1),
            spread,
            (distance[:, :3].mean(axis=1) / a).clip(0, 9),
            (r / a).clip(0, 9),
        ],
        axis=1,
    )


def _spacing(distance: Floats, index: NDArray[np.intp]) -> Floats:
    """Median over the neighbours of the mean distance of their three nearest."""
    own = distance[:, :3].mean(axis=1)
    positive = own[own > 0]
    own = np.where(own > 0, own, np.median(positive) if len(positive) else 1.0)
    both = np.concatenate([own[index[:, :AROUND]], own[:, None]], axis=1)
    return _median(both)


def _median(values: Floats) -> Floats:
    """Median of each row; of an odd number of values, in a third of the time that numpy takes."""
    count = values.shape[1]
    if count % 2 == 0:
        return np.asarray(np.median(values, axis=1))
    return np.asarray(np.partition(values, count // 2, axis=1)[:, count // 2])


def _log_brightness(brightness: Floats) -> Floats:
    """Logarithm of brightness (N,); where it is unknown, that of the median."""
    known = np.isfinite(brightness)
    middle = float(np.median(brightness[known])) if known.any() else 1.0
    if middle == 0:
        return np.zeros(len(brightness))
    safe = np.where(known, brightness, middle) / middle  # dark atoms: all below zero
    return np.asarray(np.log(safe.clip(FAINT)))


def _without_self(distance: Floats, index: NDArray[np.intp]) -> tuple[Floats, NDArray[np.intp]]:
    """Take each atom out of its own row; atoms in one point may not find themselves first."""
    own = index == np.arange(len(index))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(index), index.shape[1] - 1)
    return distance[~own].reshape(shape), index[~own].reshape(shape)


def _padded(
    values: NDArray[np.generic], fill: NDArray[np.intp] | None = None
) -> NDArray[np.generic]:
    missing = NEIGHBOURS - values.shape[1]
    if missing == 0:
        return values
    shape = (len(values), missing, *values.shape[2:])
    blank = np.zeros(shape, values.dtype) if fill is None else np.broadcast_to(fill, shape)
    return np.concatenate([values, blank], axis=1)


def _alone(count: int) -> Surroundings:
    shape = (count, NEIGHBOURS)
    return Surroundings(
        np.zeros((count, NODE), np.float32),
        np.broadcast_to(np.arange(count)[:, None], shape).astype(np.int64),
        np.zeros((*shape, 2), np.float32),
        np.zeros((*shape, EDGE), np.float32),
        np.zeros(shape, np.float32),
        np.ones(count),
    )
