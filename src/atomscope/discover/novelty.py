"""How far each atom is from the common environments of its own table, in units of their scatter.

Nothing here knows the scale of an embedding: environments are dense places among the embeddings
of the table (Ester, Kriegel, Sander, Xu, KDD-96, 226), each with a covariance of its own, and what
noise does to an atom of the crystal is read off the atoms that lie far from all defects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

SAMPLE = 1200  # atoms among which dense places are looked for
NEAR = 0.02  # share of them that a dense place holds around each of its atoms
WIDER = 1.3  # of the distance that holds so many in the median
LEAST = 0.05  # share of the atoms from which on an environment is one of the host
FEWEST = 60  # atoms: in smaller tables nothing is common
FLOOR = 5e-3  # of the scatter of simulated worlds: added, so that exact crystals have some
EXACT = 0.01  # whitened distance that rounding may make in exact crystals
CLIP, INNER = 5.0, 3.0  # quartile ranges that count as host, and that tell its covariance
LEAST_RANGE = 0.3  # of log squared distances: quarter of a Gaussian in 24 dimensions has 0.2
LEAST_START, LEAST_SCALE = 1.0, 0.4  # of the tail of scores of the host
START = 4.0  # novelty that counts as strange before the tail is known


@dataclass(frozen=True, eq=False)
class Novelty:
    """What is common in a table, and how far each atom is from it.

    Attributes:
        centres: (H, D) embeddings of the environments of the host; H is 0 where nothing is common.
        nearest: (N,) environment that each atom is nearest to.
        score: (N,) log squared distance from it over the median of its atoms, in units of the
            upper quartile range of that logarithm; NaN where the surroundings are cut.
    """

    centres: Floats
    nearest: Ints
    score: Floats


@dataclass(frozen=True)
class Tail:
    """Scores of host atoms: exponential beyond `start`, which one of ten exceeds.

    Attributes:
        start: Score that a tenth of the atoms far from all that is strange exceed.
        scale: Of the decay beyond.
        count: Atoms of the table.
    """

    start: float
    scale: float
    count: int

    def expected(self, score: Floats | float) -> Floats:
        """Number of atoms that noise alone brings beyond a score."""
        beyond = (np.asarray(score, float) - self.start) / self.scale
        return np.asarray(0.1 * self.count * np.exp(-np.maximum(beyond, 0.0)))

    def score(self, expected: float) -> float:
        """Score that so many atoms exceed by noise alone."""
        return self.start + self.scale * float(np.log(max(0.1 * self.count / expected, 1.0)))


def novelty(values: Floats, whole: Bools, scatter: Floats, rng: np.random.Generator) -> Novelty:
    """Score the atoms of a table.

    Args:
        values: Embeddings (N, D).
        whole: (N,) whether the surroundings are whole.
        scatter: (D, D) covariance of atoms of one class in simulated worlds; only its shape counts.
        rng: Picks the sample.
    """
    none = Novelty(values[:0], np.zeros(len(values), np.intp), np.full(len(values), np.nan))
    rows = np.flatnonzero(whole)
    if len(rows) < FEWEST:
        return none
    size, axes = np.linalg.eigh(scatter)
    white = axes / np.sqrt(size.clip(1e-3 * size[-1]))
    centres = _dense(values[rows], white, rng)
    if not len(centres):
        return none
    apart = np.stack([(((values - c) @ white) ** 2).sum(axis=1) for c in centres])
    nearest = np.nan_to_num(apart, nan=np.inf).argmin(axis=0)
    score, means = np.full(len(values), np.nan), centres.copy()
    for c in range(len(centres)):
        own = rows[nearest[rows] == c]
        score[own], means[c] = _scored(values[own], apart[c, own], scatter)
    return Novelty(means, nearest, score)


def _dense(values: Floats, white: Floats, rng: np.random.Generator) -> Floats:
    """Means (H, D) of the dense places that hold a fair share of the atoms."""
    picked = rng.choice(len(values), min(SAMPLE, len(values)), replace=False)
    x = values[np.sort(picked)] @ white
    square = (x**2).sum(axis=1)
    apart = np.sqrt((square[:, None] + square - 2 * x @ x.T).clip(0))
    enough = max(5, int(NEAR * len(x)))
    reach = WIDER * float(np.median(np.partition(apart, enough, axis=1)[:, enough])) + EXACT
    core = (apart < reach).sum(axis=1) > enough
    if not core.any():
        return values[:0]
    near = csr_array(apart[np.ix_(core, core)] < reach)
    count, place = connected_components(near, directed=False)
    rows = np.sort(picked)[core]
    means = [
        values[rows[place == c]].mean(axis=0)
        for c in range(count)
        if (place == c).sum() >= LEAST * len(x)
    ]
    return np.array(means).reshape(-1, values.shape[1])


def _scored(values: Floats, apart: Floats, scatter: Floats) -> tuple[Floats, Floats]:
    """Scores (n,) of the atoms nearest to one environment, and its mean (D,)."""
    good = apart <= 4 * np.median(apart)
    for _ in range(5):
        mean = values[good].mean(axis=0)
        away = values[good] - mean
        covariance = away.T @ away / max(good.sum() - 1, 1) + FLOOR * scatter
        solved = np.linalg.solve(covariance, (values - mean).T).T
        log = np.log1p(((values - mean) * solved).sum(axis=1).clip(0))  # 0 in exact crystals
        middle, range_ = _clipped(log)
        good = log < middle + INNER * range_
    return (log - middle) / range_, mean


def _clipped(log: Floats) -> tuple[float, float]:
    """Median and upper quartile range of what is not far above them."""
    kept = log
    for _ in range(5):
        middle = float(np.median(kept))
        range_ = max(float(np.quantile(kept, 0.75)) - middle, LEAST_RANGE)
        kept = log[log < middle + CLIP * range_]
    return middle, range_


def tail_of(score: Floats, apart_from_strange: Floats, far: float) -> Tail:
    """Fit the tail of the scores of host atoms.

    Args:
        score: (N,), NaN where unknown.
        apart_from_strange: (N,) distance from the nearest atom with a score above `START`.
        far: Distance from which on an atom is of the undisturbed host.
    """
    known = np.isfinite(score)
    host = score[known & (apart_from_strange > far)]
    if len(host) < FEWEST:  # too full of defects: the inner part of all atoms
        host = score[known & (score < CLIP)]
    if not len(host):
        return Tail(CLIP, LEAST_SCALE, int(known.sum()))
    low, high = np.quantile(host, [0.9, 0.97])  # strange atoms among them are beyond
    # at the upper end of what so few atoms tell
    scale = float(high - low) / np.log(10 / 3) * (1 + 2 / np.sqrt(0.1 * len(host)))
    return Tail(max(float(low), LEAST_START), max(scale, LEAST_SCALE), int(known.sum()))
