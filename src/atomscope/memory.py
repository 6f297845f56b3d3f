"""Memory: refuse what does not fit before the system ends the program without a word."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from atomscope.errors import InputError

_ASKED_FROM = 1 << 28  # bytes: less always fits, and asking for each frame of a movie takes time
_MEMINFO = Path("/proc/meminfo")


def available() -> int | None:
    """Return the bytes that can be taken without swapping; None where the system does not say."""
    with suppress(OSError):  # counts the cache of files, which is given back when asked for
        found = re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(encoding="ascii"))
        if found:
            return int(found[1]) * 1024
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def need(per_pixel: int, name: str, shape: tuple[int, int], frames: int = 1) -> None:
    """See that there is memory (bytes per pixel) for frames of shape (y, x) at the same time.

    Raises:
        InputError: There is not.
    """
    bytes_ = per_pixel * shape[0] * shape[1] * frames
    free = available() if bytes_ >= _ASKED_FROM else None
    if free is not None and bytes_ > free:
        what = "a frame" if frames == 1 else f"{frames} frames at a time"
        remedy = "Crop or bin it" if frames == 1 else "Work on fewer at a time, crop or bin them"
        raise InputError(
            f"{name}: {bytes_ / 1e9:.3g} GB of memory asked for, by {what} of {shape[1]:,} x "
            f"{shape[0]:,} px; {free / 1e9:.3g} GB are available. {remedy}, or free memory."
        )
