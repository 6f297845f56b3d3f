"""Names for classes of brightness: Z-contrast with a free exponent.

The mean of a class is a common factor times the strength of its formula, the sum of Z^n; each
class may be off by some percent (channelling, tilt), neighbours in the periodic table alike.
Every way to give formulas to the classes, in order of brightness, is weighed: how well one factor
and one exponent serve all, which elements are missing, which classes go without a name. Namings
that serve about as well share the probability, so that what cannot be known stays unknown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from atomscope.formula import EXPONENT, Formula
from atomscope.species.mixture import Data, Floats, Ints, Mixture, normalised, reweighted
from atomscope.species.strays import FEW, STRANGE, with_strays

_EXPONENT_ERROR = 0.15  # other detector angles
EXPONENTS = (1.2, 2.1)
_OFFSET = 0.06  # relative standard deviation of a class from the power law,
_ALIKE = 1.0  # which classes share whose elements are much nearer than that in log Z
_JITTER = 0.005  # but for so much
# Log odds, by judgement: a named element is missing once in 20 images, a formula of an element
# that is there otherwise once in 2. A class of something not named turns up once in 10; images are
# made of what is named for the most part.
_ABSENT, _ABSENT_FORMULA, _NAMELESS, _NAMELESS_SHARE = np.log(20.0), np.log(2.0), np.log(10.0), 12.0
_ELSEWHERE = 12.0  # against a commonest column that is not of the host, where the host is known
_PART = 0.15  # of the atoms: fewer are no sublattice of their own
_RARE = 0.002  # share that is expected of a formula without a class of the host, on any sublattice
_OWN = 0.9  # chance that an atom is what is named for want of a class, and not out of place
_SOME = 0.5  # atoms
_CLOSE = 8.0  # in log odds: namings farther below the best are dropped
_MOST = 50  # namings that are worked out


@dataclass(frozen=True)
class Naming:
    """Which atom is what.

    Attributes:
        p: Probability of each formula, shape (N, E); the rest is something else.
        exponent: Of Z, in the best naming.
        mean: Intensity of each formula there, in units of the data, shape (E,).
        classes: Formula of each free class there, -1 for none, shape (K,).
        rivals: Probability of each naming, best first.
    """

    p: Floats
    exponent: float
    mean: Floats
    classes: Ints
    rivals: tuple[float, ...]


@dataclass(frozen=True)
class _Law:
    """The power law through some named classes.

    Attributes:
        formulas: Of the classes, K.
        factor: Logarithm of the intensity of hydrogen.
        exponent: Of Z.
        cost: Minus log prior of exponent and offsets.
        left: Log means beside the law, shape (K,).
        inverse: Inverse covariance of these, shape (K, K).
        certain: Inverse covariance of factor and exponent, shape (2, 2).
    """

    formulas: tuple[Formula, ...]
    factor: float
    exponent: float
    cost: float
    left: Floats
    inverse: Floats
    certain: Floats

    def predict(self, formula: Formula) -> tuple[float, float]:
        """Intensity of a formula, and its relative error: kriging with a trend.

        Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 2.7.
        """
        shared = _shared((formula,), self.formulas)[0]
        pull = self.inverse @ shared
        arm = _trend((formula,), self.exponent)[0] - pull @ _trend(self.formulas, self.exponent)
        own = _OFFSET**2 + _JITTER**2 - float(shared @ pull)
        variance = own + float(arm @ np.linalg.solve(self.certain, arm))
        log_mean = self.factor + np.log(formula.strength(self.exponent)) + float(pull @ self.left)
        return float(np.exp(log_mean)), float(max(variance, _JITTER**2) ** 0.5)


def _trend(formulas: Sequence[Formula], exponent: float) -> Floats:
    """Derivatives of log intensities by factor and exponent, shape (K, 2)."""
    return np.array([(1.0, f.slope(exponent)) for f in formulas])


def _shared(some: Sequence[Formula], others: Sequence[Formula]) -> Floats:
    """Covariance of the offsets of formulas, shape (K, L).

    That of columns of one atom falls with the distance in log Z; others have offsets of their own.
    """
    near = np.zeros((len(some), len(others)))
    for i, f in enumerate(some):
        for j, g in enumerate(others):
            if f.atoms == g.atoms:
                near[i, j] = 1.0
            elif _single(f) and _single(g):
                apart = np.log(f.atoms[0][0] / g.atoms[0][0]) / _ALIKE
                near[i, j] = np.exp(-0.5 * apart**2)
    return _OFFSET**2 * near


def _single(formula: Formula) -> bool:
    return len(formula.atoms) == 1 and formula.atoms[0][1] == 1


def name_classes(
    data: Data, free: Mixture, formulas: Sequence[Formula], hosts: Collection[int] = ()
) -> Naming:
    """Name atoms by their brightness.

    Args:
        data: All atoms.
        free: Classes fitted without names, ascending.
        formulas: What the columns may be.
        hosts: Which of them the commonest columns of each sublattice are, where it is known.
    """
    free, place, odd = with_strays(data, free)
    share = free.posterior(data)
    weight = share[:, :-1].mean(axis=0)
    error = 1 / np.sqrt(np.maximum(_information(data, free, share), 1e-12))
    common = _commonest(data, share) if hosts else []
    strongest = max(hosts, key=lambda k: formulas[k].strength(EXPONENT), default=None)
    maps = [
        (
            _cost(m, free.mean, error, weight, formulas)
            + _ELSEWHERE * (sum(int(m[k]) not in hosts for k in common) + _hidden(m, strongest)),
            m,
        )
        for m in _maps(weight, formulas)
    ]
    maps.sort(key=lambda pair: pair[0])
    maps = [m for m in maps[:_MOST] if m[0] < maps[0][0] + 2 * _CLOSE]
    found = [_with_names(data, free, error, formulas, which) for _, which in maps]
    score = np.array(
        [
            _speaking_for(odd, mixture, which, formulas) - cost
            for (cost, which), (mixture, _) in zip(maps, found, strict=True)
        ]
    )
    keep = np.flatnonzero(score > score.max() - _CLOSE)
    chance = normalised(score[None, keep])[0][0]
    p = np.zeros((len(data.y), len(formulas)))
    for c, k in zip(chance, keep, strict=True):
        p += c * _probabilities(data, found[k][0], maps[k][1], len(formulas))
    best = int(np.argmax(score))
    which, (mixture, law) = maps[best][1], found[best]
    mean = mixture.mean[_columns(which, len(formulas))]
    rivals = tuple(sorted((float(c) for c in chance), reverse=True))
    return Naming(p, law.exponent, mean, which[place], rivals)


def _hidden(which: Ints, strongest: int | None) -> bool:
    """Whether the strongest column of the host is the one that is not seen."""
    return strongest is not None and strongest not in which


def _commonest(data: Data, share: Floats) -> list[int]:
    """The commonest class of each sublattice that holds a fair part of the atoms."""
    of_group = np.array([share[data.group == g, :-1].sum(axis=0) for g in range(data.groups)])
    large = of_group.sum(axis=1) > _PART * len(data.y)
    return sorted({int(row.argmax()) for row in of_group[large]})


def decided(p: Floats, least: float) -> Ints:
    """Return the most probable column of each row, -1 where none is above `least`."""
    best = p.argmax(axis=1)
    return np.where(p[np.arange(len(p)), best] > least, best, -1)


def _maps(weight: Floats, formulas: Sequence[Formula]) -> Iterator[Ints]:
    """Every way to give formulas to classes by brightness; some classes may go without."""
    order = np.argsort([f.strength(EXPONENT) for f in formulas], kind="stable")
    for count in range(1, min(len(weight), len(formulas)) + 1):
        for some in combinations(range(len(weight)), count):
            for chosen in combinations(order, count):
                which = np.full(len(weight), -1)
                which[list(some)] = chosen
                yield which


def _cost(
    which: Ints, mean: Floats, error: Floats, weight: Floats, formulas: Sequence[Formula]
) -> float:
    """Minus log prior of a naming."""
    named = which >= 0
    law = _law(mean[named], error[named], [formulas[k] for k in which[named]])
    nameless = _NAMELESS * np.sum(~named) + _NAMELESS_SHARE * weight[~named].sum()
    return float(law.cost + nameless + _missing(set(which[named].tolist()), formulas))


def _missing(there: set[int], formulas: Sequence[Formula]) -> float:
    """Minus log prior of the formulas that are not there."""
    elements = frozenset[int]().union(*(formulas[k].elements for k in there))
    absent = [f for k, f in enumerate(formulas) if k not in there]
    lost = frozenset[int]().union(*(f.elements for f in absent)) - elements
    kin = sum(not (f.elements - elements) for f in absent)
    return float(_ABSENT * len(lost) + _ABSENT_FORMULA * kin)


def _speaking_for(odd: Data, mixture: Mixture, which: Ints, formulas: Sequence[Formula]) -> float:
    """Log odds that atoms of no class add to a naming that explains them; one dopant does."""
    share, total = normalised(mixture.log_terms(odd))
    classed = set(which[which >= 0].tolist())
    held = share[:, _columns(which, len(formulas))].sum(axis=0)
    there = classed | set(np.flatnonzero(held >= _SOME).tolist())
    return float(total.sum()) + _missing(classed, formulas) - _missing(there, formulas)


def _with_names(
    data: Data, free: Mixture, error: Floats, formulas: Sequence[Formula], which: Ints
) -> tuple[Mixture, _Law]:
    """The classes, and behind them one where the law puts each formula that has none.

    Where such a formula is as bright as a class that lives on another sublattice (SeS like Mo, on
    the sites of S), atoms are rather this formula than an atom out of place.
    """
    named = which >= 0
    law = _law(free.mean[named], error[named], [formulas[k] for k in which[named]])
    lone = [f for k, f in enumerate(formulas) if k not in which]
    places = np.array([law.predict(f) for f in lone]).reshape(-1, 2)
    weight, rare = free.weight.copy(), np.full((data.groups, len(lone)), _RARE)
    for column, (place, off) in enumerate(places):
        near = np.abs(np.log(free.mean / place)) < 2 * off
        given = np.where(near & (weight[:, :-1] < 0.5), _OWN * weight[:, :-1], 0.0)
        weight[:, :-1] -= given
        rare[:, column] += given.sum(axis=1)
    mixture = Mixture(
        np.concatenate([free.mean, places[:, 0]]),
        np.concatenate([free.spread, np.hypot(max(free.spread.max(), STRANGE), places[:, 1])]),
        np.concatenate([weight[:, :-1], rare, weight[:, -1:]], axis=1),
        tail=free.tail,
    )
    return (reweighted(data, mixture) if lone else mixture), law


def _columns(which: Ints, count: int) -> list[int]:
    """Column of each formula in the mixture of `_with_names`."""
    lone = iter(range(len(which), len(which) + count))
    place = {int(e): k for k, e in enumerate(which) if e >= 0}
    return [place[e] if e in place else next(lone) for e in range(count)]


def _probabilities(data: Data, mixture: Mixture, which: Ints, count: int) -> Floats:
    """Probability of each formula for each atom, under one naming, shape (N, E)."""
    expected = np.zeros(len(mixture.mean) + 1)
    rare = mixture.posterior(data)[:, :-1].mean(axis=0) < FEW
    expected[:-1][rare] = _RARE * len(data.y) / data.groups
    return mixture.judged_by_others(data, expected)[:, _columns(which, count)]


def _law(mean: Floats, error: Floats, formulas: Sequence[Formula]) -> _Law:
    """Most probable factor and exponent, given means of classes and their relative errors."""
    log_mean = np.log(mean)
    own = np.diag(error**2 + _JITTER**2)
    inverse = np.asarray(np.linalg.inv(_shared(formulas, formulas) + own))
    prior = np.diag([0.0, _EXPONENT_ERROR**-2])
    exponent = EXPONENT
    for _ in range(4):
        left = log_mean - np.log([f.strength(exponent) for f in formulas])
        trend = _trend(formulas, exponent)
        certain = np.asarray(trend.T @ inverse @ trend + prior)
        wanted = trend.T @ inverse @ left + prior @ [0.0, EXPONENT - exponent]
        step = np.linalg.solve(certain, wanted)[1]
        exponent = float(np.clip(exponent + step, *EXPONENTS))
    left = log_mean - np.log([f.strength(exponent) for f in formulas])
    factor = float(inverse.sum(axis=0) @ left / inverse.sum())
    left = np.asarray(left - factor)
    cost = float(left @ inverse @ left) + (exponent - EXPONENT) ** 2 / _EXPONENT_ERROR**2
    return _Law(tuple(formulas), factor, exponent, 0.5 * cost, left, inverse, certain)


def _information(data: Data, mixture: Mixture, share: Floats) -> Floats:
    """Fisher information on the logarithm of each mean, shape (K,)."""
    _, variance = mixture.distance(data)
    return np.asarray((share[:, :-1] / variance).sum(axis=0) * mixture.mean**2)
