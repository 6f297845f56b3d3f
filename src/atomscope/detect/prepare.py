"""Bad pixels: found, filled for the network, and kept as a mask for later stages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.types import FloatArray

Mask = NDArray[np.bool_]
LARGEST = 1e30  # beyond, a value is a mark of a bad pixel
MOST_DEAD = 0.6  # share of constant lines beyond which the frame is striped, not damaged


def usable(frame: FloatArray) -> Mask:
    """Return True for pixels that hold data, shape (y, x).

    Left out are values that are not finite, and dead lines: rows or columns of one
    single value in a frame that varies (a stopped scan, a defective detector row).
    """
    good = np.isfinite(frame) & (np.abs(frame) < LARGEST)
    values = frame if good.all() else np.where(good, frame, 0)
    if values.size == 0 or min(values.shape) < 8:
        return good
    rows = np.ptp(values, axis=1) == 0
    cols = np.ptp(values, axis=0) == 0
    if rows.mean() < MOST_DEAD:
        good = good & ~rows[:, None]
    if cols.mean() < MOST_DEAD:
        good = good & ~cols[None, :]
    return good


def fill(frame: FloatArray, good: Mask) -> NDArray[np.float32]:
    """Return the frame as float32 with bad pixels set to the nearest good value.

    The mean is taken off and the largest deviation becomes 1, so that neither large offsets
    nor large or tiny units cost digits.
    """
    if not good.any():
        return np.zeros(frame.shape, dtype=np.float32)
    whole = frame
    if not good.all():
        nearest = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
        whole = frame[tuple(nearest)]
    deviation = whole - whole.mean(dtype=np.float64)
    largest = float(np.abs(deviation).max()) or 1.0
    return np.asarray(deviation / largest, dtype=np.float32)


def level(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the median off every scan line: a tip's steps in height from line to line go away."""
    return frame - np.median(frame, axis=1, keepdims=True)
