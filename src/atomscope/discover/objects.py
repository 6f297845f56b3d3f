"""Atoms that are strange and near to each other are one object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.discover.novelty import START, Floats, Ints, Tail, tail_of

FALSE = 0.2  # atoms of a table that noise alone may take over the threshold
EDGE = 0.01  # share of host atoms that an object may take in at its rim
REACH = 2.3  # spacings within which the strangest atom is looked for: like sites side by side
LINK = 1.8  # spacings over which strange atoms are one object: across a vacancy in a honeycomb
PEAK = 0.7  # of the score of the strangest atom within reach
RIM = 1.5  # spacings from them to less strange atoms that belong to it
FAR = 2.5  # spacings from all that is strange: undisturbed host
MARGIN = 3.5  # spacings from the rim of the table: nearer, surroundings are cut in two rounds
MOST = 60  # atoms of an object: borders, edges and grains are none


@dataclass(frozen=True, eq=False)
class Objects:
    """Connected strange atoms of all frames.

    Attributes:
        rows: Rows of the table of each object.
        tail: Of the scores of the host.
        threshold: Score that one atom of each exceeds.
        extended: How many were left out because they have more than `MOST` atoms.
    """

    rows: tuple[Ints, ...]
    tail: Tail
    threshold: float
    extended: int


def inside(xy: Floats, frame: NDArray[np.int64], spacing: Floats) -> NDArray[np.bool_]:
    """Tell (N,) which atoms are far enough from the rim of their frame's atoms."""
    found = np.zeros(len(xy), bool)
    for number in np.unique(frame):
        rows = np.flatnonzero((frame == number) & np.isfinite(xy).all(axis=1))
        if len(rows):
            here = xy[rows]
            room = np.minimum(here - here.min(axis=0), here.max(axis=0) - here).min(axis=1)
            found[rows] = room > MARGIN * spacing[rows]
    return found


def objects_of(table: pd.DataFrame, score: Floats, spacing: float) -> Objects:
    """Join strange atoms to objects.

    Args:
        table: N atoms of one or more frames.
        score: (N,), NaN where the surroundings are cut.
        spacing: Between neighbours in px.
    """
    xy = positions(table)
    frame = table["frame"].to_numpy(np.int64)
    known = np.nan_to_num(score, nan=-np.inf)
    apart = np.full(len(xy), np.inf)
    for number in np.unique(frame):
        rows = np.flatnonzero((frame == number) & np.isfinite(xy).all(axis=1))
        strange = rows[known[rows] > START]
        if len(strange):
            apart[rows] = cKDTree(xy[strange]).query(xy[rows])[0]
    tail = tail_of(score, apart, FAR * spacing)
    threshold, low = tail.score(FALSE), tail.score(EDGE * tail.count)
    found: list[Ints] = []
    for number in np.unique(frame):
        here = np.flatnonzero((frame == number) & (known > low))
        clear = (threshold + low) / 2
        found += [here[part] for part in _parts(xy[here], known[here], clear, spacing)]
    found = [rows for rows in found if known[rows].max() > threshold]
    small = tuple(rows for rows in found if len(rows) <= MOST)
    return Objects(small, tail, threshold, len(found) - len(small))


def _parts(xy: Floats, score: Floats, clear: float, spacing: float) -> list[Ints]:
    """Sets of connected strange points; each takes the others at its rim that are nearest to it.

    Around a very strange atom all others look strange to a network that sees two shells. Hence
    only those connect that are not much less strange than the strangest one near to them.
    """
    strange = np.flatnonzero(score > clear)
    pairs = cKDTree(xy[strange]).query_pairs(REACH * spacing, output_type="ndarray")
    peak = score[strange]
    np.maximum.at(peak, pairs.ravel(), score[strange[pairs[:, ::-1].ravel()]])
    inner = score[strange] >= PEAK * peak
    core = strange[inner]
    if not len(core):
        return []
    tree = cKDTree(xy[core])
    pairs = tree.query_pairs(LINK * spacing, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(core), len(core)))
    label = connected_components(links, directed=False)[1]
    rim = np.setdiff1d(np.arange(len(xy)), core)
    apart, nearest = tree.query(xy[rim])
    taken = apart < RIM * spacing
    rows = np.concatenate([core, rim[taken]])
    label = np.concatenate([label, label[nearest[taken]]])
    order = np.lexsort((rows, label))
    return np.split(rows[order], np.flatnonzero(np.diff(label[order])) + 1)
