"""Frames of a movie in which no value is finite: a scan that was stopped, a shutter that closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from atomscope.io.frames import Frames
from atomscope.types import Image


def blank_frames(image: Image) -> tuple[int, ...]:
    """Return the numbers of the frames of a movie that hold no finite value."""
    if image.n_frames == 1 or np.dtype(image.data.dtype).kind != "f":
        return ()
    frames = zip(image.numbers, image.frames(), strict=True)
    return tuple(number for number, frame in frames if not np.isfinite(frame).any())


def with_data(image: Image, blank: Sequence[int]) -> Image:
    """Leave blank frames out; where all are, the first is kept, to be refused as any other."""
    kept = [number for number in image.numbers if number not in set(blank)] or [image.first_frame]
    if len(kept) == image.n_frames:
        return image
    shape, first = (len(kept), *image.frame_shape), image.first_frame
    frames = Frames(shape, image.data.dtype, lambda i: np.asarray(image.data[kept[i] - first]))
    return replace(image, data=frames, times=None, first_frame=0)


def blankness(blank: Sequence[int]) -> tuple[str, ...]:
    """Say which frames are blank."""
    if not blank:
        return ()
    runs = [
        [number for _, number in run] for _, run in groupby(enumerate(blank), lambda x: x[1] - x[0])
    ]
    words = [str(r[0]) if len(r) == 1 else f"{r[0]} to {r[-1]}" for r in runs]
    which = "Frame" if len(blank) == 1 else "Frames"
    return (f"{which} {', '.join(words)}: no finite value, hence no atoms; check the file.",)
