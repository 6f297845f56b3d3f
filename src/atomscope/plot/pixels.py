"""Frames as 8-bit pictures, and the lengths in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atomscope.types import FloatArray, Image

if TYPE_CHECKING:
    pass


def shrink_factor(shape: tuple[int, ...], max_side: int) -> int:
    """Return the smallest block edge for `shrink` that brings both sides to `max_side` or less."""
    return max(1, -(-max(shape) // max_side))


def shrink(frame: FloatArray, factor: int) -> FloatArray:
    """Average blocks of `factor` × `factor` pixels.

    Values that are not finite are left out of the means; a block of nothing else is NaN. Where
    the sides are no multiples, the last blocks reach over the border.
    """
    if factor == 1:
        return frame
    height, width = frame.shape
    columns = np.arange(0, width, factor)
    rows = []
    for top in range(0, height, factor):  # strip by strip, so that a huge frame is not doubled
        strip = frame[top : top + factor]
        valid = np.isfinite(strip)
        sums = np.where(valid, strip, 0).sum(axis=0, dtype=np.float64)
        counts = np.add.reduceat(valid.sum(axis=0), columns)
        means = np.add.reduceat(sums, columns) / np.maximum(counts, 1)
        rows.append(np.where(counts > 0, means, np.nan))
    return np.array(rows)


def view_of(image: Image, number: int) -> FloatArray:
    """Return a frame as one looks at it: scan lines of a topograph are brought to one height."""
    frame = image.frame(number)
    if image.modality != "stm":
        return frame
    known = np.isfinite(frame)
    lines = known.any(axis=1)
    height = np.zeros((len(frame), 1))
    height[lines, 0] = np.nanmedian(np.where(known, frame, np.nan)[lines], axis=1)
    return np.asarray(frame - height)


def grey(frame: FloatArray) -> NDArray[np.uint8]:
    """Stretch a frame to 8 bit between its 0.3 and 99.8 percentiles; not finite becomes 0."""
    finite = np.isfinite(frame)
    if not finite.any():
        return np.zeros(frame.shape, dtype=np.uint8)
    values = frame[finite]
    low, high = np.percentile(values[:: max(1, values.size // 1_000_000)], [0.3, 99.8])
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scale = 255 / (high - low) if high > low else 0.0
    stretched = (np.where(finite, frame, low).astype(np.float64) - low) * scale
    return np.asarray(np.clip(stretched, 0, 255).round(), dtype=np.uint8)


def pixels_of(shown: NDArray[np.uint8], bottom: int) -> Any:
    """Return an artist that puts grey values on the canvas as they are, one for one.

    Args:
        shown: Values, shape (y, x), the upper row first.
        bottom: Row of the canvas, counted from below, of the last row.
    """
    from matplotlib.artist import Artist

    colours = np.full((*shown.shape, 4), 255, dtype=np.uint8)
    colours[..., :3] = shown[::-1, :, None]

    class Pixels(Artist):
        def draw(self, renderer: Any) -> None:
            renderer.draw_image(renderer.new_gc(), 0, bottom, colours)

    return Pixels()


def scale_bar(width: int, pixel_size: float | None) -> tuple[float, str]:
    """Return the length (px) and the label of a bar of about a fifth of the width."""
    target = 0.22 * width * (pixel_size or 1.0)
    power = 10.0 ** np.floor(np.log10(target))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= target * (1 + 1e-9)))
    if pixel_size is None:
        return length, f"{length:g} px"
    units = (("µm", 1e4), ("nm", 10.0), ("Å", 1.0), ("pm", 0.01))
    unit, angstrom = next((u for u in units if length >= u[1] * (1 - 1e-9)), units[-1])
    return length / pixel_size, f"{length / angstrom:.3g} {unit}"
