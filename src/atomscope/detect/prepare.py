"""Bad pixels: found, filled for the network, and kept as a mask for later stages."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.detect.spikes import spikes
from atomscope.models.normalise import BLOCK, measure
from atomscope.sampling import Resampling
from atomscope.types import FloatArray

Mask = NDArray[np.bool_]
LARGEST = 1e30  # beyond, a value is a mark of a bad pixel
MOST_PIXELS = 1 << 22  # of a frame that is held in one piece; larger ones are made part by part
_BAND, _FAR = 1024, 256  # rows worked on at a time, and beyond them
MOST_DEAD = 0.6  # share of constant lines beyond which the frame is striped, not damaged
MOST_ALIKE = 0.8  # share of pixels beside a constant line that have its value, if it is not dead
_KEPT = 2  # masks: of a frame as it is and without the tails of its columns
_SEEN: dict[tuple[tuple[int, ...], str, bytes], Mask] = {}


def usable(frame: FloatArray) -> Mask:
    """Return True for pixels that hold data, shape (y, x).

    Left out are values that are not finite, dead lines: rows or columns of one single value in a
    frame that varies (a stopped scan, a defective detector row), and spikes of one pixel (X-rays,
    hot and dead pixels). One stage after the other asks for the same frame: the last answers are
    kept.
    """
    values = np.ascontiguousarray(frame)
    told = hashlib.sha1(values.data, usedforsecurity=False).digest()
    key = (values.shape, values.dtype.str, told)
    good = _SEEN.get(key)
    if good is None:
        good = _SEEN[key] = _usable(values)
        good.setflags(write=False)
        for old in list(_SEEN)[:-_KEPT]:
            _SEEN.pop(old, None)
    return good


def _usable(frame: FloatArray) -> Mask:
    good = np.isfinite(frame) & (np.abs(frame) < LARGEST)
    values = frame if good.all() else np.where(good, frame, 0)
    if values.size == 0 or min(values.shape) < 8:
        return good
    good &= ~dead_lines(values)[:, None] & ~dead_lines(values.T)[None, :]
    return good & ~spikes(values, good)


def dead_lines(values: FloatArray) -> NDArray[np.bool_]:
    """Return True for rows of one single value, (y,), where the rows next to them vary.

    At a few electrons per column whole rows between columns count none: there most pixels of the
    next rows have that value too.
    """
    flat = np.asarray(np.ptp(values, axis=1) == 0)
    if not 0 < flat.mean() < MOST_DEAD:
        return np.zeros_like(flat)
    alive = np.flatnonzero(~flat)
    dead = flat.copy()
    for row in np.flatnonzero(flat):
        after = int(np.searchsorted(alive, row))
        beside = alive[max(after - 1, 0) : after + 1]
        dead[row] = float(np.mean(values[beside] == values[row, 0])) < MOST_ALIKE
    return dead


def fill(frame: FloatArray, good: Mask) -> NDArray[np.float32]:
    """Return the frame as float32 with bad pixels set to the nearest good value.

    The mean is taken off and the largest deviation becomes 1, so that neither large offsets
    nor large or tiny units cost digits.
    """
    whole = whole_frame(frame, good)
    out = np.empty(whole.shape, dtype=np.float32)
    middle, largest = _unit(whole)
    for top in range(0, len(whole), _BAND):
        out[top : top + _BAND] = _in_unit(whole[top : top + _BAND], middle, largest)
    return out


def whole_frame(frame: FloatArray, good: Mask) -> FloatArray:
    """Return the frame with bad pixels set to the nearest good value; zeros without any good one.

    Holes of more than `_FAR` px in frames that are worked on band by band get some good value.
    """
    if good.all():
        return frame
    if not good.any():
        return np.zeros_like(frame)
    if frame.size <= MOST_PIXELS:
        return _nearest_good(frame, good)
    out = frame.copy()
    for first in range(0, len(frame), _BAND):
        rows = slice(max(first - _FAR, 0), first + _BAND + _FAR)
        if not good[rows].any():
            return _nearest_good(frame, good)
        if not good[first : first + _BAND].all():
            part = _nearest_good(frame[rows], good[rows])
            out[first : first + _BAND] = part[first - rows.start :][:_BAND]
    return out


def _nearest_good(frame: FloatArray, good: Mask) -> FloatArray:
    nearest = ndimage.distance_transform_edt(~good, return_distances=False, return_indices=True)
    return np.asarray(frame[tuple(nearest)])


class Shown:
    """A frame as the network sees it, (2, y, x); parts are made when they are asked for.

    Filled, turned where atoms are dark, resampled and normalised: what an array of the whole would
    hold, in a fraction of its memory.

    Attributes:
        shape: (2, y, x) at the canonical sampling.
    """

    def __init__(self, values: FloatArray, factor: float, *, dark: bool = False) -> None:
        """Measure what the frame is normalised with.

        Args:
            values: Finite pixels, shape (y, x), of any unit.
            factor: Canonical px per px of the frame.
            dark: True where atoms are darker than their surroundings.
        """
        self._values, self._sign = values, -1 if dark else 1
        self._middle, self._largest = _unit(values)
        self._sampling = Resampling((values.shape[0], values.shape[1]), factor)
        shape = self._sampling.shape
        self.shape = (2, *shape)
        whole = shape[0] * shape[1] <= MOST_PIXELS
        band = shape[0] if whole else max(MOST_PIXELS // shape[1] // BLOCK, 1) * BLOCK
        every = slice(0, shape[1])
        # a small frame is resampled once
        self._whole = self._resampled(slice(0, shape[0]), every) if whole else None
        self._contrast = measure(shape, lambda rows: self._resampled(rows, every), band)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        """Return channels of a part, shape (C, y, x)."""
        channels, *places = key
        rows, columns = (
            slice(*place.indices(n)) for place, n in zip(places, self.shape[1:], strict=True)
        )
        seen = self._contrast.apply(self._resampled(rows, columns), rows, columns)
        return seen[channels]

    def _resampled(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        whole: NDArray[np.float32] | None = getattr(self, "_whole", None)
        if whole is not None:
            return whole[rows, columns]
        source = self._sampling.source(rows, columns)
        part = _in_unit(self._values[source], self._middle, self._largest)
        return self._sampling.part(self._sign * part, rows, columns)


def _unit(values: FloatArray) -> tuple[np.float64, float]:
    """Mean of the values and their largest deviation from it, 1 where there is none."""
    middle = values.mean(dtype=np.float64)
    largest = max(float(values.max() - middle), float(middle - values.min()))
    return middle, largest or 1.0


def _in_unit(values: FloatArray, middle: np.float64, largest: float) -> NDArray[np.float32]:
    return np.asarray((values - middle) / largest, dtype=np.float32)


def level(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the median off every scan line: a tip's steps in height from line to line go away."""
    return frame - np.median(frame, axis=1, keepdims=True)
