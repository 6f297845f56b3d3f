"""What a track was in each frame: coordination, bonded or not, phase; smoothed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.track.hmm import Chain, smooth
from atomscope.track.motion import Floats, Ints
from atomscope.track.tracker import RARE
from atomscope.track.tracking import Tracking

_BONDED = 1.37  # spacings: between first and second neighbours of a honeycomb
_DOUBT = 0.02  # share of frames in which a distance misleads
_MISCOUNT = 0.05  # share of frames with a wrong number of bonds, before it is estimated
_SHARE = 0.02  # of the readings: states with fewer are misreadings
_FEWEST = 2  # readings of a state
PHASES = ("phase", "structure")  # columns that name the phase around an atom


@dataclass(frozen=True)
class States:
    """The states of one track, or of a pair.

    Attributes:
        kind: switch, dimer or phase.
        track: Track, or the first of a pair.
        frames: Numbers of the frames, shape (T,).
        names: Of the states, shape (K,).
        chain: The smoothed states.
        xy: Position in the frame, px, shape (T, 2).
    """

    kind: str
    track: int
    frames: Ints
    names: list[str]
    chain: Chain
    xy: Floats


def dopant_tracks(tracking: Tracking) -> Ints:
    """Tracks of atoms of rare species; all of them where no species is known."""
    lives = tracking.lives[tracking.lives["kind"] == "atom"]
    if not len(lives):
        return np.empty(0, np.int64)
    share = lives["species"].map(lives["species"].value_counts(normalize=True))
    named = (lives["species"] != "").to_numpy(bool)
    rare = (share < RARE).to_numpy(bool) & named
    tracks = lives["track"].to_numpy(np.int64)
    return np.asarray(tracks[rare] if named.any() else tracks)


def coordination_states(tracking: Tracking) -> list[States]:
    """Coordination of each dopant, where it takes more than one value."""
    if "coordination" not in tracking.atoms:
        return []
    found = []
    for track, rows in _rows_of(tracking, dopant_tracks(tracking)):
        reading = rows["coordination"].astype("Float64").to_numpy(float, na_value=np.nan)
        states = _states("switch", track, rows, reading, np.full(len(rows), _MISCOUNT))
        found += [states] if states is not None else []
    return found


def phase_states(tracking: Tracking) -> list[States]:
    """Phase around each atom, where a column names it and it takes more than one value."""
    column = next((c for c in PHASES if c in tracking.atoms), None)
    if column is None:
        return []
    tracks = tracking.lives.loc[tracking.lives["kind"] == "atom", "track"].to_numpy(np.int64)
    found = []
    for track, rows in _rows_of(tracking, tracks):
        word = rows[column].to_numpy(dtype=object)
        word = np.where(pd.isna(word), "", word)
        if len(set(word) - {""}) < 2:
            continue
        states = _states("phase", track, rows, word, _doubt(rows, f"{column}_p"))
        found += [states] if states is not None else []
    return found


def pair_states(tracking: Tracking) -> list[States]:
    """Whether two dopants are neighbours, for each pair that is so in any frame."""
    if not np.isfinite(tracking.spacing):
        return []
    rows = tracking.tracks
    rows = rows[rows["track"].isin(dopant_tracks(tracking)) & (rows["kind"] == "atom")]
    if not (rows["species"] != "").any():
        return []
    found = []
    by_track = {int(str(k)): g.set_index("frame") for k, g in rows.groupby("track")}
    for a, b in sorted(_close_pairs(rows, _BONDED * tracking.spacing)):
        both = by_track[a].join(by_track[b], rsuffix="_b", how="inner")
        ours, theirs = (both[[f"x_ref_px{e}", f"y_ref_px{e}"]].to_numpy(float) for e in ("", "_b"))
        near = np.hypot(*(ours - theirs).T) < _BONDED * tracking.spacing
        chain = smooth(near.astype(np.int64), np.full(len(near), _DOUBT), 2)
        xy = positions(both)
        names = ["apart", "dimer"]
        found.append(States("dimer", a, both.index.to_numpy(np.int64), names, chain, xy))
    return found


def _close_pairs(rows: pd.DataFrame, reach: float) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    if rows["track"].nunique() < 2:
        return pairs
    for _, group in rows.groupby("frame"):
        number = group["track"].to_numpy()
        xy = group[["x_ref_px", "y_ref_px"]].to_numpy(float)
        for i, j in cKDTree(xy).query_pairs(reach):
            a, b = sorted((int(number[i]), int(number[j])))
            pairs.add((a, b))
    return pairs


def _rows_of(tracking: Tracking, tracks: Ints) -> list[tuple[int, pd.DataFrame]]:
    """Rows of the table of atoms of each of some tracks, in the order of time."""
    atoms = tracking.atoms
    rows = atoms[atoms["track"].isin(tracks)].sort_values("frame", kind="stable")
    return [(int(str(k)), group) for k, group in rows.groupby("track")]


def _doubt(rows: pd.DataFrame, column: str) -> Floats:
    if column not in rows:
        return np.full(len(rows), 0.05)
    p = rows[column].to_numpy(float)
    return np.asarray(np.clip(1 - np.where(np.isfinite(p), p, 0.95), 0.005, 0.5))


def _states(
    kind: str, track: int, rows: pd.DataFrame, reading: np.ndarray, doubt: Floats
) -> States | None:
    """Smooth the readings of a track; None where it has but one state."""
    empty = pd.isna(reading) | (reading == "")
    values, count = np.unique(reading[~empty], return_counts=True)
    good = count >= max(_FEWEST, _SHARE * count.sum())
    values = values[good]
    if len(values) < 2:
        return None
    code = np.full(len(reading), -1)
    for i, value in enumerate(values):
        code[reading == value] = i
    chain = smooth(code, doubt, len(values))
    names = [str(v) if isinstance(v, str) else f"{v:g}" for v in values]
    xy = positions(rows)
    return States(kind, track, rows["frame"].to_numpy(np.int64), names, chain, xy)
