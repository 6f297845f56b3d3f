"""From lives at places to tracks of atoms: who moved where, and which places were left empty."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from atomscope.track.assign import one_to_one
from atomscope.track.dopants import Path
from atomscope.track.lives import Lives
from atomscope.track.log import Log
from atomscope.track.motion import Bools, Floats, Ints
from atomscope.track.sites import Sites

_LEAP = 1.35  # spacings: farthest that an atom goes from one place to an empty one
_WAIT = 6  # frames: longest that it is on its way, or not found
_SPOT, _LONG = 0.3, 30  # spacings and frames: an atom that did not move may be away longer
_EARLY = 1  # frames: by how much the new place may be filled before the old one is empty
_EMPTY = 3  # frames that show a vacancy


@dataclass(frozen=True)
class Woven:
    """Tracks.

    Attributes:
        track: Of each entry of the log, -1 for none, shape (K,).
        word: Code of the species there, -1 where it is the usual one of the track, shape (K,).
        p: Probability that this track is there, beside that of the atom, shape (K,).
        same: Probability that it is the atom of the track there, and no dopant that traded places
            with it, or has not yet, shape (K,).
        vacancy: Number of the vacancy of each entry, -1 for none, shape (K,).
    """

    track: Ints
    word: Ints
    p: Floats
    same: Floats
    vacancy: Ints


def weave(log: Log, merged: Ints, lives: Lives, sites: Sites, paths: list[Path]) -> Woven:
    """Join lives to tracks and let dopants trade places with their neighbours."""
    links = _links(log, merged, lives, sites)
    root = np.arange(len(lives.place))
    for a, b in links:  # sorted by the time of b: a has its final root already
        root[b] = root[a]
    names = np.unique(root, return_inverse=True)[1]
    track = np.where(lives.life >= 0, names[lives.life], -1) if len(names) else lives.life.copy()
    word, p = np.full(len(track), -1), np.ones(len(track))
    _trade(log, merged, paths, track)
    for path in paths:
        entry, time = _entries(log, merged, path.place)
        word[entry], p[entry] = path.word, path.p[time]
    same = _same(log, merged, paths)
    return Woven(track, word, p, same, _vacancies(log, merged, lives, sites, links))


def _same(log: Log, merged: Ints, paths: list[Path]) -> Floats:
    """Probability that dopants are where their paths are, and not where they are not, (K,)."""
    same, frames = np.ones(len(merged)), len(log.frames)
    key = merged * frames + log.time
    order = np.argsort(key)

    def entries(place: Ints, time: Ints) -> tuple[Ints, Bools]:
        wanted = place * frames + time
        at = np.minimum(np.searchsorted(key, wanted, sorter=order), len(key) - 1)
        return order[at], (key[order[at]] == wanted) & (place >= 0)

    for path in paths:
        factor = np.ones(len(same))
        where, known = entries(path.chance.col.astype(np.int64), path.chance.row.astype(np.int64))
        factor[where[known]] = 1 - path.chance.data[known]
        where, known = entries(path.place, np.arange(frames))
        factor[where[known]] = path.p[known]
        same *= factor
    return same


def _left_empty(log: Log, merged: Ints, lives: Lives) -> Bools:
    """Lives whose places are then seen empty; other atoms went out of view, shape (L,)."""
    empty = np.flatnonzero((lives.life < 0) & (lives.occupied < 0.5))
    key = merged[empty] * (len(log.frames) + 1) + log.time[empty]
    key.sort()
    start = lives.place * (len(log.frames) + 1) + lives.last
    stop = lives.place * (len(log.frames) + 1) + lives.last + 2 * _EMPTY
    return np.asarray(np.searchsorted(key, stop) - np.searchsorted(key, start) >= _EMPTY - 1)


def _links(log: Log, merged: Ints, lives: Lives, sites: Sites) -> list[tuple[int, int]]:
    """Pairs of lives that are one atom, which went to a place that was empty."""
    if len(lives.place) < 2 or not np.isfinite(log.spacing):
        return []
    row = sites.row(lives.place)
    end = len(log.frames) - 1
    done = np.flatnonzero((lives.last < end - 1) & _left_empty(log, merged, lives))
    new = np.flatnonzero(lives.first > 0)
    if not len(done) or not len(new):
        return []
    # where an atom was last seen, and where first; places of molecules wander
    order = np.lexsort((log.time, lives.life))
    order = order[lives.life[order] >= 0]
    first = np.searchsorted(lives.life[order], np.arange(len(lives.place)))
    last = np.searchsorted(lives.life[order], np.arange(len(lives.place)), side="right") - 1
    out, into = log.home[order[last[done]]], log.home[order[first[new]]]
    wait = lives.first[new][None] - lives.last[done][:, None] - 1
    apart = np.linalg.norm(out[:, None] - into[None], axis=-1) / log.spacing
    word = _words(log, lives)
    differ = (word[done][:, None] != word[new][None]) & (word[done][:, None] >= 0)
    differ &= word[new][None] >= 0
    same = row[done][:, None] == row[new][None]
    soon = (wait <= _WAIT) | ((wait <= _LONG) & (apart < _SPOT))
    ok = (wait >= -_EARLY) & soon & (apart < _LEAP) & ~differ & ~same
    i, j = np.nonzero(ok)
    pairs = one_to_one(i, j, apart[i, j] + 0.2 * np.abs(wait[i, j]), 10.0)
    found = [(int(done[i[k]]), int(new[j[k]])) for k in pairs]
    return sorted(found, key=lambda pair: int(lives.first[pair[1]]))


def _words(log: Log, lives: Lives) -> Ints:
    """Commonest species of each life."""
    known = (lives.life >= 0) & (log.word >= 0)
    if not log.words:
        return np.full(len(lives.place), -1)
    votes = np.zeros((len(lives.place), len(log.words)))
    np.add.at(votes, (lives.life[known], log.word[known]), log.sure[known])
    return np.where(votes.max(axis=1) > 0, votes.argmax(axis=1), -1)


def _entries(log: Log, merged: Ints, place: Ints) -> tuple[Ints, Ints]:
    """Entries of the log at the places of a path (F,), and their times."""
    wanted = np.unique(place[place >= 0])
    some = np.flatnonzero(np.isin(merged, wanted))
    entry = some[place[log.time[some]] == merged[some]]
    return entry, log.time[entry]


def _trade(log: Log, merged: Ints, paths: list[Path], track: Ints) -> None:
    """Exchange the tracks of two places from the frame of a hop on, in place."""
    hops = []
    for path in paths:
        there = np.flatnonzero(path.place >= 0)
        step = np.flatnonzero(np.diff(path.place[there]) != 0)
        hops += [
            (int(there[s + 1]), int(path.place[there[s]]), int(path.place[there[s + 1]]))
            for s in step
        ]
    if not hops:
        return
    involved = np.unique([place for hop in hops for place in hop[1:]])
    rows = {int(p): np.flatnonzero(merged == p) for p in involved}
    rows = {p: entry[np.argsort(log.time[entry], kind="stable")] for p, entry in rows.items()}
    for time, together in groupby(sorted(hops), key=lambda hop: hop[0]):
        moves = {}
        for _, a, b in together:
            mine = _tracks_at(log, track, rows[a], slice(None, time))
            theirs = _tracks_at(log, track, rows[b], slice(time, None))
            if len(mine) and len(theirs) and mine[-1] != theirs[0]:
                moves[a] = (b, int(mine[-1]), int(theirs[0]))
        _swap(log, track, rows, time, moves)


def _tracks_at(log: Log, track: Ints, entry: Ints, when: slice) -> Ints:
    """Tracks at a place before or from a frame on, in the order of time."""
    start, stop = np.searchsorted(log.time[entry], [when.start or 0, when.stop or len(log.frames)])
    there = track[entry[start:stop]]
    return there[there >= 0]


def _swap(
    log: Log, track: Ints, rows: dict[int, Ints], time: int, moves: dict[int, tuple[int, int, int]]
) -> None:
    """Let dopants of some places go where others were at the same moment, in place.

    Args:
        log: Of the tracker.
        track: Of each entry.
        rows: Entries of each place.
        time: First frame after the hops.
        moves: For each place that is left the place that is taken, the track that goes there, and
            the one that was there.
    """
    before = {b: host for b, _, host in moves.values()} | {a: m[1] for a, m in moves.items()}
    after = {b: dopant for b, dopant, _ in moves.values()}
    left = [a for a in moves if a not in after]
    pushed = [host for b, _, host in moves.values() if b not in moves]
    after |= dict(zip(left, pushed, strict=False))
    later = {p: rows[p][log.time[rows[p]] >= time] for p in after}
    mine = {p: later[p][track[later[p]] == before[p]] for p in after}
    for place, number in after.items():
        track[mine[place]] = number


def _vacancies(
    log: Log, merged: Ints, lives: Lives, sites: Sites, links: list[tuple[int, int]]
) -> Ints:
    """Number the empty times of sites; a vacancy goes where the atom that filled it came from."""
    vacancy = np.full(len(merged), -1)
    if sites.lattice is None:
        return vacancy
    count = 0
    spans: dict[tuple[int, int], int] = {}  # (place, last life before) -> number
    before: dict[int, tuple[int, int]] = {}  # life -> the empty time that it ended
    on_site = sites.index[sites.row(lives.place), 2] >= 0
    order = np.lexsort((log.time, merged))
    sorted_places = merged[order]
    bare = np.unique(merged[(lives.life < 0) & (lives.occupied < 0.5)])
    for place in np.intersect1d(lives.place[on_site], bare):
        rows = order[slice(*np.searchsorted(sorted_places, [place, place + 1]))]
        mine = np.flatnonzero(lives.place == place)
        mine = mine[np.argsort(lives.first[mine])]
        for k, life in enumerate(mine):
            until = lives.first[mine[k + 1]] if k + 1 < len(mine) else len(log.frames)
            time = log.time[rows]
            span = rows[(time > lives.last[life]) & (time < until)]
            empty = lives.occupied[span] < 0.5
            if empty.sum() < _EMPTY:
                continue
            vacancy[span] = count
            spans[(int(place), int(life))] = count
            if k + 1 < len(mine):
                before[int(mine[k + 1])] = (int(place), int(life))
            count += 1
    # the atom of life a filled the vacancy before life b: the vacancy is now where a was
    root = np.arange(count)
    for a, b in links:
        key = (int(lives.place[a]), a)
        if b in before and key in spans:
            root[spans[key]] = root[spans[before[b]]]
    return np.where(vacancy >= 0, root[vacancy], -1) if count else vacancy
