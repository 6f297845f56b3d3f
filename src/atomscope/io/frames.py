"""A movie that is decoded frame by frame, and a part of one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import UsageError
from atomscope.types import Image


class Frames:
    """A movie (t, y, x) whose frames are fetched when asked for; slicing is as in numpy.

    Attributes:
        shape: (t, y, x).
        dtype: Type of the values.
    """

    ndim = 3

    def __init__(
        self, shape: tuple[int, ...], dtype: Any, frame: Callable[[int], NDArray[Any]]
    ) -> None:
        """Take the shape (t, y, x), the dtype, and a function from the number to the frame."""
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self._frame = frame

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return frames or parts of frames; only the frames asked for are fetched."""
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis:
            everything: NDArray[Any] = np.asarray(self)[key]
            return everything
        empty: NDArray[Any] = np.empty((0, *self.shape[1:]), self.dtype)
        if not isinstance(first, slice) and np.ndim(first) == 0:
            frame: NDArray[Any] = self._frame(range(len(self))[operator.index(first)])
            return np.asarray(frame[tuple(rest)])
        numbers = np.arange(len(self))[first]
        chosen = [np.asarray(self._frame(int(i)))[tuple(rest)] for i in numbers]
        return np.stack(chosen) if chosen else empty[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole movie as one array."""
        if copy is False:
            raise ValueError("a movie on file cannot become an array without copying")
        return self[:].astype(dtype or self.dtype, copy=False)


def cut(image: Image, frames: tuple[int | None, int | None] | None) -> Image:
    """Keep frames A:B of a movie, without loading them; they keep their numbers.

    Either end may be None; ends below 0 count from the end of the movie.

    Raises:
        UsageError: No frame is left.
    """
    if frames is None:
        return image
    first, last, _ = slice(*(_place(n, image) for n in frames)).indices(image.n_frames)
    if first >= last:
        raise UsageError(
            f"{image.name}: frames {frames[0]}:{frames[1]} asked for; the movie has "
            f"{image.n_frames} frames, {image.numbers.start}:{image.numbers.stop}."
        )
    if image.n_frames == 1:
        return image
    data = Frames(
        (last - first, *image.data.shape[1:]), image.data.dtype, lambda i: image.data[first + i]
    )
    times = image.times[first:last] if image.times else None
    return replace(image, data=data, times=times, first_frame=image.numbers[first])


def _place(number: int | None, image: Image) -> int | None:
    """Place of a frame in the array; numbers below 0 count from the end."""
    return number if number is None or number < 0 else max(number - image.first_frame, 0)
