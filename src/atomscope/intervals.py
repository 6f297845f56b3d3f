"""Intervals of counts."""

from __future__ import annotations

from atomscope.errors import UsageError


def poisson_interval(count: float, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a Poisson mean (Garwood, Biometrika 28, 437 (1936)).

    Counts that are no whole numbers (expected ones, means of frames) are interpolated by the gamma
    function.

    Raises:
        UsageError: The count is negative, or the level is not between 0 and 1.
    """
    from scipy.special import gammaincinv

    if count < 0 or not 0 < level < 1:
        raise UsageError(f"count {count}, level {level}: expected 0 or more, and between 0 and 1.")
    tail = (1 - level) / 2
    low = float(gammaincinv(count, tail)) if count > 0 else 0.0
    return low, float(gammaincinv(count + 1, 1 - tail))
