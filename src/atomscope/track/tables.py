"""Tables of a tracked movie: rows of atoms and vacancies, and one row per track."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atomscope.columns import TRACKS, conform, positions
from atomscope.track.lives import Lives
from atomscope.track.log import Log
from atomscope.track.motion import Bools, Floats, Ints
from atomscope.track.sites import Sites
from atomscope.track.weave import Woven

_BORDER = 1.2  # spacings from the border: an atom may have come in or gone out there
_WAITING = 4  # frames at either end of the movie in which an atom may just have been missed
LIVES = ["track", "kind", "species", "first", "last", "hits", "birth", "death"]


def track_table(
    log: Log,
    merged: Ints,
    woven: Woven,
    sites: Sites,
    lives: Lives,
    order: Ints,
    table: pd.DataFrame,
) -> pd.DataFrame:
    """Rows of atoms, then of vacancies."""
    is_atom = woven.track >= 0
    is_empty = (woven.vacancy >= 0) & ~is_atom
    entry = np.concatenate([np.flatnonzero(is_atom), np.flatnonzero(is_empty)])
    count = int(woven.track.max(initial=-1)) + 1
    number = np.where(is_atom, woven.track, woven.vacancy + count)[entry]
    row = log.row[entry]
    given = "atom" in table
    names = table["atom"].to_numpy(float, na_value=-1)[order] if given else np.arange(len(order))
    atom = np.where((row >= 0) & is_atom[entry], np.append(names, -1)[row], -1).astype(np.int64)
    home = log.home[entry].copy()
    seen = _in_frame(log, entry)
    missed = row < 0
    p = np.where(missed, lives.occupied[entry], log.p[entry]) * woven.p[entry]
    p = np.where(is_atom[entry], p, 1 - lives.occupied[entry])
    labels = {tuple(i): sites.name(i) for i in np.unique(sites.index, axis=0)}
    site = (
        np.array([labels[tuple(i)] for i in sites.index], dtype=object)[sites.row(merged[entry])]
        if len(sites.place)
        else np.empty(0, dtype=object)
    )
    kind = np.where(is_atom[entry], "atom", "vacancy").astype(object)
    rows = pd.DataFrame(
        {
            "track": number,
            "kind": kind,
            "frame": log.frames[log.time[entry]] if len(entry) else np.empty(0, np.int64),
            "atom": pd.arrays.IntegerArray(atom, atom < 0),
            "x_px": seen[:, 0],
            "y_px": seen[:, 1],
            "x_ref_px": home[:, 0],
            "y_ref_px": home[:, 1],
            "site": site,
            "species": _species(log, woven)[entry],
            "p": p,
            "same": np.where(is_atom[entry], woven.same[entry], np.nan),
        }
    )
    return conform(rows.sort_values(["track", "frame"], ignore_index=True), TRACKS)


def _in_frame(log: Log, entry: Ints) -> Floats:
    """Positions in the frames themselves."""
    if not len(entry):
        return np.empty((0, 2))
    matrix = np.array([m.matrix for m in log.motions])[log.time[entry]]
    shift = np.array([m.shift for m in log.motions])[log.time[entry]]
    return np.asarray(np.einsum("ki,kij->kj", log.home[entry], matrix) + shift)


def _species(log: Log, woven: Woven) -> np.ndarray:
    """Species at each entry: that of the dopant's path, or the commonest of the track."""
    words = np.array([*log.words, ""], dtype=object)
    count = int(woven.track.max(initial=-1)) + 1
    votes = np.zeros((count + 1, len(words)))
    plain = woven.word < 0
    known = (log.word >= 0) & (woven.track >= 0) & plain
    np.add.at(votes, (woven.track[known], log.word[known]), log.sure[known])
    usual = np.where(votes.max(axis=1) > 0, votes.argmax(axis=1), -1)
    code = np.where(plain, usual[woven.track], woven.word)
    return words[np.where(woven.track >= 0, code, -1)]


def lives_table(tracks: pd.DataFrame, log: Log, shape: tuple[int, int] | None) -> pd.DataFrame:
    """One row per track: how long it was there, how it began and ended.

    Args:
        tracks: All rows, sorted by track, then frame.
        log: Of the tracker.
        shape: Of the frames; without it the extent of all positions is taken.
    """
    if not len(tracks):
        return pd.DataFrame(columns=LIVES)
    group = tracks.groupby("track", sort=True)
    head, tail = group.head(1), group.tail(1)
    low, high = tracks[["x_px", "y_px"]].min().to_numpy(), tracks[["x_px", "y_px"]].max().to_numpy()
    if shape is not None:
        low, high = np.zeros(2), np.array([shape[1], shape[0]]) - 1.0

    def near_border(rows: pd.DataFrame) -> Bools:
        xy = positions(rows)
        return np.asarray(np.minimum(xy - low, high - xy).min(axis=1) < _BORDER * log.spacing)

    first, last = (np.searchsorted(log.frames, t["frame"].to_numpy()) for t in (head, tail))
    start, end = first < _WAITING, last >= len(log.frames) - _WAITING
    is_atom = (head["kind"] == "atom").to_numpy()
    empty = ~is_atom & (head["kind"] == "vacancy").to_numpy()
    opened = set(zip(head["site"][empty], first[empty].tolist(), strict=True))
    left = [
        any((site, int(t) + k) in opened for k in (1, 2))
        for site, t in zip(tail["site"], last, strict=True)
    ]
    hole = is_atom & np.array(left, dtype=bool)
    death = np.select([hole, end, near_border(tail)], ["knock-on", "end", "border"], "inside")
    return pd.DataFrame(
        {
            "track": head["track"].to_numpy(),
            "kind": head["kind"].to_numpy(),
            "species": tail["species"].to_numpy(),
            "first": head["frame"].to_numpy(),
            "last": tail["frame"].to_numpy(),
            "hits": group["atom"].count().to_numpy(),
            "birth": np.where(start, "start", np.where(near_border(head), "border", "inside")),
            "death": death,
        }
    )
