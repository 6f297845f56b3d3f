"""Sheets of three-fold atoms whose rings are rebuilt: pentagons, heptagons, and what they make.

A sheet is kept as its dual: each ring a point, each atom a triangle of three rings. Turning a
bond is the flip of an edge, taking out a pair of atoms merges two points, a border of grains is
where two lattices of points meet. So every trivalent network can be drawn, and the rings of each
atom are known.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOND = np.sqrt(4 / (3 * np.sqrt(3)))  # length of a bond where one atom takes a unit of area
RING = np.sqrt(3) * BOND  # distance of the middles of hexagons
SECOND = 0.25  # stiffness of the distance of second neighbours, which keeps angles
STEPS, STEP, DRAG = 70, 0.12, 0.85  # of the relaxation
CLOSE = 0.75  # points of rings nearer than this share of RING are one
LARGEST = 9  # rings beyond count as this
ROOM = 0.8  # of RING: voids of this radius hold one more
LAP = 0.45  # of RING that grains overlap before close points are made one
APART = 4.5  # bonds between the middles of defects


def rebuilt(
    half: float, turn: float, kinds: tuple[str, ...], rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """Draw a sheet and let it settle.

    Args:
        half: Half the edge of the square that must be filled, one atom per unit of area.
        turn: Between two grains in radians, 0 for one crystal.
        kinds: Of point defects: 'turned' bonds, 'pairs' taken out, 'both' (a pair taken out and a
            bond beside it turned).
        rng: Of everything random.

    Returns:
        Positions (N, 2) and (N, 3) sizes of the rings of each atom, smallest first.
    """
    points = _points(1.42 * half + 2 * RING, turn, rng)
    triangles = Delaunay(points).simplices.astype(np.int64)
    points, triangles = _operated(points, triangles, 0.9 * half, kinds, rng)
    long = np.linalg.norm(points[triangles] - points[np.roll(triangles, 1, axis=1)], axis=2)
    triangles = triangles[long.max(axis=1) < 2.4 * RING]  # slivers at the rim of the patch
    size = np.bincount(triangles.ravel(), minlength=len(points)).clip(max=LARGEST)
    xy = _relaxed(points[triangles].mean(axis=1), _bonds(triangles))
    return xy, np.sort(size[triangles], axis=1)


def _points(reach: float, turn: float, rng: np.random.Generator) -> Floats:
    """Middles of the rings of one crystal, or of two that meet at x = 0."""
    count = int(2.2 * reach / RING) + 2
    grid = np.arange(-count, count + 1)
    a, b = np.meshgrid(grid, grid)
    crystal = RING * np.stack([(a + b / 2).ravel(), (b * np.sqrt(3) / 2).ravel()], axis=1)
    if turn == 0:
        points = crystal + RING * rng.random(2)
        return np.asarray(points[np.hypot(*points.T) < reach])
    grains = []
    for side in (-1, 1):
        c, s = np.cos(side * turn / 2), np.sin(side * turn / 2)
        turned = (crystal + RING * rng.random(2)) @ np.array([[c, s], [-s, c]])
        grains.append(turned[turned[:, 0] * side > -LAP * RING])
    points = np.concatenate(grains)
    points = _filled(_merged(points[np.hypot(*points.T) < reach]))
    for _ in range(6):  # rings at the border share the room that there is
        near = np.abs(points[:, 0]) < 1.5 * RING
        _, index = cKDTree(points).query(points, k=7)
        points = np.where(near[:, None], points[index].mean(axis=1), points)
    return points


def _merged(points: Floats) -> Floats:
    pairs = cKDTree(points).query_pairs(CLOSE * RING, output_type="ndarray")
    keep = np.ones(len(points), dtype=bool)
    for i, k in pairs:
        if keep[i] and keep[k]:
            points[i] = (points[i] + points[k]) / 2
            keep[k] = False
    return points[keep]


def _filled(points: Floats) -> Floats:
    """Put a ring into each void that has room for one."""
    a, b, c = points[Delaunay(points).simplices].transpose(1, 0, 2)
    b, c = b - a, c - a
    cross = 2 * (b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
    b2, c2 = (b**2).sum(axis=1), (c**2).sum(axis=1)
    cross = np.where(cross == 0, np.inf, cross)  # three points in line, at the rim
    ux, uy = (c[:, 1] * b2 - b[:, 1] * c2) / cross, (b[:, 0] * c2 - c[:, 0] * b2) / cross
    centre = a + np.stack([ux, uy], axis=1)
    void = (np.hypot(ux, uy) > ROOM * RING) & (np.abs(centre[:, 0]) < 2 * RING)
    void &= np.abs(centre[:, 1]) < np.abs(points).max() - RING
    return _merged(np.concatenate([points, centre[void]]))


def _operated(
    points: Floats, triangles: Ints, half: float, kinds: tuple[str, ...], rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """Put defects of each kind at random bonds, apart from each other."""
    inside = np.flatnonzero(np.abs(points).max(axis=1) < half)
    taken: list[int] = []
    for kind in kinds * 3:
        away = [
            i for i in inside
            if not taken or np.linalg.norm(points[taken] - points[i], axis=1).min() > APART * BOND
        ]  # fmt: skip
        if not away:
            break
        p = int(rng.choice(away))
        taken.append(p)
        around = np.unique(triangles[(triangles == p).any(axis=1)])
        q = int(rng.choice(around[around != p]))
        if kind == "turned":
            triangles = _flipped(triangles, p, q)
            continue
        shared = _opposite(triangles, p, q)
        triangles = triangles[~((triangles == p).any(axis=1) & (triangles == q).any(axis=1))]
        triangles = np.where(triangles == q, p, triangles)
        points = points.copy()
        points[p] = (points[p] + points[q]) / 2
        points[q] = points[p]
        if kind == "both" and len(shared):
            triangles = _flipped(triangles, p, int(rng.choice(_next_to(triangles, p, shared))))
    return points, triangles


def _opposite(triangles: Ints, p: int, q: int) -> Ints:
    """Rings at the two ends of the bond between the rings p and q."""
    rows = triangles[(triangles == p).any(axis=1) & (triangles == q).any(axis=1)]
    return np.asarray(rows[(rows != p) & (rows != q)])


def _next_to(triangles: Ints, p: int, but: Ints) -> Ints:
    around = np.unique(triangles[(triangles == p).any(axis=1)])
    return np.asarray(np.setdiff1d(around, [p, *but]))


def _flipped(triangles: Ints, p: int, q: int) -> Ints:
    """Turn the bond between the rings p and q: its ends' rings grow, p and q shrink."""
    ends = _opposite(triangles, p, q)
    if len(ends) != 2 or ends[0] == ends[1]:
        return triangles
    rows = np.flatnonzero((triangles == p).any(axis=1) & (triangles == q).any(axis=1))
    made = triangles.copy()
    made[rows[0]], made[rows[1]] = (ends[0], ends[1], p), (ends[0], ends[1], q)
    return made


def _bonds(triangles: Ints) -> Ints:
    """Pairs (B, 2) of triangles that share an edge."""
    edges = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [0, 2]]])
    )
    owner = np.tile(np.arange(len(triangles)), 3)
    order = np.lexsort(edges.T)
    same = (edges[order[1:]] == edges[order[:-1]]).all(axis=1)
    return np.stack([owner[order[:-1]][same], owner[order[1:]][same]], axis=1)


def _relaxed(xy: Floats, bonds: Ints) -> Floats:
    """Settle springs between neighbours and between second neighbours."""
    both = np.concatenate([bonds, bonds[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    start = np.searchsorted(both[:, 0], np.arange(len(xy) + 1))
    second = [
        (both[i, 1], both[k, 1])
        for a, b in pairwise(start)
        for i in range(a, b) for k in range(i + 1, b)
    ]  # fmt: skip
    pairs = np.concatenate([bonds, np.array(second, dtype=np.int64).reshape(-1, 2)])
    rest = np.repeat([BOND, RING], [len(bonds), len(second)])
    stiff = np.repeat([1.0, SECOND], [len(bonds), len(second)])
    speed = np.zeros_like(xy)
    for _ in range(STEPS):
        apart = xy[pairs[:, 1]] - xy[pairs[:, 0]]
        r = np.linalg.norm(apart, axis=1).clip(1e-6)
        pull = (stiff * (1 - rest / r))[:, None] * apart
        force = np.stack(
            [
                np.bincount(pairs[:, 0], pull[:, d], len(xy))
                - np.bincount(pairs[:, 1], pull[:, d], len(xy))
                for d in (0, 1)
            ],
            axis=1,
        )
        speed = DRAG * speed + STEP * force
        xy = xy + speed
    return xy
