"""Cells of atoms (Voronoi) within a frame: their areas, and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull, QhullError, Voronoi

from atomscope.rules.findings import Bools, Floats, Ints

_FEWEST = 4  # atoms that have cells
_MARGIN = 10.0  # mean distances: atoms that near to the frame are mirrored in it
_HUGE = 3.0  # median areas: a larger cell reaches into the void
_APART = 1e-3  # px: an atom and its mirror image are two
_SLACK = 1e-9  # of the extent: what is on the hull is within it


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of N atoms.

    Attributes:
        area: Of each cell in px², shape (N,); 0 where it is not closed.
        pair: Atoms on both sides of each edge, shape (R, 2).
        ends: Of each edge, px, shape (R, 2, 2).
        corner: Numbers of the corners at the ends of each edge, shape (R, 2).
    """

    area: Floats
    pair: Ints
    ends: Floats
    corner: Ints

    @property
    def length(self) -> Floats:
        """Of each edge in px, shape (R,)."""
        return np.asarray(np.hypot(*(self.ends[:, 1] - self.ends[:, 0]).T))

    @property
    def middle(self) -> Floats:
        """Of each edge in px, shape (R, 2)."""
        return np.asarray(self.ends.mean(axis=1))


def voronoi_cells(xy: Floats, shape: tuple[int, int] | None = None) -> Cells:
    """Return the cells of atoms: what is nearer to one of them than to any other.

    With a frame the cells end at its border: atoms near it are mirrored there, so that the border
    is the edge half way. Without one, cells that reach beyond the convex hull of the atoms have
    no area, and edges beyond it are left out. A cell of more than three median areas
    reaches into the void (beside a flake, in a hole) and counts as three.

    Args:
        xy: Positions in px, shape (N, 2), finite.
        shape: Of the frame (y, x) in px.

    Returns:
        The cells; none of them has an area where there are too few atoms, or all on a line.
    """
    none = np.empty((0, 2), dtype=np.intp)
    nothing = Cells(np.zeros(len(xy)), none, np.empty((0, 2, 2)), none)
    if len(xy) < _FEWEST:
        return nothing
    try:
        points = xy if shape is None else _mirrored(xy, shape)
        found = Voronoi(points)
        inside = _within(found.vertices, xy, shape)
    except (QhullError, ValueError):
        return nothing
    corner = np.array(found.ridge_vertices, dtype=np.intp)
    pair = np.asarray(found.ridge_points, dtype=np.intp)
    area = _areas(points, pair, corner, found.vertices)
    whole = np.ones(len(points), dtype=bool)
    broken = (corner < 0).any(axis=1) | ~inside[corner].all(axis=1)
    whole[pair[broken].ravel()] = False
    area = np.where(whole, area, 0.0)[: len(xy)]
    if (area > 0).any():
        area = np.minimum(area, _HUGE * np.median(area[area > 0]))
    kept = ~broken & (pair < len(xy)).all(axis=1)
    return Cells(area, pair[kept], found.vertices[corner[kept]], corner[kept])


def _mirrored(xy: Floats, shape: tuple[int, int]) -> Floats:
    """Atoms, and the mirror images of those near the border of the frame."""
    high = np.array([shape[1], shape[0]]) - 0.5
    near = _MARGIN * np.sqrt(shape[0] * shape[1] / len(xy))
    images = [np.clip(xy, -0.5 + _APART, high - _APART)]
    for axis in (0, 1):
        for wall in (-0.5, high[axis]):
            close = images[0][np.abs(images[0][:, axis] - wall) < near]
            image = close.copy()
            image[:, axis] = 2 * wall - close[:, axis]
            images.append(image)
    return np.concatenate(images)


def _within(corners: Floats, xy: Floats, shape: tuple[int, int] | None) -> Bools:
    """Which corners of cells lie in the frame, or within the convex hull of the atoms."""
    if shape is not None:
        high = np.array([shape[1], shape[0]]) - 0.5
        slack = _SLACK * float(high.max() + 0.5)
        return np.asarray(((corners > -0.5 - slack) & (corners < high + slack)).all(axis=1))
    sides = ConvexHull(xy).equations
    slack = _SLACK * float(np.ptp(xy, axis=0).max())
    inside = np.ones(len(corners), dtype=bool)
    for side in sides:
        inside &= corners @ side[:2] + side[2] <= slack
    return inside


def _areas(points: Floats, pair: Ints, corner: Ints, corners: Floats) -> Floats:
    """Area of each cell: of the triangles over its edges."""
    closed = (corner >= 0).all(axis=1)
    a, b = corners[corner[closed, 0]], corners[corner[closed, 1]]
    area = np.zeros(len(points))
    for side in (0, 1):
        atom = pair[closed, side]
        u, v = a - points[atom], b - points[atom]
        np.add.at(area, atom, np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2)
    return area
