"""Worlds for the network of structures: tables of columns of which every surrounding is known.

No images and no real materials: lattices of random cells, sites and brightness, with empty
sites, pairs, lines, foreign atoms, shifted sublattices, turned grains and second layers. The class
of an atom is what stands on its own site and on those around it before anything is distorted,
so that lattices never seen have classes as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIDE = 8.0  # half the edge of a world, in mean distances of columns
MARGIN = 1.6  # of it that is cut off: surroundings there are not whole
SHELL = 1.3  # what surrounds an atom: up to so many distances to its nearest
VACANT = -1
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
        kind: 'crystal', 'phases', 'grains' or 'stack'.
        turn: Between grains, radians.
        push: By which neighbours of an empty site move out, in spacings.
        closure: Share by which rows beside a line come nearer.
        over: Brightness of a second layer, which lies over all columns.
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
    return Design(
        cell,
        sites,
        logs,
        sizes,
        rng.integers(0, len(sites), count),
        rng.choice([(1 / 3, -1 / 3), (-1 / 3, 1 / 3), (0.5, 0.0), (0.2, 0.2)]),
        str(rng.choice(["crystal", "phases", "grains", "stack"], p=[0.6, 0.16, 0.14, 0.1])),
        float(rng.uniform(0.1, 0.6)),
        float(rng.normal(0, 0.05)),
        float(rng.uniform(0, 0.15)),
        float(rng.uniform(0.3, 1.5)),
    )


def world(plan: Design, rng: np.random.Generator) -> World:
    """Draw a world of a design, as columns without distortion, noise or dirt."""
    half = SIDE + MARGIN
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
    shortest = np.median(cKDTree(xy).query(xy, k=2)[0][:, 1])
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
    own = [site, state + 1, np.where(across, 2, area if plan.kind != "grains" else 0)]
    code = np.zeros(len(xy), dtype=np.int64)
    for values in (*own, *counts):
        code = code * 13 + values
    return code


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


def seen(found: World, rng: np.random.Generator, hard: float = 1.0) -> World:
    """Distort, thin out and dim a world, as a microscope and a detector do.

    Turn, mirror, scale 0.5 to 2, shear to 0.2, a smooth distortion to 6 %, jitter to 6 % of the
    spacing, up to 12 % of the columns lost; brightness with noise to 15 %, gain, gamma 0.7 to 1.4
    and a slow change.

    Args:
        found: As `world` gives it.
        rng: Of everything random.
        hard: Scales shear, distortion, jitter, losses and noise.
    """
    xy = found.xy
    phase, wave = rng.uniform(0, 2 * np.pi, 2), rng.normal(0, 0.25, (2, 2))
    bend = np.sin(xy @ wave + phase) * (rng.uniform(0, 0.06, 2) * hard / np.abs(wave).sum(axis=0))
    xy = xy + bend + rng.normal(0, rng.uniform(0, 0.06) * hard, xy.shape)
    angle, flip = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    c, s = np.cos(angle), np.sin(angle)
    along = np.array([[1, rng.uniform(-0.2, 0.2) * hard * (rng.random() < 0.5)], [0, 1]])
    xy = xy @ along @ np.array([[c, s], [-s, c]]) @ np.diag([1, flip]) * rng.uniform(0.5, 2)
    log = np.log(found.brightness) * rng.uniform(0.7, 1.4)
    log = log + rng.normal(0, rng.uniform(0.01, 0.15) * hard, len(log))
    log = log + 0.3 * np.sin(found.xy @ rng.normal(0, 0.12, 2)) + rng.normal()
    kept = rng.random(len(xy)) >= rng.uniform(0, 0.12) * hard * (rng.random() < 0.6)
    return World(xy[kept], np.exp(log[kept]), found.label[kept])
