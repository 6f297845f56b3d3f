"""FEI TIA series: a header with offsets, then one record for each frame (after C. B. Boothroyd)."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError
from atomscope.io.candidate import SURVEY, Axis, Candidate
from atomscope.io.frames import Frames

_IMAGES = 0x4122
# From this version on, offsets have 8 bytes.
_LONG_OFFSETS = 0x0220
_RECORD = struct.Struct("<2di2dihii")
_TYPES = {
    1: "u1",
    2: "u2",
    3: "u4",
    4: "i1",
    5: "i2",
    6: "i4",
    7: "f4",
    8: "f8",
    9: "c8",
    10: "c16",
}
# The unit of a step is not stored: m for images, 1/m for diffraction patterns.
_METRES_BELOW = 1e-3


def read_ser(path: Path) -> list[Candidate]:
    """Describe the images of a ser file; each is memory-mapped when asked for.

    The file has the lowest row first; the array starts with the highest.
    """
    with path.open("rb") as stream:
        kind, _, _, count = struct.unpack("<4I", stream.read(22)[6:])
        stream.seek(4)
        (version,) = struct.unpack("<H", stream.read(2))
        size = 8 if version >= _LONG_OFFSETS else 4
        stream.seek(22)
        table, dimensions = struct.unpack("<QI" if size == 8 else "<2I", stream.read(size + 4))
        if kind != _IMAGES:
            return [Candidate(path.stem, (count,), np.dtype("f8"), _nothing)]
        stream.seek(table)
        places = np.frombuffer(stream.read(size * count), f"<u{size}")
        if count < 1 or len(places) < count:
            raise InputError(
                f"{path.name}: {len(places)} of {count} images listed; expected at least one and a "
                "whole list. The recording was stopped or the file cut short: copy it again."
            )
        stream.seek(int(places[0]))
        record = _RECORD.unpack(stream.read(_RECORD.size))
    _, step_x, _, _, step_y, _, number_type, width, height = record
    return [_series(path, places, (height, width), number_type, (step_y, step_x), dimensions)]


def read_emi(path: Path) -> list[Candidate]:
    """Describe the images of an emi file, which are kept in the ser files beside it."""
    beside = sorted(p for p in path.parent.glob("*.[sS][eE][rR]") if _belongs(p, path))
    if not beside:
        raise InputError(
            f"{path.name}: an emi file without its {path.stem}_1.ser, which holds the image; "
            "expected both in one folder. Copy the ser file there."
        )
    return [candidate for file in beside for candidate in read_ser(file)]


def _belongs(ser: Path, emi: Path) -> bool:
    start, _, number = ser.stem.rpartition("_")
    return start == emi.stem and number.isdecimal()


def _series(
    path: Path,
    places: NDArray[Any],
    frame_shape: tuple[int, int],
    number_type: int,
    steps: tuple[float, float],
    dimensions: int,
) -> Candidate:
    if number_type not in _TYPES or min(frame_shape) < 1:
        raise InputError(
            f"{path.name}: type {number_type}, size {frame_shape}; expected an image of TIA. "
            "The file is damaged: copy it again."
        )
    dtype = np.dtype("<" + _TYPES[number_type])
    frame = partial(_frame, path, places, frame_shape, dtype)
    axes = tuple(Axis(s, "m" if abs(s) < _METRES_BELOW else "1/m") for s in steps)
    if len(places) == 1:
        return Candidate(path.stem, frame_shape, dtype, partial(frame, 0), axes)
    shape = (len(places), *frame_shape)
    reason = f"a map of images (4-D data); {SURVEY}" if dimensions > 1 else ""
    load = partial(Frames, shape, dtype, frame)
    frame(len(places) - 1)  # a file cut short shows here
    return Candidate(path.stem, shape, dtype, load, (Axis(), *axes), reason=reason)


def _frame(
    path: Path, places: NDArray[Any], shape: tuple[int, int], dtype: Any, index: int
) -> NDArray[Any]:
    start = int(places[index]) + _RECORD.size
    return np.memmap(path, dtype, "r", start, shape)[::-1]


def _nothing() -> None:
    """Stand for values that are never asked for."""
