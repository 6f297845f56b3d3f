"""The network's view of a frame: its contrast, free of gain, offset and slow background.

Two channels: contrast in units of its local spread, in which faint regions show as well as
bright ones; and in units of the spread that is typical of the frame, which keeps what an
atom has over the texture of a support: its strength.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Frame = NDArray[np.float32]

MEAN_SIGMA = 12.0  # px of the canonical sampling: about 1.5 column spacings
SPREAD_SIGMA = 24.0
BLOCK = 4  # local statistics are slow fields: they are computed on blocks of this edge
FLOOR = 0.3  # least local spread in units of the frame's own; keeps vacuum quiet
LEAST_TYPICAL = 0.1  # least typical spread in units of the frame's own


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
    scale = float(frame.std(dtype=np.float64))
    centre = float(frame.mean(dtype=np.float64))
    seen = np.zeros((2, *frame.shape), dtype=np.float32)
    if scale <= 1e-7 * abs(centre) or scale == 0.0:
        return seen
    values = np.asarray((frame - centre) / scale, dtype=np.float32)
    values -= _expand(ndimage.gaussian_filter(_blocks(values), MEAN_SIGMA / BLOCK), values.shape)
    power = _blocks(values * values)
    rms = float(np.sqrt(np.mean(power))) + 1e-12
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(power, SPREAD_SIGMA / BLOCK), 0))
    typical = max(float(np.median(spread)), LEAST_TYPICAL * rms)
    np.divide(values, _expand(np.maximum(spread, FLOOR * rms), values.shape), out=seen[0])
    np.divide(values, np.float32(typical), out=seen[1])
    return np.arcsinh(seen, out=seen)


def _blocks(values: Frame) -> Frame:
    """Mean over blocks; the last ones are filled up by mirroring the border."""
    pad = [(0, -n % BLOCK) for n in values.shape]
    if any(after for _, after in pad):
        values = np.pad(values, pad, mode="symmetric")
    height, width = values.shape
    blocks = values.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return np.asarray(blocks.mean((1, 3)))


def _expand(blocks: Frame, shape: tuple[int, ...]) -> Frame:
    """Interpolate a field of block means linearly at every pixel."""
    for axis in (0, 1):
        at = (np.arange(shape[axis], dtype=np.float32) + 0.5) / BLOCK - 0.5
        at = at.clip(0, blocks.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), max(blocks.shape[axis] - 2, 0))
        high = np.minimum(low + 1, blocks.shape[axis] - 1)
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        first, second = blocks.take(low, axis), blocks.take(high, axis)
        blocks = first + (second - first) * part
    return blocks
