"""What the errors of brightness are like: how they grow, and whether they are too large."""

from __future__ import annotations

import numpy as np

from atomscope.species.gain import robust_line
from atomscope.species.mixture import Floats, Ints

_FEWEST = 50  # atoms
_LEAST = 0.7  # of the stated error
_DOUBTED = 1.2  # times the usual error: these were made larger
_MEDIAN = 0.455  # of the squares of standard normal numbers
_HEAVY = 8.0  # brightness: one such atom would turn the whole line
LIGHT = 0.9  # of squared errors, at most an atom's own: no frame is without a background


def growth(y: Floats, square: Floats) -> float:
    """Return the share of squared errors that grows with brightness, 0 to 0.9.

    Counting gives each column the noise of its own light and that of what lies around it. With a
    share q, squared errors are as 1 - q + q y.

    Args:
        y: Brightness, typically 1, shape (N,).
        square: Squared errors as they are at that brightness, shape (N,).
    """
    y, square = y[y < _HEAVY], square[y < _HEAVY]
    if len(y) < _FEWEST or np.ptp(y) <= 0 or not np.median(square) > 0:
        return 0.0
    floor, slope = robust_line(y, square / np.median(square), np.full(len(y), 0.1))
    return float(np.clip(slope / max(floor + slope, 1e-9), 0.0, LIGHT)) if slope > 0 else 0.0


def shown(y: Floats, error: Floats, group: Ints) -> float:
    """Return the factor, at most 1, by which stated errors are larger than the scatter shows.

    Errors that allow for a shape that the fit does not describe are upper limits: it errs alike
    on all columns. The sublattice that scatters most tells; a mixture of columns scatters more.
    """
    factors = [_of_one(y[group == g], error[group == g]) for g in np.unique(group)]
    known = [factor for factor in factors if factor is not None]
    return float(np.clip(max(known, default=1.0), _LEAST, 1.0))


def _of_one(y: Floats, error: Floats) -> float | None:
    """Scatter of columns over their errors; None where there are few."""
    usual = error < _DOUBTED * np.median(error)
    if usual.sum() < _FEWEST:
        return None
    square = ((y[usual] - np.median(y[usual])) / error[usual]) ** 2
    return float(np.sqrt(np.median(square) / _MEDIAN))
