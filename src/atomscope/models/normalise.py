"""The network's view of a frame: local contrast, free of gain, offset and slow background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Frame = NDArray[np.float32]

MEAN_SIGMA = 12.0  # px of the canonical sampling: about 1.5 column spacings
SPREAD_SIGMA = 24.0
BLOCK = 4  # local statistics are slow fields: they are computed on blocks of this edge
FLOOR = 0.3  # least local spread in units of the frame's own; keeps vacuum quiet


def normalise(frame: Frame) -> Frame:
    """Return the local contrast of a frame at canonical sampling.

    (frame - local mean) / local spread, then arcsinh, so that a heavy dopant does not
    drown its neighbours. Multiplying the frame by a positive gain or adding an offset
    changes nothing.

    Args:
        frame: Finite values, shape (y, x), at least BLOCK px along each axis.

    Returns:
        float32, same shape; all zero where the frame is constant.
    """
    scale = float(frame.std(dtype=np.float64))
    centre = float(frame.mean(dtype=np.float64))
    if scale <= 1e-7 * abs(centre) or scale == 0.0:
        return np.zeros(frame.shape, dtype=np.float32)
    values = ((frame - centre) / scale).astype(np.float32)
    values -= _slow(_blocks(values), MEAN_SIGMA, values.shape)
    power = _blocks(values * values)
    typical = float(np.sqrt(np.mean(power))) + 1e-12
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(power, SPREAD_SIGMA / BLOCK), 0))
    spread = np.maximum(spread, FLOOR * typical)
    return np.asarray(np.arcsinh(values / _expand(spread, values.shape)))


def _blocks(values: Frame) -> Frame:
    """Mean over blocks; the last ones are filled up by mirroring the border."""
    pad = [(0, -n % BLOCK) for n in values.shape]
    if any(after for _, after in pad):
        values = np.pad(values, pad, mode="symmetric")
    height, width = values.shape
    blocks = values.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    return np.asarray(blocks.mean((1, 3)))


def _slow(blocks: Frame, sigma: float, shape: tuple[int, ...]) -> Frame:
    return _expand(ndimage.gaussian_filter(blocks, sigma / BLOCK), shape)


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
