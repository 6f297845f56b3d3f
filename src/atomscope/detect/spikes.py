"""Spikes of one pixel: X-rays and cosmic rays on a camera, hot and dead pixels."""

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from atomscope.types import FloatArray

Mask = NDArray[np.bool_]
CLEAR = 6.0  # times the difference to the neighbours that one pixel in a hundred exceeds
LONE = 0.25  # of a spike's height: what its neighbours rise at most; those of a column rise more
MOST = 0.01  # share of pixels beyond which it is texture, or noise of single events
_BAND = 1 << 20  # pixels worked on at a time
_SAMPLE = 1 << 18  # pixels that tell what is usual
_NEXT = ((-1, 0), (1, 0), (0, -1), (0, 1))


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
    usual, middle = _usual(values)
    if not usual > 0:  # a few events on nothing
        return none
    band = max(_BAND // values.shape[1], 16)
    tops = range(0, len(values), band)
    found = np.concatenate([_in_band(values, t, t + band, middle, CLEAR * usual) for t in tops])
    found &= good
    return none if found.mean() > MOST else found


def _usual(values: FloatArray) -> tuple[float, float]:
    """How far one inner pixel in a hundred is from the mean of its neighbours; a middle value."""
    step = max(1, int(np.sqrt(values.size / _SAMPLE)))
    y, x = (np.arange(1, n - 1, step) for n in values.shape)
    here = values[np.ix_(y, x)]
    around = sum(values[np.ix_(y + dy, x + dx)].astype(np.float64) for dy, dx in _NEXT) / 4
    return float(np.quantile(np.abs(here - around), 0.99)), float(np.median(here))


def _in_band(values: FloatArray, top: int, end: int, middle: float, least: float) -> Mask:
    """Spikes among some rows."""
    first, last = max(top - 2, 0), min(end + 2, len(values))
    part = np.pad((values[first:last] - middle).astype(np.float32), 2, mode="reflect")
    height, width = part.shape[0] - 4, part.shape[1] - 4
    here = part[2:-2, 2:-2]
    beside = [part[2 + dy :, 2 + dx :][:height, :width] for dy, dx in _NEXT]
    up = here - reduce(np.maximum, beside) > least
    rows, cols = np.nonzero(up | (reduce(np.minimum, beside) - here > least))
    found = np.zeros((height, width), dtype=bool)
    if len(rows) < MOST * found.size:
        across, down = np.meshgrid(np.arange(5), np.arange(5))
        windows = part[rows[:, None] + down.ravel(), cols[:, None] + across.ravel()]
        ground = np.median(windows, axis=1)
        sign = np.where(up[rows, cols], 1.0, -1.0)
        rise = np.max([sign * (one[rows, cols] - ground) for one in beside], axis=0)
        found[rows, cols] = rise < LONE * sign * (here[rows, cols] - ground)
    return found[top - first : end - first]
