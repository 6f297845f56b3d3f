"""Where a frame lies against the first one: drift, and slow affine distortion.

On a perfect lattice a shift by a whole lattice vector looks like none. Of all shifts that bring
atoms to atoms the smallest is taken, unless rare features (dopants, missing atoms) or the share of
matched atoms speak for another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.spacing import median_spacing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_AFFINE = 12  # matched atoms from which on the distortion is fitted
_FEWEST = 4  # matched atoms without which a common motion cannot be told from their own
_CLOSE = 0.45  # spacings: an atom this near to its place is taken for it at first
_GOOD = 0.6  # share of matched atoms with which no other shift is looked for
_SMALLEST = 0.12  # spacings: step of the drift that is never surprising
_SURPRISE = 10.0  # most that a sudden jump costs, in units of the log of the likelihood
_RARE = 4.0  # what a rare feature that agrees or disagrees counts
_BINS = 0.1  # spacings: cell of the histogram of shifts


@dataclass(frozen=True)
class Motion:
    """Map from the reference to a frame: x = r @ matrix + shift.

    Attributes:
        matrix: Distortion, shape (2, 2).
        shift: Of the origin in px, shape (2,).
    """

    matrix: Floats = field(default_factory=lambda: np.eye(2))
    shift: Floats = field(default_factory=lambda: np.zeros(2))

    def to_frame(self, reference: Floats) -> Floats:
        """Bring positions (N, 2) of the reference into the frame."""
        return np.asarray(reference @ self.matrix + self.shift)

    def to_reference(self, xy: Floats) -> Floats:
        """Bring positions (N, 2) of the frame into the reference."""
        return np.asarray((xy - self.shift) @ np.linalg.inv(self.matrix))

    def moved(self, by: Floats) -> Motion:
        """Return the motion with a further shift (2,), given in the reference."""
        return Motion(self.matrix, self.shift + by @ self.matrix)


@dataclass(frozen=True)
class Model:
    """What is known when a frame arrives.

    Attributes:
        xy: Places in the reference, px, shape (P, 2).
        rare: Number of the rare species at each place, -1 for the common ones, shape (P,).
        spacing: Distance of neighbours in px.
        step: Usual step of the drift from frame to frame in px.
    """

    xy: Floats
    rare: Ints
    spacing: float
    step: float


def register(model: Model, xy: Floats, rare: Ints, start: Motion) -> Motion:
    """Find the motion of a frame.

    Args:
        model: The places known so far.
        xy: Atoms of the frame in px, shape (N, 2).
        rare: Rare species of each, -1 for the common ones, shape (N,).
        start: Motion of the frame before.

    Returns:
        The motion; that of the frame before where too few atoms are common to both.
    """
    if min(len(xy), len(model.xy)) < _FEWEST:
        return start
    tree = cKDTree(model.xy)
    if len(xy) >= _AFFINE:
        start = _rescaled(model, xy, start)
    motion = _fit(model, tree, xy, start)
    if _settled(model, tree, motion.to_reference(xy), rare):
        return motion
    found = [(_score(model, tree, xy, rare, motion, start), motion)]
    for by in _shifts(model, tree, start.to_reference(xy)):
        other = _fit(model, tree, xy, start.moved(by))
        found.append((_score(model, tree, xy, rare, other, start), other))
    return max(found, key=lambda pair: pair[0])[1]


def _rescaled(model: Model, xy: Floats, start: Motion) -> Motion:
    """Take over a change of magnification, as when a frame was recorded at another size."""
    expected = model.spacing * np.sqrt(abs(np.linalg.det(start.matrix)))
    ratio = (median_spacing(xy) or np.inf) / expected
    if not np.isfinite(ratio) or 0.85 < ratio < 1.18:
        return start
    matrix = start.matrix * ratio
    return Motion(matrix, xy.mean(axis=0) - model.xy.mean(axis=0) @ matrix)


def _fit(model: Model, tree: cKDTree, xy: Floats, start: Motion) -> Motion:
    """Match atoms to the nearest places and fit, more narrowly each time."""
    motion = start
    for reach in (_CLOSE, 0.35, 0.25):
        home = motion.to_reference(xy)
        distance, place = tree.query(home, distance_upper_bound=reach * model.spacing)
        near = np.flatnonzero(np.isfinite(distance))
        if len(near) < _FEWEST:
            return motion
        scale = max(float(np.median(distance[near])), 1e-3 * model.spacing)
        weight = 1 / (1 + (distance[near] / (2 * scale)) ** 2)
        source, target = model.xy[place[near]], xy[near]
        if len(near) < _AFFINE or reach == _CLOSE:
            off = target - motion.to_frame(source)
            motion = Motion(motion.matrix, motion.shift + np.average(off, axis=0, weights=weight))
        else:
            motion = _affine(source, target, weight, motion, model.spacing)
    return motion


def _affine(source: Floats, target: Floats, weight: Floats, before: Motion, unit: float) -> Motion:
    """Least squares; a distortion that few atoms show is pulled towards the one before."""
    middle, mean = (np.average(v, axis=0, weights=weight) for v in (source, target))
    s, t = source - middle, target - mean
    pull = np.eye(2) * unit**2
    normal = (s * weight[:, None]).T @ s + pull
    matrix = np.linalg.solve(normal, (s * weight[:, None]).T @ t + pull @ before.matrix)
    return Motion(np.asarray(matrix, dtype=np.float64), mean - middle @ matrix)


def _settled(model: Model, tree: cKDTree, home: Floats, rare: Ints) -> bool:
    """Whether most atoms are at places, and rare ones at places of their kind.

    One dopant that hopped is no reason to look for another shift: it differs at two places.
    """
    distance, place = tree.query(home, distance_upper_bound=0.35 * model.spacing)
    near = np.isfinite(distance)
    if near.mean() < _GOOD:
        return False
    known = np.where(near, model.rare[np.where(near, place, 0)], -1)
    agree = np.sum((rare[near] == known[near]) & (rare[near] >= 0))
    return bool(np.sum(rare[near] != known[near]) <= max(2, agree))


def _shifts(model: Model, tree: cKDTree, home: Floats) -> Floats:
    """Shifts (K, 2) in the reference that bring many atoms to places: peaks of a histogram."""
    reach = 2.3 * model.spacing
    some = home if len(home) <= 400 else home[:: len(home) // 400]
    distance, place = tree.query(some, k=min(24, len(model.xy)), distance_upper_bound=reach)
    distance, place = np.atleast_2d(distance), np.atleast_2d(place)
    at, which = np.nonzero(np.isfinite(distance))
    by = model.xy[place[at, which]] - some[at]
    edges = np.arange(-reach, reach + _BINS * model.spacing, _BINS * model.spacing)
    count = np.histogram2d(by[:, 0], by[:, 1], bins=[edges, edges])[0]
    smooth = ndimage.gaussian_filter(count, 1.0)
    top = (smooth == ndimage.maximum_filter(smooth, size=5)) & (smooth > 0.4 * smooth.max())
    return np.asarray((np.argwhere(top) + 0.5) * _BINS * model.spacing - reach)


def _score(
    model: Model, tree: cKDTree, xy: Floats, rare: Ints, motion: Motion, start: Motion
) -> float:
    """Log of the likelihood of a motion, up to a constant."""
    distance, place = tree.query(motion.to_reference(xy), distance_upper_bound=model.spacing * 0.35)
    near = np.isfinite(distance)
    here, there = rare[near], model.rare[place[near]]
    agree = np.sum((here == there) & (here >= 0)) - 0.5 * np.sum(here != there)
    middle = xy.mean(axis=0)[None]
    by = float(np.hypot(*(motion.to_reference(middle) - start.to_reference(middle))[0]))
    usual = max(_SMALLEST * model.spacing, 1.5 * model.step)
    surprise = min(0.5 * (by / usual) ** 2, _SURPRISE + by / model.spacing)
    return float(2.0 * near.sum() + _RARE * agree - surprise)
