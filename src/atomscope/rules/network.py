"""Deviations from a network of bonds: foreign atoms, atoms on top, rings of another size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.formula import parse
from atomscope.graph import AtomGraph, connect, rings
from atomscope.graph.faces import LONGEST
from atomscope.rules.book import Book
from atomscope.rules.chains import chained
from atomscope.rules.findings import Finding, Floats, Group, Ints, Words, joined
from atomscope.rules.host import named_p

_SHADOW = 1.25


def find_groups(
    rows: pd.DataFrame,
    species: Words,
    book: Book,
    shape: tuple[int, int] | None,
    pixel_size: float | None,
) -> tuple[list[Group], AtomGraph]:
    """Find all deviations of a frame, and join those that belong together.

    Args:
        rows: Atoms of one frame.
        species: Of each of the N atoms, words, shape (N,); '' where unknown.
        book: Rules of the host.
        shape: Of the frame (y, x).
        pixel_size: Å per px, None where unknown.

    Returns:
        The groups, and the graph of all atoms.
    """
    xy = positions(rows)
    p = rows["p"].to_numpy(float)
    sure = p * named_p(rows, np.ones(len(rows)))
    graph = bonded(rows, species, book, shape, pixel_size)
    foreign = (species != "") & ~np.isin(species, list(book.host))
    extra = on_top(graph, foreign, book.coordination)
    groups = _tops(np.flatnonzero(extra & ~graph.border), graph, xy, species, p)
    kept = np.flatnonzero(~extra)
    sheet = bonded(rows.iloc[kept], species[kept], book, shape, pixel_size)
    odd = _odd_rings(sheet, book.ring, kept)
    clusters = _clusters(graph, np.flatnonzero(foreign & ~extra))
    for cluster in clusters:
        if graph.border[cluster].any():
            continue  # not all that is bonded to it is in the frame
        groups.append(_foreign_group(cluster, odd, graph, xy, species, foreign, sure))
    taken = {i for cluster in clusters for i in cluster}
    left = [ring for ring in odd if not taken & set(ring)]
    groups += chained(_ring_groups(left, xy, p), book)
    return groups, graph


def bonded(
    rows: pd.DataFrame,
    species: Words,
    book: Book,
    shape: tuple[int, int] | None,
    pixel_size: float | None,
) -> AtomGraph:
    """Connect the atoms of a frame; words that are no formula count as unknown."""
    plain = np.array([w if _is_formula(str(w)) else "" for w in species], dtype=object)
    graph = connect(rows.assign(species=plain), book.bonds, shape=shape, pixel_size=pixel_size)
    return unshadowed(graph, (plain != "") & ~np.isin(plain, list(book.host)))


def unshadowed(graph: AtomGraph, foreign: NDArray[np.bool_]) -> AtomGraph:
    """Cut the bonds of foreign atoms past a neighbour of theirs to the atom behind it.

    Heavy atoms have radii that reach beyond their first shell. A bond goes where both its ends
    are bonded to one atom, each by less than 1 / `_SHADOW` of its length.
    """
    kept, length = graph.mask.copy(), graph.padded_lengths
    for atom in np.flatnonzero(foreign):
        for slot in np.flatnonzero(graph.mask[atom]):
            other, limit = graph.neighbours[atom, slot], length[atom, slot] / _SHADOW
            near = graph.neighbours[atom][graph.mask[atom] & (length[atom] < limit)]
            behind = graph.neighbours[other][graph.mask[other] & (length[other] < limit)]
            if np.isin(near, behind).any():
                kept[atom, slot] = False
                kept[other, graph.twins[atom, slot]] = False
    return graph if kept.sum() == graph.mask.sum() else graph.keep(kept)


@cache
def _is_formula(word: str) -> bool:
    try:
        return bool(parse([word]))
    except UsageError:
        return False


def on_top(graph: AtomGraph, foreign: NDArray[np.bool_], coordination: int) -> NDArray[np.bool_]:
    """Atoms without which the host is whole: all their neighbours have their bonds elsewhere.

    Foreign atoms are asked first, the host's own only where two of them are too many.
    """
    extra = np.zeros(len(foreign), dtype=bool)
    order = [
        *np.flatnonzero(foreign),
        *np.flatnonzero(~foreign & (graph.coordination > coordination)),
    ]
    for atom in order:
        near = graph.neighbours[atom][graph.mask[atom]]
        if len(near) < 2 or graph.border[atom]:
            continue
        others = [
            int(np.sum(~extra[graph.neighbours[n][graph.mask[n]]])) - 1
            for n in near
            if not extra[n]
        ]
        extra[atom] = bool(others) and min(others) >= coordination
    return extra


def _odd_rings(sheet: AtomGraph, host: int, kept: Ints) -> list[tuple[int, ...]]:
    found = rings(sheet, longest=LONGEST)
    odd = np.flatnonzero(found.size != host)
    return [tuple(int(kept[i]) for i in found.members[r, : found.size[r]]) for r in odd]


def _clusters(graph: AtomGraph, atoms: Ints) -> list[list[int]]:
    """Sets of atoms that are bonded to each other."""
    number = {int(atom): k for k, atom in enumerate(atoms)}
    pairs = [
        (number[int(atom)], number[int(n)])
        for atom in atoms
        for n in graph.neighbours[atom][graph.mask[atom]]
        if int(n) in number
    ]
    return [[int(atoms[k]) for k in numbers] for numbers in joined(len(atoms), pairs)]


def _foreign_group(
    cluster: list[int],
    odd: Sequence[tuple[int, ...]],
    graph: AtomGraph,
    xy: Floats,
    species: Words,
    foreign: NDArray[np.bool_],
    p: Floats,
) -> Group:
    around = {int(n) for i in cluster for n in graph.neighbours[i][graph.mask[i]]}
    shell = Counter(str(species[n] or "?") for n in around if not foreign[n])
    findings = [Finding("foreign", str(species[i]), xy[i], (i,), float(p[i])) for i in cluster]
    rings_here = [ring for ring in odd if set(ring) & set(cluster)]
    findings += [_ring(ring, xy, np.ones(len(xy))) for ring in rings_here]
    return Group(tuple(findings), shell)


def _tops(atoms: Ints, graph: AtomGraph, xy: Floats, species: Words, p: Floats) -> list[Group]:
    groups = []
    for cluster in _clusters(graph, atoms):
        findings = (
            Finding("extra", str(species[i] or "?"), xy[i], (i,), float(p[i])) for i in cluster
        )
        groups.append(Group(tuple(findings)))
    return groups


def _ring(ring: tuple[int, ...], xy: Floats, p: Floats) -> Finding:
    members = list(ring)
    return Finding("rings", str(len(ring)), xy[members].mean(axis=0), ring, float(p[members].min()))


def _ring_groups(odd: Sequence[tuple[int, ...]], xy: Floats, p: Floats) -> list[Group]:
    """Join rings that share a bond."""
    of_bond: dict[frozenset[int], list[int]] = {}
    for number, ring in enumerate(odd):
        for i, j in zip(ring, (*ring[1:], ring[0]), strict=True):
            of_bond.setdefault(frozenset((i, j)), []).append(number)
    pairs = [(n[0], n[1]) for n in of_bond.values() if len(n) == 2]
    groups = []
    for numbers in joined(len(odd), pairs):
        here = set(numbers)
        sizes = (sorted((len(odd[i]), len(odd[j]))) for i, j in pairs if i in here)
        fused = Counter(f"{a}-{b}" for a, b in sizes)
        groups.append(Group(tuple(_ring(odd[n], xy, p) for n in numbers), fused=fused))
    return groups
