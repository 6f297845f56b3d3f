"""RHK Technology SM4 scans: linked objects, then int32 frames with a scale each."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError
from atomscope.io.candidate import Axis, Candidate

# Numbers of the objects that are needed; the file has many more.
_PAGE_INDEX_HEADER, _PAGE_INDEX_ARRAY, _PAGE_HEADER, _PAGE_DATA, _STRINGS = 1, 2, 3, 4, 10
_IMAGE_PAGE = 0
# Names of the frames that hold heights.
_TOPOGRAPHY = 1
_BACKWARD = 1
_MOST_OBJECTS = 10_000


class _Header(NamedTuple):
    """The page header as it lies in the file (little-endian)."""

    field_size: int
    string_count: int
    page_type: int
    sub_source: int
    line_type: int
    x_corner: int
    y_corner: int
    width: int
    height: int
    image_type: int
    direction: int
    group: int
    data_size: int
    z_min: int
    z_max: int
    x_scale: float
    y_scale: float
    z_scale: float
    xy_scale: float
    x_offset: float
    y_offset: float
    z_offset: float
    period: float
    bias: float
    current: float
    angle: float
    colours: int
    grid_width: int
    grid_height: int
    objects: int


_HEADER = struct.Struct("<2H13I11f4I")
# Flags and reserved bytes between the header and its list of objects.
_RESERVED = 64


def read_sm4(path: Path) -> list[Candidate]:
    """Describe each page of an SM4 file; the topography forward is preferred.

    The first row of the array is the top of the scan and x grows to the right.
    """
    raw = path.read_bytes()
    (header_size,) = struct.unpack_from("<H", raw)
    _, count = struct.unpack_from("<2I", raw, 38)
    index = _objects(raw, header_size + 2, count)[_PAGE_INDEX_HEADER]
    pages, count = struct.unpack_from("<2I", raw, index)
    offset = _objects(raw, index + 16, count)[_PAGE_INDEX_ARRAY]
    found = []
    for _ in range(min(pages, _MOST_OBJECTS)):
        kind, _, count, _ = struct.unpack_from("<4I", raw, offset + 16)
        objects = _objects(raw, offset + 32, count)
        offset += 32 + 12 * count
        if kind == _IMAGE_PAGE and _PAGE_DATA in objects and _PAGE_HEADER in objects:
            found.append(_page(path, raw, objects))
    return found


def _objects(raw: bytes, offset: int, count: int) -> dict[int, int]:
    """Return the place of each object in a list of (number, place, size)."""
    if count > _MOST_OBJECTS:
        raise InputError(
            f"a list of {count} objects; expected an RHK SM4 file. It is damaged: copy it again."
        )
    entries = [struct.unpack_from("<3I", raw, offset + 12 * i) for i in range(count)]
    return {number: place for number, place, _ in reversed(entries)}


def _page(path: Path, raw: bytes, objects: dict[int, int]) -> Candidate:
    start = objects[_PAGE_HEADER]
    header = _Header(*_HEADER.unpack_from(raw, start))
    own = _objects(raw, start + _HEADER.size + _RESERVED, header.objects)
    label = _string(raw, own[_STRINGS]) if _STRINGS in own else "image"
    backward = header.direction == _BACKWARD
    return Candidate(
        f"{label} {'backward' if backward else 'forward'}",
        (header.height, header.width),
        np.dtype("f4"),
        partial(_frame, path, objects[_PAGE_DATA], header),
        (Axis(header.y_scale, "m"), Axis(header.x_scale, "m")),
        "stm",
        preference=2.0 * (header.page_type == _TOPOGRAPHY) + (not backward),
        metadata={"bias_V": header.bias, "current_A": header.current, "angle": header.angle},
    )


def _string(raw: bytes, offset: int) -> str:
    (length,) = struct.unpack_from("<H", raw, offset)
    return raw[offset + 2 : offset + 2 + 2 * length].decode("utf-16-le", "replace").strip("\0 ")


def _frame(path: Path, offset: int, header: _Header) -> NDArray[np.float32]:
    shape = (header.height, header.width)
    values = np.fromfile(path, "<i4", header.height * header.width, offset=offset).reshape(shape)
    # Scales are signed: they tell in which direction the tip went.
    values = values[:, ::-1] if header.x_scale < 0 else values
    values = values[::-1] if header.y_scale > 0 else values
    scaled: Any = values * header.z_scale + header.z_offset
    return np.asarray(scaled, dtype=np.float32)
