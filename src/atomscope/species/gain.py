"""Slow changes of brightness over the field: gain, thickness, contamination."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_DEGREES = (0, 1, 2, 3)
_ATOMS = 12  # at least so many for each coefficient
_TAIL = 4.0  # degrees of freedom of Student's t: atoms of another kind have little say


def gain_field(xy: Floats, values: Floats, error: Floats, at: Floats) -> Floats:
    """Fit a smooth field to scattered values, deaf to a minority of odd ones.

    A polynomial in x and y by maximum likelihood with Student's t; of the total degrees 0 to 3
    the one with the least BIC. Polynomials of a total degree are the same set in any rotated
    frame.

    Args:
        xy: Positions in px, shape (N, 2).
        values: At the positions, shape (N,).
        error: Standard errors of these, shape (N,).
        at: Where the field is asked for, shape (M, 2).

    Returns:
        The field, shape (M,); zeros without any value.
    """
    if len(xy) == 0:
        return np.zeros(len(at))
    centre = xy.mean(axis=0)
    scale = float(np.abs(xy - centre).max()) or 1.0
    best, field = np.inf, np.zeros(len(at))
    for degree in _DEGREES:
        design = _monomials((xy - centre) / scale, degree)
        count = design.shape[1]
        if count > 1 and len(xy) < _ATOMS * count:
            break
        coefficients, minus_log = _fit_t(design, values, error)
        cost = 2 * minus_log + count * np.log(len(xy))
        if cost < best:
            best, field = cost, _monomials((at - centre) / scale, degree) @ coefficients
    return field


def robust_line(x: Floats, values: Floats, error: Floats) -> tuple[float, float]:
    """Fit a straight line, deaf to a minority of odd values; its value at 0, and its slope."""
    coefficients, _ = _fit_t(np.stack([np.ones(len(x)), x], axis=1), values, error)
    return float(coefficients[0]), float(coefficients[1])


def _monomials(uv: Floats, degree: int) -> Floats:
    powers = [(i, d - i) for d in range(degree + 1) for i in range(d + 1)]
    return np.stack([uv[:, 0] ** i * uv[:, 1] ** j for i, j in powers], axis=1)


def _fit_t(design: Floats, values: Floats, error: Floats) -> tuple[Floats, float]:
    """Coefficients and minus the log likelihood; iteratively re-weighted."""
    floor = float(np.median(error)) or 1e-6
    base = 1 / (error**2 + floor**2)
    start = np.zeros(design.shape[1])
    start[0] = np.median(values)
    coefficients, spread = start, 1.0
    for _ in range(30):
        square = base * (values - design @ coefficients) ** 2
        spread = _scale(square)
        weight = base * (_TAIL + 1) / (_TAIL + square / spread)
        normal = (design * weight[:, None]).T @ design
        normal += 1e-9 * np.trace(normal) * np.eye(len(normal))
        before = coefficients
        coefficients = np.asarray(np.linalg.solve(normal, design.T @ (weight * values)))
        if np.abs(coefficients - before).max() < 1e-6:
            break
    square = base * (values - design @ coefficients) ** 2 / spread
    minus_log = 0.5 * (_TAIL + 1) * np.log1p(square / _TAIL) + 0.5 * np.log(spread / base)
    return coefficients, float(minus_log.sum())


def _scale(square: Floats) -> float:
    """Scale of squared residuals under Student's t, by fixed-point iteration."""
    spread = max(float(np.median(square)), 1e-12)
    for _ in range(20):
        share = square / (_TAIL * spread + square)
        spread = max((_TAIL + 1) * spread * float(share.mean()), 1e-12)
    return spread
