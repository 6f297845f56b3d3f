"""Boundaries between domains of one crystal: mirror twins, and domains out of phase.

Each domain is the host, turned or shifted, so no lattice of the whole frame is asked. Neighbours
are compared: which way their bonds point, or whether unlike columns stand side by side. Where
they contradict each other along a line, with a domain on each side, there is a boundary.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from atomscope.rules.book import Book
from atomscope.rules.findings import Bools, Finding, Floats, Group, Ints, Words, joined
from atomscope.spacing import median_spacing, nearest

_NEXT = 1.3  # distances of like neighbours: metal atoms across a boundary stand so near
_REACH = 1.6  # of the shortest distance of unlike columns: bonded; the next stand at 2
_THREE = 0.6  # least order of the bonds of an atom with three
_SURE = 0.5  # least share of it along the axis that all domains have in common
_CROWDED = 0.75  # distances of neighbours: nearer than this, two columns are not both on sites
_DOMAIN = 6  # cells that make a domain
_PIECES = 3  # cells along a boundary
_VIEW = 2.6  # distances of neighbours: over which the course of a boundary is looked at
_JOIN = 1.6  # the same between pieces of one boundary
_BEND = 30.0  # degrees between neighbouring pieces, beyond which it is another one
_BESIDE = 1.5  # distances of neighbours from a boundary, where the lattice of a domain ends
_MOST = 0.6  # share of the pieces by which a boundary is called
MIRROR, PHASE, TWIN = "mirror", "antiphase", "twin"
WHOLE = -1  # the domain of atoms of a frame without boundaries
FOURS = ("4|4P", "4|4E")  # mirror twins of rings of four that share points, or edges


@dataclass(frozen=True, eq=False)
class Cells:
    """What stands for the cells of a host, one column each.

    Attributes:
        rows: Of the table, shape (C,).
        pairs: Neighbours among them, shape (E, 2).
        differ: Whether the two contradict each other, shape (E,).
        step: Distance of neighbours in px.
    """

    rows: Ints
    pairs: Ints
    differ: Bools
    step: float


@dataclass(frozen=True, eq=False)
class Walls:
    """Boundaries of a frame.

    Attributes:
        groups: One for each straight piece.
        domain: Of each atom, each with a lattice of its own; `WHOLE` without any, shape (N,).
        reach: Distance in px from a boundary within which the lattice of a domain ends.
    """

    groups: list[Group]
    domain: Ints
    reach: float

    @property
    def places(self) -> Floats:
        """Of all pieces of boundaries, px, shape (E, 2)."""
        pieces = [f.place for group in self.groups for f in group.findings if f.word != TWIN]
        return np.array(pieces, dtype=np.float64).reshape(-1, 2)


def find_walls(xy: Floats, species: Words, book: Book, p: Floats) -> Walls:
    """Find the boundaries that a book has names for, each straight piece by itself.

    Args:
        xy: Positions in px, shape (N, 2).
        species: Words, shape (N,); '' where unknown.
        book: Rules of the host; its first two kinds of columns are compared.
        p: Probability of each atom and its species, shape (N,).
    """
    named = {str(word) for rule in book.rules if rule.walls != "any" for word in rule.walls}
    none = np.full(len(xy), WHOLE)
    if named & {MIRROR, *FOURS}:
        near = _bonds(xy, species, book)
        if near is None:
            return Walls([], none, 0.0)
        cells = _mirrored(xy, near)
        groups = _walls(xy, cells, p, MIRROR, near)
        domain = _domains(xy, cells) if groups else none
        groups += _smaller(xy, cells, p, near) if groups and TWIN in named else []
        return Walls(groups, domain, _BESIDE * cells.step)
    if PHASE in named:
        cells = _shifted(xy, species, book)
        groups = _walls(xy, cells, p, PHASE, None)
        domain = _domains(xy, cells) if groups else none
        return Walls(groups, domain, _BESIDE * cells.step)
    return Walls([], none, _BESIDE * (median_spacing(xy) or 0.0))


def off_borders(findings: list[Finding], borders: Floats, reach: float) -> list[Finding]:
    """Leave out what the lattice of one domain finds at its border, where it ends.

    Args:
        findings: Swaps, empty sites and extra atoms.
        borders: Places of borders, and of atoms of other phases, px, shape (E, 2).
        reach: Distance in px from these that counts as beside.
    """
    if not len(borders):
        return findings
    away = cKDTree(borders)
    return [f for f in findings if away.query(f.place)[0] > reach]


def of_role(species: Words, book: Book, number: int) -> Ints:
    """Rows of the columns that play a role of the host."""
    words = book.species(list(book.columns)[number]) or ()
    return np.flatnonzero(np.isin(species, list(words)))


@dataclass(frozen=True, eq=False)
class _Bonds:
    """Columns of the second kind around those of the first: rows (C,), and lists of rows."""

    rows: Ints
    around: list[list[int]]


def _bonds(xy: Floats, species: Words, book: Book) -> _Bonds | None:
    centre, other = (of_role(species, book, k) for k in (0, 1))
    further = {w for word in book.roles for w in (word, *book.roles[word])}  # half a pair is one
    other = np.union1d(other, np.flatnonzero(np.isin(species, list(further))))
    if len(centre) < 2 * _DOMAIN or len(other) < 2 * _DOMAIN:
        return None
    tree = cKDTree(xy[other])
    bond = float(np.median(tree.query(xy[centre])[0]))
    found = tree.query_ball_point(xy[centre], _REACH * bond)
    return _Bonds(centre, [[int(other[i]) for i in near] for near in found])


def _mirrored(xy: Floats, bonds: _Bonds) -> Cells:
    """Cells whose bonds point one way or the other: the sign of the mean of exp(3iθ)."""
    order = np.zeros(len(bonds.rows), dtype=complex)
    for k, (row, near) in enumerate(zip(bonds.rows, bonds.around, strict=True)):
        if len(near) >= 2:
            away = (xy[near] - xy[row]) @ [1, 1j]
            order[k] = np.mean((away / np.abs(away)) ** 3)
    order[np.abs(order) < _THREE] = 0
    axis = np.angle(np.sum(order**2)) / 2
    along = (order * np.exp(-1j * axis)).real
    known = np.abs(along) > _SURE * np.maximum(np.abs(order), _THREE)
    rows, way = bonds.rows[known], np.sign(along[known])
    step = median_spacing(xy[bonds.rows]) or 0.0
    tree = cKDTree(xy[rows])
    pairs = tree.query_pairs(_NEXT * step, output_type="ndarray").reshape(-1, 2)
    over = _across(xy[bonds.rows[~known]], xy[rows], tree, way, _NEXT * step)
    pairs = np.unique(np.concatenate([pairs, over]), axis=0)
    return Cells(rows, pairs, way[pairs[:, 0]] != way[pairs[:, 1]], step)


def _across(middle: Floats, xy: Floats, tree: cKDTree, way: Floats, reach: float) -> Ints:
    """Pairs of cells of both ways that face each other over an atom of neither way, (K, 2)."""
    found = []
    for place, near in zip(middle, tree.query_ball_point(middle, reach), strict=True):
        one, other = ([i for i in near if way[i] == sign] for sign in (1, -1))
        if one and other:
            off = np.linalg.norm(xy[one][:, None] + xy[other][None] - 2 * place, axis=-1)
            a, b = np.unravel_index(off.argmin(), off.shape)
            found.append(sorted((one[a], other[b])))
    return np.array(found, dtype=np.intp).reshape(-1, 2)


def _shifted(xy: Floats, species: Words, book: Book) -> Cells:
    """Cells of two kinds of columns that take turns; neighbours of one kind contradict.

    Columns that crowd each other are no cells: one of them stands between the sites.
    """
    first, second = (of_role(species, book, k) for k in (0, 1))
    rows = np.union1d(first, second)
    step = median_spacing(xy[rows]) or 0.0
    rows = rows[nearest(xy[rows]) >= _CROWDED * step] if len(rows) > 1 else rows
    pairs = cKDTree(xy[rows]).query_pairs(_NEXT * step, output_type="ndarray").reshape(-1, 2)
    kind = np.isin(rows, first)
    return Cells(rows, pairs, kind[pairs[:, 0]] == kind[pairs[:, 1]], step)


def _members(cells: Cells) -> list[list[int]]:
    """Sets of cells that agree with their neighbours."""
    same = cells.pairs[~cells.differ]
    return joined(len(cells.rows), map(tuple, same.tolist()))


def _domains(xy: Floats, cells: Cells) -> Ints:
    """Number of the domain of each atom: that of the nearest cell in one."""
    number = np.full(len(cells.rows), -1)
    for k, members in enumerate(m for m in _members(cells) if len(m) >= _DOMAIN):
        number[members] = k
    known = number >= 0
    return np.asarray(number[known][cKDTree(xy[cells.rows[known]]).query(xy)[1]])


def _smaller(xy: Floats, cells: Cells, p: Floats, bonds: _Bonds) -> list[Group]:
    """The domains that are turned against the largest one, as groups of their cells."""
    domains = sorted((m for m in _members(cells) if len(m) >= _DOMAIN), key=len)
    largest = np.isin(np.arange(len(cells.rows)), domains[-1])
    turned = cells.pairs[cells.differ]
    facing = set(turned[largest[turned].any(axis=1)].ravel().tolist())
    around = dict(zip(bonds.rows.tolist(), bonds.around, strict=True))
    groups = []
    for members in domains[:-1]:
        if facing & set(members):
            rows = cells.rows[members]
            sure = float(np.median(p[rows])) ** (1 / len(rows))
            findings = (
                Finding("walls", TWIN, xy[i], (int(i), *around[int(i)]), sure) for i in rows
            )
            groups.append(Group(tuple(findings)))
    return groups


def _walls(xy: Floats, cells: Cells, p: Floats, word: str, bonds: _Bonds | None) -> list[Group]:
    """Boundaries as groups of pairs of cells that contradict each other."""
    if not cells.differ.any():
        return []
    size = np.zeros(len(cells.rows), dtype=np.intp)
    for members in _members(cells):
        size[members] = len(members)
    apart = cells.pairs[cells.differ]
    apart = apart[(size[apart] >= _DOMAIN).all(axis=1)]
    ends = cells.rows[apart]
    middle = xy[ends].mean(axis=1)
    around = {} if bonds is None else dict(zip(bonds.rows.tolist(), bonds.around, strict=True))
    groups = []
    for members in _straight(middle, cells.step):
        pairs = [(int(a), int(b)) for a, b in ends[members]]
        shared = [sorted({*around.get(a, ())} & {*around.get(b, ())}) for a, b in pairs]
        called = _kind(pairs, shared) or word
        # a boundary is there where most of it is: one misread column does not unmake it
        sure = float(np.median([p[list(pair)].prod() for pair in pairs])) ** (1 / len(pairs))
        findings = (
            Finding("walls", called, middle[m], (*pair, *between), sure)
            for m, pair, between in zip(members, pairs, shared, strict=True)
        )
        groups.append(Group(tuple(findings)))
    return groups


def _straight(middle: Floats, step: float) -> list[list[int]]:
    """Sets of places (E, 2) along one and the same straight course."""
    if len(middle) < _PIECES:
        return []
    tree = cKDTree(middle)
    course = np.empty(len(middle))
    for k, near in enumerate(tree.query_ball_point(middle, _VIEW * step)):
        away = middle[near] - middle[near].mean(axis=0)
        along = np.linalg.svd(away, full_matrices=False)[2][0]
        course[k] = np.degrees(np.arctan2(along[1], along[0]))
    pairs = tree.query_pairs(_JOIN * step, output_type="ndarray").reshape(-1, 2)
    turn = np.abs(course[pairs[:, 0]] - course[pairs[:, 1]]) % 180
    pairs = pairs[np.minimum(turn, 180 - turn) < _BEND]
    return [m for m in joined(len(middle), map(tuple, pairs.tolist())) if len(m) >= _PIECES]


def _kind(pairs: list[tuple[int, int]], shared: list[list[int]]) -> str:
    """What rings of four along a mirror twin share: points (4|4P) or edges (4|4E), else ''."""
    rings = [{*pair, *both} for pair, both in zip(pairs, shared, strict=True) if len(both) == 2]
    if len(rings) < _MOST * len(pairs):
        return ""
    common = Counter(len(a & b) for i, a in enumerate(rings) for b in rings[:i] if a & b)
    if not common:
        return ""
    (most, count), *_ = common.most_common(1)
    return FOURS[most - 1] if most in (1, 2) and count >= _MOST * common.total() else ""
