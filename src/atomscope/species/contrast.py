"""Names for classes of brightness: Z-contrast with a free exponent.

The mean of a class is a common factor times the strength of its formula, the sum of Z^n; each
class may be off by some percent (channelling, tilt). Factor, exponent n and offsets are fitted
together with the mixture, from many starts. Different namings that explain the data about as
well share the probability, so that what cannot be known stays unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from atomscope.formula import Formula
from atomscope.species.mixture import Data, Floats, Ints, Mixture, iterate

EXPONENT = 1.64  # Krivanek et al., Nature 464, 571 (2010), 60 to 200 mrad
_EXPONENT_ERROR = 0.15  # other detector angles
EXPONENTS = (1.2, 2.1)
_OFFSET = 0.06  # relative standard deviation of a class from the power law
_ABSENT = np.log(20.0)  # in favour of a naming in which every named element is there
_WIDE = 0.12  # relative spread of the classes to begin with, so that each finds its atoms
_ODD = 0.01
_SAMPLE = 1500  # atoms that choose among the starts
_CLOSE = 12.0  # in log probability: namings farther below the best are dropped


@dataclass(frozen=True)
class Naming:
    """Which atom is what.

    Attributes:
        p: Probability of each formula, shape (N, E); the rest is something else.
        exponent: Of Z, in the best naming.
        mean: Intensity of each formula there, in units of the data, shape (E,).
        rivals: Probability of each naming, best first.
    """

    p: Floats
    exponent: float
    mean: Floats
    rivals: tuple[float, ...]


@dataclass(frozen=True)
class _Law:
    """log mean = factor + log strength(exponent) + offset, and minus log prior of it."""

    log_mean: Floats
    exponent: float
    cost: float


def name_classes(data: Data, free: Mixture, formulas: Sequence[Formula]) -> Naming:
    """Name atoms by their brightness.

    Args:
        data: All atoms.
        free: Classes fitted without names; they tell where to start.
        formulas: What the columns may be.
    """
    some = data.take(np.argsort(data.y, kind="stable")[:: max(1, len(data.y) // _SAMPLE)])
    kept: dict[tuple[int, ...], tuple[float, Mixture]] = {}
    for start in _starts(data, free, formulas):
        mixture = iterate(some, start, steps=25, means=lambda m, i: _means(m, i, formulas))
        score, signature = _judge(some, mixture, free, formulas)
        if signature not in kept or score > kept[signature][0]:
            kept[signature] = (score, mixture)
    best = max(score for score, _ in kept.values())
    size = len(data.y) / len(some.y)
    final = []
    for score, mixture in kept.values():
        if size * (score - best) > -5 * _CLOSE:
            whole = iterate(data, mixture, steps=25, means=lambda m, i: _means(m, i, formulas))
            final.append((*_judge(data, whole, free, formulas), whole))
    scores = np.array([score for score, _, _ in final])
    chance = np.exp(scores - logsumexp(scores))
    p = sum(c * m.posterior(data)[:, :-1] for c, (_, _, m) in zip(chance, final, strict=True))
    winner = final[int(np.argmax(scores))][2]
    law = _law(winner.mean, _information(data, winner), formulas)
    rivals = tuple(sorted((float(c) for c in chance), reverse=True))
    return Naming(np.asarray(p), law.exponent, winner.mean, rivals)


def _starts(data: Data, free: Mixture, formulas: Sequence[Formula]) -> Iterator[Mixture]:
    """One mixture for each class taken as each formula, at several exponents."""
    count = len(formulas)
    weight = np.full((data.groups, count + 1), (1 - _ODD) / count)
    weight[:, -1] = _ODD
    for exponent in (1.3, EXPONENT, 2.0):
        strength = np.array([f.strength(exponent) for f in formulas])
        for mean in free.mean:
            for one in strength:
                yield Mixture(mean / one * strength, _WIDE, weight)


def _means(mean: Floats, information: Floats, formulas: Sequence[Formula]) -> Floats:
    return np.exp(_law(mean, information, formulas).log_mean)


def _law(mean: Floats, information: Floats, formulas: Sequence[Formula]) -> _Law:
    """Most probable factor, exponent and offsets, given free means of the classes."""
    log_mean = np.log(mean)
    weight = 1 / (1 / np.maximum(information, 1e-12) + _OFFSET**2)
    exponent = EXPONENT
    for _ in range(4):
        strength = np.log([f.strength(exponent) for f in formulas])
        slope = np.array([f.slope(exponent) for f in formulas])
        middle = np.average(slope, weights=weight)
        left = log_mean - strength
        left -= np.average(left, weights=weight)
        along = slope - middle
        prior = 1 / _EXPONENT_ERROR**2
        step = (weight * along) @ left + prior * (EXPONENT - exponent)
        step /= (weight * along) @ along + prior
        exponent = float(np.clip(exponent + step, *EXPONENTS))
    strength = np.log([f.strength(exponent) for f in formulas])
    factor = np.average(log_mean - strength, weights=weight)
    offset = (log_mean - strength - factor) * weight * _OFFSET**2
    cost = 0.5 * np.sum((offset / _OFFSET) ** 2)
    cost += 0.5 * ((exponent - EXPONENT) / _EXPONENT_ERROR) ** 2
    return _Law(factor + strength + offset, exponent, float(cost))


def _information(data: Data, mixture: Mixture) -> Floats:
    """Fisher information on the logarithm of each mean, shape (K,)."""
    variance = data.error[:, None] ** 2 + (mixture.spread * mixture.mean) ** 2
    share = mixture.posterior(data)[:, :-1]
    return np.asarray((share / variance).sum(axis=0) * mixture.mean**2)


def _judge(
    data: Data, mixture: Mixture, free: Mixture, formulas: Sequence[Formula]
) -> tuple[float, tuple[int, ...]]:
    """Log probability of a naming, and what it calls each of the free classes."""
    share = mixture.posterior(data)
    law = _law(mixture.mean, _information(data, mixture), formulas)
    held = share[:, :-1].sum(axis=0)
    named = frozenset[int]().union(*(f.elements for f in formulas))
    there = frozenset[int]().union(
        *(f.elements for f, count in zip(formulas, held, strict=True) if count >= 1)
    )
    score = float(logsumexp(mixture.log_terms(data), axis=1).sum())
    score -= law.cost + _ABSENT * len(named - there)
    classes = free.posterior(data)[:, :-1]
    return score, tuple(int(k) for k in (classes.T @ share).argmax(axis=1))


def decided(p: Floats, least: float) -> Ints:
    """Return the most probable formula of each atom, -1 where none reaches `least`."""
    best = p.argmax(axis=1)
    return np.where(p[np.arange(len(p)), best] > least, best, -1)
