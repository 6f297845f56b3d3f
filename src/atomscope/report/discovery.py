"""Configurations that recur without a name: the class average of each, with its scatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atomscope.report.gallery import PIXELS, Pose, averaged
from atomscope.report.words import length
from atomscope.types import Image

if TYPE_CHECKING:
    from atomscope.discover import Average, Discoveries

_RIM = 1.2  # of the distance of the outermost atom that is drawn
_POOR = 3.0  # times the median misfit: views that do not fit blur the average
_LEAST, _MOST = 1.2, 5.0  # radius of a drawn atom in pixels of the picture


@dataclass(frozen=True)
class Mark:
    """An atom of the mean structure in the picture (pixels of it), and what it is."""

    x: float
    y: float
    r: float
    strange: bool
    text: str


@dataclass(frozen=True)
class Finding:
    """One configuration, as texts, with its picture as a data URI, `PIXELS` wide and high."""

    number: int
    count: str
    views: int
    p: str
    formula: str
    parts: str
    spread: str
    width: str
    uri: str
    marks: tuple[Mark, ...]


def findings(image: Image, found: Discoveries | None) -> list[Finding]:
    """Average the views of each configuration, and say how far its atoms scatter.

    Args:
        image: The image or movie.
        found: What `discover` gave for it.
    """
    if found is None or not found.averages:
        return []
    sides = [_side(one) for one in found.averages]
    views = [_poses(one) for one in found.averages]
    pictures = averaged(image, views, sides)
    rows = found.table.head(len(found.averages)).to_dict("records")
    return [
        Finding(
            number=int(row["discovery"]),
            count=f"{int(row['n']):,}",
            views=len(own),
            p=f"{row['p']:.2f}",
            formula=str(row["formula"]),
            parts=str(row["parts"]),
            spread=_scatter(one.spread, image.pixel_size),
            width=length(side, image.pixel_size),
            uri=picture,
            marks=_marks(one, side, image.pixel_size),
        )
        for row, one, own, side, picture in zip(
            rows, found.averages, views, sides, pictures, strict=True
        )
    ]


def _side(one: Average) -> float:
    """Edge of the picture in px."""
    return 2 * _RIM * float(np.hypot(*(one.points - one.centre).T).max())


def _poses(one: Average) -> list[tuple[int, Pose]]:
    """Frames and poses of the views that fit, with the middle of the mean at the origin."""
    fitting = [pose for pose in one.poses if np.isfinite(pose.misfit)]
    usual = float(np.median([pose.misfit for pose in fitting])) if fitting else 0.0
    nobody = np.zeros(0, np.int64)
    return [
        (pose.frame, Pose(pose.matrix, pose.shift - one.centre, nobody, pose.misfit))
        for pose in fitting
        if pose.misfit <= _POOR * usual
    ]


def _marks(one: Average, side: float, pixel_size: float | None) -> tuple[Mark, ...]:
    """Atoms as circles whose radius is their scatter; the strange ones stand out."""
    places = ((one.points - one.centre) / side + 0.5) * PIXELS
    found = []
    for (x, y), scatter, strange, word in zip(
        places.tolist(), one.scatter.tolist(), one.core.tolist(), one.species, strict=True
    ):
        known = np.isfinite(scatter)
        radius = float(np.clip(scatter / side * PIXELS, _LEAST, _MOST)) if known else _LEAST
        text = " ".join(t for t in (str(word), _scatter(scatter, pixel_size)) if t)
        found.append(Mark(round(x, 1), round(y, 1), round(radius, 2), bool(strange), text))
    return tuple(found)


def _scatter(value: float, pixel_size: float | None) -> str:
    if not np.isfinite(value):
        return ""
    return f"± {value:.2g} px" if pixel_size is None else f"± {100 * value * pixel_size:.2g} pm"
