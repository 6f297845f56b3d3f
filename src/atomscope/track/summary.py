"""Counts, rates with confidence intervals, dwell times and diffusion constants of a movie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from atomscope.errors import UsageError
from atomscope.intervals import poisson_interval
from atomscope.track.motion import Floats
from atomscope.track.states import States, coordination_states, dopant_tracks, pair_states
from atomscope.track.tracking import Tracking, check_times


@dataclass(frozen=True)
class Summary:
    """Statistics of the events of a movie.

    Attributes:
        rates: One row per kind and change: kind, from, to, count (events of the table), expected
            (number that the hidden Markov chain expects, else the count), exposure (frames in
            which it could have happened, over all tracks), rate, low, high (per frame), and the
            same per second and per unit of dose where these are known.
        dwells: Times in a state: kind, track, state, frames, seconds, whole (False where the
            movie began or ended meanwhile).
        diffusion: Of each dopant: track, species, hops, exposure, D (px² per frame), low, high,
            and D_s (px²/s) where times are known.
    """

    rates: pd.DataFrame
    dwells: pd.DataFrame
    diffusion: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for JSON."""
        return {
            name: [
                {k: None if pd.isna(v) else v for k, v in row.items()}
                for row in getattr(self, name).to_dict("records")
            ]
            for name in ("rates", "dwells", "diffusion")
        }


def summary(
    events: pd.DataFrame,
    tracking: Tracking,
    *,
    times: Sequence[float] | None = None,
    dose_per_frame: float | None = None,
    level: float = 0.95,
) -> Summary:
    """Summarise the events of a movie.

    Args:
        events: What `find_events` found.
        tracking: What `track` found.
        times: Of each frame in s; the mean time of a frame turns rates into those per second.
        dose_per_frame: In e/Å² (or any other unit).
        level: Of the intervals.

    Raises:
        UsageError: Times run backwards, the dose is not above 0, or the level not within 0 to 1.
    """
    clock = check_times(times, len(tracking.frames))
    if dose_per_frame is not None and not dose_per_frame > 0:
        raise UsageError(f"dose_per_frame={dose_per_frame:g}; expected a number above 0.")
    if not 0 < level < 1:
        raise UsageError(f"level={level:g}; expected a number between 0 and 1, such as 0.95.")
    step = float(np.diff(clock).mean()) if clock is not None and len(clock) > 1 else np.nan
    chains = coordination_states(tracking) + pair_states(tracking)
    rates = [*_chain_rates(chains, events, tracking), *_plain_rates(events, tracking)]
    table = pd.DataFrame(rates, columns=["kind", "from", "to", "count", "expected", "exposure"])
    return Summary(
        _with_intervals(table, level, {"s": step, "dose": dose_per_frame or np.nan}),
        _dwells(chains, step),
        _diffusion(events, tracking, level, step),
    )


def _with_intervals(table: pd.DataFrame, level: float, units: dict[str, float]) -> pd.DataFrame:
    bounds = np.array([poisson_interval(n, level) for n in table["expected"]]).reshape(-1, 2)
    exposure = np.maximum(table["exposure"].to_numpy(float), 1e-9)
    values = {
        "rate": table["expected"].to_numpy(float) / exposure,
        "low": bounds[:, 0] / exposure,
        "high": bounds[:, 1] / exposure,
    }
    table = table.assign(**values)
    for unit, size in units.items():
        if np.isfinite(size):
            table = table.assign(**{f"{k}_{unit}": v / size for k, v in values.items()})
    return table


def _chain_rates(
    chains: list[States], events: pd.DataFrame, tracking: Tracking
) -> list[dict[str, Any]]:
    """Rates of switches from the chains: misread frames neither add nor hide events."""
    sums: dict[tuple[str, str, str], Floats] = {}
    for states in chains:
        time = np.searchsorted(tracking.frames, states.frames)
        # a chain steps over frames in which the atom was missed
        stretch = float(time[-1] - time[0]) / max(len(time) - 1, 1)
        still = len(np.unique(states.chain.state)) == 1  # all else was misread
        for a, before in enumerate(states.names):
            if not (states.chain.state == a).any():
                continue
            stay = float(states.chain.posterior[:-1, a].sum()) * stretch
            for b, after in enumerate(states.names):
                if a != b:
                    key = (states.kind, before, after)
                    pair = np.array([0.0 if still else states.chain.changes[a, b], stay])
                    sums[key] = sums.get(key, np.zeros(2)) + pair
    rows = []
    for (kind, before, after), (expected, exposure) in sorted(sums.items()):
        name = kind if kind == "switch" else {"apart": "dimer", "dimer": "break-up"}[before]
        count = (events["kind"] == name) & (events["from"] == before) & (events["to"] == after)
        rows.append(
            {
                "kind": name,
                "from": before,
                "to": after,
                "count": int(count.sum()),
                "expected": float(expected),
                "exposure": float(exposure),
            }
        )
    return rows


def _plain_rates(events: pd.DataFrame, tracking: Tracking) -> list[dict[str, Any]]:
    """Rates of what is counted as it is: per dopant and frame, or per frame."""
    frames = max(len(tracking.frames) - 1, 0)
    lives = tracking.lives
    span = np.searchsorted(tracking.frames, lives["last"].to_numpy(np.int64)) - np.searchsorted(
        tracking.frames, lives["first"].to_numpy(np.int64)
    )
    dopants = float(span[lives["track"].isin(dopant_tracks(tracking)).to_numpy()].sum())
    empty = float(span[(lives["kind"] == "vacancy").to_numpy()].sum())
    exposure = {"hop": dopants, "healing": empty, "migration": empty}
    kinds = ("hop", "rotation", "creation", "growth", "healing", "migration", "border")
    rows = []
    for kind in kinds:
        count = int((events["kind"] == kind).sum())
        if count or (kind == "hop" and dopants):
            time = exposure.get(kind, float(frames))
            rows.append(
                {
                    "kind": kind,
                    "from": "",
                    "to": "",
                    "count": count,
                    "expected": float(count),
                    "exposure": time,
                }
            )
    return rows


def _dwells(chains: list[States], step: float) -> pd.DataFrame:
    rows = []
    for states in chains:
        state, frames = states.chain.state, states.frames
        edges = np.concatenate([[0], np.flatnonzero(np.diff(state)) + 1, [len(state)]])
        for a, b in pairwise(edges.tolist()):
            until = frames[b] if b < len(frames) else frames[-1] + 1
            length = int(until - frames[a])
            rows.append(
                {
                    "kind": states.kind,
                    "track": states.track,
                    "state": states.names[state[a]],
                    "frames": length,
                    "seconds": length * step,
                    "whole": bool(a > 0 and b < len(state)),
                }
            )
    return pd.DataFrame(rows, columns=["kind", "track", "state", "frames", "seconds", "whole"])


def _diffusion(events: pd.DataFrame, tracking: Tracking, level: float, step: float) -> pd.DataFrame:
    """D = n d² / (4 t) of a random walk of n hops of mean square length d² in the time t."""
    rows = []
    hops = events[events["kind"] == "hop"]
    place = tracking.tracks.set_index(["track", "frame"])[["x_ref_px", "y_ref_px"]]
    lives = tracking.lives.set_index("track")
    for track in dopant_tracks(tracking):
        mine = hops[hops["track"] == track]
        life = lives.loc[track]
        time = float(np.searchsorted(tracking.frames, life["last"]))
        time -= float(np.searchsorted(tracking.frames, life["first"]))
        square = tracking.spacing**2
        if len(mine):
            pairs = [[int(f) for f in text.split()] for text in mine["frames"]]
            ends = [place.loc[[(track, a), (track, b)]].to_numpy() for a, b in pairs]
            square = float(np.mean([np.sum((e[1] - e[0]) ** 2) for e in ends]))
        if time <= 0:
            continue
        low, high = poisson_interval(len(mine), level)
        unit = square / 4 / time
        rows.append(
            {
                "track": int(track),
                "species": life["species"],
                "hops": len(mine),
                "exposure": time,
                "D": len(mine) * unit,
                "low": low * unit,
                "high": high * unit,
                "D_s": len(mine) * unit / step,
            }
        )
    columns = ["track", "species", "hops", "exposure", "D", "low", "high", "D_s"]
    return pd.DataFrame(rows, columns=columns)
