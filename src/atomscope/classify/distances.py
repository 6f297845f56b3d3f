"""Likelihood of an embedding under a few examples of a class.

Atoms of one class scatter about its mean with a covariance that is known from simulated worlds
and refined by the examples (shrinkage; Friedman, JASA 84, 165 (1989)). With few examples their mean
is itself uncertain. A class may also have several kinds of atoms, such as both ends of a
boundary; then each example stands for itself. Both views are averaged by their likelihood.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
PRIOR = 40.0  # examples that the covariance of the simulated worlds counts for
FLOOR = 1e-6  # of its largest eigenvalue: directions without scatter
FREEDOM = 8.0  # of Student's t
ROWS = 65536  # worked on at a time


def whitening(values: Floats, kind: Ints, scatter: Floats) -> Floats:
    """Matrix (D, D) that makes the scatter within classes round and of unit size.

    Args:
        values: Examples (n, D).
        kind: Their classes (n,).
        scatter: (D, D) from simulated worlds.
    """
    total, freedom = PRIOR * scatter, PRIOR
    for c in np.unique(kind):
        own = values[kind == c]
        away = own - own.mean(axis=0)
        total = total + away.T @ away
        freedom += len(own) - 1
    return rounded(total / freedom)


def rounded(covariance: Floats) -> Floats:
    """Matrix (D, D) that makes a scatter of this covariance round and of unit size."""
    size, axes = np.linalg.eigh(covariance)
    return np.asarray(axes / np.sqrt(size.clip(FLOOR * size[-1])))


def log_likelihood(white: Floats, examples: Floats, kind: Ints, classes: int) -> Floats:
    """Log likelihood (N, C) of whitened embeddings (N, D), but for a constant.

    Args:
        white: Of the atoms asked for.
        examples: (n, D), whitened.
        kind: (n,) classes of the examples.
        classes: C; one without examples gets -inf.
    """
    found = np.full((len(white), classes), -np.inf)
    for start in range(0, len(white), ROWS):
        part = white[start : start + ROWS]
        for c in range(classes):
            own = examples[kind == c]
            if len(own):
                found[start : start + ROWS, c] = _of_class(part, own)
    return found


def _of_class(white: Floats, own: Floats) -> Floats:
    count = len(own)
    mean = ((white - own.mean(axis=0)) ** 2).sum(axis=1)
    as_one = _student(mean, 1 + 1 / count, own.shape[1])
    square = (white**2).sum(axis=1)[:, None] - 2 * white @ own.T + (own**2).sum(axis=1)
    each = _student(square.clip(0), 2.0, own.shape[1])
    top = each.max(axis=1)
    as_many = top + np.log(np.exp(each - top[:, None]).mean(axis=1))
    return np.asarray(np.logaddexp(as_one, as_many) - np.log(2))


def _student(square: Floats, spread: float, size: int) -> Floats:
    """Log of Student's t in `size` dimensions at a squared distance, but for a constant.

    Tails are heavy: where a neighbour was missed, an atom is far from all of its class.
    """
    tail = 0.5 * (FREEDOM + size) * np.log1p(square / (FREEDOM * spread))
    return np.asarray(-tail - 0.5 * size * np.log(spread))


def without_each(examples: Floats, kind: Ints, classes: int) -> Floats:
    """Log likelihood (n, C) of each example from all the others."""
    rows = [
        log_likelihood(examples[k : k + 1], np.delete(examples, k, 0), np.delete(kind, k), classes)
        for k in range(len(examples))
    ]
    return np.concatenate(rows)
