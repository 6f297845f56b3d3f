"""When a place holds an atom: a missed atom told from one that left.

A hidden Markov model with two states, occupied and empty, for each place (Rabiner, Proc. IEEE 77,
257 (1989)); the shares of missed and false atoms are estimated from the movie itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from atomscope.track.log import Log
from atomscope.track.motion import Bools, Floats, Ints

_LEAVE = 1e-4  # chance in each frame that an atom is knocked out, before anything is seen
_COME = 1e-3  # that an empty place is filled
_RUN = 2  # misses in a row from which on a place is looked at
_AT_ONCE = 2000  # places that are worked on together
_SHARE = 0.4  # least share of hits in the life of an atom
_DENSE = 0.3  # least share of hits in all frames from first to last, off the lattice
_HITS = 3  # least hits of an atom, in a movie that is long enough


@dataclass(frozen=True)
class Lives:
    """For each entry of the log whether an atom is there.

    Attributes:
        occupied: Probability, shape (K,).
        life: Number of the life that the entry belongs to, -1 while empty, shape (K,). Each ends
            with its last hit.
        place: Place of each life, shape (L,).
        first: Time of the first hit of each, shape (L,).
        last: Of its last, shape (L,).
        miss: Share of atoms that are missed.
    """

    occupied: Floats
    life: Ints
    place: Ints
    first: Ints
    last: Ints
    miss: float

    def without_chance(self, hits: Ints, on_site: Bools) -> Lives:
        """Leave out lives off the lattice that are false atoms which met at one place by chance.

        Near the border a place may be out of view meanwhile, so that few misses are counted.

        Args:
            hits: Of each life, shape (L,).
            on_site: Whether its place is a site of the lattice, shape (L,).
        """
        keep = on_site | (hits >= _DENSE * (self.last - self.first + 1))
        number = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
        return replace(
            self,
            life=number[self.life],
            place=self.place[keep],
            first=self.first[keep],
            last=self.last[keep],
        )


def find_lives(log: Log, merged: Ints) -> Lives:
    """Tell when each place is occupied.

    Args:
        log: Of the tracker.
        merged: Place of each entry after places that are one have been joined, shape (K,).
    """
    hit = log.hit
    occupied = np.ones(len(hit))
    order = np.lexsort((log.time, merged))
    starts = np.flatnonzero(np.diff(merged[order], prepend=-1))
    parts = np.split(order, starts[1:]) if len(order) else []
    doubtful = [part for part in parts if _longest_run(~hit[part]) >= _RUN]
    miss, false = float(np.clip((~hit).mean() if len(hit) else 0.1, 0.005, 0.5)), 0.02
    alone = _alone(hit, parts)
    later = np.ones(len(hit), dtype=bool)
    later[[part[0] for part in parts]] = False  # the hit that a place begins with is no chance
    born = np.array([part[0] for part in doubtful if log.time[part[0]] > 0], dtype=np.int64)
    real = 0.5  # share of the places that come up within the movie which hold an atom
    for _ in range(3):
        for k in range(0, len(doubtful), _AT_ONCE):
            some = doubtful[k : k + _AT_ONCE]
            entry = np.concatenate(some)
            column = np.repeat(np.arange(len(some)), [len(part) for part in some])
            chances = (miss, false, real)
            occupied[entry] = _smooth(hit[entry], log.time[entry], column, chances)
        there = occupied > 0.5
        real = float(np.clip((there[born].sum() + 1) / (len(born) + 2), 0.05, 0.9))
        seen, misses = float((there & hit).sum()), float((there & ~hit).sum())
        miss = float(np.clip((misses + 0.5) / (seen + misses + 1.0), 0.005, 0.5))
        empty = ~there & later
        # false atoms come one at a time; several in a row are an atom's short stay
        false = float(np.clip((alone[empty].sum() + 1) / (empty.sum() + 50.0), 1e-3, 0.1))
    return _collect(log, merged, parts, occupied, miss)


def _longest_run(flags: Bools) -> int:
    if not flags.any():
        return 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return int((edges[1::2] - edges[::2]).max())


def _alone(hit: Bools, parts: list[Ints]) -> Bools:
    """Hits without another one just before or after at the same place, shape (K,)."""
    alone = hit.copy()
    for part in parts:
        beside = np.concatenate([[False], hit[part], [False]])
        alone[part] &= ~(beside[:-2] | beside[2:])
    return alone


def _smooth(hit: Bools, time: Ints, column: Ints, chances: tuple[float, float, float]) -> Floats:
    """Forward-backward over all places at once: probability that each is occupied.

    Frames in which a place is out of view say nothing; nor does the hit that it came up with within
    the movie, since without one there would be no place.
    """
    miss, false, real = chances
    first = np.append(True, np.diff(column) != 0)  # entries come by place, then time
    born = first & (time > 0)
    time = time - time.min()
    emission = np.ones((int(time.max()) + 1, int(column.max()) + 1, 2))
    emission[time, column] = np.where(hit[:, None], [1 - miss, false], [miss, 1 - false])
    emission[time[born], column[born]] = 1.0
    starts: dict[int, list[int]] = {}
    for at, which in zip(time[born].tolist(), column[born].tolist(), strict=True):
        starts.setdefault(at, []).append(which)
    change = np.array([[1 - _LEAVE, _LEAVE], [_COME, 1 - _COME]])
    forward = np.empty_like(emission)
    state = np.tile([0.9, 0.1], (emission.shape[1], 1))
    for t, seen in enumerate(emission):
        state = state if t == 0 else state @ change
        state[starts.get(t, [])] = [real, 1 - real]
        state = state * seen
        state /= state.sum(axis=1, keepdims=True)
        forward[t] = state
    state = np.ones_like(state)
    for t in range(len(emission) - 2, -1, -1):
        state = (emission[t + 1] * state) @ change.T
        state /= state.sum(axis=1, keepdims=True)
        forward[t] *= state
    both = forward[time, column]
    return np.asarray(both[:, 0] / both.sum(axis=1))


def _collect(log: Log, merged: Ints, parts: list[Ints], occupied: Floats, miss: float) -> Lives:
    hit, frames = log.hit, len(log.frames)
    need = 1 if frames <= 2 else 2 if frames <= 5 else _HITS
    life = np.full(len(hit), -1)
    found: list[tuple[int, int, int]] = []
    for part in parts:
        there = occupied[part] > 0.5
        changes = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(int)))
        for a, b in zip(changes[::2], changes[1::2], strict=True):
            hits = a + np.flatnonzero(hit[part[a:b]])
            if len(hits) < need or len(hits) < _SHARE * (hits[-1] - hits[0] + 1):
                continue
            span = part[hits[0] : hits[-1] + 1]
            life[span] = len(found)
            found.append((int(merged[part[0]]), int(log.time[span[0]]), int(log.time[span[-1]])))
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Lives(occupied, life, table[:, 0], table[:, 1], table[:, 2], miss)
