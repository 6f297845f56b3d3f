"""Intervals of counts, shares and ratios."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import UsageError

_NO_SCATTER = 1e-24  # of the square of a sum: rounding


def robust_scatter(values: NDArray[Any]) -> float:
    """Return the standard deviation of most values, from their median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def poisson_interval(count: float, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a Poisson mean (Garwood, Biometrika 28, 437 (1936)).

    Counts that are no whole numbers (expected ones, means of frames) are interpolated by the gamma
    function.

    Raises:
        UsageError: The count is negative, or the level is not between 0 and 1.
    """
    if count < 0 or not 0 < level < 1:
        raise UsageError(f"count {count}, level {level}: expected 0 or more, and between 0 and 1.")
    return _garwood(count, (1 - level) / 2)


def _garwood(count: float, tail: float) -> tuple[float, float]:
    """Means at which so many, or more, and so many, or fewer, have the probability of a tail."""
    from scipy.special import gammainccinv, gammaincinv

    low = float(gammaincinv(count, tail)) if count > 0 else 0.0
    return low, float(gammainccinv(count + 1, tail))


def binomial_interval(count: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper, Pearson, Biometrika 26, 404 (1934)).

    Without trials nothing is known: 0 to 1.

    Raises:
        UsageError: More counted than tried, or the level is not between 0 and 1.
    """
    if not 0 <= count <= trials:
        raise UsageError(f"count {count}: expected 0 to {trials}, the number of trials.")
    return share_interval(count / max(trials, 1), trials, level)


def share_interval(share: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share that as many independent trials would have.

    That of Clopper and Pearson (Biometrika 26, 404 (1934)), which the beta function extends to
    effective numbers of trials that are not whole. Without trials nothing is known: 0 to 1.

    Raises:
        UsageError: The share or the level is not between 0 and 1, or the trials are below 0.
    """
    from scipy.stats import beta

    if not (0 <= share <= 1 and trials >= 0 and 0 < level < 1):
        raise UsageError(
            f"share {share} of {trials}, level {level}: expected shares from 0 to 1, trials from 0."
        )
    tail, count = (1 - level) / 2, share * trials
    low = float(beta.ppf(tail, count, trials - count + 1)) if count > 0 else 0.0
    high = float(beta.ppf(1 - tail, count + 1, trials - count)) if count < trials else 1.0
    return low, high


def ratio_interval(
    above: NDArray[Any], below: NDArray[Any], level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of sum(above) / sum(below) over independent groups.

    Atoms of one group (a cluster, a tile of the field) know of each other, groups do not: the
    scatter is that of the ratio estimator of cluster samples (Cochran, Sampling Techniques, 3rd
    ed., chapter 6). A sum that scatters like this is like a count of k = sum² / variance lumps, so
    its interval is Garwood's of k (`poisson_interval`), which is skew where few groups make up
    the sum; the level is widened as Student's t is for as many groups as there are.

    Args:
        above: Numerator of each group, 0 or more, shape (G,).
        below: Denominator of each, 0 or more, shape (G,).
        level: Of the interval.

    Returns:
        Its ends; NaN for fewer than two groups, or where nothing is above.
    """
    from scipy.stats import norm, t

    groups, total, ratio = int(np.sum(below > 0)), float(np.sum(below)), float(np.sum(above))
    if groups < 2 or ratio <= 0:
        return float("nan"), float("nan")
    ratio /= total
    scatter = float(np.sum((above - ratio * below) ** 2)) * groups / (groups - 1)
    if scatter <= _NO_SCATTER * (ratio * total) ** 2:
        return ratio, ratio
    lumps = (ratio * total) ** 2 / scatter
    low, high = _garwood(lumps, float(norm.sf(t.ppf(0.5 + level / 2, groups - 1))))
    return ratio * low / lumps, ratio * high / lumps
