"""Movies: tracks of atoms and defects, and what happened to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from atomscope.columns import EVENTS, TRACKS, empty
from atomscope.errors import UsageError
from atomscope.recipe import Recipe
from atomscope.species import Lattices
from atomscope.types import Image


@dataclass(frozen=True)
class Followed:
    """What a movie gives beyond its frames; tables without rows for a single image."""

    atoms: pd.DataFrame
    tracks: pd.DataFrame = field(default_factory=lambda: empty(TRACKS))
    events: pd.DataFrame = field(default_factory=lambda: empty(EVENTS))
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def followed(
    image: Image, atoms: pd.DataFrame, defects: pd.DataFrame, lattices: Lattices, plan: Recipe
) -> Followed:
    """Follow atoms and defects, and tell events; what cannot be done becomes a warning."""
    if plan.track is None or image.n_frames < 2 or len(atoms) == 0:
        return Followed(atoms)
    from atomscope.track import find_events, summary, track

    try:
        tracking = track(atoms, defects=defects, lattices=lattices, shape=image.frame_shape)
    except UsageError as error:
        return Followed(atoms, warnings=(f"{image.name}: no tracks: {error}",))
    times, lines = _times(image, tracking.frames.tolist()), tuple[str, ...]()
    try:
        events = find_events(tracking, times=times)
    except UsageError as error:
        lines, times = (f"{image.name}: frames are counted without their times: {error}",), None
        events = find_events(tracking)
    rates = summary(events, tracking, times=times)
    return Followed(tracking.atoms, tracking.tracks, events, rates.to_dict(), lines)


def _times(image: Image, frames: list[int]) -> tuple[float, ...] | None:
    """Times of the frames that hold atoms."""
    if image.times is None:
        return None
    return tuple(image.times[number - image.first_frame] for number in frames)
