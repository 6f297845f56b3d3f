"""Named defects as tracked objects: linked by place and name, without the drift."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import DEFECTS, TRACKS, conform, positions
from atomscope.track.assign import one_to_one
from atomscope.track.log import Log
from atomscope.track.motion import Floats, Ints

_REACH = 2.2  # spacings: farthest that a defect goes between two frames
_RENAMED = 1.0  # spacings: as much as another name counts
_GAP = 8  # frames that a defect may be missed
_SAME = 0.6  # spacings: a named vacancy this near to an empty site is that one


def follow_defects(tracks: pd.DataFrame, defects: pd.DataFrame, log: Log) -> pd.DataFrame:
    """Return the tracks with those of defects added; `site` stays empty for them.

    A row named as a vacancy that lies on a vacancy of the tracks gives that one its number and
    name; all others are linked from frame to frame.
    """
    rows = conform(defects, DEFECTS)
    index = {int(f): i for i, f in enumerate(log.frames)}
    rows = rows[rows["frame"].isin(list(index)) & rows["x_px"].notna() & rows["y_px"].notna()]
    rows = rows.sort_values(["frame", "defect"], ignore_index=True)
    time = np.array([index[int(f)] for f in rows["frame"]], dtype=np.int64)
    xy = positions(rows)
    home = xy.copy()
    for t in np.unique(time):
        home[time == t] = log.motions[t].to_reference(xy[time == t])
    unit = log.spacing if np.isfinite(log.spacing) else 20.0
    number = _link(time, home, rows["name"].to_numpy(object), unit)
    first = int(tracks["track"].max()) + 1 if len(tracks) else 0
    p = rows["p"].to_numpy(float)
    added = pd.DataFrame(
        {
            "track": number + first,
            "kind": "defect",
            "frame": rows["frame"].to_numpy(),
            "atom": rows["defect"].astype("Int64").array,
            "x_px": xy[:, 0],
            "y_px": xy[:, 1],
            "x_ref_px": home[:, 0],
            "y_ref_px": home[:, 1],
            "species": rows["name"].to_numpy(object),
            "p": np.where(np.isfinite(p), p, 1.0),
        }
    )
    tracks, added = _name_vacancies(tracks, added, unit)
    joined = pd.concat([tracks, conform(added, TRACKS)], ignore_index=True)
    return conform(joined.sort_values(["track", "frame"], ignore_index=True), TRACKS)


def _name_vacancies(
    tracks: pd.DataFrame, added: pd.DataFrame, unit: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give vacancies their names and numbers, and leave these rows out of the defects."""
    empty = np.flatnonzero(tracks["kind"] == "vacancy")
    if not len(empty) or not len(added):
        return tracks, added
    far = 4 * unit  # frames become planes too far apart to meet
    columns = ["x_ref_px", "y_ref_px"]

    def points(rows: pd.DataFrame) -> Floats:
        return np.column_stack([rows[columns], rows["frame"] * far])

    tree = cKDTree(points(tracks.iloc[empty]))
    distance, which = tree.query(points(added), distance_upper_bound=_SAME * unit)
    same = np.isfinite(distance)
    tracks = tracks.copy()
    at = tracks.index[empty[which[same]]]
    tracks.loc[at, "atom"] = added["atom"].array[same]
    tracks.loc[at, "species"] = added["species"].to_numpy()[same]
    return tracks, added[~same]


def _link(time: Ints, home: Floats, name: np.ndarray, unit: float) -> Ints:
    """Number the objects so that the same one keeps its number."""
    number = np.full(len(time), -1)
    last = np.empty(0, dtype=np.int64)  # last row of each object
    for t in np.unique(time):
        rows = np.flatnonzero(time == t)
        open_ = np.flatnonzero(time[last] >= t - _GAP - 1) if len(last) else last
        if len(open_):
            before = last[open_]
            apart = np.linalg.norm(home[rows][:, None] - home[before][None], axis=-1) / unit
            cost = apart + _RENAMED * (name[rows][:, None] != name[before][None])
            i, j = np.nonzero(apart < _REACH)
            pairs = one_to_one(i, j, cost[i, j], _REACH + _RENAMED)
            number[rows[i[pairs]]] = open_[j[pairs]]
            last[open_[j[pairs]]] = rows[i[pairs]]
        new = rows[number[rows] < 0]
        number[new] = np.arange(len(last), len(last) + len(new))
        last = np.append(last, new)
    return number
