"""Places and the sites of the lattice: which place is which site, which places are one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomscope.lattice import Lattice, empty_sites, fit_lattice
from atomscope.track.lives import Lives
from atomscope.track.log import Log
from atomscope.track.motion import Bools, Floats, Ints

_SAME = 0.3  # spacings: two places nearer than this, hardly ever filled at once, are one
_AT_ONCE = 0.05  # share of the hits of the rarer one that may meet one of the other: false atoms
_OFF = 0.3  # spacings: an atom farther from a site is not on it
_HITS = 3  # of a place that takes part in the lattice
_TURNS = (0.0, 25.0, 50.0, 75.0)  # degrees
_LONG = 0.2  # of the most hits of a place: those that show the lattice


@dataclass(frozen=True)
class Sites:
    """Places as sites.

    Attributes:
        place: Numbers of the places, sorted, shape (P,).
        xy: Median position of each in the reference, px, shape (P, 2).
        index: Cell (i, j) and sublattice of each, shape (P, 3); the last is -1 off the lattice.
        empty: Sites that are never filled, px in the reference, shape (E, 2).
        lattice: Of the places, None where there is none.
    """

    place: Ints
    xy: Floats
    index: Ints
    empty: Floats
    lattice: Lattice | None

    def row(self, place: Ints) -> Ints:
        """Rows of these tables for numbers of places."""
        return np.searchsorted(self.place, place)

    def name(self, index: Ints) -> str:
        """Return the index (3,) as 'i j s', empty off the lattice."""
        return f"{index[0]} {index[1]} {index[2]}" if index[2] >= 0 else ""


def merge_places(log: Log) -> tuple[Log, Ints]:
    """Join places that must be one; of each there is one entry per frame.

    Returns:
        The log without the entries that others stand for, and the place of each entry (K,).
    """
    place, xy, _ = _middles(log, log.place)
    merged = np.arange(len(place))
    if len(place) > 1 and np.isfinite(log.spacing):
        pairs = cKDTree(xy).query_pairs(_SAME * log.spacing, output_type="ndarray")
        times = {int(i): set(log.time[log.hit & (log.place == place[i])]) for i in np.unique(pairs)}
        alone = [(i, j) for i, j in pairs if _hardly_meet(times[int(i)], times[int(j)])]
        if alone:
            i, j = np.array(alone).T
            links = coo_matrix((np.ones(len(i)), (i, j)), (len(place), len(place)))
            merged = connected_components(links, directed=False)[1]
            first = np.zeros(merged.max() + 1, dtype=np.int64)
            first[merged[::-1]] = np.arange(len(place))[::-1]
            merged = first[merged]
    number = np.asarray(place[merged][np.searchsorted(place, log.place)])
    order = np.lexsort((-np.nan_to_num(log.p), ~log.hit, log.time, number))
    pairs = np.column_stack([number, log.time])[order]
    again = np.all(pairs[1:] == pairs[:-1], axis=1)
    keep = np.ones(len(number), dtype=bool)
    keep[order[1:][again]] = False
    return log.keep(keep), number[keep]


def _hardly_meet(some: set[int], others: set[int]) -> bool:
    return len(some & others) <= _AT_ONCE * min(len(some), len(others))


def index_places(
    log: Log, merged: Ints, alive: Ints, first: Lattice | None, shape: tuple[int, int] | None
) -> Sites:
    """Fit a lattice to the places and give each its indices.

    Args:
        log: Of the tracker.
        merged: Place of each entry.
        alive: Numbers of the places that hold an atom at any time.
        first: Lattice of the first frame, whose indices are taken over where it is given.
        shape: Of the frames.
    """
    place, xy, hits = _middles(log, merged)
    index = np.full((len(place), 3), -1)
    least = max(min(_HITS, len(log.frames)), _LONG * hits.max(initial=0))
    good = np.flatnonzero((hits >= least) & np.isin(place, alive))
    lattice = _lattice_of(xy[good]) if len(good) else None
    if lattice is None:
        return Sites(place, xy, index, np.empty((0, 2)), None)
    known = good[lattice.member]
    index[known] = np.column_stack([lattice.cell, lattice.sublattice])[lattice.member]
    _extend(xy, index, lattice)
    empty = _never_filled(xy[good], lattice, shape)
    # Sites that are never filled carry the index across holes.
    across = np.concatenate([index, np.full((len(empty), 3), -1)])
    _extend(np.concatenate([xy, empty]), across, lattice)
    index = across[: len(place)]
    if first is not None:
        index = _like_first(log, merged, place, index, lattice, first)
    return Sites(place, xy, index, empty, lattice)


def first_on_site(lives: Lives, hits: Ints, sites: Sites) -> Bools:
    """Lives on a site of the lattice that no longer life shares at the same time, shape (L,).

    Args:
        lives: L of them.
        hits: Of each, shape (L,).
        sites: Of the places.
    """
    index = sites.index[sites.row(lives.place)]
    result = np.asarray(index[:, 2] >= 0)
    order = np.lexsort((-hits, *index.T))
    for rows in np.split(order, np.flatnonzero(np.diff(index[order], axis=0).any(axis=1)) + 1):
        for k, life in enumerate(rows[1:], 1):
            kept = rows[:k]
            over = (lives.first[kept] <= lives.last[life]) & (lives.last[kept] >= lives.first[life])
            result[life] &= not (over & result[kept]).any()
    return result


def _lattice_of(xy: Floats) -> Lattice | None:
    """Fit a lattice; few places may show it better to a search along other axes."""
    for angle in np.deg2rad(_TURNS):
        c, s = np.cos(angle), np.sin(angle)
        back = np.array([[c, -s], [s, c]])
        found = fit_lattice(xy @ back.T)
        if found is not None:
            return replace(
                found,
                vectors=found.vectors @ back,
                origin=found.origin @ back,
                deviation=found.deviation @ back,
            )
    return None


def _middles(log: Log, number: Ints) -> tuple[Ints, Floats, Ints]:
    """Places, the mean positions of their atoms, and how many there are."""
    hit = log.hit
    place, at = np.unique(number, return_inverse=True)
    count = np.bincount(at[hit], minlength=len(place))
    total = [np.bincount(at[hit], log.home[hit, k], minlength=len(place)) for k in (0, 1)]
    return place, np.stack(total, axis=-1) / np.maximum(count, 1)[:, None], count


def _never_filled(xy: Floats, lattice: Lattice, shape: tuple[int, int] | None) -> Floats:
    low = xy.min(axis=0)
    high = xy.max(axis=0) if shape is None else np.maximum(xy.max(axis=0), low)
    size = np.ceil(high - low).astype(int) + 1
    moved = Lattice(
        lattice.vectors,
        lattice.origin - low,
        lattice.basis,
        lattice.sublattice,
        lattice.cell,
        lattice.deviation,
    )
    return np.asarray(empty_sites(moved, xy - low, (int(size[1]), int(size[0]))) + low)


def _extend(xy: Floats, index: Ints, lattice: Lattice) -> None:
    """Index what has none from the nearest that has one, in place."""
    inverse = np.linalg.inv(lattice.vectors)
    for _ in range(4):
        known, rest = np.flatnonzero(index[:, 2] >= 0), np.flatnonzero(index[:, 2] < 0)
        if not len(known) or not len(rest):
            return
        near = known[np.asarray(cKDTree(xy[known]).query(xy[rest])[1])]
        from_basis = lattice.basis[index[near, 2]]
        away = (xy[rest] - xy[near]) @ inverse + from_basis
        step = away[:, None] - lattice.basis
        cell = np.rint(step)
        miss = np.linalg.norm((step - cell) @ lattice.vectors, axis=-1)
        best = miss.argmin(axis=1)
        row = np.arange(len(rest))
        ok = (miss[row, best] < _OFF * lattice.spacing) & (
            np.linalg.norm(xy[rest] - xy[near], axis=1) < 3 * lattice.spacing
        )
        new = np.column_stack([index[near, :2] + cell[row, best].astype(np.int64), best])
        index[rest[ok]] = new[ok]


def _like_first(
    log: Log, merged: Ints, place: Ints, index: Ints, lattice: Lattice, first: Lattice
) -> Ints:
    """Shift the cells so that they agree with the lattice of the first frame, where it can be."""
    if len(first.basis) != len(lattice.basis):
        return index
    entry = np.flatnonzero((log.time == 0) & log.hit)
    entry = entry[log.row[entry] < len(first.sublattice)]
    entry = entry[first.member[log.row[entry]]]
    ours = index[np.searchsorted(place, merged[entry])]
    theirs = np.column_stack([first.cell, first.sublattice])[log.row[entry]]
    both = ours[:, 2] >= 0
    if not both.any() or np.linalg.norm(first.vectors - lattice.vectors) > 0.3 * lattice.spacing:
        return index
    result = index.copy()
    for s in range(len(lattice.basis)):
        mine = both & (ours[:, 2] == s)
        if not mine.any():
            return index
        values, count = np.unique((theirs - ours)[mine], axis=0, return_counts=True)
        result[index[:, 2] == s] += values[count.argmax()]
    return result
