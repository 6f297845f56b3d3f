"""Intervals of counts, shares and ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def binomial_interval(count: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper, Pearson, Biometrika 26, 404 (1934)).

    Without trials nothing is known: 0 to 1.

    Raises:
        UsageError: More counted than tried, or the level is not between 0 and 1.
    """
    from scipy.stats import beta

    if not 0 <= count <= trials or not 0 < level < 1:
        raise UsageError(
            f"count {count}, level {level}: expected 0 to {trials}, and between 0 and 1."
        )
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, count, trials - count + 1)) if count > 0 else 0.0
    high = float(beta.ppf(1 - tail, count + 1, trials - count)) if count < trials else 1.0
    return low, high


def ratio_interval(
    above: NDArray[Any], below: NDArray[Any], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of sum(above) / sum(below) over independent groups.

    Atoms of one group (a cluster, a tile of the field) know of each other, groups do not: the
    ratio estimator of cluster samples (Cochran, Sampling Techniques, 3rd ed., chapter 6), with
    Student's t for as many groups as there are. It never goes below 0.

    Args:
        above: Numerator of each group, shape (G,).
        below: Denominator of each, shape (G,), 0 or more.
        level: Of the interval.

    Returns:
        Its ends; NaN for fewer than two groups.
    """
    from scipy.stats import t

    groups, total = int(np.sum(below > 0)), float(np.sum(below))
    if groups < 2:
        return float("nan"), float("nan")
    ratio = float(np.sum(above)) / total
    scatter = float(np.sum((above - ratio * below) ** 2)) * groups / (groups - 1)
    half = float(t.ppf(0.5 + level / 2, groups - 1)) * np.sqrt(scatter) / total
    return max(ratio - half, 0.0), ratio + half
