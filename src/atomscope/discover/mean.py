"""Occurrences laid over each other: the mean structure of a configuration and its scatter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.discover.novelty import Floats, Ints

RIM = 1.6  # spacings of host around an object that help to lay it over others
TOUCH = 0.4  # spacings between an atom and its partner
ANCHORS, ENDS = 4, 8  # atoms of an occurrence that may be the anchor and the end of the reference
LENGTH = 0.35  # spacings by which their distance may differ
VIEWS = 60  # occurrences that are laid over each other, spread evenly


@dataclass(frozen=True, eq=False)
class Pose:
    """How an occurrence lies on the first one: aligned = place @ matrix.T + shift, in px.

    Attributes:
        frame: Of the movie.
        matrix: Rotation (2, 2), with a mirror where its determinant is -1.
        shift: (2,).
        misfit: Root mean square distance of its atoms from those of the mean; NaN where less
            than half of them have a partner.
        occurrence: Its number.
    """

    frame: int
    matrix: Floats
    shift: Floats
    misfit: float
    occurrence: int


@dataclass(frozen=True, eq=False)
class Average:
    """The mean structure of a configuration, where its clearest occurrence lies.

    Attributes:
        frame: Of that occurrence.
        centre: (2,) middle of its strange atoms in px.
        points: (R, 2) mean positions in px of the strange atoms and those around.
        atoms: (R,) their numbers in that occurrence.
        core: (R,) whether the atom is strange.
        scatter: (R,) rms distance in px of the occurrences from the mean; NaN for one alone.
        species: (R,) commonest species, words.
        poses: Of each occurrence that could be laid over.
    """

    frame: int
    centre: Floats
    points: Floats
    atoms: NDArray[np.int64]
    core: NDArray[np.bool_]
    scatter: Floats
    species: NDArray[np.object_]
    poses: tuple[Pose, ...]

    def in_place(self, atoms: pd.DataFrame) -> pd.DataFrame:
        """Return the atoms of its frame, those of the occurrence at their mean places."""
        here = atoms[atoms["frame"] == self.frame] if "frame" in atoms else atoms
        here = here.reset_index(drop=True)
        number = here["atom"] if "atom" in here else pd.Series(range(len(here)))
        row_of = {int(a): row for row, a in enumerate(number)}
        rows = [row_of[int(a)] for a in self.atoms]
        xy, words = positions(here).copy(), _words(here).copy()
        xy[rows], words[rows] = self.points, self.species
        return here.assign(x_px=xy[:, 0], y_px=xy[:, 1], species=words)

    @property
    def spread(self) -> float:
        """Rms scatter (px) of the strange atoms; NaN for one occurrence alone."""
        known = self.scatter[self.core & np.isfinite(self.scatter)]
        return float(np.sqrt(np.mean(known**2))) if len(known) else np.nan


def average(
    table: pd.DataFrame,
    values: Floats,
    occurrences: Sequence[Ints],
    numbers: Sequence[int],
    first: int,
    spacing: float,
) -> Average:
    """Lay occurrences over the first one and take the mean.

    Args:
        table: N atoms.
        values: Whitened embeddings (N, D).
        occurrences: Rows of the strange atoms of each.
        numbers: Of the occurrences.
        first: Which of them is the reference.
        spacing: Between neighbours in px.
    """
    xy = positions(table)
    frame = table["frame"].to_numpy(np.int64)
    patches = _Patches(xy, frame, spacing)
    reference = patches.of(occurrences[first])
    core = np.isin(reference, occurrences[first])
    partners, moved, poses = [], [], []
    views = {*np.linspace(0, len(occurrences) - 1, VIEWS).round().astype(int).tolist(), first}
    for k in sorted(v for v in views if v < len(occurrences)):
        rows = patches.of(occurrences[k])
        matrix, shift = np.eye(2), np.zeros(2)
        if k != first:
            matrix, shift = _laid(xy, values, reference, rows, core, spacing)
        places = xy[rows] @ matrix.T + shift
        partner = _partners(places, xy[reference], spacing)
        partners.append(np.where(partner >= 0, rows[partner], -1))
        moved.append(np.where(partner[:, None] >= 0, places[partner], np.nan))
        poses.append((int(frame[rows[0]]), matrix, shift, numbers[k]))
    return _mean(table, reference, core, np.array(partners), np.array(moved), poses)


def _mean(
    table: pd.DataFrame,
    reference: Ints,
    core: NDArray[np.bool_],
    partners: Ints,
    moved: Floats,
    poses: list[tuple[int, Floats, Floats, int]],
) -> Average:
    """Mean over the occurrences (V, R, 2) whose strange atoms have partners."""
    xy = positions(table)
    fits = np.isfinite(moved[:, core, 0]).mean(axis=1) >= 0.5
    seen = np.isfinite(moved[fits, :, 0])
    count = seen.sum(axis=0)
    points = np.nansum(moved[fits], axis=0) / count[:, None].clip(1)
    points[count == 0] = xy[reference[count == 0]]
    off = ((moved - points) ** 2).sum(axis=2)
    square = np.nansum(off[fits], axis=0) / (count - 1).clip(1)
    scatter = np.where(count > 1, np.sqrt(square), np.nan)
    words = np.append(_words(table), "")  # the last one for atoms without a partner
    species = np.array([_commonest(words[column]) for column in partners[fits].T], dtype=object)
    found = []
    for (frame, matrix, shift, number), fit, one in zip(poses, fits, off[:, core], strict=True):
        misfit = float(np.sqrt(np.nanmean(one))) if fit else np.nan
        found.append(Pose(frame, matrix, shift, misfit, number))
    frame = int(table["frame"].to_numpy()[reference[0]])
    centre = xy[reference[core]].mean(axis=0)
    atoms = table["atom"].to_numpy(np.int64)[reference]
    return Average(frame, centre, points, atoms, core, scatter, species, tuple(found))


def _words(table: pd.DataFrame) -> NDArray[np.object_]:
    if "species" not in table:
        return np.full(len(table), "", dtype=object)
    return table["species"].fillna("").to_numpy(object)


def _commonest(words: NDArray[np.object_]) -> str:
    known, count = np.unique([w for w in words if w], return_counts=True)
    return str(known[count.argmax()]) if len(known) else ""


class _Patches:
    """Objects with the host around them."""

    def __init__(self, xy: Floats, frame: NDArray[np.int64], spacing: float) -> None:
        self._xy, self._frame, self._reach = xy, frame, RIM * spacing
        self._trees: dict[int, tuple[cKDTree, Ints]] = {}

    def of(self, rows: Ints) -> Ints:
        """Rows of an object and of all atoms near to it."""
        number = int(self._frame[rows[0]])
        if number not in self._trees:
            here = np.flatnonzero((self._frame == number) & np.isfinite(self._xy).all(axis=1))
            self._trees[number] = cKDTree(self._xy[here]), here
        tree, here = self._trees[number]
        near = tree.query_ball_point(self._xy[rows], self._reach)
        return np.asarray(here[np.unique(np.concatenate(near).astype(np.intp))])


def _laid(
    xy: Floats,
    values: Floats,
    reference: Ints,
    rows: Ints,
    core: NDArray[np.bool_],
    spacing: float,
) -> tuple[Floats, Floats]:
    """Matrix and shift that bring a patch onto the reference best.

    The strange atom of the reference farthest from its middle and the atom farthest from that one
    are brought to those of the patch that look like them and are as far apart; the motion that
    gives most atoms of the reference a partner is fitted by least squares.
    """
    strange = reference[core]
    away = np.linalg.norm(xy[strange] - xy[strange].mean(axis=0), axis=1)
    anchor = int(strange[away.argmax()])
    others = strange if len(strange) > 1 else reference
    end = int(others[np.linalg.norm(xy[others] - xy[anchor], axis=1).argmax()])
    aim = xy[end] - xy[anchor]
    motions = []
    for a in _alike(values, anchor, rows, ANCHORS):
        for b in _alike(values, end, rows, ENDS):
            vector = xy[b] - xy[a]
            if b == a or abs(np.hypot(*vector) - np.hypot(*aim)) > LENGTH * spacing:
                continue
            motions += [_onto(vector, aim, flip, xy[a], xy[anchor]) for flip in (1.0, -1.0)]
    if not motions:
        return np.eye(2), xy[strange].mean(axis=0) - xy[rows].mean(axis=0)
    matrices, shifts = (np.array(part) for part in zip(*motions, strict=True))
    placed = np.einsum("kij,nj->kni", matrices, xy[rows]) + shifts[:, None]
    tree = cKDTree(xy[reference])
    cost = np.minimum(tree.query(placed)[0], TOUCH * spacing) ** 2
    best = int(cost.sum(axis=1).argmin())
    matrix, shift = matrices[best], shifts[best]
    for _ in range(2):
        partner = _partners(xy[rows] @ matrix.T + shift, xy[reference], spacing)
        met = partner >= 0
        if met.sum() >= 3:
            matrix, shift = _fitted(xy[rows[partner[met]]], xy[reference[met]], matrix)
    return matrix, shift


def _alike(values: Floats, one: int, rows: Ints, most: int) -> Ints:
    return rows[np.argsort(((values[rows] - values[one]) ** 2).sum(axis=1), kind="stable")[:most]]


def _onto(
    vector: Floats, aim: Floats, flip: float, start: Floats, goal: Floats
) -> tuple[Floats, Floats]:
    angle = np.arctan2(aim[1], aim[0]) - np.arctan2(flip * vector[1], vector[0])
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s], [s, c]]) @ np.diag([1.0, flip])
    return matrix, goal - matrix @ start


def _partners(places: Floats, reference: Floats, spacing: float) -> Ints:
    """Row of the places (R,) nearest to each point of the reference, -1 for none; both agree."""
    apart, forth = cKDTree(places).query(reference)
    back = cKDTree(reference).query(places)[1]
    mutual = back[forth] == np.arange(len(reference))
    return np.asarray(np.where(mutual & (apart < TOUCH * spacing), forth, -1))


def _fitted(places: Floats, aims: Floats, before: Floats) -> tuple[Floats, Floats]:
    """Least squares (Kabsch, Acta Cryst. A 32, 922 (1976)) of the handedness of a matrix."""
    a, b = places - places.mean(axis=0), aims - aims.mean(axis=0)
    u, _, vt = np.linalg.svd(a.T @ b)
    hand = np.sign(np.linalg.det(before) * np.linalg.det(u @ vt))
    matrix = vt.T @ np.diag([1.0, hand]) @ u.T
    return matrix, aims.mean(axis=0) - matrix @ places.mean(axis=0)
