"""How long a line or boundary is, where it leads, and how the grains beside it are turned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from atomscope.rules.findings import Floats, Group, Ints
from atomscope.rules.walls import TWIN

_SLIM = 2.5  # a line is so many times as long as wide
_LEAST = 3  # findings in it
_BESIDE = (2.0, 8.0)  # spacings from the line: where the grains are looked at
_GRAIN = 12  # atoms that show a grain


@dataclass(frozen=True, eq=False)
class Atoms:
    """Positions (N, 2) of all atoms of a frame in px; looked up by place, made once."""

    xy: Floats

    @cached_property
    def tree(self) -> cKDTree:
        """KD-tree of the positions."""
        return cKDTree(self.xy)

    @cached_property
    def spacing(self) -> float:
        """Median distance to the nearest neighbour in px."""
        return float(np.median(self.tree.query(self.xy, k=2)[0][:, 1]))


def extent(group: Group, atoms: Atoms) -> dict[str, float]:
    """Return length_px, direction and misorientation of what is long and slim, else nothing.

    Domains are areas, and have none of these.

    The misorientation is that of the six-fold order of the atoms on both sides: half of the
    smallest turn of the mean of exp(6iθ) over the second neighbours of honeycombs, 0 to 30°.
    """
    places = np.array([finding.place for finding in group.findings])
    area = any(f.part == "paired" or f.word == TWIN for f in group.findings)
    if len(places) < _LEAST or area:
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
        turn = misorientation(atoms, places.mean(axis=0), along, reach)
        found |= {} if turn is None else {"misorientation": turn}
    return found


def misorientation(atoms: Atoms, middle: Floats, along: Floats, reach: Floats) -> float | None:
    """Angle in degrees, 0 to 30, between the honeycombs on both sides of a line; None if unknown.

    Args:
        atoms: Of the frame.
        middle: A point of the line.
        along: Its direction, a unit vector.
        reach: Distances along it of what it is made of.
    """
    spacing, tree = atoms.spacing, atoms.tree
    far = np.hypot(np.abs(reach).max() + 2 * spacing, _BESIDE[1] * spacing)
    close = np.sort(tree.query_ball_point(middle, far)).astype(np.intp)
    xy = atoms.xy[close]
    across = (xy - middle) @ np.array([-along[1], along[0]]) / spacing
    inside = (xy - middle) @ along
    near = (inside > reach.min() - 2 * spacing) & (inside < reach.max() + 2 * spacing)
    angles = []
    for side in (1, -1):
        here = np.flatnonzero(near & (side * across > _BESIDE[0]) & (side * across < _BESIDE[1]))
        if len(here) < _GRAIN:
            return None
        angles.append(_orientation(atoms.xy, close[here], tree, spacing))
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
