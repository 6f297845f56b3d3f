"""Pictures (png, jpg, bmp) and movies (mp4, avi, gif) without calibration."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError
from atomscope.io.candidate import Candidate
from atomscope.io.colour import grey, is_colour, judge
from atomscope.io.extras import need, whole
from atomscope.io.frames import Frames

_MOST_PIXELS = 1 << 31
_ONE_LIMIT = threading.RLock()


def read_picture(path: Path) -> list[Candidate]:
    """Describe a picture; it is decoded when asked for."""
    import imageio.v3 as iio

    kind = path.suffix[1:].casefold() or "picture"
    with whole(path.name, kind), any_size():
        known = iio.improps(path, plugin="pillow")
    height, width = known.shape[:2]
    if height * width > _MOST_PIXELS:
        raise InputError(
            f"{path.name}: {width} x {height} pixels; expected at most 2^31 in a picture. "
            "Save it as TIFF or npy, or in parts."
        )

    def load() -> NDArray[Any]:
        with whole(path.name, kind), any_size():
            return np.asarray(iio.imread(path, plugin="pillow", writeable_output=False))

    return [Candidate(path.stem, known.shape, known.dtype, load)]


@contextmanager
def any_size() -> Iterator[None]:
    """Lift Pillow's limit of 179 million pixels, which belongs to the whole process, for a while.

    It guards servers against small files that unpack to much; detectors have that many pixels.
    """
    from PIL import Image

    with _ONE_LIMIT:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read_movie(path: Path) -> list[Candidate]:
    """Describe a movie; frames are decoded one by one, and coloured ones become grey.

    The clock of a video is that of its playback, so no frame times are given.
    """
    decoder = _Decoder(path)
    with whole(path.name, path.suffix[1:].casefold() or "video"):
        count = decoder.count()
        first = decoder(0) if count else None
    if first is None:
        raise InputError(f"{path.name}: a video without frames; expected a movie. Export it again.")
    colour = is_colour(first.shape, first.dtype)
    reason, lines = judge(first) if colour else ("", ())
    sample = grey(first) if colour else first

    def frame(index: int) -> NDArray[Any]:
        picture = decoder(index)
        return (grey(picture) if colour else picture).astype(sample.dtype)

    shape = (count, *sample.shape)
    return [
        Candidate(
            path.stem,
            shape,
            sample.dtype,
            lambda: Frames(shape, sample.dtype, frame),
            reason=reason,
            warnings=lines,
        )
    ]


class _Decoder:
    """Decodes frames of a video in order; going back starts again from the beginning.

    Seeking by time is inexact in videos of varying frame rate, and decoding is fast.
    """

    def __init__(self, path: Path) -> None:
        # A list, so that what ends the process at the end of this object sees the latest one.
        self._stream: list[Iterator[NDArray[Any]]] = []
        self._next = -1
        weakref.finalize(self, _end, self._stream)
        self._path = path
        self._plugin = "pillow" if path.suffix.casefold() == ".gif" else "FFMPEG"
        self._ffmpeg = None if self._plugin == "pillow" else need("imageio_ffmpeg", path.name)
        self._lock = threading.Lock()

    def count(self) -> int:
        """Return the number of frames."""
        import imageio.v3 as iio

        if self._ffmpeg is not None:
            return int(self._ffmpeg.count_frames_and_secs(str(self._path))[0])
        return int(iio.improps(self._path, plugin=self._plugin).n_images or 1)

    def __call__(self, index: int) -> NDArray[Any]:
        """Return one frame, shape (y, x) or (y, x, 2 to 4)."""
        import imageio.v3 as iio

        with self._lock:
            if self._next < 0 or index < self._next:
                _end(self._stream)
                self._stream.append(iio.imiter(self._path, plugin=self._plugin))
                self._next = 0
            for picture in self._stream[0]:
                self._next += 1
                if self._next == index + 1:
                    return np.asarray(picture)
            self._next = -1
        raise InputError(
            f"{self._path.name}: frame {index} cannot be decoded; expected a whole video. "
            "Copy or export it again."
        )


def _end(stream: list[Iterator[NDArray[Any]]]) -> None:
    """End the decoding process."""
    with warnings.catch_warnings():
        # The package leaves the pipes of its process to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        while stream:
            frames = stream.pop()
            if isinstance(frames, Generator):
                frames.close()
