"""Nanonis sxm scans (header in text, then big-endian float32 frames)."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError
from atomscope.io.candidate import Axis, Candidate

_END = b":SCANIT_END:"
_START = b"\x1a\x04"


def read_sxm(path: Path) -> list[Candidate]:
    """Describe each channel and direction of a scan; the topography forward is preferred.

    The first row of the array is the top of the scanned field, also for scans that went upwards,
    and backward lines are mirrored so that x grows to the right. Format: Nanonis SPM Control
    Software manual, 'SXM file format'.
    """
    raw = path.read_bytes()
    end = raw.find(_END)
    start = raw.find(_START, end)
    if end < 0 or start < 0:
        raise InputError(
            f"{path.name}: the header has no end mark; expected a Nanonis sxm file. Copy it again."
        )
    header = _header(raw[:end].decode("utf-8", "replace"))
    width, height = (int(n) for n in header["SCAN_PIXELS"].split()[:2])
    span_x, span_y = (float(n) for n in header["SCAN_RANGE"].split()[:2])
    axes = (Axis(span_y / height, "m"), Axis(span_x / width, "m"))
    upward = header.get("SCAN_DIR", "down").strip() == "up"
    found, offset = [], start + len(_START)
    for name, unit, both in _channels(header):
        for backward in (False, True) if both else (False,):
            load = partial(_frame, path, offset, (height, width), upward, backward)
            found.append(
                Candidate(
                    f"{name} {'backward' if backward else 'forward'}",
                    (height, width),
                    np.dtype(">f4"),
                    load,
                    axes,
                    "stm",
                    preference=2.0 * (name.upper() in ("Z", "TOPOGRAPHY")) + (not backward),
                    metadata={"unit": unit, **_settings(header)},
                )
            )
            offset += 4 * width * height
    return found


def refuse_spectra(path: Path) -> list[Candidate]:
    """Refuse point spectra (dat) and grids of spectra (3ds), which hold no image of atoms.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"{path.name}: Nanonis spectra; expected a scan image. Give the sxm file of the scan."
    )


def _header(text: str) -> dict[str, str]:
    """Split ':KEY:' lines and the lines below each into a dictionary."""
    parts = re.split(r"^:([^:\n]+(?:>[^:\n]*)*):[ \t\r]*\n", text, flags=re.MULTILINE)
    return {k.strip(): v.rstrip("\r\n") for k, v in zip(parts[1::2], parts[2::2], strict=True)}


def _channels(header: dict[str, str]) -> list[tuple[str, str, bool]]:
    """Return name, unit, and whether both directions were saved, in the order of the file."""
    rows = [line.split("\t") for line in header["DATA_INFO"].strip("\r\n").splitlines()]
    columns = [c.strip() for c in rows[0]]
    name, unit, direction = (columns.index(c) for c in ("Name", "Unit", "Direction"))
    return [
        (r[name].strip(), r[unit].strip(), r[direction].strip() == "both")
        for r in rows[1:]
        if len(r) > max(name, unit, direction)
    ]


def _frame(
    path: Path, offset: int, shape: tuple[int, int], upward: bool, backward: bool
) -> NDArray[Any]:
    values: NDArray[Any] = np.memmap(path, ">f4", "r", offset, shape)
    values = values[::-1] if upward else values
    return values[:, ::-1] if backward else values


def _settings(header: dict[str, str]) -> dict[str, str]:
    keys = ("REC_DATE", "REC_TIME", "BIAS", "SCAN_ANGLE", "SCAN_DIR", "ACQ_TIME", "REC_TEMP")
    return {key: header[key].strip() for key in keys if key in header}
