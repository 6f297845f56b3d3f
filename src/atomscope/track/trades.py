"""Dopants of one kind that seem to change places with each other: who stayed where they were.

Each way is the likeliest for its dopant alone. Together several ways may lead in a circle, so that
the same places are taken before and after; then it is asked whether anything moved at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.track.motion import Floats, Ints

NEXT = 1.25  # spacings: farthest first neighbour
SECOND = 2.1  # spacings: reached by two hops between frames
JUMP = float(np.log(1e-7))  # farther
GONE = float(np.log(1e-5))  # the dopant leaves or arrives
_LONGEST = 40  # frames that a circle may take


@dataclass(frozen=True)
class Steps:
    """What a step of a dopant between two frames costs.

    Attributes:
        spacing: Distance of neighbours in px.
        rate: Hops per frame.
    """

    spacing: float
    rate: float

    def chances(self, distance: Floats) -> Floats:
        """Log of the chance to go so far in px, to one place; NaN is a way out or in."""
        chance = np.where(distance < NEXT * self.spacing, self.rate / 3, self.rate**2 / 6)
        chance = np.where(distance < 1e-6, 1 - self.rate, chance)
        far = np.where(distance < SECOND * self.spacing, np.log(chance), JUMP)
        return np.asarray(np.where(np.isnan(distance), GONE, far))


def untraded(way: Ints, evidence: Floats, xy: Floats, steps: Steps) -> Ints:
    """Let dopants stay that only traded places with each other, where this is likelier.

    Args:
        way: Column of the place of each dopant in each frame, the last one for none, shape (P, F).
        evidence: Log-odds of the species at each place, shape (F, N).
        xy: Positions of the places in px, NaN in the last row, shape (N + 1, 2).
        steps: What moves cost.

    Returns:
        The ways, shape (P, F).
    """
    way = way.copy()
    full = np.column_stack([evidence, np.zeros(len(evidence))])
    frame = 1
    while frame < way.shape[1]:
        moved = way[:, frame] != way[:, frame - 1]
        end = _circle(way, frame) if moved.any() else None
        if end is None:
            frame += 1
            continue
        some = np.flatnonzero((way[:, frame : end + 1] != way[:, [frame - 1]]).any(axis=1))
        here, before = way[some, frame - 1 : end + 1], way[some, frame - 1]
        times = np.arange(frame, end + 1)
        as_it_is = full[times, here[:, 1:]].sum() + _moves(here, xy, steps)
        if full[times, before[:, None]].sum() >= as_it_is:
            order = np.argsort(here[:, -1], kind="stable")[np.argsort(np.argsort(before))]
            way[some, end + 1 :] = way[some[order], end + 1 :]
            way[some, frame : end + 1] = before[:, None]
        frame += 1
    return way


def _circle(way: Ints, frame: int) -> int | None:
    """Last frame of the shortest circle of two dopants or more that starts in a frame.

    They may have traded places, or all be back where they were.
    """
    before = way[:, frame - 1]
    for end in range(frame, min(frame + _LONGEST, way.shape[1])):
        some = (way[:, frame : end + 1] != before[:, None]).any(axis=1)
        if some.sum() > 1 and (np.sort(way[some, end]) == np.sort(before[some])).all():
            return end
    return None


def _moves(way: Ints, xy: Floats, steps: Steps) -> float:
    """Log of the chance of all moves, against staying."""
    off = xy[way[:, 1:]] - xy[way[:, :-1]]
    distance = np.hypot(off[..., 0], off[..., 1])
    changed = way[:, 1:] != way[:, :-1]
    return float((steps.chances(distance) * changed).sum())
