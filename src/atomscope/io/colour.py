"""From coloured pictures to grey values, where that is possible without guessing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.io.candidate import Candidate

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# Fractions of the full range. Noise of lossy compression leaves grey pixels within the first.
# Colour maps are missed by up to 0.006 in the pixels of a lossless picture and by 0.013 in the
# blocks of a JPEG of quality 50 or more; photographs miss any map by 0.035 and 0.024 or more.
_GREY_SPREAD, _PIXEL_SPREAD, _BLOCK_SPREAD = 0.06, 0.015, 0.015
_COLOURED_PIXELS = 0.05
# JPEG and video keep one colour for up to 16 x 16 pixels: its mean is right, its details are lost.
_BLOCK, _KNOTS, _BLOCKS_PER_KNOT = 16, 24, 8
_SAMPLE = 1_000_000  # pixels are enough to judge by
_BAND = 256  # rows that are converted at a time
PHOTOGRAPH = (
    "a colour picture whose colours are no grey scale; convert it to grey, "
    "or save a stack of frames as grey pages"
)
FALSE_COLOUR = (
    "False colours: the brightness of the colour map is used; intensities are not linear."
)


def is_colour(shape: tuple[int, ...], dtype: Any) -> bool:
    """Tell whether an array has the shape (y, x, 2 to 4) and the type of a coloured picture."""
    return (
        len(shape) == 3 and shape[-1] in (2, 3, 4) and np.dtype(dtype).name in ("uint8", "uint16")
    )


def grey(picture: NDArray[Any]) -> NDArray[Any]:
    """Return (..., y, x) grey values of (..., y, x, 2 to 4): a channel if equal, else luminance."""
    if picture.shape[-1] == 2:
        return picture[..., 0]
    rgb = picture[..., :3]
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 0], rgb[..., 2]):
        return rgb[..., 0]
    values = np.empty(rgb.shape[:-1], np.float32)
    for top in range(0, len(rgb), _BAND):  # a large picture is not held a second time in float32
        values[top : top + _BAND] = rgb[top : top + _BAND].astype(np.float32) @ LUMINANCE
    return values


def judge(picture: NDArray[Any]) -> tuple[str, tuple[str, ...]]:
    """Judge a coloured picture (y, x, 2 to 4): why it is no image (or empty), lines for the user.

    Grey pictures pass, also with a coloured scale bar. So do false colours in which every
    brightness has one colour (hot, inferno, viridis): brightness then orders the pixels as the
    signal did. Everything else is a photograph or an ambiguous colour map.
    """
    if picture.shape[-1] == 2:
        return "", ()
    if not np.ptp(picture[..., :3], axis=-1).any():
        return "", ()
    blocks = _blocks(picture[..., :3]).astype(np.float32) / np.iinfo(picture.dtype).max
    rgb = blocks.reshape(-1, 3)
    coloured = float(np.mean(np.ptp(rgb, axis=1) > _GREY_SPREAD))
    if coloured < _COLOURED_PIXELS:
        line = f"{100 * coloured:.2g} % of the pixels are coloured (scale bar, labels?)."
        return "", (line,) if coloured else ()
    if _spread_of_pixels(rgb) < _PIXEL_SPREAD or _spread_of_blocks(blocks) < _BLOCK_SPREAD:
        return "", (FALSE_COLOUR,)
    return PHOTOGRAPH, ()


def without_colour(candidate: Candidate) -> Candidate:
    """Return a coloured picture as grey values, or with the reason why not; others unchanged."""
    if candidate.reason or not is_colour(candidate.shape, candidate.dtype):
        return candidate
    picture = np.asarray(candidate.load())
    reason, lines = judge(picture)
    values = grey(picture)
    return replace(
        candidate,
        shape=values.shape,
        dtype=values.dtype,
        load=lambda: values,
        axes=candidate.axes[:2],
        reason=reason,
        warnings=(*candidate.warnings, *lines),
    )


def _blocks(picture: NDArray[Any]) -> NDArray[Any]:
    """Return whole blocks (n, pixels of a block, 3) of a picture, evenly taken from a large one."""
    height, width = picture.shape[:2]
    enough = _KNOTS * _BLOCKS_PER_KNOT
    side = min(_BLOCK, max(1, math.isqrt(height * width // enough)), height, width)
    rows, columns = height // side, width // side
    tiles = picture[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    sparse = max(1, math.isqrt(height * width // _SAMPLE))
    taken: NDArray[Any] = tiles[::sparse, :, ::sparse].swapaxes(1, 2).reshape(-1, side * side, 3)
    return taken


def _level(rgb: NDArray[Any]) -> NDArray[np.intp]:
    """Return brightness in 256 levels."""
    return np.clip((rgb @ LUMINANCE * 255).astype(np.intp), 0, 255)


def _spread_of_pixels(rgb: NDArray[Any]) -> float:
    """Return the root mean square deviation of colours from the mean colour of their brightness."""
    level = _level(rgb)
    count = np.maximum(np.bincount(level, minlength=256), 1)
    variance = 0.0
    for channel in rgb.T:
        mean = np.bincount(level, channel, minlength=256) / count
        variance += float(np.mean((channel - mean[level]) ** 2))
    return math.sqrt(variance)


def _spread_of_blocks(blocks: NDArray[Any]) -> float:
    """Return the root mean square deviation of mean colours from what one colour map gives.

    The colour of a block is the mean of the map over the brightness of its pixels. That is linear
    in the map, whose colours at a few levels are fitted to all blocks.
    """
    level = _level(blocks)
    knots = np.unique(np.quantile(level, np.linspace(0, 1, _KNOTS)))
    shares = [np.interp(np.arange(256), knots, one) for one in np.eye(len(knots))]
    weights = np.stack([share[level].mean(axis=1) for share in shares], axis=1)
    mean = blocks.mean(axis=1)
    colours = np.linalg.lstsq(weights, mean, rcond=1e-3)[0]
    return math.sqrt(float(np.mean(np.sum((weights @ colours - mean) ** 2, axis=1))))
