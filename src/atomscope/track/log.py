"""What the tracker writes down: which atom was seen at which place in which frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.columns import need_positions
from atomscope.errors import UsageError
from atomscope.track.motion import Bools, Floats, Ints, Motion

Words = NDArray[np.object_]

_STATED = 0.95  # probability where none is stated


@dataclass(frozen=True)
class Reading:
    """Atoms of one frame, as far as tracking needs them; rows without a position are left out.

    Attributes:
        row: Row of each in the table of the frame, shape (N,).
        xy: Positions in px, shape (N, 2).
        word: Species, or the label where it has none, shape (N,).
        sure: Probability of the word, shape (N,).
        p: Probability that it is an atom, shape (N,).
    """

    row: Ints
    xy: Floats
    word: Words
    sure: Floats
    p: Floats

    def part(self, rows: tuple[int, int]) -> Reading:
        """Return the atoms of the rows from the first up to the second, counted anew."""
        a, b = np.searchsorted(self.row, rows)
        return Reading(
            self.row[a:b] - rows[0], self.xy[a:b], self.word[a:b], self.sure[a:b], self.p[a:b]
        )


@dataclass(frozen=True)
class Seen:
    """One frame in the log: the places in view, with or without an atom.

    Attributes:
        place: Number of each place, shape (K,).
        row: Row of its atom in the table of the frame, -1 where it was missed, shape (K,).
        home: Position in the reference, px, shape (K, 2); that of the place where missed.
        p: Probability of the assignment, shape (K,); NaN where missed.
    """

    place: Ints
    row: Ints
    home: Floats
    p: Floats


@dataclass(frozen=True)
class Log:
    """All frames, one entry per place in view and frame, sorted by place, then time.

    Attributes:
        time: Number of the frame in the order of the movie, from 0, shape (K,).
        place: Number of the place, shape (K,).
        row: Row in the table of all frames, -1 where missed, shape (K,).
        home: Position in the reference, px, shape (K, 2).
        p: Probability of the assignment, shape (K,).
        word: Code of the species that was read, -1 for none, shape (K,).
        sure: Its probability, shape (K,).
        words: What the codes mean.
        frames: Number of each frame as the tables have it, shape (F,).
        motions: Of each frame.
        spacing: Distance of neighbours in px.
    """

    time: Ints
    place: Ints
    row: Ints
    home: Floats
    p: Floats
    word: Ints
    sure: Floats
    words: list[str]
    frames: Ints
    motions: list[Motion]
    spacing: float

    def keep(self, which: Bools) -> Log:
        """Return the log with some entries only."""
        names = ("time", "place", "row", "home", "p", "word", "sure")
        return replace(self, **{name: getattr(self, name)[which] for name in names})

    @property
    def hit(self) -> Bools:
        """Where an atom was found, shape (K,)."""
        return np.asarray(self.row >= 0)


def read_rows(table: pd.DataFrame) -> Reading:
    """Take what tracking needs out of a table of one frame or many.

    Raises:
        UsageError: There are no positions, a number is none, or an atom is given twice.
    """
    need_positions(table)
    keys = [name for name in ("frame", "atom") if name in table]
    if "atom" in keys and table.duplicated(keys).any():
        twice = table[table.duplicated(keys)].iloc[0]
        frame = f"frame {twice['frame']:g}" if "frame" in keys else "the frame"
        raise UsageError(f"{frame} has atom {twice['atom']:g} twice; expected each number once.")
    xy = np.column_stack([_numbers(table, "x_px"), _numbers(table, "y_px")])
    good = np.flatnonzero(np.isfinite(xy).all(axis=1))
    species, label = (_words(table, c)[good] for c in ("species", "label"))
    named = species != ""
    sure = np.where(named, *(_numbers(table, c)[good] for c in ("species_p", "label_p")))
    p = _numbers(table, "p")[good]
    return Reading(
        good,
        xy[good],
        np.where(named, species, label),
        np.where(np.isfinite(sure), sure, _STATED),
        np.where(np.isfinite(p), p, _STATED),
    )


def _numbers(table: pd.DataFrame, name: str) -> Floats:
    if name not in table:
        return np.full(len(table), np.nan)
    try:
        return np.asarray(table[name].to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise UsageError(f"column {name} cannot be read as numbers ({error}).") from error


def _words(table: pd.DataFrame, name: str) -> Words:
    if name not in table:
        return np.full(len(table), "", dtype=object)
    words = table[name].to_numpy(dtype=object)
    return np.asarray(np.where(pd.isna(words), "", words), dtype=object)


def gather(
    seen: list[Seen],
    readings: list[Reading],
    starts: Ints,
    frames: Ints,
    motions: list[Motion],
    spacing: float,
) -> Log:
    """Join the frames of a log; `starts` is the first row of each frame in the whole table."""
    words = sorted({str(w) for r in readings for w in np.unique(r.word.astype(str))} - {""})
    code = {word: i for i, word in enumerate(words)} | {"": -1}
    rows, word, sure = [], [], []
    for s, r, start in zip(seen, readings, starts, strict=True):
        back = np.full(int(r.row.max(initial=-1)) + 2, -1)
        back[r.row] = np.arange(len(r.row))
        at = back[s.row]
        known = np.array([code[str(w)] for w in r.word] + [-1], dtype=np.int64)
        rows.append(np.where(s.row >= 0, s.row + start, -1))
        word.append(known[at])
        sure.append(np.append(r.sure, np.nan)[at])
    time = np.repeat(np.arange(len(seen)), [len(s.place) for s in seen])
    place = np.concatenate([s.place for s in seen]) if seen else np.empty(0, np.int64)
    order = np.lexsort((time, place))

    def joined(parts: list[NDArray[np.generic]], shape: tuple[int, ...] = (0,)) -> NDArray:  # type: ignore[type-arg]
        return np.concatenate(parts)[order] if parts else np.empty(shape)

    return Log(
        time[order],
        place[order].astype(np.int64),
        joined(list(rows)).astype(np.int64),
        joined([s.home for s in seen], (0, 2)),
        joined([s.p for s in seen]),
        joined(list(word)).astype(np.int64),
        joined(list(sure)),
        words,
        frames,
        motions,
        spacing,
    )
