"""Worlds for the network of structures: tables of columns of which every surrounding is known.

No images and no real materials: lattices of random cells, sites and brightness, with empty
sites, pairs, lines, foreign atoms, shifted sublattices, turned grains and second layers, and
three-fold sheets with rebuilt rings. The class
of an atom is what stands on its own site and on those around it before anything is distorted,
so that lattices never seen have classes as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.spacing import median_spacing
from atomscope.train.rebuilt import rebuilt

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 8.0  # half the edge of a world, in mean distances of columns
MARGIN = 1.6  # of it that is cut off: surroundings there are not whole
SHELL = 1.3  # what surrounds an atom: up to so many distances to its nearest
VACANT = -1
KINDS, SHARES = ("crystal", "phases", "grains", "stack", "rebuilt"), (0.5, 0.13, 0.11, 0.08, 0.18)
RINGS = ("turned", "pairs", "both")
CLASH = 0.6  # columns nearer than this share of the shortest distance are one


@dataclass(frozen=True)
class Design:
    """What the worlds of one episode have in common.

    Attributes:
        cell: (2, 2), rows; one column per unit of area.
        sites: (B, 2) fractional positions.
        logs: (B,) log brightness.
        foreign: (F,) log brightness of foreign atoms, F sites that they take.
        taken: (F,) sublattices that foreign atoms take.
        glide: (2,) fractional shift of the last sublattice in the second phase.
        kind: 'crystal', 'phases', 'grains', 'stack' or 'rebuilt'.
        turn: Between grains, radians.
        push: By which neighbours of an empty site move out, in spacings.
        closure: Share by which rows beside a line come nearer.
        over: Brightness of a second layer, which lies over all columns.
        rings: Point defects of a rebuilt sheet, see `rebuilt`.
        fine: What tells atoms of a rebuilt sheet apart: 0 whether all their rings are hexagons,
            1 the sizes of their rings, 2 also how many neighbours have other rings than these.
    """

    cell: Floats
    sites: Floats
    logs: Floats
    foreign: Floats
    taken: Ints
    glide: Floats
    kind: str
    turn: float
    push: float
    closure: float
    over: float
    rings: tuple[str, ...] = ()
    fine: int = 0


@dataclass(frozen=True)
class World:
    """Columns as they are found: positions (N, 2), brightness (N,), class (N,), -1 for none."""

    xy: Floats
    brightness: Floats
    label: Ints


CELLS = {
    "hexagonal": ((1, 0), (-0.5, 0.866)),
    "square": ((1, 0), (0, 1)),
    "rectangle": ((1, 0), (0, 1.35)),
    "oblique": ((1, 0), (0.3, 1.1)),
}
BASES = {
    "one": ((0, 0),),
    "centred": ((0, 0), (0.5, 0.5)),
    "honeycomb": ((0, 0), (1 / 3, 2 / 3)),
    "full": ((0, 0), (1 / 3, 2 / 3), (2 / 3, 1 / 3)),
    "perovskite": ((0, 0), (0.5, 0.5), (0.5, 0), (0, 0.5)),
    "three": ((0, 0), (0.5, 0.5), (0.5, 0)),
    "dumbbell": ((0, 0), (0.0, 0.36)),
}
FIT = {
    "hexagonal": ("one", "honeycomb", "honeycomb", "honeycomb", "full"),
    "square": ("one", "centred", "perovskite", "three"),
    "rectangle": ("one", "centred", "three", "dumbbell"),
    "oblique": ("one", "centred"),
}


def design(rng: np.random.Generator) -> Design:
    """Draw what the worlds of an episode have in common."""
    name = rng.choice(["hexagonal", "hexagonal", "hexagonal", "square", "rectangle", "oblique"])
    sites = np.array(BASES[str(rng.choice(FIT[str(name)]))], dtype=float)
    cell = np.array(CELLS[str(name)]) @ np.diag(
        [1, rng.uniform(0.85, 1.2) ** (name != "hexagonal")]
    )
    if name != "hexagonal" and len(sites) > 1 and rng.random() < 0.4:
        sites[1:] += rng.uniform(-0.08, 0.08, sites[1:].shape)
    cell /= np.sqrt(abs(np.linalg.det(cell)) / len(sites))
    # Z**1.64: from 6 to 79 is a factor of 68; S2 beside Mo is 0.46, N beside B 1.74
    logs = rng.uniform(0, 1.8, len(sites)) if rng.random() < 0.75 else np.zeros(len(sites))
    count = int(rng.integers(0, 4))
    sizes = rng.uniform(0.12, 1.5, count) * rng.choice([-1, 1], count)
    kind = str(rng.choice(KINDS, p=SHARES))
    if kind == "rebuilt":
        return _of_rings(sizes, rng)
    return Design(
        cell,
        sites,
        logs,
        sizes,
        rng.integers(0, len(sites), count),
        rng.choice([(1 / 3, -1 / 3), (-1 / 3, 1 / 3), (0.5, 0.0), (0.2, 0.2)]),
        kind,
        float(rng.uniform(0.1, 0.6)),
        float(rng.normal(0, 0.05)),
        float(rng.uniform(0, 0.15)),
        float(rng.uniform(0.3, 1.5)),
    )


def _of_rings(sizes: Floats, rng: np.random.Generator) -> Design:
    """Design of a rebuilt sheet of one kind of atom, or two grains of it."""
    border = rng.random() < 0.4
    some = tuple(str(k) for k in rng.choice(RINGS, int(rng.integers(1, 3)), replace=False))
    return Design(
        np.eye(2), np.zeros((1, 2)), np.zeros(1), sizes, np.zeros(len(sizes), np.int64),
        np.zeros(2), "rebuilt", float(rng.uniform(0.15, 0.55)) if border else 0.0,
        float(rng.normal(0, 0.05)), 0.0, 0.0, () if border else some, int(rng.integers(3)),
    )  # fmt: skip


def world(plan: Design, rng: np.random.Generator) -> World:
    """Draw a world of a design, as columns without distortion, noise or dirt."""
    half = SIDE + MARGIN
    if plan.kind == "rebuilt":
        xy, rings = rebuilt(half, plan.turn, plan.rings, rng)
        site, area = np.zeros(len(xy), np.int64), _by_rings(xy, rings, plan.fine)
    else:
        xy, site = _patch(plan, half, rng)
        area = _areas(plan, xy, rng)
    if plan.kind == "phases" and len(plan.sites) > 1:
        moved = (area == 1) & (site == len(plan.sites) - 1)
        xy = xy + moved[:, None] * (plan.glide @ plan.cell)
    if plan.kind == "grains":
        c, s = np.cos(plan.turn), np.sin(plan.turn)
        xy = np.where((area == 1)[:, None], xy @ np.array([[c, s], [-s, c]]), xy)
        area = _areas(plan, xy, rng, again=area)
        xy, site, area = _unclashed(xy, site, area)
    state = _changed(plan, xy, site, rng)
    label = _labels(plan, xy, site, state, area)
    logs = plan.logs[site] + np.append(0.0, plan.foreign)[state.clip(0)]
    if plan.kind == "stack":  # a second layer lies over all columns on one side
        logs = np.where(area == 1, np.log(np.exp(logs) + plan.over), logs)
    xy = _settled(plan, xy, state)
    kept = (state != VACANT) & np.all(np.abs(xy) < half, axis=1)
    label = np.where(np.all(np.abs(xy) < SIDE, axis=1), label, -1)
    return World(xy[kept], np.exp(logs[kept]), label[kept])


def _patch(plan: Design, half: float, rng: np.random.Generator) -> tuple[Floats, Ints]:
    reach = int(np.ceil(1.5 * half / np.sqrt(abs(np.linalg.det(plan.cell)))) * 1.5)
    steps = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 1, 2)
    xy = ((grid + plan.sites + rng.random(2)) @ plan.cell).reshape(-1, 2)
    site = np.tile(np.arange(len(plan.sites)), len(grid))
    inside = np.hypot(*xy.T) < 1.5 * half
    return xy[inside], site[inside].astype(np.int64)


def _areas(plan: Design, xy: Floats, rng: np.random.Generator, again: Ints | None = None) -> Ints:
    """Tell on which side of a line through the world each column lies."""
    if plan.kind == "crystal":
        return np.zeros(len(xy), np.int64)
    if again is not None:  # grains overlap after the turn: each keeps its side
        side = (xy[:, 0] > 0).astype(np.int64)
        return np.where(side == again, again, -1)
    return (xy[:, 0] > rng.uniform(-1, 1) * (plan.kind != "grains")).astype(np.int64)


def _unclashed(xy: Floats, site: Ints, area: Ints) -> tuple[Floats, Ints, Ints]:
    xy, site, area = xy[area >= 0], site[area >= 0], area[area >= 0]
    shortest = median_spacing(xy) or 0.0
    pairs = cKDTree(xy).query_pairs(CLASH * shortest, output_type="ndarray")
    keep = np.ones(len(xy), dtype=bool)
    keep[pairs[:, 1]] = False
    return xy[keep], site[keep], area[keep]


def _changed(plan: Design, xy: Floats, site: Ints, rng: np.random.Generator) -> Ints:
    """State (N,): VACANT, 0 for the host, 1 + f for the foreign atom f."""
    state = np.zeros(len(xy), dtype=np.int64)
    count = len(xy)
    for f, s in enumerate(plan.taken):
        where = np.flatnonzero(site == s)
        state[rng.choice(where, max(2, int(0.03 * count * rng.random())), replace=False)] = 1 + f
    tree = cKDTree(xy)
    for s in range(len(plan.sites)):
        same = np.flatnonzero(site == s)
        for start in rng.choice(same, max(2, int(0.02 * count * rng.random())), replace=False):
            length = int(rng.choice([1, 1, 1, 2, 3, 5]))
            step = plan.cell[int(rng.integers(2))]
            apart, row = tree.query(xy[start] + np.arange(length)[:, None] * step)
            state[row[(apart < 0.1) & (site[row] == s)]] = VACANT
    return state


def _labels(plan: Design, xy: Floats, site: Ints, state: Ints, area: Ints) -> Ints:
    """Number (N,) that tells own site, state and area, and the states of those around."""
    distance, index = cKDTree(xy).query(xy, k=9)
    near = distance[:, 1:] < SHELL * np.maximum(distance[:, 1:2], 0.7)
    states = len(plan.foreign) + 2
    around = state[index[:, 1:]] + 1
    counts = [(near & (around == k)).sum(axis=1) for k in range(states) if k != 1]
    across = (near & (area[index[:, 1:]] != area[:, None])).any(axis=1)
    if plan.kind == "rebuilt":
        code = area
    else:
        code = np.where(across, 2, area if plan.kind != "grains" else 0)
    for values in (site, state + 1, *counts):
        code = code * 13 + values
    return np.asarray(code)


def _by_rings(xy: Floats, rings: Ints, fine: int) -> Ints:
    """Class (N,) of each atom by the sizes (N, 3) of its rings."""
    if fine == 0:
        return (rings != 6).any(axis=1).astype(np.int64)
    code = rings @ np.array([100, 10, 1])
    if fine == 1:
        return code
    _, index = cKDTree(xy).query(xy, k=4)
    return code * 4 + (code[index[:, 1:]] != code[:, None]).sum(axis=1)


def _settled(plan: Design, xy: Floats, state: Ints) -> Floats:
    """Move neighbours of changed sites out or in, and close lines up."""
    empty = np.flatnonzero(state != 0)
    if not len(empty):
        return xy
    distance, nearest = cKDTree(xy[empty]).query(xy, k=1, distance_upper_bound=2.0)
    free = np.isfinite(distance) & (distance > 1e-6)
    source = empty[nearest[free]]
    away = (xy[free] - xy[source]) / distance[free, None]
    strength = np.where(state[source] == VACANT, plan.push - plan.closure / 2, plan.push)
    moved = xy.copy()
    moved[free] += away * (strength / distance[free] ** 2)[:, None].clip(-0.2, 0.2)
    return moved
