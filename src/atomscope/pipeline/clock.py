"""Seconds that the stages of an analysis take, for the run card."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Adds up the wall time of each stage.

    Attributes:
        seconds: By stage, in the order in which they were begun.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, *, ran: bool = True) -> Iterator[None]:
        """Time what is done inside; a stage that the recipe leaves out (`ran`) is not listed."""
        started = time.perf_counter()
        yield
        if ran:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
