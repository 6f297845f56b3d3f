"""Frames as pictures inside the page: small enough together, whatever the movie."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from atomscope.plot import grey, shrink, shrink_factor, view_of
from atomscope.types import FloatArray, Image

MAX_FRAMES = 64
MAX_BYTES = 6_000_000  # of all pictures before base64, which adds a third
_MAX_SIDE = 2048
_LOSSLESS_PIXELS = 4_200_000  # beyond this, PNG of noisy frames would fill the budget


@dataclass(frozen=True)
class Pictures:
    """Frames of an image, ready for a page.

    Attributes:
        frames: Which frames of the movie these are, ascending.
        uris: A data URI for each.
        factor: Edge in image pixels of one picture pixel.
        size: Width and height of a picture, in image pixels.
    """

    frames: tuple[int, ...]
    uris: tuple[str, ...]
    factor: int
    size: tuple[int, int]


def pick_frames(n_frames: int, at_most: int) -> tuple[int, ...]:
    """Return frame numbers spread evenly over a movie, first and last among them."""
    picked = np.linspace(0, n_frames - 1, min(n_frames, max(at_most, 1)))
    return tuple(int(i) for i in picked.round())


def embed(image: Image, frames: tuple[int, ...]) -> Pictures:
    """Encode frames as PNG or JPEG, averaged down until all fit into `MAX_BYTES`.

    Each frame is stretched to grey on its own, so that drifts of the dose stay invisible.
    """
    height, width = image.frame_shape
    factor = shrink_factor(image.frame_shape, _MAX_SIDE)
    while (uris := _encode_all(image, frames, factor)) is None:
        factor += 1
    size = (-(-width // factor) * factor, -(-height // factor) * factor)
    return Pictures(frames, uris, factor, size)


def _encode_all(image: Image, frames: tuple[int, ...], factor: int) -> tuple[str, ...] | None:
    height, width = image.frame_shape
    lossless = len(frames) * height * width <= _LOSSLESS_PIXELS * factor**2
    uris: list[str] = []
    total = 0
    for done, index in enumerate(frames, start=1):
        data = _encode(shrink(view_of(image, index), factor), lossless)
        total += len(data)
        # The frames are alike: give up as soon as this pace breaks the budget.
        if factor < max(height, width) and total > MAX_BYTES * max(done / len(frames), 0.02):
            return None
        uris.append(_uri(data, "png" if lossless else "jpeg"))
    return tuple(uris)


def data_uri(frame: FloatArray) -> str:
    """Return one small frame as a PNG inside a data URI."""
    return _uri(_encode(frame, True), "png")


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _encode(frame: FloatArray, lossless: bool) -> bytes:
    import imageio.v3 as imageio

    if lossless:
        return imageio.imwrite("<bytes>", grey(frame), extension=".png", compress_level=1)
    return imageio.imwrite("<bytes>", grey(frame), extension=".jpeg", quality=85)


class Levelled:
    """A frame in units of its own contrast, so that drifts of the dose do not weigh.

    Parts are made when they are asked for: a large frame is not held twice.
    """

    def __init__(self, frame: FloatArray) -> None:
        """Find level and unit of the values, shape (y, x), from a sample of them."""
        sample = frame.ravel()[:: max(1, frame.size // 200_000)]
        sample = sample[np.isfinite(sample)]
        low, middle, high = np.percentile(sample, [1, 50, 99]) if len(sample) else (0.0, 0.0, 1.0)
        self._frame, self._level, self._unit = frame, middle, (high - low) or 1.0

    def __getitem__(self, part: tuple[slice, slice]) -> FloatArray:
        """Return a part, shape (y, x)."""
        return (self._frame[part].astype(np.float64) - self._level) / self._unit
