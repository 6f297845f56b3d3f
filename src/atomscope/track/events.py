"""What happened: one row per event, with its probability and the frames that show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import EVENTS, conform, positions
from atomscope.track.motion import Floats
from atomscope.track.rotation import find_rotors
from atomscope.track.states import (
    States,
    coordination_states,
    dopant_tracks,
    pair_states,
    phase_states,
)
from atomscope.track.tracking import Tracking, check_times

_AROUND = 3  # frames before and after a change that speak for it
_START = 3  # frames at the beginning: a vacancy seen in these was there before
_LINE = 1.25  # lattice vectors: nearer vacancies belong to one line or hole
_JUMP = 0.7  # spacings: a step off the lattice that is a hop
_NAMES = {"dimer": ("break-up", "dimer")}

Row = dict[str, Any]


def find_events(
    tracking: Tracking,
    *,
    times: Sequence[float] | None = None,
    dose_per_frame: float | None = None,
) -> pd.DataFrame:
    """Find what happened to the dopants, vacancies and groups of a movie.

    Kinds: `hop` (a dopant changes its site), `switch` (its coordination), `dimer` and `break-up`
    (two dopants become neighbours, or part), `rotation` (a rigid group turns; degrees),
    `creation`, `healing` and `migration` (of a vacancy), `growth` (a vacancy joins others; from
    and to are numbers of sites), `border` (atoms change their phase, as a border passes).

    Args:
        tracking: What `track` found.
        times: Of each frame in s.
        dose_per_frame: In e/Å²; with it the table gets the column `dose`, up to the event.

    Returns:
        A table with the columns of `atomscope.columns.EVENTS`, in the order of time.

    Raises:
        UsageError: Times run backwards, or there are too few.
    """
    clock = check_times(times, len(tracking.frames))
    rows = [
        *_hops(tracking),
        *(r for s in coordination_states(tracking) for r in _changes(s)),
        *(r for s in pair_states(tracking) for r in _changes(s)),
        *_borders(tracking),
        *_rotations(tracking),
        *_vacancies(tracking),
    ]
    table = pd.DataFrame(rows, columns=[c.name for c in EVENTS if c.name not in ("event", "time")])
    table = table.sort_values(["frame", "kind", "track"], ignore_index=True)
    at = np.searchsorted(tracking.frames, table["frame"].to_numpy(np.int64))
    table["event"] = np.arange(len(table))
    table["time"] = np.nan if clock is None else clock[at]
    if dose_per_frame is not None:
        table["dose"] = dose_per_frame * (at + 1)
    return conform(table, EVENTS)


def _row(kind: str, track: int, frame: int, xy: Floats, p: float, frames: Sequence[int]) -> Row:
    return {
        "frame": frame,
        "kind": kind,
        "track": track,
        "p": float(np.clip(p, 0, 1)),
        "x_px": float(xy[0]),
        "y_px": float(xy[1]),
        "frames": " ".join(str(int(f)) for f in frames),
    }


def _hops(tracking: Tracking) -> list[Row]:
    """Steps of dopants from site to site, or off the lattice by more than an error."""
    rotors = {t for rotor in find_rotors(tracking) for t in rotor.tracks}
    found = []
    tracks = tracking.tracks
    tracks = tracks[tracks["track"].isin(dopant_tracks(tracking)) & (tracks["kind"] == "atom")]
    for name, rows in tracks.groupby("track"):
        if int(str(name)) in rotors:
            continue
        site, frame = rows["site"].to_numpy(object), rows["frame"].to_numpy(np.int64)
        home, p = rows[["x_ref_px", "y_ref_px"]].to_numpy(float), rows["p"].to_numpy(float)
        seen = np.flatnonzero(rows["atom"].notna())
        apart = np.hypot(*np.diff(home[seen], axis=0).T) / tracking.spacing
        other = site[seen][1:] != site[seen][:-1]
        for k in np.flatnonzero(other & (apart > 0.5) | (apart > _JUMP)):
            a, b = seen[k], seen[k + 1]
            if site[a] and site[a] == site[b]:
                continue
            xy = positions(rows)[b]
            row = _row("hop", int(str(name)), frame[b], xy, _best(p, a, b), [frame[a], frame[b]])
            found.append(row | {"from": site[a], "to": site[b]})
    return found


def _best(p: Floats, a: int, b: int) -> float:
    """Probability that the state before was one and the state after was the other."""
    before, after = p[max(a - _AROUND + 1, 0) : a + 1], p[b : b + _AROUND]
    return float(np.nanmax(before) * np.nanmax(after))


def _changes(states: States) -> list[Row]:
    chain, frames = states.chain, states.frames
    found = []
    for t in np.flatnonzero(np.diff(chain.state)) + 1:
        a, b = chain.state[t - 1], chain.state[t]
        before = chain.posterior[max(t - _AROUND, 0) : t, a].max()
        after = chain.posterior[t : t + _AROUND, b].max()
        kind = _NAMES[states.kind][b] if states.kind in _NAMES else states.kind
        shown = [frames[t - 1], frames[t]]
        row = _row(kind, states.track, frames[t], states.xy[t], before * after, shown)
        found.append(row | {"from": states.names[a], "to": states.names[b]})
    return found


def _borders(tracking: Tracking) -> list[Row]:
    """Changes of phase; those in one frame and place are one motion of the border."""
    rows = [r for s in phase_states(tracking) for r in _changes(s)]
    if not rows:
        return []
    table = pd.DataFrame(rows)
    found = []
    for (frame, before, after), group in table.groupby(["frame", "from", "to"]):
        xy = group[["x_px", "y_px"]].mean().to_numpy()
        p = 1 - float(np.prod(1 - group["p"]))
        shown = [int(f) for f in str(group["frames"].iloc[0]).split()]
        row = _row("border", int(group["track"].iloc[0]), int(str(frame)), xy, p, shown)
        found.append(row | {"from": f"{before} {len(group)}", "to": f"{after} {len(group)}"})
    return found


def _rotations(tracking: Tracking) -> list[Row]:
    found = []
    for rotor in find_rotors(tracking):
        for t, before, after, p in rotor.steps():
            shown = [rotor.frames[t - 1], rotor.frames[t]]
            row = _row("rotation", rotor.tracks[0], rotor.frames[t], rotor.xy[t], p, shown)
            found.append(row | {"from": f"{before:.1f}", "to": f"{after:.1f}"})
    return found


def _vacancies(tracking: Tracking) -> list[Row]:
    tracks = tracking.tracks[tracking.tracks["kind"] == "vacancy"]
    if not len(tracks):
        return []
    found = []
    order = {int(f): i for i, f in enumerate(tracking.frames)}
    for name, rows in tracks.groupby("track"):
        number = int(str(name))
        frame, site = rows["frame"].to_numpy(np.int64), rows["site"].to_numpy(object)
        xy, p = positions(rows), rows["p"].to_numpy(float)
        if order[int(frame[0])] >= _START:
            before = tracking.frames[order[int(frame[0])] - 1]
            sure = float(np.max(p[: 2 * _AROUND]))
            row = _row("creation", number, frame[0], xy[0], sure, [before, frame[0]])
            found.append(row | {"from": "", "to": site[0]})
        for k in (np.flatnonzero(site[1:] != site[:-1]) + 1).tolist():
            shown = [frame[k - 1], frame[k]]
            row = _row("migration", number, frame[k], xy[k], _best(p, k - 1, k), shown)
            found.append(row | {"from": site[k - 1], "to": site[k]})
        after = order[int(frame[-1])] + 1
        if after < len(tracking.frames) and _filled(tracking, site[-1], tracking.frames[after]):
            shown = [frame[-1], tracking.frames[after]]
            sure = float(np.max(p[-2 * _AROUND :]))
            row = _row("healing", number, tracking.frames[after], xy[-1], sure, shown)
            found.append(row | {"from": site[-1], "to": ""})
    return found + _growth(tracking, [r for r in found if r["kind"] == "creation"], tracks)


def _filled(tracking: Tracking, site: str, frame: int) -> bool:
    """Whether an atom is at a site in a frame or soon after."""
    rows = tracking.tracks
    here = (rows["site"] == site) & (rows["kind"] == "atom")
    return bool((here & rows["frame"].between(frame, frame + _AROUND)).any())


def _growth(tracking: Tracking, created: list[Row], tracks: pd.DataFrame) -> list[Row]:
    """Creations beside other vacancies, with the number of sites before and after."""
    if tracking.lattice is None:
        return []
    reach = _LINE * float(np.linalg.norm(tracking.lattice.vectors, axis=1).min())
    found = []
    for row in created:
        here = tracks[tracks["frame"] == row["frame"]]
        mine = np.flatnonzero(here["track"] == row["track"])
        if not len(mine):
            continue
        tree = cKDTree(here[["x_ref_px", "y_ref_px"]].to_numpy(float))
        group, front = {int(mine[0])}, [int(mine[0])]
        while front:
            near = set(tree.query_ball_point(tree.data[front.pop()], reach)) - group
            group |= near
            front += sorted(near)
        if len(group) > 1:
            found.append(
                row | {"kind": "growth", "from": str(len(group) - 1), "to": str(len(group))}
            )
    return found
