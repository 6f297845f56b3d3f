"""Where a dopant is: the likeliest way over the sites, given all readings of the species.

A dopant sits on one site at a time and may exchange places with a neighbour. Its way is the path of
a hidden Markov chain over the sites (Viterbi, IEEE Trans. Inf. Theory 13, 260 (1967)), whose
posterior gives the probability. A frame in which a species was misread costs less than two hops,
unless the dopant is known to go to and fro between these two sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.spatial import cKDTree

from atomscope.track.log import Log
from atomscope.track.motion import Bools, Floats, Ints
from atomscope.track.sites import Sites
from atomscope.track.trades import GONE, JUMP, NEXT, SECOND, Steps, untraded

_PATCH = 10.0  # spacings around the start of a path that are looked at
_HINT = 8.0  # log-odds of one stay with which a dopant is looked for
_PROOF = 14.0  # of the whole path, with which it is one
_TAKEN = -20.0  # log-odds where another dopant is
_BEFORE = 50.0  # frames that the usual rate counts for, before anything is seen


@dataclass(frozen=True)
class Path:
    """The way of one dopant.

    Attributes:
        word: Code of its species.
        place: Number of the place in each frame, -1 where it is not there, shape (F,).
        p: Posterior probability of that, shape (F,).
    """

    word: int
    place: Ints
    p: Floats


@dataclass(frozen=True)
class _Habit:
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

    def of(self, patch: Ints) -> _Habit:
        """Keep some of the places."""
        return _Habit(self.rate, self.hops[patch][:, patch], self.stayed[patch])

    def chances(self, origin: Ints, target: Ints) -> Floats:
        """Chance per frame to go from one place to another beside it."""
        seen = np.asarray(self.hops.todense())[origin, target]
        frames = self.stayed[origin] + self.stayed[target]
        return np.asarray((seen + _BEFORE * self.rate / 3) / (frames + _BEFORE))


def find_paths(log: Log, sites: Sites, merged: Ints, usable: Bools) -> list[Path]:
    """Find the dopants of a lattice and follow them.

    Args:
        log: Of the tracker.
        sites: Places and their sites.
        merged: Place of each entry.
        usable: Entries at places that are atoms of the lattice, shape (K,).
    """
    default = _defaults(log, sites, merged, usable)
    entry = np.flatnonzero(usable & (log.word >= 0))
    other = log.word[entry] != default[sites.row(merged[entry])]
    found: list[Path] = []
    for word in np.unique(log.word[entry][other]):
        host = default[sites.row(merged[entry])] != word
        found += _of_one_species(log, sites, merged, entry[host], int(word))
    return found


def _defaults(log: Log, sites: Sites, merged: Ints, usable: Bools) -> Ints:
    """Code of the commonest species of the sublattice of each place, shape (P,)."""
    known = usable & (log.word >= 0)
    layer = sites.index[sites.row(merged), 2]
    result = np.full(len(sites.place), -1)
    for s in np.unique(layer[known]):
        count = np.bincount(log.word[known & (layer == s)], minlength=len(log.words))
        result[sites.index[:, 2] == s] = int(count.argmax())
    return result


def _of_one_species(log: Log, sites: Sites, merged: Ints, entry: Ints, word: int) -> list[Path]:
    places = np.unique(merged[entry])
    column = np.searchsorted(places, merged[entry])
    sign = np.where(log.word[entry] == word, 1.0, -1.0)
    evidence = np.zeros((len(log.frames), len(places)))
    weight = np.clip(2 * log.sure[entry] - 1, 0, 1)
    doubt = float(np.clip(np.mean(1 - log.sure[entry][sign > 0]), 0.01, 0.3))
    false = float(np.clip(np.mean(sign > 0), 1e-4, 0.1))
    paths: list[Path] = []
    for _ in range(2):  # the second time with the shares of misread atoms as they came out
        gain = np.where(sign > 0, np.log((1 - doubt) / false), -np.log((1 - false) / doubt))
        evidence[log.time[entry], column] = weight * gain
        habit = _habit(paths, places)
        paths = _peel(evidence, places, sites, log.spacing, word, habit)
        paths = _uncrossed(paths, evidence, places, sites, log.spacing, habit)
        on = np.zeros(evidence.shape, dtype=bool)
        for path in paths:
            there = path.place >= 0
            on[np.flatnonzero(there), np.searchsorted(places, path.place[there])] = True
        here = on[log.time[entry], column]
        doubt = float((np.sum(here & (sign < 0)) + 0.5) / (here.sum() + 10.0))
        false = float((np.sum(~here & (sign > 0)) + 0.5) / ((~here).sum() + 100.0))
    return paths


def _habit(paths: list[Path], places: Ints) -> _Habit:
    """Hops per frame, with one hop in 50 frames as the first guess, and where they were."""
    count = len(places)
    pairs, stayed = [np.empty((0, 2), dtype=np.int64)], np.zeros(count)
    for path in paths:
        column = _columns(path, places)
        stayed += np.bincount(column, minlength=count + 1)[:count]
        step = np.column_stack([column[:-1], column[1:]])
        pairs.append(step[(step[:, 0] != step[:, 1]) & (step < count).all(axis=1)])
    moved = np.concatenate(pairs)
    both = np.concatenate([moved, moved[:, ::-1]])
    hops = coo_array((np.ones(len(both)), both.T), shape=(count, count)).tocsr()
    rate = (len(moved) + 1.0) / (sum(len(p.place) for p in paths) + _BEFORE)
    return _Habit(rate, hops, stayed)


def _peel(
    evidence: Floats, places: Ints, sites: Sites, spacing: float, word: int, habit: _Habit
) -> list[Path]:
    """Find one path after another; what one explains is no evidence for the next."""
    left = evidence.copy()
    xy = sites.xy[sites.row(places)]
    tried = np.zeros(len(places), dtype=bool)
    paths: list[Path] = []
    while True:
        stay = np.where(tried, 0.0, _best_stay(left))
        if not len(stay) or stay.max() < min(_HINT, 2.0 * len(left)):
            return paths
        start = int(stay.argmax())
        patch = np.flatnonzero(np.hypot(*(xy - xy[start]).T) < _PATCH * spacing)
        way, p, gain = _follow(left[:, patch], xy[patch], spacing, habit.of(patch))
        if gain < min(_PROOF, 2.5 * len(left)):
            tried[start] = True
            continue
        there = np.flatnonzero(way >= 0)
        column = patch[way[there]]
        left[there, column] = _TAKEN
        place = np.full(len(way), -1)
        place[there] = places[column]
        paths.append(Path(word, place, p))


def _uncrossed(
    paths: list[Path], evidence: Floats, places: Ints, sites: Sites, spacing: float, habit: _Habit
) -> list[Path]:
    """Undo exchanges of two dopants, which are no exchange at all, and follow each once more.

    A path that is looked for alone may go over to another dopant when its own is misread.
    """
    if len(paths) < 2:
        return paths
    xy = np.concatenate([sites.xy[sites.row(places)], [[np.nan, np.nan]]])
    way = np.array([_columns(path, places) for path in paths])
    for t in range(1, way.shape[1]):
        before, after = xy[way[:, t - 1]], xy[way[:, t]]
        moved = np.flatnonzero(way[:, t] != way[:, t - 1])
        for i in moved.tolist():
            as_it_is = _apart(before, after) + _apart(before[i], after[i])
            crossed = _apart(before, after[i]) + _apart(before[i], after)
            gain = np.nan_to_num(as_it_is - crossed, nan=-1.0)
            j = int(gain.argmax())
            if gain[j] > 0.5 * spacing:
                way[[i, j], t:] = way[[j, i], t:]
                after = xy[way[:, t]]
    way = untraded(way, evidence, xy, Steps(spacing, habit.rate))
    found = []
    for i, path in enumerate(paths):
        left = evidence.copy()
        for other in np.delete(way, i, axis=0):
            there = np.flatnonzero(other < len(places))
            left[there, other[there]] = _TAKEN
        mine = np.unique(way[i][way[i] < len(places)])
        if not len(mine):
            continue
        near = np.linalg.norm(xy[:-1, None] - xy[mine][None], axis=-1).min(axis=1)
        patch = np.flatnonzero(near < _PATCH / 2 * spacing)
        again, p, _ = _follow(left[:, patch], xy[patch], spacing, habit.of(patch))
        on = again >= 0
        place = np.full(len(again), -1)
        place[on] = places[patch[again[on]]]
        way[i] = np.where(on, patch[again], len(places))
        found.append(Path(path.word, place, p))
    return found


def _columns(path: Path, places: Ints) -> Ints:
    there = path.place >= 0
    return np.where(there, np.searchsorted(places, np.where(there, path.place, 0)), len(places))


def _apart(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def _best_stay(evidence: Floats) -> Floats:
    """Largest sum of the evidence over any span of frames, of each place."""
    total = np.vstack([np.zeros(evidence.shape[1]), np.cumsum(evidence, axis=0)])
    return np.asarray((total - np.minimum.accumulate(total, axis=0)).max(axis=0))


def _neighbours(xy: Floats, spacing: float, habit: _Habit) -> tuple[Ints, Floats]:
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


def _follow(
    evidence: Floats, xy: Floats, spacing: float, habit: _Habit
) -> tuple[Ints, Floats, float]:
    """Viterbi path over the places of a patch, its posterior and its gain over no dopant."""
    near, weight = _neighbours(xy, spacing, habit)
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
    gain = float(max(score[top], gone)) if (way < n).any() else 0.0
    posterior = _posterior(evidence, near, weight)
    p = posterior[np.arange(frames), way]
    return np.where(way < n, way, -1), p, gain


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
