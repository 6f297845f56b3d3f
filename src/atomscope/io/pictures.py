"""Pictures (png, jpg, bmp) and movies (mp4, avi, gif) without calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from atomscope.io.candidate import Candidate
from atomscope.io.colour import grey, is_colour, judge
from atomscope.io.extras import need
from atomscope.io.frames import Frames


def read_picture(path: Path) -> list[Candidate]:
    """Describe a picture; coloured ones are judged, see `colour.judge`."""
    import imageio.v3 as iio

    picture = np.asarray(iio.imread(path, plugin="pillow"))
    reason, lines = "", ()
    if is_colour(picture.shape, picture.dtype):
        reason, lines = judge(picture)
        picture = grey(picture)
    return [
        Candidate(
            path.stem, picture.shape, picture.dtype, lambda: picture, reason=reason, warnings=lines
        )
    ]


def read_movie(path: Path) -> list[Candidate]:
    """Describe a movie; frames are decoded one by one, and coloured ones become grey."""
    import imageio.v3 as iio

    if path.suffix.casefold() == ".gif":
        plugin = "pillow"
    else:
        plugin = "FFMPEG"
        need("imageio_ffmpeg", path.name)
    first = np.asarray(iio.imread(path, index=0, plugin=plugin))
    colour = is_colour(first.shape, first.dtype)
    reason, lines = judge(first) if colour else ("", ())
    sample = grey(first) if colour else first
    count, rate = _extent(path, plugin)

    def frame(index: int) -> Any:
        picture = np.asarray(iio.imread(path, index=index, plugin=plugin))
        return (grey(picture) if colour else picture).astype(sample.dtype)

    shape = (count, *sample.shape)
    return [
        Candidate(
            path.stem,
            shape,
            sample.dtype,
            lambda: Frames(shape, sample.dtype, frame),
            times=tuple((np.arange(count) / rate).tolist()) if rate else None,
            reason=reason,
            warnings=(*lines, "Frame times are those of the video, not of the microscope."),
        )
    ]


def _extent(path: Path, plugin: str) -> tuple[int, float]:
    """Return the number of frames and the frames per second (0 where unknown)."""
    import imageio.v3 as iio

    if plugin == "pillow":
        count = int(iio.improps(path, plugin=plugin, index=...).shape[0])
        duration = float(iio.immeta(path, plugin=plugin).get("duration") or 0)
        return count, 1000 / duration if duration else 0.0
    import imageio_ffmpeg

    count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    return int(count), float(iio.immeta(path, plugin=plugin).get("fps") or 0)
