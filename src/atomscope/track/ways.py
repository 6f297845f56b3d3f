"""The likeliest way of one dopant over the places of a patch, and where else it may be.

Viterbi path and posterior of a hidden Markov chain (Rabiner, Proc. IEEE 77, 257 (1989)) whose
states are the places and 'not there'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from atomscope.track.motion import Floats, Ints
from atomscope.track.trades import GONE, JUMP, NEXT, SECOND, Steps

BEFORE = 50.0  # frames that the usual rate counts for, before anything is seen


@dataclass(frozen=True)
class Habit:
    """What dopants have been seen to do at P places.

    A bistable dopant goes to and fro between two sites, others stay for good. The chance of each
    hop is the mean of a Beta distribution whose prior is the usual rate.

    Attributes:
        rate: Hops per frame of a dopant, to one of three neighbours.
        hops: Between two places, either way, shape (P, P).
        stayed: Frames with a dopant at each place, shape (P,).
    """

    rate: float
    hops: csr_array
    stayed: Floats

    def of(self, patch: Ints) -> Habit:
        """Keep some of the places."""
        return Habit(self.rate, self.hops[patch][:, patch], self.stayed[patch])

    def chances(self, origin: Ints, target: Ints) -> Floats:
        """Chance per frame to go from one place to another beside it."""
        seen = np.asarray(self.hops.todense())[origin, target]
        frames = self.stayed[origin] + self.stayed[target]
        return np.asarray((seen + BEFORE * self.rate / 3) / (frames + BEFORE))


@dataclass(frozen=True)
class Way:
    """The way of a dopant over n places in F frames.

    Attributes:
        place: Index of its place in each frame, -1 where it is not there, shape (F,).
        chance: Posterior probability that it is at each place, and that it is not there, shape
            (F, n + 1).
        gain: Log-odds of the way against no dopant.
    """

    place: Ints
    chance: Floats
    gain: float


def follow(evidence: Floats, xy: Floats, spacing: float, habit: Habit) -> Way:
    """Find the likeliest way of a dopant.

    Args:
        evidence: Log-odds of the dopant at each place, shape (F, n).
        xy: Of the places, px, shape (n, 2).
        spacing: Distance of neighbours in px.
        habit: What dopants do at these places.
    """
    near, weight = _neighbours(xy, spacing, habit)
    way, gain = _likeliest(evidence, near, weight)
    return Way(np.where(way < len(xy), way, -1), _posterior(evidence, near, weight), gain)


def _neighbours(xy: Floats, spacing: float, habit: Habit) -> tuple[Ints, Floats]:
    """Places from which each place is reached, and the logs of the chances; padded with -inf."""
    k = min(14, len(xy))
    distance, near = cKDTree(xy).query(xy, k=k, distance_upper_bound=SECOND * spacing)
    distance, near = distance.reshape(-1, k), near.reshape(-1, k)
    known = np.where(np.isfinite(distance), distance, 0.0)
    weight = np.where(np.isfinite(distance), Steps(spacing, habit.rate).chances(known), -np.inf)
    near = np.where(np.isfinite(distance), near, 0)
    beside = (known > 0) & (known < NEXT * spacing)
    own = np.broadcast_to(np.arange(len(xy))[:, None], near.shape)
    return near, np.where(beside, np.log(habit.chances(near, own)), weight)


def _likeliest(evidence: Floats, near: Ints, weight: Floats) -> tuple[Ints, float]:
    """Viterbi path, n for 'not there', and its gain over no dopant."""
    frames, n = evidence.shape
    score, gone = evidence[0] + GONE / 3, 0.0
    back = np.empty((frames, n + 1), dtype=np.int64)
    for t in range(1, frames):
        step = score[near] + weight
        pick = step.argmax(axis=1)
        best, origin = step[np.arange(n), pick], near[np.arange(n), pick]
        top = int(score.argmax())
        for value, place in ((score[top] + JUMP, top), (gone + GONE, n)):
            origin = np.where(value > best, place, origin)
            best = np.maximum(best, value)
        back[t, :n] = origin
        back[t, n] = top if score[top] + GONE > gone else n
        gone = max(gone, score[top] + GONE)
        score = best + evidence[t]
    top = int(score.argmax())
    way = np.full(frames, n)
    way[-1] = top if score[top] > gone else n
    for t in range(frames - 1, 0, -1):
        way[t - 1] = back[t, way[t]]
    return way, float(max(score[top], gone)) if (way < n).any() else 0.0


def _posterior(evidence: Floats, near: Ints, weight: Floats) -> Floats:
    """Forward-backward over places and 'not there' (last column), shape (F, n + 1)."""
    frames, n = evidence.shape
    full = np.column_stack([evidence, np.zeros(frames)])
    full = np.exp(full - full.max(axis=1, keepdims=True))
    chance, jump, gone = np.exp(weight), np.exp(JUMP), np.exp(GONE)

    def spread(state: Floats) -> Floats:
        every, absent = state[:n].sum(), state[n]
        here = (state[near] * chance).sum(axis=1) + every * jump + absent * gone
        return np.append(here, absent + every * gone)

    forward, backward = np.empty_like(full), np.ones_like(full)
    forward[0] = full[0] * np.append(np.full(n, np.exp(GONE / 3)), 1.0)
    for t in range(1, frames):
        forward[t] = spread(forward[t - 1] / forward[t - 1].sum()) * full[t]
    for t in range(frames - 2, -1, -1):
        backward[t] = spread(backward[t + 1] * full[t + 1])
        backward[t] /= backward[t].sum()
    both = forward * backward
    return np.asarray(both / both.sum(axis=1, keepdims=True))
