"""Createc dat images (header in text, then float32 frames compressed by zlib)."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError
from atomscope.io.candidate import Axis, Candidate

_MARK = b"DATA"
# One bit for each channel that was saved, in the order of the frames.
_CHANNELS = ("topography", "current", *(f"ADC{i}" for i in range(1, 30)))


def read_createc(path: Path) -> list[Candidate]:
    """Describe each channel and direction; heights come in Å.

    All forward frames come first, then the backward ones, already mirrored by the instrument.
    """
    raw = path.read_bytes()
    if not raw.startswith(b"[Paramco32]"):
        raise InputError(
            f"{path.name}: an old Createc file ({raw[:11].decode('latin-1')}); expected one that "
            "starts with [Paramco32]. Save it again with a newer STMAFM program."
        )
    start = raw.find(_MARK)
    if start < 0:
        raise InputError(
            f"{path.name}: the header has no data block behind it; expected a Createc image. "
            "Copy it again."
        )
    header = _header(raw[:start].decode("latin-1"))
    width, height = int(header["Num.X"]), int(header["Num.Y"])
    count = int(header["Channels"])
    axes = (
        Axis(float(header["Length y[A]"]) / height, "Å"),
        Axis(float(header["Length x[A]"]) / width, "Å"),
    )
    names = _names(count, int(header.get("Channelselectval", 0)))
    return [
        Candidate(
            name,
            (height, width),
            np.dtype("<f4"),
            partial(_frame, path, start, (height, width), number, _scale(name, header)),
            axes,
            "stm",
            preference=2.0 * name.startswith("topography") + name.endswith("forward"),
            metadata={k: header[k] for k in ("BiasVolt.[mV]", "Rotation", "Titel") if k in header},
        )
        for number, name in enumerate(names)
    ]


def _header(text: str) -> dict[str, str]:
    """Return the settings; 'German / English=value' is known under both names."""
    settings: dict[str, str] = {}
    for line in text.splitlines():
        names, mark, value = line.partition("=")
        for name in names.split(" / ") if mark else ():
            settings.setdefault(name.strip(), value.strip())
    return settings


def _names(count: int, selected: int) -> list[str]:
    chosen = [name for bit, name in enumerate(_CHANNELS) if selected >> bit & 1]
    if 2 * len(chosen) == count:
        return [f"{n} {way}" for way in ("forward", "backward") for n in chosen]
    if len(chosen) == count:
        return [f"{n} forward" for n in chosen]
    # The first frame is the topography unless the header says otherwise.
    return ["topography forward", *(f"frame {i}" for i in range(1, count))]


def _scale(name: str, header: dict[str, str]) -> float:
    return float(header.get("Dacto[A]z", 1)) if name.startswith("topography") else 1.0


def _frame(
    path: Path, start: int, shape: tuple[int, int], number: int, scale: float
) -> NDArray[Any]:
    size = shape[0] * shape[1]
    # One more value than pixels stands before the frames.
    needed = 4 * (1 + size * (number + 1))
    raw = zlib.decompressobj().decompress(path.read_bytes()[start + len(_MARK) :], needed)
    if len(raw) < needed:
        raise InputError(
            f"{path.name}: {len(raw)} bytes of scan, {needed} expected for channel {number}; "
            "the file is cut short. Copy it again."
        )
    values = np.frombuffer(raw, "<f4", size, 4 * (1 + size * number)).reshape(shape)
    return (values * np.float32(scale)).astype("<f4")
