"""Where a dopant is: the likeliest way over the sites, given all readings of the species.

A dopant sits on one site at a time and may exchange places with a neighbour. Its way is the path of
a hidden Markov chain over the sites (Viterbi, IEEE Trans. Inf. Theory 13, 260 (1967)), whose
posterior gives the probability. A frame in which a species was misread costs less than two hops,
unless the dopant is known to go to and fro between these two sites.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from atomscope.track.log import Log
from atomscope.track.motion import Bools, Floats, Ints
from atomscope.track.readings import Readings
from atomscope.track.sites import Sites
from atomscope.track.trades import Steps, untraded
from atomscope.track.ways import BEFORE, Habit, Way, follow

_PATCH = 10.0  # spacings around the start of a path that are looked at
_HINT = 8.0  # log-odds of one stay with which a dopant is looked for
_PROOF = 14.0  # of the whole path, with which it is one
_TAKEN = -20.0  # log-odds where another dopant is
_SOME = 1e-4  # probability of a place, below which it is not kept


@dataclass(frozen=True)
class Path:
    """The way of one dopant.

    Attributes:
        word: Code of its species.
        place: Number of the place in each frame, -1 where it is not there, shape (F,).
        p: Posterior probability of that, shape (F,).
        chance: Posterior probability of each place, small ones left out, shape (F, P) by the
            number of the place.
    """

    word: int
    place: Ints
    p: Floats
    chance: coo_array

    @classmethod
    def of(cls, word: int, way: Way, places: Ints) -> Path:
        """Take a way over some places, whose numbers are given, shape (n,)."""
        place = np.where(way.place >= 0, places[way.place], -1)
        p = way.chance[np.arange(len(place)), way.place]  # -1 is the column for 'not there'
        time, column = np.nonzero(way.chance[:, :-1] > _SOME)
        shape = (len(place), int(places.max()) + 1)
        chance = coo_array((way.chance[time, column], (time, places[column])), shape=shape)
        return cls(word, place, p, chance)


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
    readings = Readings(log.word[entry] == word, log.sure[entry])
    evidence = np.zeros((len(log.frames), len(places)))
    odds = readings.first_guess()
    paths: list[Path] = []
    for _ in range(2):  # the second time with readings worth what they came out to be
        evidence[log.time[entry], column] = odds
        habit = _habit(paths, places)
        paths = _peel(evidence, places, sites, log.spacing, word, habit)
        paths = _uncrossed(paths, evidence, places, sites, log.spacing, habit)
        on = np.zeros(evidence.shape, dtype=bool)
        for path in paths:
            there = path.place >= 0
            on[np.flatnonzero(there), np.searchsorted(places, path.place[there])] = True
        odds = readings.log_odds(on[log.time[entry], column])
    return paths


def _habit(paths: list[Path], places: Ints) -> Habit:
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
    rate = (len(moved) + 1.0) / (sum(len(p.place) for p in paths) + BEFORE)
    return Habit(rate, hops, stayed)


def _peel(
    evidence: Floats, places: Ints, sites: Sites, spacing: float, word: int, habit: Habit
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
        way = follow(left[:, patch], xy[patch], spacing, habit.of(patch))
        if way.gain < min(_PROOF, 2.5 * len(left)):
            tried[start] = True
            continue
        there = np.flatnonzero(way.place >= 0)
        left[there, patch[way.place[there]]] = _TAKEN
        paths.append(Path.of(word, way, places[patch]))


def _uncrossed(
    paths: list[Path], evidence: Floats, places: Ints, sites: Sites, spacing: float, habit: Habit
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
        again = follow(left[:, patch], xy[patch], spacing, habit.of(patch))
        way[i] = np.where(again.place >= 0, patch[again.place], len(places))
        found.append(Path.of(path.word, again, places[patch]))
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
