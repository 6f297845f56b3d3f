"""What another day does to a whole frame, found from its common atoms and taken back.

Another detector, or another setting of it, raises brightness to another power, and the scan
stretches and shears. Both change all surroundings alike, so the power and the strain are those at
which the common classes of a frame lie where their examples lie. A crystal of one kind of column
says next to nothing about the power, and keeps its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import positions

Floats = NDArray[np.float64]

SOME = 600  # atoms in the middle of a frame that are looked at
COMMON = 0.03  # share of atoms from which on a class says where it lies
USUAL = np.array([0.3, 0.06, 0.06])  # standard deviations of what is looked for
STEPS = np.array([0.2, 0.06, 0.06])  # of the first round; halved from round to round
ROUNDS = 4
ENOUGH = 0.2  # of a step: smaller moves end the search
FAR = 400.0  # squared distance of a class beyond which it counts no more


@dataclass(frozen=True)
class Change:
    """What brings a frame to where the examples are.

    Attributes:
        power: Brightness is raised to it.
        strain: (2, 2) positions are multiplied by it from the right; symmetric, its determinant
            is one: turning and scale change no surroundings.
    """

    power: float
    strain: Floats

    @classmethod
    def of(cls, values: Floats) -> Change:
        """Make it from the logarithm of the power and the two parts of the strain (3,)."""
        log, even, shear = values
        size = np.hypot(even, shear)
        part = np.sinh(size) / size if size else 1.0
        turn = np.array([[even, shear], [shear, -even]])
        return cls(float(np.exp(log)), np.cosh(size) * np.eye(2) + part * turn)

    def __call__(self, xy: Floats, light: Floats) -> tuple[Floats, Floats]:
        """Return positions (N, 2) and brightness (N,) changed; below zero, the sign is kept."""
        return xy @ self.strain, np.sign(light) * np.abs(light) ** self.power


SAME = Change(1.0, np.eye(2))
Misfit = Callable[[pd.DataFrame, Change], float | None]


def change_of(table: pd.DataFrame, misfit: Misfit) -> Change:
    """Find the change that brings a table to where the examples are.

    Args:
        table: Atoms of one frame or more; the fullest frame is looked at.
        misfit: Of a changed table to the examples; None where too few atoms are like any of them.
    """
    part = _middle(table)
    light = "intensity" in part and bool(np.isfinite(part["intensity"]).any())

    def cost(values: Floats) -> float:
        found = misfit(part, Change.of(values))
        return np.inf if found is None else found + 0.5 * float(((values / USUAL) ** 2).sum())

    values, least = np.zeros(3), cost(np.zeros(3))
    for n in range(ROUNDS):
        before = values
        for axis in range(0 if light else 1, 3):
            values, least = _along(cost, values, least, axis, STEPS[axis] / 2**n)
        if np.all(np.abs(values - before) <= ENOUGH * STEPS / 2**n):
            break
    return Change.of(values) if np.isfinite(least) else SAME


def _along(
    cost: Callable[[Floats], float], values: Floats, least: float, axis: int, step: float
) -> tuple[Floats, float]:
    """Move along one axis to the bottom of the parabola through three places, or to the best."""
    way = step * np.eye(3)[axis]
    tried = {-1.0: cost(values - way), 0.0: least, 1.0: cost(values + way)}
    bend = tried[-1] + tried[1] - 2 * least
    if np.isfinite(bend) and bend > 0:
        bottom = float(np.clip((tried[-1] - tried[1]) / (2 * bend), -1.5, 1.5))
        if abs(bottom) > ENOUGH:
            tried[bottom] = cost(values + bottom * way)
    best = min(tried, key=lambda t: (tried[t], abs(t)))
    return values + best * way, tried[best]


def misfit_of(white: Floats, examples: Floats, kind: NDArray[np.intp], found: Floats) -> float:
    """How far the common classes lie from their examples, in units of their scatter.

    Args:
        white: (N, D) whitened embeddings.
        examples: (n, D), whitened.
        kind: (n,) classes of the examples.
        found: (N, C) probabilities of the classes.
    """
    best = found.argmax(axis=1)
    total = 0.0
    for c in range(found.shape[1]):
        mine, own = best == c, examples[kind == c]
        if len(own) and mine.mean() > COMMON:
            apart = np.median(white[mine], axis=0) - own.mean(axis=0)
            total += mine.mean() * min(FAR, float(apart @ apart)) * len(own)
    return total / 2


def _middle(table: pd.DataFrame) -> pd.DataFrame:
    """Return atoms that lie together in the middle of the fullest frame."""
    if "frame" in table and len(table):
        fullest = table["frame"].mode().iloc[0]
        table = pd.DataFrame(table[table["frame"] == fullest])
    xy = positions(table)
    rows = np.flatnonzero(np.isfinite(xy).all(axis=1))
    if len(rows) <= SOME:
        return pd.DataFrame(table.iloc[rows])
    centre = np.median(xy[rows], axis=0)
    return pd.DataFrame(table.iloc[rows[cKDTree(xy[rows]).query(centre, k=SOME)[1]]])
