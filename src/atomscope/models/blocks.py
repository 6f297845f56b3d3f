"""Work on rows in blocks: a block stays in the cache of a core, several cores take one each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
BLOCK = 2048  # rows
MANY = 10_000  # rows from which on all cores help


def blockwise(work: Callable[[slice], None], count: int) -> None:
    """Call `work` with slices that cover so many rows.

    Args:
        work: Writes what it makes of these rows into arrays of its own; slices run in threads.
        count: Rows.
    """
    in_threads(work, slices(count, BLOCK), cores() if count >= MANY else 1)


def slices(count: int, most: int) -> Iterator[slice]:
    """Yield slices of at most so many rows that cover `count` rows."""
    return (slice(start, min(start + most, count)) for start in range(0, count, most))


def in_threads(work: Callable[[Part], None], parts: Iterable[Part], threads: int) -> None:
    """Call `work` with each part, in so many threads."""
    if threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
