"""Lattices whose columns have classes: what a lattice-specific network learns to tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.simulate.bank import FAINT
from atomscope.simulate.crystals import Basis
from atomscope.simulate.lattices import shortest_distance, tile
from atomscope.simulate.scene import Floats, Scene

EXPONENT = (1.2, 2.0)  # of Z-contrast, over the usual annular detectors


@dataclass(frozen=True)
class Host:
    """A perfect structure: its projection, and the class (B,) of each of its sites.

    Attributes:
        basis: One primitive cell of the projection.
        label: Class of each site, OTHER for sites that are drawn but not learned.
        exponent: Range of the power of Z that a column's strength goes with.
    """

    basis: Basis
    label: tuple[int, ...]
    exponent: tuple[float, float] = EXPONENT


@dataclass(frozen=True)
class Change:
    """How sites of one class become another.

    Attributes:
        at: Class of the sites.
        becomes: Class afterwards.
        share: Range of the share of such sites that change.
        weight: Range of the strength afterwards in units of that before; 0 for a vacancy.
        push: Range of the shift of the nearest columns, away from the site, in units of
            the shortest column spacing.
    """

    at: int
    becomes: int
    share: tuple[float, float]
    weight: tuple[float, float]
    push: tuple[float, float] = (0.0, 0.0)


def classed_lattice(
    rng: np.random.Generator,
    size: int,
    spacing: float,
    hosts: tuple[Host, ...],
    changes: tuple[Change, ...],
) -> Scene:
    """Cover a square field with one of the structures and change some of its sites.

    Args:
        rng: Source of randomness.
        size: Edge of the field in px.
        spacing: Shortest distance in px between columns that are bright enough to show.
        hosts: Structures to draw from.
        changes: What may become of their sites.
    """
    host = hosts[rng.integers(len(hosts))]
    weight = host.basis.weights(rng.uniform(*host.exponent))
    shown = weight >= FAINT
    cell, sites = host.basis.cell, host.basis.sites[shown]
    scale = spacing / shortest_distance(cell, sites)
    flip = np.diag([1.0, rng.choice([-1.0, 1.0])])
    angle, origin = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2)
    xy, site = tile(scale * cell @ flip, sites, size, angle, origin)
    scene = Scene(xy, weight[shown][site], spacing, np.array(host.label)[shown][site])
    return _changed(rng, scene, changes)


def _changed(rng: np.random.Generator, scene: Scene, changes: tuple[Change, ...]) -> Scene:
    """Apply the changes, each to sites that no other one took."""
    xy, weight, label = scene.xy.copy(), scene.weight.copy(), scene.label.copy()
    free = np.ones(len(xy), dtype=bool)
    for change in changes:
        share = rng.uniform(*change.share)
        taken = free & (scene.label == change.at) & (rng.random(len(xy)) < share)
        free &= ~taken
        weight[taken] *= rng.uniform(*change.weight, taken.sum())
        label[taken] = change.becomes
        push = rng.uniform(*change.push) * scene.spacing
        if push != 0 and taken.any():
            xy += _pushed(scene.xy, scene.xy[taken], push, 1.3 * scene.spacing)
    return Scene(xy, weight, scene.spacing, label)


def _pushed(xy: Floats, sources: Floats, push: float, reach: float) -> Floats:
    """Shifts (N, 2) of the columns within `reach` px of a source, away from it."""
    away = xy[:, None] - sources[None]
    distance = np.linalg.norm(away, axis=-1, keepdims=True)
    near = (distance > 1e-9) & (distance < reach)
    return np.asarray((near * push * away / np.maximum(distance, 1e-9)).sum(1))
