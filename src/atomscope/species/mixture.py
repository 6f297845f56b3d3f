"""Classes of brightness: a mixture in one dimension that knows the error of each atom.

Each class has a mean; the atoms scatter around it by their own measurement error and by a common
relative spread (thickness, tilt, what the fit leaves). The errors are taken out as in Bovy,
Hogg and Roweis, Ann. Appl. Stat. 5, 1657 (2011). Sublattices share the classes and differ in
how much of each they hold. An even background takes what fits nowhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST = 6  # classes
_SPREAD = 0.03  # relative spread to begin with, and its prior, worth
_SPREAD_WORTH = 20.0  # so many atoms
_ODD = 0.01  # share of atoms that fit nowhere, to begin with
_APART = 2.5  # least distance of two classes in standard deviations of a typical atom
_FEWEST = 3.0  # atoms of a class
_SAMPLE = 6000  # atoms that the number of classes is chosen by


@dataclass(frozen=True)
class Data:
    """Intensities of N atoms in units of a typical one.

    Attributes:
        y: Intensity over local gain, shape (N,).
        error: Standard error of it, shape (N,).
        group: Sublattice, shape (N,), 0 to G - 1; atoms of none have a group of their own.
        groups: G.
        density: Of what fits nowhere: one over the range of y.
    """

    y: Floats
    error: Floats
    group: Ints
    groups: int
    density: float

    def take(self, rows: Ints | NDArray[np.bool_]) -> Data:
        """Return the data of some atoms."""
        return replace(self, y=self.y[rows], error=self.error[rows], group=self.group[rows])


@dataclass(frozen=True)
class Mixture:
    """Classes of brightness.

    Attributes:
        mean: Of each class, ascending where fitted freely, shape (K,).
        spread: Relative spread within a class.
        weight: Share of each class in each group, the last column for what fits nowhere,
            shape (G, K + 1).
        log_likelihood: Of the data it was fitted to.
    """

    mean: Floats
    spread: float
    weight: Floats
    log_likelihood: float = -np.inf

    def log_terms(self, data: Data) -> Floats:
        """Logarithm of weight times density of each class for each atom, shape (N, K + 1)."""
        variance = data.error[:, None] ** 2 + (self.spread * self.mean) ** 2
        log_normal = -0.5 * (
            (data.y[:, None] - self.mean) ** 2 / variance + np.log(2 * np.pi * variance)
        )
        odd = np.full((len(data.y), 1), np.log(data.density))
        with np.errstate(divide="ignore"):
            return np.concatenate([log_normal, odd], axis=1) + np.log(self.weight)[data.group]

    def posterior(self, data: Data) -> Floats:
        """Probability of each class, and of none, shape (N, K + 1)."""
        terms = self.log_terms(data)
        return np.asarray(np.exp(terms - logsumexp(terms, axis=1, keepdims=True)))


Means = Callable[[Floats, Floats], Floats]


def iterate(data: Data, start: Mixture, *, steps: int, means: Means | None = None) -> Mixture:
    """Expectation and maximisation.

    Args:
        data: What is fitted.
        start: To begin with.
        steps: At most.
        means: From the free means of the classes and their information on the logarithm, both
            (K,), those that the model allows; free by default.
    """
    mixture, last = start, -np.inf
    for _ in range(steps):
        terms = mixture.log_terms(data)
        total = logsumexp(terms, axis=1)
        now = float(total.sum())
        share = np.exp(terms - total[:, None])
        mixture = replace(_maximised(data, mixture, share, means), log_likelihood=now)
        if abs(now - last) < 1e-4 * (1 + 1e-3 * abs(now)):
            break
        last = now
    return mixture


def _maximised(data: Data, old: Mixture, share: Floats, means: Means | None) -> Mixture:
    inner = share[:, :-1]
    own = (old.spread * old.mean) ** 2
    variance = data.error[:, None] ** 2 + own
    pull = own / variance
    true = old.mean + pull * (data.y[:, None] - old.mean)
    left = pull * data.error[:, None] ** 2
    count = inner.sum(axis=0)
    # The weighted mean converges at once, whatever the ratio of error to spread.
    precision = (inner / variance).sum(axis=0)
    known = precision > 1e-300
    mean = old.mean.copy()
    mean[known] = ((inner / variance).T @ data.y)[known] / precision[known]
    mean = np.maximum(mean, 1e-6)
    if means is not None:
        mean = means(mean, precision * mean**2)
    square = (inner * ((true - mean) ** 2 + left)).sum(axis=0) / mean**2
    spread = np.sqrt((square.sum() + _SPREAD_WORTH * _SPREAD**2) / (count.sum() + _SPREAD_WORTH))
    held = np.zeros_like(old.weight)
    np.add.at(held, data.group, share)
    # Each group counts one more atom, shared as in the whole frame.
    whole = (share.sum(axis=0) + 1e-3) / (len(data.y) + 1e-3 * share.shape[1])
    weight = (held + whole) / (held.sum(axis=1, keepdims=True) + 1)
    return Mixture(mean, float(spread), weight)


def fit_mixture(data: Data) -> Mixture:
    """Fit classes of brightness; their number by the Bayesian information criterion.

    Classes are added one at a time where atoms fit worst. Classes nearer to each other than
    2.5 standard deviations of an atom, or of fewer than three atoms, are refused.
    """
    some = data.take(_sample(data))
    best = iterate(some, _start(some, np.array([np.median(some.y)])), steps=60)
    while len(best.mean) < _MOST:
        options = [m for m in _with_one_more(some, best) if _sound(some, m)]
        winner = max(options, key=lambda m: m.log_likelihood, default=None)
        if winner is None or _criterion(some, winner) >= _criterion(some, best):
            break
        best = winner
    order = np.argsort(best.mean)
    columns = [*order, len(order)]
    best = replace(best, mean=best.mean[order], weight=best.weight[:, columns])
    return iterate(data, best, steps=20)


def _sample(data: Data) -> Ints:
    """Every k-th atom by brightness: the same whatever the order of the rows."""
    order = np.lexsort((data.group, data.error, data.y))
    return order[:: max(1, len(order) // _SAMPLE)]


def _start(data: Data, mean: Floats) -> Mixture:
    weight = np.full((data.groups, len(mean) + 1), (1 - _ODD) / len(mean))
    weight[:, -1] = _ODD
    return Mixture(mean, _SPREAD, weight)


def _with_one_more(data: Data, old: Mixture) -> list[Mixture]:
    """Mixtures with one class more, from several places of the new one."""
    fit = logsumexp(old.log_terms(data), axis=1)
    worst = data.y[fit <= np.quantile(fit, 0.1)]
    places = np.quantile(data.y, [0.005, 0.02, 0.06, 0.15, 0.3, 0.5, 0.7, 0.85, 0.94, 0.98, 0.995])
    places = np.concatenate([places, np.quantile(worst, [0.1, 0.3, 0.5, 0.7, 0.9])])
    results = []
    for place in places:
        if place <= 0:
            continue
        mean = np.append(old.mean, place)
        share = np.full((data.groups, 1), 0.1)
        weight = np.concatenate([0.9 * old.weight[:, :-1], share, 0.9 * old.weight[:, -1:]], axis=1)
        weight /= weight.sum(axis=1, keepdims=True)
        results.append(iterate(data, Mixture(mean, old.spread, weight), steps=8))
    results.sort(key=lambda m: -m.log_likelihood)
    return [iterate(data, m, steps=60) for m in results[:3]]


def _sound(data: Data, mixture: Mixture) -> bool:
    """Whether all classes have atoms, and differ by more than atoms of a class do."""
    share = mixture.posterior(data)[:, :-1]
    if share.sum(axis=0).min() < _FEWEST:
        return False
    order = np.argsort(mixture.mean)
    for a, b in pairwise(order):
        width = [
            np.sqrt(np.average(data.error**2, weights=share[:, k] + 1e-12)
                    + (mixture.spread * mixture.mean[k]) ** 2)
            for k in (a, b)
        ]  # fmt: skip
        if mixture.mean[b] - mixture.mean[a] < _APART * 0.5 * (width[0] + width[1]):
            return False
    return True


def _criterion(data: Data, mixture: Mixture) -> float:
    parameters = len(mixture.mean) * (1 + data.groups) + 1
    return float(-2 * mixture.log_likelihood + parameters * np.log(len(data.y)))
