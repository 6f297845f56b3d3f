"""Which objects rules or a taught classifier already speak of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.discover.novelty import Floats, Ints

HOST = 0.02  # defects of one name per atom, from which on the name speaks of the host
ON = 1.2  # spacings between the place of a defect and an object that it is part of
SHARED = 0.3  # of the atoms of a defect
COVER = 0.4  # of the weight of an object, from which on one defect accounts for it
SHELL = 1.5  # spacings around the atoms of a defect that it accounts for


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of each of n objects.

    Attributes:
        known: (n,) whether one named defect, or a taught structure, accounts for it.
        names: Names of the defects of which it is made, in alphabetical order.
        counts: Number of defects of each name, without those that speak of the host.
    """

    known: NDArray[np.bool_]
    names: tuple[tuple[str, ...], ...]
    counts: Mapping[str, int]


def known_of(
    table: pd.DataFrame,
    objects: Sequence[Ints],
    weight: Floats,
    defects: pd.DataFrame | None,
    spacing: float,
) -> Known:
    """Tell which objects are accounted for.

    An object in which two or more named defects meet is not: the rules name its parts.

    Args:
        table: N atoms.
        objects: Rows of each.
        weight: (N,) how strange each atom is.
        defects: Table of `columns.DEFECTS`.
        spacing: Between neighbours in px.
    """
    known = _taught(table, objects, weight)
    names: list[list[str]] = [[] for _ in objects]
    if defects is None or not len(defects):
        return Known(known, tuple(map(tuple, names)), {})
    named = _speaking(defects, len(table))
    xy = positions(table)
    row_of = {key: row for row, key in enumerate(zip(table["frame"], table["atom"], strict=True))}
    owner: dict[int, int] = {int(r): k for k, rows in enumerate(objects) for r in rows}
    trees = _trees(table, xy, objects)
    for defect in named.itertuples():
        frame = int(str(defect.frame))
        rows = [
            row_of[frame, int(a)] for a in str(defect.atoms).split() if (frame, int(a)) in row_of
        ]
        place = np.array([defect.x_px, defect.y_px], float)
        touched = {owner[r] for r in rows if r in owner} | _near(trees.get(frame), place, spacing)
        around = cKDTree(np.vstack([xy[rows], place]))
        for k in touched:
            own = objects[k]
            apart = around.query(xy[own])[0]
            near = apart < SHELL * spacing
            share = weight[own][near].sum() / max(weight[own].sum(), 1e-12)
            part = len(set(rows) & set(own.tolist())) >= max(1.0, SHARED * len(rows))
            on = np.linalg.norm(xy[own] - place, axis=1).min() < ON * spacing
            if part or on or share > 0.5:
                names[k].append(str(defect.name))
                known[k] |= share >= COVER
    several = np.array([len(parts) > 1 for parts in names], bool)
    parts = tuple(tuple(sorted(parts)) for parts in names)
    return Known(known & ~several, parts, Counter(named["name"].astype(str)))


def _speaking(defects: pd.DataFrame, atoms: int) -> pd.DataFrame:
    """Named defects, without names so common that they are those of the host."""
    named = defects[defects["known"].astype(bool)]
    counts = named["name"].map(named["name"].value_counts())
    return named[counts < max(HOST * atoms, 10)]


def _taught(table: pd.DataFrame, objects: Sequence[Ints], weight: Floats) -> NDArray[np.bool_]:
    if "structure" not in table:
        return np.zeros(len(objects), bool)
    word = table["structure"].fillna("").to_numpy(object) != ""
    shares = [(weight * word)[o].sum() / max(weight[o].sum(), 1e-12) for o in objects]
    return np.asarray(np.array(shares) >= 0.5, dtype=bool).reshape(len(objects))


Trees = dict[int, tuple[cKDTree, Ints]]


def _trees(table: pd.DataFrame, xy: Floats, objects: Sequence[Ints]) -> Trees:
    """Of each frame the atoms of its objects, and the objects that they are of."""
    frame = table["frame"].to_numpy()
    rows = np.concatenate([*objects, np.zeros(0, np.intp)])
    number = np.repeat(np.arange(len(objects)), [len(o) for o in objects])
    return {
        int(f): (cKDTree(xy[rows[frame[rows] == f]]), number[frame[rows] == f])
        for f in np.unique(frame[rows])
    }


def _near(tree: tuple[cKDTree, Ints] | None, place: Floats, spacing: float) -> set[int]:
    if tree is None or not np.isfinite(place).all():
        return set()
    return {int(tree[1][i]) for i in tree[0].query_ball_point(place, ON * spacing)}
