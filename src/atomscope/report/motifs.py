"""The gallery of the commonest defects: a class average of each, with its bond lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import by_frame, positions
from atomscope.plot import network
from atomscope.plot.network import members
from atomscope.report.gallery import (
    PIXELS,
    Pose,
    View,
    align,
    averaged,
    mean_and_error,
    mean_length,
    mean_lengths,
)
from atomscope.report.words import length
from atomscope.spacing import SAMPLE, median_spacing
from atomscope.types import FloatArray, Image

if TYPE_CHECKING:
    import pandas as pd

MAX_KINDS = 12
_MAX_VIEWS = 120  # of a kind, spread evenly: the error is a tenth of one view's by then
_MAX_ATOMS = 40  # of a motif: boundaries are each of their own
_MISFIT = 0.5  # spacings, from which on a view is not of this motif
_RIM = 1.4  # spacings of host around the motif
_NEAREST = 12  # atoms that a first shell has at most
_SHELL = 1.35  # of the nearest distance: atoms that belong to an empty site


@dataclass(frozen=True)
class Line:
    """A bond in the picture (pixels of it), and its length as text."""

    x1: float
    y1: float
    x2: float
    y2: float
    text: str


@dataclass(frozen=True)
class Motif:
    """The class average of one kind of defect.

    Attributes:
        name: Of the kind.
        known: Whether a rule names it.
        count: How often it was found, as text.
        views: How many of these were averaged.
        uri: The picture as a data URI, `PIXELS` wide and high.
        width: What its width is, as text.
        bonds: The bonds inside the motif.
        lengths: A line for each pair of elements: mean length and its error.
    """

    name: str
    known: bool
    count: str
    views: int
    uri: str
    width: str
    bonds: tuple[Line, ...]
    lengths: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Class:
    """Views of one kind that lie on its reference, whose middle is the origin."""

    reference: View
    views: list[View]
    poses: list[Pose]
    bonds: NDArray[np.int64]
    side: float


@dataclass(frozen=True, eq=False)
class _Frame:
    """The atoms of one frame, and the row of each number."""

    rows: pd.DataFrame
    xy: FloatArray
    place: dict[int, int]

    def around(self, x: float, y: float, besides: list[int]) -> list[int]:
        """Rows of the first shell around a place, without those that are named."""
        finite, tree = self._tree
        if len(finite) == 0:
            return []
        count = min(_NEAREST, len(finite))
        distance, number = tree.query((x, y), k=list(range(1, count + 1)))
        rows = finite[number]
        other = ~np.isin(rows, besides)
        reach = _SHELL * distance[other].min(initial=np.inf)
        return [int(row) for row in rows[other & (distance <= reach)]]

    @cached_property
    def _tree(self) -> tuple[NDArray[np.intp], cKDTree]:
        finite = np.flatnonzero(np.isfinite(self.xy).all(axis=1))
        return finite, cKDTree(self.xy[finite])


def gallery(image: Image, atoms: pd.DataFrame, defects: pd.DataFrame, host: str) -> list[Motif]:
    """Return the class averages of the commonest kinds, at most `MAX_KINDS`.

    Args:
        image: The image or movie.
        atoms: Atoms of all frames.
        defects: Defects of all frames.
        host: Name of the rule book, empty where no host is known.
    """
    counts = defects["name"].value_counts()
    chosen = {str(name): _spread(defects[defects["name"] == name]) for name in
              counts.index[:MAX_KINDS]}  # fmt: skip
    wanted = {int(frame) for rows in chosen.values() for frame in rows["frame"]}
    frames = {frame: _frame(rows) for frame, rows in by_frame(atoms) if frame in wanted}
    classes = {name: _class_of(rows, frames, image, host) for name, rows in chosen.items()}
    found = {name: one for name, one in classes.items() if one is not None}
    views = [[(v.frame, p) for v, p in zip(c.views, c.poses, strict=True)] for c in found.values()]
    pictures = averaged(image, views, [one.side for one in found.values()])
    known = defects.drop_duplicates("name").set_index("name")["known"]
    return [
        Motif(
            name, bool(known[name]), f"{int(counts[name]):,}", len(one.views),
            picture, length(one.side, image.pixel_size),
            _lines(one, image.pixel_size), _by_pair(one, image.pixel_size),
        )
        for (name, one), picture in zip(found.items(), pictures, strict=True)
    ]  # fmt: skip


def _frame(rows: pd.DataFrame) -> _Frame:
    place = dict(zip(rows["atom"].tolist(), range(len(rows)), strict=True))
    return _Frame(rows, positions(rows), place)


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    picked = np.linspace(0, len(rows) - 1, min(len(rows), _MAX_VIEWS)).round().astype(int)
    return rows.iloc[picked]


def _class_of(
    rows: pd.DataFrame, frames: Mapping[int, _Frame], image: Image, host: str
) -> _Class | None:
    """Align the views of a kind; None where it is too large, or shows no atoms."""
    seen = [_view(row, frames.get(int(row["frame"]))) for row in rows.to_dict("records")]
    views = [view for view in seen if view is not None and 2 <= len(view.points) <= _MAX_ATOMS]
    if not views:
        return None
    sizes = [len(view.points) for view in views]
    usual = [view for view in views if len(view.points) == int(np.median(sizes))] or views
    first = min(usual, key=lambda view: float(np.nan_to_num(view.errors, nan=9.0).mean()))
    bonds = _bonds(first, frames[first.frame].rows, image, host)
    reference = _upright(first)
    unit = median_spacing(reference.points) or 1.0
    pairs = [(view, align(view, reference)) for view in views]
    kept = [(view, pose) for view, pose in pairs if pose.misfit < _MISFIT * unit]
    side = 2 * (np.hypot(*reference.points.T).max() + _RIM * unit)
    return _Class(reference, [v for v, _ in kept], [p for _, p in kept], bonds, float(side))


def _view(row: Mapping[Any, Any], frame: _Frame | None) -> View | None:
    """The atoms of one defect; of an empty site those around it."""
    if frame is None:
        return None
    chosen = members(row["atoms"], frame.place)
    if len(chosen) < 2 and np.isfinite([row["x_px"], row["y_px"]]).all():
        chosen = sorted({*chosen, *frame.around(row["x_px"], row["y_px"], chosen)})
    part, points = frame.rows.iloc[chosen], frame.xy[chosen]
    if len(chosen) == 0 or not np.isfinite(points).all():
        return None
    species = part["species"].fillna("").to_numpy(object)
    errors = part[["x_err_px", "y_err_px"]].to_numpy(float)
    return View(points, species, errors, int(part["frame"].iloc[0]))


def _bonds(view: View, atoms: pd.DataFrame, image: Image, host: str) -> NDArray[np.int64]:
    """Pairs of atoms of a view that are bonded; only the surroundings are connected."""
    xy = positions(atoms)
    spacing = median_spacing(xy, SAMPLE) or 1.0
    low, high = view.points.min(axis=0) - 4 * spacing, view.points.max(axis=0) + 4 * spacing
    near = atoms[((xy >= low) & (xy <= high)).all(axis=1)]
    found = network(near, host=host, shape=image.frame_shape, pixel_size=image.pixel_size).bonds
    row = {tuple(point): number for number, point in enumerate(view.points.tolist())}
    places = [row.get(tuple(point), -1) for point in positions(near).tolist()]
    pairs = np.array(places, dtype=np.int64)[found]
    return np.asarray(pairs[(pairs >= 0).all(axis=1)])


def _upright(view: View) -> View:
    """The view with its middle at the origin and its longest extension to the right."""
    centred = view.points - view.points.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    axes = axes * np.array([[1.0], [np.linalg.det(axes)]])  # turned, not mirrored
    return View(centred @ axes.T, view.species, view.errors, view.frame)


def _lines(one: _Class, pixel_size: float | None) -> tuple[Line, ...]:
    means, errors = mean_lengths(one.views, one.poses, one.bonds)
    ends = ((one.reference.points / one.side + 0.5) * PIXELS).round(1).tolist()
    return tuple(
        Line(ends[i][0], ends[i][1], ends[j][0], ends[j][1], _named(mean, error, pixel_size))
        for (i, j), mean, error in zip(one.bonds.tolist(), means, errors, strict=True)
    )


def _by_pair(one: _Class, pixel_size: float | None) -> tuple[str, ...]:
    """Mean length of the bonds of each pair of elements; its error from view to view."""
    words = [_pair(one.reference.species[[i, j]].tolist()) for i, j in one.bonds.tolist()]
    lines = []
    for word in sorted(set(words)):
        bonds = one.bonds[[w == word for w in words]]
        each = [mean_length(v, p, bonds) for v, p in zip(one.views, one.poses, strict=True)]
        values, errors = np.array(each).T[..., None]
        mean, error = mean_and_error(values, errors)
        many = f"{len(bonds)} bonds" if len(bonds) > 1 else "1 bond"
        lines.append(f"{word} {_named(mean[0], error[0], pixel_size)} ({many})".strip())
    return tuple(lines)


def _pair(species: Sequence[str]) -> str:
    return "–".join(sorted(species)) if all(species) else ""


def _named(mean: float, error: float, pixel_size: float | None) -> str:
    if not np.isfinite(mean):
        return "length unknown"
    value = f"{mean:.2f} px" if pixel_size is None else f"{mean * pixel_size:.3f} Å"
    if not (np.isfinite(error) and error > 0):
        return value
    return value + (
        f" ± {error:.2g} px" if pixel_size is None else f" ± {100 * error * pixel_size:.2g} pm"
    )
