"""MRC2014 images and stacks, memory-mapped (Cheng et al. 2015, doi 10.1016/j.jsb.2015.04.002)."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atomscope.errors import InputError
from atomscope.io.candidate import Axis, Candidate

_HEADER = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 4: "c8", 6: "u2", 12: "f2"}
# IMOD writes unsigned bytes under mode 0 and says so by this stamp and a flag.
_IMOD_STAMP = 1146047817
# Old FEI files keep the pixel size (m) in 1024 blocks of 128 bytes behind the header.
_FEI_BLOCKS, _FEI_PIXEL_SIZE = 1024 * 128, 44


def read_mrc(path: Path) -> list[Candidate]:
    """Describe the image or stack; frames are sections along z, rows in the order of the file."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER + _FEI_PIXEL_SIZE + 4)
    if len(head) < _HEADER:
        raise InputError(
            f"{path.name}: {len(head)} bytes; expected an MRC header of {_HEADER}. Copy it again."
        )
    order = ">" if head[212:214] == b"\x11\x11" else "<"
    width, height, depth, mode = struct.unpack_from(f"{order}4i", head)
    samples = struct.unpack_from(f"{order}3i", head, 28)
    cell = struct.unpack_from(f"{order}3f", head, 40)
    (extended,) = struct.unpack_from(f"{order}i", head, 92)
    stamp, flags = struct.unpack_from(f"{order}2i", head, 152)
    unsigned = mode == 0 and stamp == _IMOD_STAMP and not flags & 1
    dtype = np.dtype("u1" if unsigned else order + _MODES.get(mode, "V1"))
    shape = (depth, height, width) if depth > 1 else (height, width)
    needed = _HEADER + extended + depth * height * width * dtype.itemsize
    if mode not in _MODES or min(width, height, depth, extended + 1) < 1:
        raise InputError(
            f"{path.name}: mode {mode}, size {width} x {height} x {depth}; expected an MRC file of "
            f"a mode among {sorted(_MODES)}. Export it again."
        )
    if needed > path.stat().st_size:
        raise InputError(
            f"{path.name}: {path.stat().st_size} bytes; expected {needed} by its header. "
            "The file is cut short: copy it again."
        )
    steps = [c / n if n > 0 else 0.0 for c, n in zip(cell, samples, strict=True)]
    axes = (Axis(steps[1], "Å"), Axis(steps[0], "Å"))
    if extended == _FEI_BLOCKS and not any(steps[:2]):
        (metres,) = struct.unpack_from(f"{order}f", head, _HEADER + _FEI_PIXEL_SIZE)
        axes = (Axis(metres, "m"), Axis(metres, "m"))
    load = partial(_mapped, path, dtype, _HEADER + extended, shape)
    return [Candidate(path.stem, shape, dtype, load, (*([Axis()] if depth > 1 else []), *axes))]


def _mapped(path: Path, dtype: Any, offset: int, shape: tuple[int, ...]) -> Any:
    return np.memmap(path, dtype, "r", offset, shape)
