"""Spikes of one pixel: X-rays and cosmic rays on a camera, hot and dead pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomscope.types import FloatArray

Mask = NDArray[np.bool_]
CLEAR = 6.0  # times the difference to the neighbours that one pixel in a hundred exceeds
LONE = 0.25  # of a spike's height: what its neighbours rise at most; those of a column rise more
MOST = 0.01  # share of pixels beyond which it is texture, or noise of single events
_BAND = 1024  # rows worked on at a time
_SAMPLE = 1 << 18  # pixels that tell what is usual


def spikes(values: FloatArray, good: Mask) -> Mask:
    """Return True for pixels that stand out of all their neighbours, up or down, by themselves.

    A column is at least as wide as a probe, and lifts the pixels around its centre as well: by
    0.25 of its height where its full width is 1.4 px, by more where it is wider.

    Args:
        values: Finite values, shape (y, x).
        good: False for pixels that are known not to hold data; they tell nothing.
    """
    none = np.zeros(values.shape, dtype=bool)
    if min(values.shape) < 8:
        return none
    usual = _usual(values)
    if not usual > 0:  # a few events on nothing
        return none
    found = np.concatenate(
        [_in_band(values, top, CLEAR * usual) for top in range(0, len(values), _BAND)]
    )
    found &= good
    return none if found.mean() > MOST else found


def _usual(values: FloatArray) -> float:
    """How far one inner pixel in a hundred is from the mean of its four neighbours."""
    step = max(1, int(np.sqrt(values.size / _SAMPLE)))
    y, x = (np.arange(1, n - 1, step) for n in values.shape)
    around = sum(values[np.ix_(y + dy, x + dx)].astype(np.float64) for dy, dx in _NEXT) / 4
    return float(np.quantile(np.abs(values[np.ix_(y, x)] - around), 0.99))


_NEXT = ((-1, 0), (1, 0), (0, -1), (0, 1))


def _in_band(values: FloatArray, top: int, least: float) -> Mask:
    """Spikes among the rows from `top` on."""
    first, last = max(top - 2, 0), min(top + _BAND + 2, len(values))
    part = np.pad(values[first:last].astype(np.float64), 2, mode="reflect")
    here = part[2:-2, 2:-2]
    beside = np.stack([part[2 + dy :, 2 + dx :][: len(here), : here.shape[1]] for dy, dx in _NEXT])
    high, low = here - beside.max(axis=0), beside.min(axis=0) - here
    rows, cols = np.nonzero(np.maximum(high, low) > least)
    found = np.zeros(here.shape, dtype=bool)
    if len(rows) < MOST * here.size:
        across, down = np.meshgrid(np.arange(5), np.arange(5))
        windows = part[rows[:, None] + down.ravel(), cols[:, None] + across.ravel()]
        ground = np.median(windows, axis=1)
        sign = np.where(high[rows, cols] > 0, 1.0, -1.0)
        rise = (sign * (beside[:, rows, cols] - ground)).max(axis=0)
        found[rows, cols] = rise < LONE * sign * (here[rows, cols] - ground)
    start = top - first
    return found[start : start + _BAND]
