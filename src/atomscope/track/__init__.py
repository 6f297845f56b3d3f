"""Atoms and defects followed through a movie, and what happened to them."""

from atomscope.track.events import find_events
from atomscope.track.rotation import angles
from atomscope.track.summary import Summary, summary
from atomscope.track.tracker import Tracker
from atomscope.track.tracking import Tracking, finish, track

__all__ = [
    "Summary",
    "Tracker",
    "Tracking",
    "angles",
    "find_events",
    "finish",
    "summary",
    "track",
]
