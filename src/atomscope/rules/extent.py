"""How long a line or boundary is, where it leads, and how the grains beside it are turned."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.rules.findings import Floats, Group, Ints

_SLIM = 2.5  # a line is so many times as long as wide
_LEAST = 3  # findings in it
_BESIDE = (2.0, 8.0)  # spacings from the line: where the grains are looked at
_GRAIN = 12  # atoms that show a grain


def extent(group: Group, rows: pd.DataFrame) -> dict[str, float]:
    """Return length_px, direction and misorientation of what is long and slim, else nothing.

    The misorientation is that of the six-fold order of the atoms on both sides: half of the
    smallest turn of the mean of exp(6iθ) over the second neighbours of honeycombs, 0 to 30°.
    """
    places = np.array([finding.place for finding in group.findings])
    if len(places) < _LEAST:
        return {}
    centred = places - places.mean(axis=0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    if size[0] < _SLIM * size[1]:
        return {}
    along = axes[0]
    reach = centred @ along
    found = {
        "length_px": float(np.ptp(reach)),
        "direction": float(np.degrees(np.arctan2(-along[1], along[0])) % 180),
    }
    if "rings" in group.parts and len(places) >= 2 * _LEAST:
        turn = misorientation(
            rows[["x_px", "y_px"]].to_numpy(float), places.mean(axis=0), along, reach
        )
        found |= {} if turn is None else {"misorientation": turn}
    return found


def misorientation(xy: Floats, middle: Floats, along: Floats, reach: Floats) -> float | None:
    """Angle in degrees, 0 to 30, between the honeycombs on both sides of a line; None if unknown.

    Args:
        xy: Atoms, px, shape (N, 2).
        middle: A point of the line.
        along: Its direction, a unit vector.
        reach: Distances along it of what it is made of.
    """
    tree = cKDTree(xy)
    spacing = float(np.median(tree.query(xy, k=2)[0][:, 1]))
    across = (xy - middle) @ np.array([-along[1], along[0]]) / spacing
    inside = (xy - middle) @ along
    near = (inside > reach.min() - 2 * spacing) & (inside < reach.max() + 2 * spacing)
    angles = []
    for side in (1, -1):
        here = np.flatnonzero(near & (side * across > _BESIDE[0]) & (side * across < _BESIDE[1]))
        if len(here) < _GRAIN:
            return None
        angles.append(_orientation(xy, here, tree, spacing))
    turn = abs(angles[0] - angles[1]) % 60
    return float(min(turn, 60 - turn))


def _orientation(xy: Floats, here: Ints, tree: cKDTree, spacing: float) -> float:
    """Direction of the second neighbours in degrees, modulo 60; bonds of honeycombs cancel."""
    pairs = [
        xy[j] - xy[i]
        for i, near in zip(here, tree.query_ball_point(xy[here], 2.0 * spacing), strict=True)
        for j in near
    ]
    steps = np.array(pairs)
    length = np.hypot(*steps.T) / spacing
    second = steps[(length > 1.5) & (length < 1.95)]
    angle = np.arctan2(second[:, 1], second[:, 0])
    return float(np.degrees(np.angle(np.exp(6j * angle).mean())) / 6)
