"""From coloured pictures to grey values, where that is possible without guessing."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.io.candidate import Candidate

LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601
# Fractions of the full range: noise of lossy compression, and width of a colour map.
_GREY_SPREAD, _MAP_SPREAD = 0.06, 0.08
_COLOURED_PIXELS = 0.05
_SAMPLE = 1_000_000  # pixels are enough to judge by
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
    return (rgb.astype(np.float32) @ LUMINANCE).astype(np.float32)


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
    full = np.iinfo(picture.dtype).max
    sparse = max(1, math.isqrt(picture.shape[0] * picture.shape[1] // _SAMPLE))
    rgb = picture[::sparse, ::sparse, :3].reshape(-1, 3).astype(np.float32) / full
    coloured = float(np.mean(np.ptp(rgb, axis=1) > _GREY_SPREAD))
    if coloured < _COLOURED_PIXELS:
        line = f"{100 * coloured:.2g} % of the pixels are coloured (scale bar, labels?)."
        return "", (line,) if coloured else ()
    if _spread_at_equal_brightness(rgb) < _MAP_SPREAD:
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


def _spread_at_equal_brightness(rgb: NDArray[Any]) -> float:
    """Return the root mean square deviation of colours from the mean colour of their brightness."""
    level = np.clip((rgb @ LUMINANCE * 255).astype(int), 0, 255)
    count = np.maximum(np.bincount(level, minlength=256), 1)
    variance = 0.0
    for channel in rgb.T:
        mean = np.bincount(level, channel, minlength=256) / count
        variance += float(np.mean((channel - mean[level]) ** 2))
    return float(np.sqrt(variance))
