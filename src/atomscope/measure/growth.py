"""Lines through a movie: which line of one frame is which of the next, and what it did."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.measure.field import Field
from atomscope.measure.lines import LatticeRow
from atomscope.rules.findings import Floats, joined
from atomscope.track.motion import Model, Motion, register

_SAME = 0.4  # spacings: a vacancy stays within


def motions(found: list[Field], tracks: pd.DataFrame | None) -> list[Motion]:
    """Map of each frame from the one before, the first from itself.

    The drift is what the tracks say (x_px against x_ref_px); without them atoms are laid on
    those of the frame before (`track.motion.register`).
    """
    drift = _drift(tracks)
    moved = [Motion()] * min(len(found), 1)
    for before, field in itertools.pairwise(found):
        if before.frame in drift and field.frame in drift:
            moved.append(Motion(shift=drift[field.frame] - drift[before.frame]))
            continue
        common = np.full(len(before.xy), -1), np.full(len(field.xy), -1)
        known = Model(before.xy, common[0], before.spacing, 0.1 * before.spacing)
        moved.append(register(known, field.xy, common[1], Motion()))
    return moved


def _drift(tracks: pd.DataFrame | None) -> dict[int, Floats]:
    if tracks is None or tracks.empty:
        return {}
    away = tracks.assign(
        dx=tracks["x_px"] - tracks["x_ref_px"], dy=tracks["y_px"] - tracks["y_ref_px"]
    )
    middle = away.groupby("frame")[["dx", "dy"]].median().dropna()
    return {
        int(str(f)): np.asarray(v, float)
        for f, v in zip(middle.index, middle.to_numpy(), strict=True)
    }


def grown(
    frames: list[list[LatticeRow]], moved: list[Motion], found: list[Field]
) -> tuple[list[list[int]], list[dict[str, Any]]]:
    """Follow lines from frame to frame.

    Two lines of consecutive frames belong together where they share a vacancy, that is within 0.4
    spacings of the same place once the drift is taken off. Of lines that merge the longest one
    lives on, and of those into which one splits the longest carries its life.

    Args:
        frames: Lines of each frame.
        moved: Map of each frame from the one before.
        found: The frames.

    Returns:
        The life of each line, and the rows of `tables.LINE_EVENTS`.
    """
    lives: list[list[int]] = []
    events: list[dict[str, Any]] = []
    born = 0
    for n, lines in enumerate(frames):
        before = frames[n - 1] if n else []
        shared = _shared(before, lines, moved[n], found[n].spacing) if n else {}
        life = _inherited(before, lines, shared, lives[-1] if n else [])
        for k, number in enumerate(life):
            if number < 0:
                life[k], born = born, born + 1
        lives.append(life)
        if n:
            events += [{"frame": found[n].frame, **e} for e in _happened(before, lines, shared)]
    return lives, events


def _shared(
    before: list[LatticeRow], lines: list[LatticeRow], motion: Motion, spacing: float
) -> dict[tuple[int, int], int]:
    """Vacancies that a line of the frame before and one of this frame have in common."""
    shared: dict[tuple[int, int], int] = {}
    if not before or not lines:
        return shared
    tree = cKDTree(np.concatenate([motion.to_frame(line.places) for line in before]))
    owner = np.repeat(np.arange(len(before)), [len(line.sites) for line in before])
    for number, line in enumerate(lines):
        for near in tree.query_ball_point(line.places, _SAME * spacing):
            for old in {int(owner[i]) for i in near}:
                shared[old, number] = shared.get((old, number), 0) + 1
    return shared


def _inherited(
    before: list[LatticeRow],
    lines: list[LatticeRow],
    shared: dict[tuple[int, int], int],
    lives: list[int],
) -> list[int]:
    """Life of each line, -1 for a new one; who has most in common comes first."""
    life, taken = [-1] * len(lines), set[int]()
    rank = {
        (old, new): (count, len(before[old].sites), len(lines[new].sites), -old, -new)
        for (old, new), count in shared.items()
    }
    for old, new in sorted(rank, key=lambda pair: rank[pair], reverse=True):
        if life[new] < 0 and old not in taken:
            life[new] = lives[old]
            taken.add(old)
    return life


def _happened(
    before: list[LatticeRow], lines: list[LatticeRow], shared: dict[tuple[int, int], int]
) -> list[dict[str, Any]]:
    """What happened between two frames; lines that stayed as they were are left out."""
    count = len(before)
    sets = joined(count + len(lines), [(old, count + new) for old, new in shared])
    found = []
    for members in sets:
        old = [m for m in members if m < count]
        new = [m - count for m in members if m >= count]
        sizes = (
            len({int(s) for m in old for s in before[m].sites}),
            len({int(s) for m in new for s in lines[m].sites}),
        )
        kind = _kind(len(old), len(new), sizes)
        if kind:
            found.append(
                {
                    "kind": kind,
                    "from": " ".join(map(str, old)),
                    "to": " ".join(map(str, new)),
                    "sites_from": sizes[0],
                    "sites_to": sizes[1],
                }
            )
    return found


def _kind(old: int, new: int, sizes: tuple[int, int]) -> str:
    if not old:
        return "appear"
    if not new:
        return "vanish"
    if old == new == 1:
        change = int(np.sign(sizes[1] - sizes[0]))
        return {1: "grow", -1: "shrink", 0: ""}[change]
    if new == 1:
        return "merge"
    return "split" if old == 1 else "exchange"
