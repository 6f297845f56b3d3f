"""The tables of a tracked movie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from atomscope.errors import UsageError
from atomscope.lattice import Lattice
from atomscope.track.dopants import find_paths
from atomscope.track.lives import find_lives
from atomscope.track.log import Log, gather, read_rows
from atomscope.track.motion import Bools, Floats, Ints
from atomscope.track.objects import follow_defects
from atomscope.track.sites import Sites, first_on_site, index_places, merge_places
from atomscope.track.tables import lives_table, track_table
from atomscope.track.tracker import Tracker
from atomscope.track.weave import weave

_FIRM = 0.3  # spacings: rms distance of an atom of the lattice from its site


@dataclass(frozen=True)
class Tracking:
    """A tracked movie.

    Attributes:
        tracks: Columns of `atomscope.columns.TRACKS`; kinds atom, vacancy and defect.
        drift: Of the middle of each frame against the first, px, shape (F, 2).
        affine: Distortion of each frame, x = r @ affine + const, shape (F, 2, 2).
        atoms: The table of atoms with the column `track` filled; empty for false atoms.
        lives: One row per track: track, kind, species, first, last (frames), hits, birth (start,
            border, inside), death (end, border, knock-on, inside).
        spacing: Distance of neighbours in px, NaN where unknown.
        lattice: Of the reference, None where there is none.
        frames: Numbers of the frames, shape (F,).
    """

    tracks: pd.DataFrame
    drift: Floats
    affine: Floats
    atoms: pd.DataFrame
    lives: pd.DataFrame
    spacing: float
    lattice: Lattice | None
    frames: Ints


def track(
    atoms: pd.DataFrame,
    *,
    defects: pd.DataFrame | None = None,
    lattices: Mapping[int, Lattice | None] | None = None,
    shape: tuple[int, int] | None = None,
    times: Sequence[float] | None = None,
) -> Tracking:
    """Follow every atom, vacancy and defect through a movie.

    Args:
        atoms: Table of all frames; needs x_px and y_px. Species (or labels) let dopants be
            followed from site to site. Rows with the same `frame` are one frame.
        defects: Table of defects with the columns of `atomscope.columns.DEFECTS`.
        lattices: Of each frame; sites are numbered as in the first one.
        shape: Of the frames, (y, x).
        times: Of each frame in s, in order.

    Raises:
        UsageError: A column is missing, an atom is given twice, or time runs backwards.
    """
    if "frame" not in atoms:
        raise UsageError("the table has no column frame; expected one row per atom and frame.")
    if not np.isfinite(pd.to_numeric(atoms["frame"], errors="coerce")).all():
        raise UsageError("column frame holds something that is no number; expected 0, 1, 2, ...")
    check_times(times, None)
    table = atoms.reset_index(drop=True)
    tracker = Tracker(shape=shape)
    order = np.argsort(table["frame"].to_numpy(float), kind="stable")
    frame = table["frame"].to_numpy(float)[order].astype(np.int64)
    reading = read_rows(table.iloc[order])
    edges = [0, *(np.flatnonzero(np.diff(frame)) + 1).tolist(), len(frame)]
    for rows in pairwise(edges):
        if rows[1] > rows[0]:
            tracker.take(reading.part(rows), int(frame[rows[0]]))
    numbers = dict(lattices) if lattices else {}
    first = numbers.get(tracker.frames[0]) if tracker.frames else None
    return finish(tracker, table, order, defects=defects, first=first)


def check_times(times: Sequence[float] | None, count: int | None) -> Floats | None:
    """Return the times as an array.

    Raises:
        UsageError: They do not grow, or there are too few.
    """
    if times is None:
        return None
    found = np.asarray(times, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise UsageError(
            "times holds something that is no number; expected seconds, one per frame."
        )
    back = np.flatnonzero(np.diff(found) <= 0)
    if len(back):
        i = int(back[0])
        raise UsageError(
            f"time runs backwards: frame {i} at {found[i]:g} s, frame {i + 1} at "
            f"{found[i + 1]:g} s; expected growing times, or none."
        )
    if count is not None and len(found) < count:
        raise UsageError(f"{len(found)} times for {count} frames; expected one for each.")
    return found


def finish(
    tracker: Tracker,
    table: pd.DataFrame,
    order: Ints | None = None,
    *,
    defects: pd.DataFrame | None = None,
    first: Lattice | None = None,
) -> Tracking:
    """Make the tables of what a `Tracker` has seen.

    Args:
        tracker: After the last frame.
        table: The tables that it was given, joined.
        order: Rows of `table` in the order in which the tracker got them; by default as they are.
        defects: Table of defects.
        first: Lattice of the first frame, which numbers the sites.
    """
    order = np.arange(len(table)) if order is None else order
    counts = [len(s) for s in _rows_of(tracker, table, order)]
    starts = np.cumsum([0, *counts])[:-1]
    log = gather(
        tracker.seen,
        tracker.readings,
        starts,
        np.array(tracker.frames, dtype=np.int64),
        tracker.motions,
        tracker.spacing,
    )
    log, merged = merge_places(log)
    lives = find_lives(log, merged)
    sites = index_places(log, merged, np.unique(lives.place), first, tracker.shape)
    hits = np.bincount(lives.life[log.hit & (lives.life >= 0)], minlength=len(lives.place))
    lives = lives.without_chance(hits, first_on_site(lives, hits, sites))
    firm = _firm(log, merged, sites) & (lives.life >= 0)
    paths = find_paths(log, sites, merged, firm) if sites.lattice is not None else []
    woven = weave(log, merged, lives, sites, paths)
    tracks = track_table(log, merged, woven, sites, lives, order, table)
    if defects is not None and len(defects):
        tracks = follow_defects(tracks, defects, log)
    filled = table.copy()
    number = np.full(len(table), -1)
    seen = log.hit & (woven.track >= 0)
    number[order[log.row[seen]]] = woven.track[seen]
    filled["track"] = pd.arrays.IntegerArray(number, number < 0)
    middle = np.zeros(2) if not len(log.home) else np.median(log.home, axis=0)
    drift = np.array([m.to_frame(middle[None])[0] - middle for m in log.motions]).reshape(-1, 2)
    affine = np.array([m.matrix for m in log.motions]).reshape(-1, 2, 2)
    spacing = log.spacing if np.isfinite(log.spacing) else np.nan
    about = lives_table(tracks, log, tracker.shape)
    return Tracking(tracks, drift, affine, filled, about, spacing, sites.lattice, log.frames)


def _rows_of(tracker: Tracker, table: pd.DataFrame, order: Ints) -> list[Ints]:
    if "frame" in table:
        frame = table["frame"].to_numpy()[order]
        return [np.flatnonzero(frame == f) for f in tracker.frames]
    return [order]


def _firm(log: Log, merged: Ints, sites: Sites) -> Bools:
    """Entries at places whose atoms stay at a site of the lattice."""
    row = sites.row(merged)
    off = np.sum((log.home - sites.xy[row]) ** 2, axis=1) * log.hit
    count = np.bincount(row, log.hit, minlength=len(sites.place))
    spread = np.sqrt(np.bincount(row, off, minlength=len(sites.place)) / np.maximum(count, 1))
    firm = (spread < _FIRM * log.spacing) & (sites.index[:, 2] >= 0)
    return np.asarray(firm[row])
