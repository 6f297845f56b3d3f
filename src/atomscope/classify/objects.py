"""What is taught: atoms, places (all that lies within a radius), bonds, or rings.

Places, bonds and rings are read as the mean embedding of their atoms: it is as free of turns,
mirrors and numbering as those of the atoms, and less noisy.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.classify.embedding import Embedded, frames_of
from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.graph import connect, rings

Kind = Literal["atom", "place", "bond", "ring"]
KINDS: tuple[str, ...] = get_args(Kind)
RADIUS = 2.5  # local spacings: of a place

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def objects(
    table: pd.DataFrame, seen: Embedded, kind: str, radius: float = RADIUS
) -> tuple[pd.DataFrame, Embedded]:
    """Return a table of objects and what they look like.

    Args:
        table: N atoms of one frame or more.
        seen: The same atoms, embedded.
        kind: 'atom' and 'place' leave the table as it is: every atom is the middle of a place.
            'bond' and 'ring' give one with frame, atom (number of the object), x_px, y_px (the
            middle) and atoms (rows of the table, joined by spaces).
        radius: Of a place, in local spacings.

    Raises:
        UsageError: There is no such kind, or the radius is none.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} can't be taught; expected one of {', '.join(KINDS)}.")
    if kind == "atom":
        return table, seen
    if kind == "place":
        return table, _places(table, seen, radius)
    parts = [_groups(table, rows, kind) for rows in frames_of(table)]
    members = [m for of_frame in parts for m in of_frame]
    return _table(table, seen, members)


def _places(table: pd.DataFrame, seen: Embedded, radius: float) -> Embedded:
    if not 0 < radius <= 20:
        raise UsageError(f"radius {radius}: expected up to 20 spacings, above 0.")
    values = np.full(seen.values.shape, np.nan)
    xy = positions(table)
    for every in frames_of(table):
        rows = every[seen.whole[every]]  # cut surroundings would spoil the mean
        if not len(rows):
            continue
        near = cKDTree(xy[rows]).query_ball_point(xy[rows], radius * seen.spacing[rows])
        count = np.array([len(n) for n in near])
        total = np.add.reduceat(
            seen.values[rows][np.concatenate(near).astype(np.intp)],
            np.append(0, np.cumsum(count)[:-1]),
        )
        values[rows] = total / count[:, None]
    return Embedded(values, seen.whole, seen.spacing)


def _groups(table: pd.DataFrame, rows: Ints, kind: str) -> list[Ints]:
    """Rows of the table of each bond or ring of one frame."""
    if len(rows) < 2:
        return []
    graph = connect(table.iloc[rows])
    if kind == "bond":
        return [rows[pair] for pair in graph.bonds]
    found = rings(graph)
    return [rows[m[m >= 0]] for m in found.members]


def _table(
    table: pd.DataFrame, seen: Embedded, members: list[Ints]
) -> tuple[pd.DataFrame, Embedded]:
    frame = table["frame"].to_numpy() if "frame" in table else np.zeros(len(table), int)
    xy = positions(table)
    middle = np.array([xy[m].mean(axis=0) for m in members]).reshape(-1, 2)
    made = pd.DataFrame(
        {
            "frame": [int(frame[m[0]]) for m in members],
            "atom": np.arange(len(members)),
            "x_px": middle[:, 0],
            "y_px": middle[:, 1],
            "atoms": [" ".join(map(str, m)) for m in members],
        }
    )
    size = seen.values.shape[1]
    values = np.array([seen.values[m].mean(axis=0) for m in members]).reshape(-1, size)
    whole = np.array([seen.whole[m].all() for m in members], dtype=bool)
    spacing = np.array([seen.spacing[m].mean() for m in members])
    return made, Embedded(values, whole, spacing)
