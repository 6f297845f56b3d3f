"""Classes of brightness: a mixture in one dimension that knows the error of each atom.

Each class has a mean; the atoms scatter around it by their own measurement error and by a common
relative spread (thickness, tilt, what the fit leaves). The errors are taken out as in Bovy,
Hogg and Roweis, Ann. Appl. Stat. 5, 1657 (2011). Sublattices share the classes and differ in
how much of each they hold. An even background takes what fits nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MOST = 6  # classes
_SPREAD = 0.03  # relative spread to begin with, and its prior, worth
_SPREAD_WORTH = 20.0  # so many atoms
_LEAST_SPREAD = 0.01  # no scan is steadier
_ODD = 0.01  # share of atoms that fit nowhere, to begin with
_APART = 2.5  # least distance of two classes in standard deviations of a typical atom
_FEWEST = 3.0  # atoms of a class
_TAIL = 0.01  # share of atoms whose fit went wrong, to begin with, and its prior, worth
_TAIL_WORTH = 100.0  # so many atoms; their error is larger
_WIDER = 3.0  # by this factor
_EVER = 0.1  # atoms of each class and of none that are taken to be in every frame
_ROUNDS = 5
_STILL = 0.02  # change of the log likelihood below which nothing moves any more
_SAMPLE = 4000  # atoms that choose the number of classes
_PLACES = (0.003, 0.015, 0.05, 0.15, 0.35, 0.65, 0.85, 0.95, 0.985, 0.997)  # quantiles


@dataclass(frozen=True)
class Data:
    """Intensities of N atoms in units of a typical one.

    Attributes:
        y: Intensity over local gain, shape (N,).
        error: Standard error that it has where y is 1, shape (N,).
        group: Sublattice, shape (N,), 0 to G - 1; atoms of none have a group of their own.
        groups: G.
        density: Of what fits nowhere: one over the range of y.
        shot: Share of the squared error there that is the atom's own light, and grows with y.
    """

    y: Floats
    error: Floats
    group: Ints
    groups: int
    density: float
    shot: float = 0.0

    def take(self, rows: Ints | NDArray[np.bool_]) -> Data:
        """Return the data of some atoms."""
        return replace(self, y=self.y[rows], error=self.error[rows], group=self.group[rows])

    def square(self, y: Floats) -> Floats:
        """Squared errors where the brightness is y, shape (N,) or (K, 1) for all: (K, N)."""
        return np.asarray(self.error**2 * grown(self.shot, y))

    def held(self, share: Floats) -> Floats:
        """Sum the shares of atoms in classes (N, K) over each group, shape (G, K)."""
        held = np.zeros((self.groups, share.shape[1]))
        for k, column in enumerate(share.T):
            held[:, k] = np.bincount(self.group, column, self.groups)
        return held


@dataclass(frozen=True)
class Mixture:
    """Classes of brightness.

    Attributes:
        mean: Of each class, shape (K,).
        spread: Relative spread within each class, shape (K,).
        weight: Share of each class in each group, the last column for what fits nowhere,
            shape (G, K + 1).
        log_likelihood: Of the data it was fitted to.
        tail: Share of atoms whose fit went wrong.
    """

    mean: Floats
    spread: Floats
    weight: Floats
    log_likelihood: float = -np.inf
    tail: float = _TAIL

    def log_terms(self, data: Data) -> Floats:
        """Logarithm of weight times density of each class for each atom, shape (N, K + 1)."""
        return self._terms(data, *self.distance(data))

    def _terms(self, data: Data, square: Floats, variance: Floats) -> Floats:
        weight = np.log(np.maximum(self.weight, 1e-300)).T
        return self._density(data, square, variance) + weight.take(data.group, axis=1).T

    def log_density(self, data: Data) -> Floats:
        """Logarithm of the density of each class, and of what fits nowhere, shape (N, K + 1)."""
        return self._density(data, *self.distance(data))

    def _density(self, data: Data, square: Floats, variance: Floats) -> Floats:
        log_normal = -0.5 * (square + np.log(2 * np.pi * variance))
        # log of the sum of a normal density and a low, wide one: fits go wrong at times
        wide = self.went_wrong(square)
        log_sum = np.maximum(wide, 0) + np.log(1 + np.exp(-np.abs(wide)))
        log_class = log_normal + np.log(1 - self.tail) + log_sum
        odd = np.full((len(data.y), 1), np.log(data.density))
        return np.concatenate([log_class, odd], axis=1)

    def went_wrong(self, square: Floats) -> Floats:
        """Log odds that a fit went wrong, given its squared distance in variances, (N, K)."""
        odds = np.log(self.tail / (1 - self.tail) / _WIDER)
        return np.asarray(odds + 0.5 * square * (1 - _WIDER**-2))

    def distance(self, data: Data) -> tuple[Floats, Floats]:
        """Squared distance of atoms and classes in variances, and these, both (N, K).

        The error of an atom is that of its brightness; under each class it is that of the class.
        Classes lie one behind the other in memory: sums over them run along whole columns.
        """
        mean = self.mean[:, None]
        variance = data.square(mean) + (self.spread[:, None] * mean) ** 2
        return ((data.y - self.mean[:, None]) ** 2 / variance).T, variance.T

    def posterior(self, data: Data) -> Floats:
        """Probability of each class, and of none, shape (N, K + 1)."""
        return normalised(self.log_terms(data))[0]

    def judged_by_others(self, data: Data, expected: Floats | float = 0.0) -> Floats:
        """Return the posterior with weights to which the atom itself does not contribute.

        Else a single odd atom would make its own class likely on its sublattice.

        Args:
            data: N atoms.
            expected: Atoms of each class that are expected before any is seen, shape (K + 1,).
        """
        density = self.log_density(data)
        share = self.posterior(data)
        prior = _one_more(share) + expected
        for _ in range(_ROUNDS):
            others = data.held(share)[data.group] - share + prior
            share, _ = normalised(density + np.log(np.maximum(others, prior)))
        return share


def grown(shot: float, y: Floats) -> Floats:
    """By how much squared errors are larger at a brightness than at 1, of which a share grows."""
    return np.asarray(1 - shot + shot * np.maximum(y, 0.0))


def normalised(terms: Floats) -> tuple[Floats, Floats]:
    """Probabilities from log odds (N, K), and the logarithm of what they were divided by, (N,)."""
    top = terms.max(axis=1)
    share = np.exp(terms - top[:, None])
    total = share.sum(axis=1)
    return share / total[:, None], top + np.log(total)


def fit_mixture(data: Data, start: Mixture | None = None) -> Mixture:
    """Fit classes of brightness; their number by the Bayesian information criterion.

    Classes are added one at a time where atoms fit worst. Classes nearer to each other than
    2.5 standard deviations of an atom, or of fewer than three atoms, are refused.

    Args:
        data: What is fitted.
        start: Classes to begin with; their number stays. Found from the data by default.
    """
    if start is not None:
        return _iterate(data, start, steps=20)
    some = data.take(sample(data))
    best = _iterate(some, _single(some), steps=60)
    while len(best.mean) < _MOST:
        options = [m for m in _with_one_more(some, best) if _sound(some, m)]
        winner = max(options, key=lambda m: m.log_likelihood, default=None)
        if winner is None or _criterion(some, winner) >= _criterion(some, best):
            break
        best = winner
    order = np.argsort(best.mean)
    best = replace(best, mean=best.mean[order], weight=best.weight[:, [*order, len(order)]])
    return _iterate(data, best, steps=20)


def reweighted(data: Data, mixture: Mixture) -> Mixture:
    """Return the mixture with the shares of its classes fitted, and nothing else."""
    for _ in range(_ROUNDS):
        share = mixture.posterior(data)
        mixture = replace(mixture, weight=_weights(data, share))
    return mixture


def sample(data: Data) -> Ints:
    """Every k-th atom by brightness: the same whatever the order of the rows."""
    order = np.lexsort((data.group, data.error, data.y))
    return order[:: max(1, len(order) // _SAMPLE)]


def _iterate(data: Data, start: Mixture, *, steps: int) -> Mixture:
    """Expectation and maximisation, until the likelihood stands still."""
    mixture, last = start, -np.inf
    for _ in range(steps):
        apart = mixture.distance(data)
        share, total = normalised(mixture._terms(data, *apart))
        now = float(total.sum())
        mixture = replace(_maximised(data, mixture, share, *apart), log_likelihood=now)
        if abs(now - last) < _STILL * (1 + 1e-4 * len(data.y)):
            break
        last = now
    return mixture


def _maximised(
    data: Data, old: Mixture, share: Floats, square: Floats, variance: Floats
) -> Mixture:
    # atoms in the tail of a class do not move it
    inner = share[:, :-1] / (1 + np.exp(np.minimum(old.went_wrong(square), 50)))
    # The weighted mean converges at once, whatever the ratio of error to spread.
    weighed = inner / variance
    precision = weighed.sum(axis=0)
    known = precision > 1e-300
    mean = old.mean.copy()
    mean[known] = (weighed.T @ data.y)[known] / precision[known]
    mean = np.maximum(mean, 1e-6)
    # Fisher scoring for the variance: expectation and maximisation creep towards small ones.
    told = inner * mean**4 / variance**2
    usual = _SPREAD_WORTH * float(told.sum()) / max(float(inner.sum()), 1.0)
    beyond = ((data.y[:, None] - mean) ** 2 - data.square(mean[:, None]).T) / mean**2
    square_spread = (np.sum(told * beyond) + usual * _SPREAD**2) / (told.sum() + usual)
    spread = float(np.sqrt(max(square_spread, _LEAST_SPREAD**2)))
    classed = float(share[:, :-1].sum())
    wrong = classed - float(inner.sum()) + _TAIL_WORTH * _TAIL
    tail = wrong / (classed + _TAIL_WORTH)
    return Mixture(mean, np.full(len(mean), spread), _weights(data, share), tail=tail)


def _weights(data: Data, share: Floats) -> Floats:
    weight = data.held(share) + _one_more(share)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _one_more(share: Floats) -> Floats:
    """One atom, shared among the classes as all atoms are, and a little of each."""
    return np.asarray((share.sum(axis=0) + _EVER) / (len(share) + _EVER * share.shape[1]))


def _single(data: Data) -> Mixture:
    weight = np.tile([1 - _ODD, _ODD], (data.groups, 1))
    return Mixture(np.array([np.median(data.y)]), np.array([_SPREAD]), weight)


def _with_one_more(data: Data, old: Mixture) -> list[Mixture]:
    """Mixtures with one class more, from several places of the new one."""
    _, fit = normalised(old.log_terms(data))
    worst = data.y[fit <= np.quantile(fit, 0.1)]
    places = np.quantile(data.y, _PLACES)
    places = np.concatenate([places, np.quantile(worst, [0.1, 0.5, 0.9])])
    share = np.full((data.groups, 1), 0.1)
    weight = np.concatenate([0.9 * old.weight[:, :-1], share, 0.9 * old.weight[:, -1:]], axis=1)
    weight /= weight.sum(axis=1, keepdims=True)
    spread = np.append(old.spread, old.spread[0])
    results = [
        _iterate(data, Mixture(np.append(old.mean, place), spread, weight, tail=old.tail), steps=8)
        for place in places[places > 0]
    ]
    results.sort(key=lambda m: -m.log_likelihood)
    return [_iterate(data, m, steps=60) for m in results[:2]]


def _sound(data: Data, mixture: Mixture) -> bool:
    """Whether all classes have atoms, and differ by more than atoms of a class do.

    Half as much where they live on different sublattices: there their places differ, too.
    """
    share = mixture.posterior(data)[:, :-1]
    if share.sum(axis=0).min() < _FEWEST:
        return False
    variance = mixture.distance(data)[1]
    width = np.sqrt((share * variance).sum(axis=0) / share.sum(axis=0))
    held = data.held(share)
    held /= np.maximum(held.sum(axis=0), 1e-300)
    order = np.argsort(mixture.mean)
    return all(
        mixture.mean[b] - mixture.mean[a]
        > _APART * _alike(held, a, b) * 0.5 * (width[a] + width[b])
        for a, b in pairwise(order)
    )


def _alike(held: Floats, a: int, b: int) -> float:
    """1 where two classes are spread alike over the groups, one half where they share none."""
    return 0.5 + 0.5 * float(np.minimum(held[:, a], held[:, b]).sum())


def _criterion(data: Data, mixture: Mixture) -> float:
    parameters = len(mixture.mean) * (1 + data.groups) + 1
    return float(-2 * mixture.log_likelihood + parameters * np.log(len(data.y)))
