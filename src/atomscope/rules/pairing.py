"""Metal atoms that move together in pairs of rows, as in 1T': domains of a distorted layer."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from atomscope.rules.book import Book
from atomscope.rules.findings import Bools, Finding, Floats, Group, Ints, Words, joined
from atomscope.rules.walls import of_role

_SPLIT = 1.15  # two longest over two shortest of six distances: 1T' 1.3 to 1.5, 3 % of strain 1.03
_SIX = 1.45  # over the middle two of the distances: no neighbour is farther away
_ANGLES = (50.0, 95.0)  # degrees between the two short ones: 70 in MoS2, 75 in WTe2
_PRISM = 3  # columns around a metal atom of 1H; 1T and 1T' have six
_BOND = 1.25  # of the middle distance over √3: the columns around
FEWEST = 4  # metal atoms that make a domain


def find_pairing(xy: Floats, species: Words, book: Book, p: Floats) -> list[Group]:
    """Find the domains of four or more metal atoms of a host that pair up in rows.

    Each of them has, among its six neighbours of one kind, two at a shorter and two at a longer
    distance, on opposite sides; and not the three columns of pairs around it that 1H has.

    Args:
        xy: Positions in px, shape (N, 2).
        species: Words, shape (N,); '' where unknown.
        book: Rules of the host; its first kind of columns may pair up.
        p: Probability of each atom and its species, shape (N,).
    """
    metal = of_role(species, book, 0)
    paired, near, around = _paired(xy, metal)
    links = [(int(i), int(j)) for i in np.flatnonzero(paired) for j in near[i] if paired[j]]
    groups = []
    for members in joined(len(metal), links):
        if len(members) < FEWEST:
            continue
        sure = float(np.median(p[metal[members]])) ** (1 / len(members))  # most make the domain
        findings = (
            Finding("paired", str(species[i]), xy[i], (int(i), *around[m]), sure)
            for m, i in zip(members, metal[members], strict=True)
        )
        groups.append(Group(tuple(findings)))
    return groups


def pairs_up(xy: Floats, species: Words, book: Book) -> bool:
    """Whether most metal atoms do: the host itself is of this kind."""
    metal = of_role(species, book, 0)
    found = find_pairing(xy, species, book, np.ones(len(xy)))
    inner = int(_inner(xy[metal]).sum())
    return inner > 0 and sum(len(group.findings) for group in found) > 0.5 * inner


def around_pairs(xy: Floats, species: Words, book: Book, groups: list[Group]) -> Bools:
    """Which atoms are nearest to a metal atom of the domains, shape (N,).

    Metal atoms beside those with more columns around than in 1H are of a domain as well: at the
    border of the frame they lack the neighbours that would show them to be paired.
    """
    metal = of_role(species, book, 0)
    mine = np.isin(metal, [f.atoms[0] for group in groups for f in group.findings])
    tree = cKDTree(xy[metal])
    middle = tree.query(xy[metal], k=min(5, len(metal)))[0][:, 3:].mean(axis=1)
    many = np.array([len(rows) for rows in _around(xy, metal, middle)]) > _PRISM
    near = tree.query_ball_point(xy[metal], float(np.median(middle)) * _BOND)
    while True:
        fresh = [i for i in np.flatnonzero(many & ~mine) if mine[near[i]].any()]
        if not fresh:
            return np.asarray(mine[tree.query(xy)[1]])
        mine[fresh] = True


def _inner(xy: Floats) -> Bools:
    """Atoms with six neighbours of their kind at about one distance."""
    if len(xy) < 7:
        return np.zeros(len(xy), dtype=bool)
    distance = cKDTree(xy).query(xy, k=7)[0][:, 1:]
    middle = distance[:, 2:4].mean(axis=1)
    return np.asarray(distance[:, 5] < _SIX * middle)


def _paired(xy: Floats, metal: Ints) -> tuple[Bools, Ints, list[list[int]]]:
    """Which metal atoms stand in paired rows (M,), their six nearest (M, 6), columns around."""
    if len(metal) < 7:
        return np.zeros(len(metal), dtype=bool), np.zeros((len(metal), 0), dtype=np.intp), []
    places = xy[metal]
    distance, near = (found[:, 1:] for found in cKDTree(places).query(places, k=7))
    split = distance[:, 4:].sum(axis=1) > _SPLIT * distance[:, :2].sum(axis=1)
    away = places[near] - places[:, None]
    cosine = (away[:, 0] * away[:, 1]).sum(axis=1) / (distance[:, 0] * distance[:, 1])
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    opposite = (away[:, :2].sum(axis=1) * away[:, 4:].sum(axis=1)).sum(axis=1) < 0
    wide = (angle > _ANGLES[0]) & (angle < _ANGLES[1])
    around = _around(xy, metal, distance[:, 2:4].mean(axis=1))
    count = np.array([len(rows) for rows in around])
    prism = (count > 0) & (count <= _PRISM)
    return np.asarray(_inner(places) & split & wide & opposite & ~prism), near, around


def _around(xy: Floats, metal: Ints, middle: Floats) -> list[list[int]]:
    """Rows of the columns around each metal atom that are no metal."""
    other = np.setdiff1d(np.arange(len(xy)), metal)  # of unknown species, too
    if not len(other):
        return [[] for _ in metal]
    reach = _BOND * middle / np.sqrt(3)
    found = cKDTree(xy[other]).query_ball_point(xy[metal], reach)
    return [[int(other[i]) for i in rows] for rows in found]
