"""Structures that differ from a common one in their own brightness alone: a foreign atom.

A handful of examples places such a structure but roughly among the many numbers of an embedding,
while one number, the brightness, holds all that tells it apart. Which structures these are is
asked of the examples: made as bright as the common atoms, they must lie among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.classify.beside import Around
from atomscope.classify.distances import PRIOR, rounded
from atomscope.intervals import robust_scatter
from atomscope.shares import with_shares

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

COMMON = 0.1  # share from which on a structure may have others that differ in brightness alone
LEAST, MOST = 2.5, 7.0  # standard deviations apart: less tells nothing, more is told anyhow
ALIKE = 2.0  # squared distance, over what chance gives, up to which examples lie among the others
ENOUGH = 30  # common atoms that tell how much their brightness scatters
CLIP = 2.0  # standard deviations: what one atom may say of the light around it


@dataclass(frozen=True)
class Twins:
    """What differs in brightness alone.

    Attributes:
        of: (C,) number of the common structure that each is like; -1: it is like none.
        over: (C,) log brightness over that structure.
        count: (C,) examples that say so.
    """

    of: Ints
    over: Floats
    count: Ints


@dataclass(frozen=True)
class Compared:
    """Examples beside the common atoms of their table.

    Attributes:
        common: Number of the structure of these, C where they are none of them.
        kind: (n,) structures of the examples, none of them this one.
        away: (n, D) from the middle of the common atoms, all as bright, in units of their scatter.
        over: (n,) log brightness over theirs.
        scatter: Standard deviation of their log brightness.
    """

    common: int
    kind: Ints
    away: Floats
    over: Floats
    scatter: float


def even_light(light: Floats, kind: Ints, around: Around) -> Floats:
    """Log brightness (N,) without what the illumination gives: atoms around shine as their kind.

    As much of it is taken off as cannot be noise (James & Stein 1961).

    Args:
        light: (N,) log brightness; NaN where it is unknown.
        kind: (N,) structures, by which atoms around are as bright; -1 where it is unknown.
        around: Of each atom.
    """
    over = np.full(len(light), np.nan)
    for k in np.unique(kind[kind >= 0]):
        own = (kind == k) & np.isfinite(light)
        if own.any():
            middle, scatter = _middle(light[own])
            over[own] = (light[own] - middle).clip(-CLIP * scatter, CLIP * scatter)
    beside = np.append(over, np.nan)[np.maximum(around.near, around.next)]
    known = np.isfinite(beside)
    count = known.sum(axis=1)
    some = count > 0
    if not some.any():
        return light
    level = np.where(known, beside, 0).sum(axis=1) / count.clip(1)
    each, varied, alone = np.nanvar(over), np.var(level[some]), (1 / count[some]).mean()
    if alone == 1 or varied == 0:
        return light
    kept = (varied - each * alone) / (1 - alone) / varied
    return np.asarray(light - kept.clip(0) * level)


def compared(
    values_of: Callable[[Floats], Floats],
    light: Floats,
    said: Ints,
    rows: Ints,
    kind: Ints,
    usual: Floats,
) -> list[Compared]:
    """Compare the examples in one table with each common structure of it.

    Args:
        values_of: Gives embeddings (N, D) of its atoms for (N,) factors of their brightness.
        light: (N,) even log brightness.
        said: (N,) structures of all atoms, as the examples tell them; -1 where that is unknown.
        rows: (n,) numbers of the examples.
        kind: (n,) their structures.
        usual: (D, D) covariance of atoms of one class, from simulated worlds.
    """
    made = []
    for common in np.unique(said[said >= 0]):
        own = (said == common) & np.isfinite(light)
        other = (kind != common) & np.isfinite(light[rows])
        if own.sum() < max(ENOUGH, COMMON * (said >= 0).sum()) or not other.any():
            continue
        middle, scatter = _middle(light[own])
        examples, asked = rows[other], kind[other]
        own[examples] = False
        moved = np.zeros(len(light))
        moved[own], moved[examples] = middle - light[own], middle - light[examples]
        values = values_of(np.exp(moved))
        centre = np.median(values[own], axis=0)
        spread = values[own] - centre
        covariance = (spread.T @ spread + PRIOR * usual) / (own.sum() + PRIOR)
        away = (values[examples] - centre) @ rounded(covariance)
        made.append(Compared(int(common), asked, away, light[examples] - middle, scatter))
    return made


def twins(every: Sequence[Compared], classes: int, common: NDArray[np.bool_]) -> Twins:
    """Return which structures differ from a common one in brightness alone.

    Their examples lie among its atoms when all are as bright (mean distance as in Hotelling's
    test, Ann. Math. Stat. 2, 360 (1931)), and are neither as bright as these nor so far from
    them that there is nothing to tell.

    Args:
        every: Of one table or more.
        classes: C.
        common: (C,) structures that are common themselves, and so are like no other.
    """
    of, best = np.full(classes, -1), np.full(classes, ALIKE)
    over, count = np.zeros(classes), np.zeros(classes, int)
    for host in sorted({one.common for one in every}):
        parts = [one for one in every if one.common == host]
        kind = np.concatenate([one.kind for one in parts])
        away = np.concatenate([one.away for one in parts])
        gap = np.concatenate([one.over for one in parts])
        scatter = float(np.mean([one.scatter for one in parts]))
        for c in np.flatnonzero(~common):
            own = kind == c
            number = int(own.sum())
            if not number or not LEAST * scatter < abs(gap[own].mean()) < MOST * scatter:
                continue
            distance = number * float((away[own].mean(axis=0) ** 2).mean())
            if distance < best[c]:
                best[c], of[c], over[c], count[c] = distance, host, gap[own].mean(), number
    return Twins(of, over, count)


def by_brightness(
    p: Floats, light: Floats, around: Around, known: Twins, weight: Floats | None = None
) -> Floats:
    """Let the brightness alone say which of a common structure and its twins an atom is.

    Together they stay as probable as they were.

    Args:
        p: Probabilities (N, C + 1); the last is that of none.
        light: (N,) log brightness; atoms where it is NaN stay as they were.
        around: Of each atom.
        known: As `twins` gives it.
        weight: (N,) by how much each atom counts.
    """
    hosts = np.unique(known.of[known.of >= 0])
    if not len(hosts):
        return p
    made, kind = p.copy(), p.argmax(axis=1)
    if weight is not None:
        kind = np.where(weight < 0.5, -1, kind)
    even = even_light(light, kind, around)
    for host in hosts:
        of = np.flatnonzero(known.of == host)
        own = even[(kind == host) & np.isfinite(even)]
        if len(own) < ENOUGH:
            continue
        middle, scatter = _middle(own)
        group, rows = np.append(host, of), np.flatnonzero(np.isfinite(even))
        place = middle + np.append(0.0, known.over[of])
        width = scatter * np.sqrt(1 + np.append(0.0, 1 / known.count[of]))
        total = p[np.ix_(rows, group)].sum(axis=1)
        counts = np.where(total > 0.5, total, 0) * (1 if weight is None else weight[rows])
        likely = -0.5 * ((even[rows, None] - place) / width) ** 2 - np.log(width)
        likely = np.exp(likely - likely.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        alike = np.full(len(group), 1 / len(group))
        split = with_shares(likely, alike, float(len(group)), weight=counts, trust=1.0)[0]
        made[np.ix_(rows, group)] = total[:, None] * split
    return made


def _middle(light: Floats) -> tuple[float, float]:
    """Median and robust standard deviation."""
    return float(np.median(light)), max(robust_scatter(light), 1e-6)
