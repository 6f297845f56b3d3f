"""Frame by frame: bring it into the reference, give its atoms to places, find new places.

A place is where an atom sits: a site of a lattice, or wherever an atom of a molecule is at the
moment. Only what is known of the places is kept from frame to frame. Who sits where when atoms
change places is found out afterwards, from all readings of a place together (`weave`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.spacing import median_spacing
from atomscope.track.assign import one_to_one
from atomscope.track.log import Reading, Seen, read_rows
from atomscope.track.motion import (
    Bools,
    Floats,
    Ints,
    Model,
    Motion,
    register,
)

_GATE = 0.5  # spacings: farthest that an atom of the host is from its place
_MOBILE = 0.75  # the same for a dopant, which may move between frames
_SIGMA = 0.1  # spacings: error of a position before it is known
_MISREAD = 2.0  # what another species costs
_ALONE = 2.5  # what it costs beyond the gate's edge to leave a pair alone
_BORDER = 0.3  # spacings: nearer to the border a missed atom says nothing
RARE = 0.15  # share of the atoms or tracks: species with less are dopants
_TWO = 0.45  # spacings: nearer than this there are no two atoms
_FORGET = 3  # misses more than hits, after which a place that was never sure is given up
_SURE = 3  # hits from which on a place is kept


@dataclass
class _Places:
    """State of the places; one row each."""

    number: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    xy: Floats = field(default_factory=lambda: np.empty((0, 2)))
    sigma: Floats = field(default_factory=lambda: np.empty(0))
    hits: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    misses: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    away: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    votes: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def add(self, first: int, xy: Floats, sigma: float) -> None:
        n = len(xy)
        self.number = np.append(self.number, np.arange(first, first + n))
        self.xy = np.concatenate([self.xy, xy])
        self.sigma = np.append(self.sigma, np.full(n, sigma))
        for name in ("hits", "misses", "away"):
            setattr(self, name, np.append(getattr(self, name), np.zeros(n, np.int64)))
        self.votes = np.concatenate([self.votes, np.zeros((n, self.votes.shape[1]))])

    def keep(self, which: Bools) -> None:
        for name in ("number", "xy", "sigma", "hits", "misses", "away", "votes"):
            setattr(self, name, getattr(self, name)[which])


class Tracker:
    """Follows atoms through a movie, one frame after another.

    Args:
        shape: Of the frames, (y, x); without it the extent of the atoms is taken.
        spacing: Distance of neighbours in px; without it that of the first frame is taken.

    `add` takes a table of one frame; `frames`, `motions`, `seen` and `readings` are the record.
    """

    def __init__(
        self, *, shape: tuple[int, int] | None = None, spacing: float | None = None
    ) -> None:
        """Start with no places."""
        self.shape = shape
        self.spacing = np.inf if spacing is None else float(spacing)
        self.frames: list[int] = []
        self.motions: list[Motion] = []
        self.seen: list[Seen] = []
        self.readings: list[Reading] = []
        self._places = _Places()
        self._codes: dict[str, int] = {}
        self._next = 0
        self._sigma = _SIGMA
        self._step = 0.0

    def add(self, table: pd.DataFrame, frame: int | None = None) -> Seen:
        """Take in the atoms of the next frame and return who was seen where.

        Args:
            table: Atoms of this frame; maybe none.
            frame: Its number; by default what the column `frame` says, or one more than before.

        Raises:
            UsageError: The frame is not after those before, there are no positions, or an atom
                is given twice.
        """
        return self.take(read_rows(table), self._number(table, frame))

    def take(self, reading: Reading, frame: int) -> Seen:
        """Do what `add` does with what was read from the table."""
        self._check(frame)
        code = self._code(reading)
        if not np.isfinite(self.spacing):
            self.spacing = median_spacing(reading.xy) or np.inf
        before = self.motions[-1] if self.motions else Motion()
        motion = before
        if len(self._places.xy) and np.isfinite(self.spacing):
            motion = register(self._model(), reading.xy, self._rare(code), before)
            step = float(np.hypot(*(motion.shift - before.shift)))
            self._step = 0.9 * self._step + 0.1 * min(step, self.spacing)
        home = motion.to_reference(reading.xy)
        atom, place, distance = self._match(home, code)
        seen = self._update(reading, home, motion, (atom, place, distance), code)
        self.frames.append(frame)
        self.motions.append(motion)
        self.seen.append(seen)
        self.readings.append(reading)
        return seen

    def _number(self, table: pd.DataFrame, frame: int | None) -> int:
        last = self.frames[-1] if self.frames else -1
        if frame is None:
            known = table["frame"].unique().tolist() if "frame" in table else []
            if len(known) > 1:
                raise UsageError(f"a table of {len(known)} frames was given; expected one frame.")
            frame = int(known[0]) if len(known) else last + 1
        return frame

    def _check(self, frame: int) -> None:
        if self.frames and frame <= self.frames[-1]:
            raise UsageError(
                f"frame {frame} came after frame {self.frames[-1]}; expected frames in the order "
                "of time, each once."
            )

    def _code(self, reading: Reading) -> Ints:
        """Code of each species; the votes get a column for a new one."""
        for word in dict.fromkeys(str(w) for w in reading.word):
            if word and word not in self._codes:
                self._codes[word] = len(self._codes)
                votes = self._places.votes
                self._places.votes = np.concatenate([votes, np.zeros((len(votes), 1))], axis=1)
        return np.array([self._codes.get(str(w), -1) for w in reading.word], dtype=np.int64)

    def _rare(self, code: Ints) -> Ints:
        """The same codes, -1 where the species is not rare."""
        total = self._places.votes.sum(axis=0)
        rare = np.append(total < RARE * total.sum(), False)
        return np.where(rare[code], code, -1)

    def _belief(self) -> Ints:
        votes = self._places.votes
        if not votes.shape[1]:
            return np.full(len(votes), -1)
        return np.where(votes.max(axis=1) > 0, votes.argmax(axis=1), -1)

    def _model(self) -> Model:
        return Model(self._places.xy, self._rare(self._belief()), self.spacing, self._step)

    def _match(self, home: Floats, code: Ints) -> tuple[Ints, Ints, Floats]:
        """Pairs of an atom and its place, and their distance in px."""
        places = self._places
        if not len(home) or not len(places.xy):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        spacing = self.spacing if np.isfinite(self.spacing) else 20.0
        reach = _MOBILE * spacing
        k = min(4, len(places.xy))
        distance, place = cKDTree(places.xy).query(home, k=k, distance_upper_bound=reach)
        distance, place = distance.reshape(-1, k), place.reshape(-1, k)
        atom, which = np.nonzero(np.isfinite(distance))
        distance, place = distance[atom, which], place[atom, which]
        belief = self._belief()
        mobile = (self._rare(belief) >= 0) | (belief < 0)
        near = distance < np.where(mobile[place], _MOBILE, _GATE) * spacing
        atom, place, distance = atom[near], place[near], distance[near]
        other = (belief[place] != code[atom]) & (belief[place] >= 0) & (code[atom] >= 0)
        cost = 2 * np.log1p((distance / (2 * places.sigma[place])) ** 2) + _MISREAD * other
        sigma = self._sigma * spacing
        alone = 2 * np.log1p((reach / (2 * sigma)) ** 2) + _ALONE
        pairs = one_to_one(atom, place, cost, alone)
        return atom[pairs], place[pairs], distance[pairs]

    def _update(
        self,
        reading: Reading,
        home: Floats,
        motion: Motion,
        pairs: tuple[Ints, Ints, Floats],
        code: Ints,
    ) -> Seen:
        atom, place, distance = pairs
        places = self._places
        expected = places.xy.copy()
        self._learn(home, atom, place, distance)
        missed = np.ones(len(places.xy), dtype=bool)
        missed[place] = False
        missed &= self._in_view(motion.to_frame(expected), reading.xy)
        places.misses[missed] += 1
        places.away[missed] += 1
        new = self._unclaimed(home, atom, reading.p)
        first = len(places.xy)
        places.add(self._next, home[new], self._sigma * min(self.spacing, 20.0))
        self._next += len(new)
        at = np.append(place, np.arange(first, first + len(new)))
        who = np.append(atom, new)
        places.hits[at] += 1
        places.away[at] = 0
        known = code[who] >= 0
        np.add.at(places.votes, (at[known], code[who][known]), reading.sure[who][known])
        p = np.append(self._probability(distance, place), np.full(len(new), np.nan))
        p[len(place) :] = 1.0
        gone = np.flatnonzero(missed)
        seen = Seen(
            np.append(places.number[at], places.number[gone]),
            np.append(reading.row[who], np.full(len(gone), -1)),
            np.concatenate([home[who], expected[gone]]),
            np.append(p * reading.p[who], np.full(len(gone), np.nan)),
        )
        places.keep((places.hits >= _SURE) | (places.misses <= places.hits + _FORGET))
        return seen

    def _unclaimed(self, home: Floats, atom: Ints, p: Floats) -> Ints:
        """Atoms that need a new place; of two that are too near to each other one is false."""
        new = np.setdiff1d(np.arange(len(home)), atom)
        if not len(new) or not np.isfinite(self.spacing):
            return new
        worth = p.copy()
        worth[atom] = 2.0  # what is at a known place stays
        gone = np.zeros(len(home), dtype=bool)
        for i, j in cKDTree(home).query_pairs(_TWO * self.spacing, output_type="ndarray"):
            if not gone[i] and not gone[j]:
                gone[i if worth[i] < worth[j] else j] = True
        return new[~gone[new]]

    def _learn(self, home: Floats, atom: Ints, place: Ints, distance: Floats) -> None:
        """Draw places towards their atoms; a dopant that moved takes its place along."""
        places = self._places
        if not len(place):
            return
        mobile = self._rare(self._belief())[place] >= 0
        far = distance > 4 * places.sigma[place]
        usual = np.maximum(1 / (places.hits[place] + 1), np.where(mobile, 0.2, 0.05))
        gain = np.where(far, np.where(mobile, 1.0, 0.2), usual)
        places.xy[place] += gain[:, None] * (home[atom] - places.xy[place])
        spread = float(np.median(distance)) / 1.18 / self.spacing  # of a Rayleigh distribution
        if len(place) >= 4 and np.isfinite(self.spacing):
            self._sigma = max(0.9 * self._sigma + 0.1 * spread, 0.005)
        floor = self._sigma * min(self.spacing, 20.0)
        square = np.minimum(distance**2 / 2, (4 * floor) ** 2)
        slow = 0.9 * places.sigma[place] ** 2 + 0.1 * square
        places.sigma[place] = np.maximum(np.sqrt(slow), 0.7 * floor)

    def _in_view(self, at: Floats, xy: Floats) -> Bools:
        """Places where a missed atom means something: inside the frame, off its border."""
        margin = _BORDER * (self.spacing if np.isfinite(self.spacing) else 0.0)
        if self.shape is not None:
            low, high = np.zeros(2), np.array([self.shape[1], self.shape[0]]) - 1.0
        elif len(xy):
            low, high = xy.min(axis=0), xy.max(axis=0)
        else:
            return np.zeros(len(at), dtype=bool)
        return np.asarray(np.all((at >= low + margin) & (at <= high - margin), axis=1))

    def _probability(self, distance: Floats, place: Ints) -> Floats:
        """Odds of the place's own atom against a false one that lies there by chance."""
        spacing = self.spacing if np.isfinite(self.spacing) else 20.0
        sigma = self._places.sigma[place]
        own = np.exp(-0.5 * (distance / sigma) ** 2) / (2 * np.pi * sigma**2)
        own += 0.02 / (np.pi * (_MOBILE * spacing) ** 2)  # it may have moved
        chance = 0.002 / spacing**2
        return np.asarray(own / (own + chance))
