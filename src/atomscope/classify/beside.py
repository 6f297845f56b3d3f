"""What stands beside what: learned from the atoms that are asked for, and from the examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.classify.shares import with_shares
from atomscope.shares import TINY, TRUST

Floats = NDArray[np.float64]
Rows = NDArray[np.signedinteger[Any]]

BESIDE = 0.7  # exponent of what the nearest say, from designs held apart
NEXT = 0.8  # and of what the next nearest say
ADDED = 0.2  # pairs of each two classes, as if they did not know of each other
ROUNDS = 3  # of asking
MOST = 16.0  # times oftener: a few wrong decisions must not carry the next ones along
MOST_SHOWN = 64.0  # the same for pairs that examples showed, which are few but right
FEW = 0.3  # pairs of each two classes that examples might have shown as well
OWN = 10.0  # pairs of its own from which on a class is believed more than its partners
SURE = 0.5  # who is less sure of its class tells nothing of what is next to it
COMMON = 0.1  # share from which on a class stands beside everything


@dataclass(frozen=True)
class Around:
    """Numbers of the atoms around each of N atoms, -1 where there are fewer.

    Attributes:
        near: (N, K) the nearest: those that it is bonded to, on most lattices.
        next: (N, L) the next nearest: of the same sublattice, on most lattices.
    """

    near: Rows
    next: Rows

    def among(self, rows: NDArray[np.intp]) -> Around:
        """Return the same for some rows, by their numbers among these."""
        number = np.full(len(self.near) + 1, -1, np.int32)  # the last is that of none
        number[rows] = np.arange(len(rows))
        return Around(number[self.near[rows]], number[self.next[rows]])

    def without(self, silent: NDArray[np.bool_]) -> Around:
        """Return the same, with those left out that (N,) is True for."""
        return Around(*(np.where(silent[n] & (n >= 0), -1, n) for n in (self.near, self.next)))


def with_neighbours(
    p: Floats,
    around: Around | None,
    weight: Floats | None = None,
    shown: Floats | None = None,
    *,
    nearest: bool = True,
) -> Floats:
    """Probabilities (N, C + 1) that also know which classes stand beside which.

    The atoms of a defect stand together, and a foreign atom beside its host: how often each pair of
    classes meets is counted among these very atoms, and goes into what each atom is told by those
    beside it, over and over (a Markov random field whose parameters are found on the way: Besag,
    J. R. Stat. Soc. B 48, 259 (1986)). Neighbours see the same surroundings, so n of them count as
    the root of n. They tell which class, not whether it is one at all: noise in an empty column
    must not pass for what usually stands there.

    What stood next to the examples tells rare classes apart that differ in nothing else: the end of
    a line of vacancies and a vacancy alone. Common ones it leaves alone, since they stand beside
    everything, which a handful of examples does not show.

    Args:
        p: Probabilities where all classes are as common; the last is that of none of them.
        around: Atoms around each; None: only the shares are known.
        weight: (N,) by how much each atom counts, 0 to 1; those below half tell nothing.
        shown: (C + 1, C + 1) as `beside_examples` gives it.
        nearest: Whether the nearest are asked.
    """
    found, share = with_shares(p, weight)
    if around is None or not around.near.size:
        return found
    if weight is not None:
        around = around.without(weight < 0.5)
    alone = np.log(p.clip(TINY)) + TRUST * np.log(share)
    count = np.sqrt((around.near >= 0).sum(axis=1).clip(1))[:, None]
    for _ in range(ROUNDS):
        kind, sure = found.argmax(axis=1), found.max(axis=1) > SURE
        score = alone
        if nearest:
            oftener = _oftener(kind, around.near, p.shape[1])
            score = alone + BESIDE * _told(found, around.near, oftener) / count
        if shown is not None:
            certain = np.eye(p.shape[1])[kind]
            told = NEXT * _told(certain, around.without(~sure).next, shown)
            score = _within(score, told, share < COMMON)
        found = _but_for_none(found, score)
    return np.asarray(found)


@dataclass(frozen=True)
class Shown:
    """One table that examples lie in.

    Attributes:
        found: Probabilities (N, C + 1) of its atoms, NaN where they are unknown.
        around: Atoms around each.
        rows: (n,) numbers of the examples among them.
        kind: (n,) their classes.
    """

    found: Floats
    around: Around
    rows: NDArray[np.intp]
    kind: Rows


def beside_examples(tables: Sequence[Shown]) -> Floats:
    """By how much each two classes stand next to each other oftener than by chance.

    That a class was not seen next to another says something only where it is common; a pair counts
    for both of its classes, and the examples of a class for it the more, the more there are.

    Args:
        tables: One or more, of the same classes.

    Returns:
        (C + 1, C + 1); 1 where nothing is known.
    """
    classes = tables[0].found.shape[1]
    pairs, total, count = np.zeros((classes, classes)), np.zeros(classes), 0
    for table in tables:
        seen = np.isfinite(table.found[:, 0])
        beside = table.around.without(~seen).next[table.rows]
        row, slot = np.nonzero(beside >= 0)
        np.add.at(pairs, table.kind[row], table.found[beside[row, slot]])
        total, count = total + table.found[seen].sum(axis=0), count + int(seen.sum())
    share = total / count if count else np.full(classes, 1 / classes)
    share = share.clip(TINY)
    each = pairs.sum(axis=1)
    chance = np.outer(each, share)
    expected = (pairs + pairs.T + FEW) / (chance + chance.T + FEW) * share
    expected /= expected.sum(axis=1, keepdims=True)
    oftener = (pairs + OWN * expected) / (each[:, None] + OWN) / share
    oftener[-1] = oftener[:, -1] = 1  # what is none of the classes may be anything
    return np.asarray(oftener.clip(1 / MOST_SHOWN, MOST_SHOWN))


def _told(found: Floats, around: Rows, oftener: Floats) -> Floats:
    """Log evidence (N, C + 1) for each class from the classes of those around."""
    told = np.zeros_like(found)
    for k in range(around.shape[1]):
        rows = around[:, k] >= 0
        told[rows] += np.log(found[around[rows, k]] @ oftener.T)
    return told


def _within(score: Floats, told: Floats, rare: NDArray[np.bool_]) -> Floats:
    """Add evidence to the scores of rare classes; together they stay as probable as they were."""
    made = score.copy()
    if rare.sum() > 1:
        moved = score[:, rare] + told[:, rare]
        made[:, rare] = moved - _log_sum(moved) + _log_sum(score[:, rare])
    return made


def _log_sum(score: Floats) -> Floats:
    highest = score.max(axis=1, keepdims=True)
    return np.asarray(highest + np.log(np.exp(score - highest).sum(axis=1, keepdims=True)))


def _but_for_none(found: Floats, score: Floats) -> Floats:
    """Probabilities of the classes by their scores; that of none of them stays."""
    of = np.exp(score[:, :-1] - score[:, :-1].max(axis=1, keepdims=True))
    of = of / of.sum(axis=1, keepdims=True) * (1 - found[:, -1:])
    return np.column_stack([of, found[:, -1]])


def _oftener(kind: NDArray[np.intp], near: Rows, classes: int) -> Floats:
    """By how much each two classes (C, C) meet oftener than if they knew nothing of each other.

    Doubts are not counted: many atoms of one kind with the same small doubt would confirm it.
    """
    row, slot = np.nonzero(near >= 0)
    pairs = np.zeros((classes, classes))
    np.add.at(pairs, (kind[row], kind[near[row, slot]]), 1.0)
    pairs = (pairs + pairs.T) / 2
    each = pairs.sum(axis=1)
    found = (pairs + ADDED) / (np.outer(each, each) / max(each.sum(), 1.0) + ADDED)
    found[-1] = found[:, -1] = 1  # what is none of the classes may be anything
    return np.asarray(found.clip(1 / MOST, MOST))
