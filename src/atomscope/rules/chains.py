"""Dislocations in a row are a grain boundary: knots of rings that hexagons part are joined."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.spatial import cKDTree

from atomscope.rules.book import Book
from atomscope.rules.findings import Group, joined
from atomscope.rules.match import name_of

_REACH = 6.0  # diameters of a ring between neighbouring dislocations: from 10° of tilt on
_LEAST = 6  # rings in two or more knots make a boundary


def chained(groups: list[Group], book: Book) -> list[Group]:
    """Join knots of rings that are near to each other, where they make a row.

    Single dislocations and knots without a name are joined; point defects with a name of their own
    (a Stone-Wales defect, a divacancy) are not, however near they lie.
    """
    cores = [k for k, group in enumerate(groups) if _is_piece(group, book)]
    if len(cores) < 2:
        return groups
    places = np.array([groups[k].place for k in cores])
    reach = _REACH * max(_diameter(groups[k]) for k in cores)
    merged: list[Group] = []
    taken: set[int] = set()
    for numbers in joined(len(cores), cKDTree(places).query_pairs(reach)):
        members = [groups[cores[n]] for n in numbers]
        findings = tuple(f for group in members for f in group.findings)
        if len(members) > 1 and len(findings) >= _LEAST:
            taken |= {cores[n] for n in numbers}
            fused = sum((group.fused for group in members), Counter[str]())
            merged.append(Group(findings, fused=fused))
    return [group for k, group in enumerate(groups) if k not in taken] + merged


def _is_piece(group: Group, book: Book) -> bool:
    if set(group.parts) != {"rings"} or len(group.findings) < 2:
        return False
    named = name_of(group, book)
    return named is None or book.rules[named[1]].chain


def _diameter(group: Group) -> float:
    """Of a pentagon with its heptagon: twice the way between their middles."""
    places = np.array([f.place for f in group.findings[:2]])
    return float(np.hypot(*(places[0] - places[1])))
