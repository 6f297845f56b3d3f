"""The network's view of a frame: its contrast, free of gain, offset and slow background.

Two channels: contrast in units of its local spread, in which faint regions show as well as
bright ones; and in units of the spread that is typical of the frame, which keeps what an
atom has over the texture of a support: its strength.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.sampling import block_means

Frame = NDArray[np.float32]

MEAN_SIGMA = 12.0  # px of the canonical sampling: about 1.5 column spacings
SPREAD_SIGMA = 24.0
BLOCK = 4  # local statistics are slow fields: they are computed on blocks of this edge
FLOOR = 0.3  # least local spread in units of the frame's own; keeps vacuum quiet
LEAST_TYPICAL = 0.1  # least typical spread in units of the frame's own


@dataclass(frozen=True)
class Contrast:
    """What a frame is normalised with: numbers, and slow fields on blocks of BLOCK px.

    Attributes:
        shape: Of the frame, (y, x).
        centre, scale: Mean and standard deviation of the frame.
        slow: Local mean in units of `scale`, shape (y / BLOCK, x / BLOCK), or None for 0.
        spread: Local spread, never below its floor, or None where the frame is constant.
        typical: Spread that is typical of the frame.
    """

    shape: tuple[int, int]
    centre: float
    scale: float
    slow: Frame | None = None
    spread: Frame | None = None
    typical: float = 1.0

    def apply(self, part: Frame, rows: slice, columns: slice) -> Frame:
        """Return the contrast (2, y, x) of a part of the frame."""
        seen = np.zeros((2, *part.shape), dtype=np.float32)
        if self.spread is None:
            return seen
        values = self.flat(part, rows, columns)
        np.divide(values, _expand(self.spread, rows, columns), out=seen[0])
        np.divide(values, np.float32(self.typical), out=seen[1])
        return np.arcsinh(seen, out=seen)

    def flat(self, part: Frame, rows: slice, columns: slice) -> Frame:
        """Return a part without its local mean, in units of `scale`."""
        values = np.asarray((part - self.centre) / self.scale, dtype=np.float32)
        if self.slow is not None:
            values -= _expand(self.slow, rows, columns)
        return values


def normalise(frame: Frame) -> Frame:
    """Return the contrast of a frame at canonical sampling, in two channels.

    (frame - local mean) / spread, then arcsinh, so that a heavy dopant does not drown its
    neighbours; the spread is local in the first channel and typical of the frame in the
    second. Multiplying the frame by a positive gain or adding an offset changes nothing.

    Args:
        frame: Finite values, shape (y, x), at least BLOCK px along each axis.

    Returns:
        float32, shape (2, y, x); all zero where the frame is constant.
    """
    height, width = frame.shape
    whole = (slice(0, height), slice(0, width))
    return measure((height, width), lambda rows: frame[rows], height).apply(frame, *whole)


def measure(shape: tuple[int, int], read: Callable[[slice], Frame], band: int) -> Contrast:
    """Measure what a frame is normalised with, without holding it as a whole.

    Args:
        shape: Of the frame, (y, x).
        read: Returns some of its rows.
        band: Rows to read at a time, a multiple of BLOCK or all of them.
    """
    height, width = shape
    bands = [slice(top, min(top + band, height)) for top in range(0, height, band)]
    every = slice(0, width)
    centre = sum(float(read(rows).sum(dtype=np.float64)) for rows in bands) / (height * width)
    square = sum(float(np.sum((read(rows) - np.float64(centre)) ** 2)) for rows in bands)
    scale = float(np.sqrt(square / (height * width)))
    if scale <= 1e-7 * abs(centre) or scale == 0.0:
        return Contrast(shape, centre, scale)
    raw = Contrast(shape, centre, scale)
    means = np.concatenate([_blocks(raw.flat(read(rows), rows, every)) for rows in bands])
    slow = ndimage.gaussian_filter(means, MEAN_SIGMA / BLOCK)
    flat = replace(raw, slow=slow)
    squares = (np.square(flat.flat(read(rows), rows, every)) for rows in bands)
    power = np.concatenate([_blocks(part) for part in squares])
    rms = float(np.sqrt(np.mean(power))) + 1e-12
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(power, SPREAD_SIGMA / BLOCK), 0))
    typical = max(float(np.median(spread)), LEAST_TYPICAL * rms)
    return replace(flat, spread=np.maximum(spread, FLOOR * rms), typical=typical)


def _blocks(values: Frame) -> Frame:
    """Mean over blocks; the last ones are filled up by mirroring the border."""
    pad = [(0, -n % BLOCK) for n in values.shape]
    if any(after for _, after in pad):
        values = np.pad(values, pad, mode="symmetric")
    return block_means(values, BLOCK)


def _expand(blocks: Frame, rows: slice, columns: slice) -> Frame:
    """Interpolate a field of block means linearly at the pixels of some rows and columns."""
    for axis, asked in enumerate((rows, columns)):
        at = (np.arange(asked.start, asked.stop, dtype=np.float32) + 0.5) / BLOCK - 0.5
        at = at.clip(0, blocks.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), max(blocks.shape[axis] - 2, 0))
        high = np.minimum(low + 1, blocks.shape[axis] - 1)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        first, second = blocks.take(low, axis), blocks.take(high, axis)
        blocks = first + (second - first) * part
    return blocks
