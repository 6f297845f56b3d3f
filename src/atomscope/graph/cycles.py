"""All cycles without chords around some atoms, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from atomscope.errors import UsageError
from atomscope.graph.atomgraph import AtomGraph


def chordless_cycles(
    graph: AtomGraph, atoms: Iterable[int], longest: int = 12
) -> list[tuple[int, ...]]:
    """Return every chordless cycle of up to `longest` atoms through any of the given atoms.

    A chord is a bond between two atoms of the cycle that are not next to each other in it. Unlike
    `rings` this takes outlines of several rings as well. A search in depth, whose time grows
    fast with `longest`: for single places, not for all atoms of a large frame.

    Returns:
        Atoms in order, starting with the smallest number, towards the smaller of its two
        neighbours; sorted by size, then by number.

    Raises:
        UsageError: An atom that is not in the graph, or `longest` below 3.
    """
    if longest < 3:
        raise UsageError(f"longest {longest}: expected 3 atoms or more.")
    chosen = sorted({int(atom) for atom in atoms})
    if chosen and not (chosen[0] >= 0 and chosen[-1] < len(graph)):
        raise UsageError(f"atoms {chosen}: expected numbers from 0 to {len(graph) - 1}.")
    around = _Around(graph)
    found = {_canonical(c) for atom in chosen for c in _through(around, atom, longest)}
    return sorted(found, key=lambda cycle: (len(cycle), cycle))


class _Around(dict[int, frozenset[int]]):
    """Neighbours of the atoms that were asked for."""

    def __init__(self, graph: AtomGraph) -> None:
        self.graph = graph

    def __missing__(self, atom: int) -> frozenset[int]:
        row = self.graph.neighbours[atom]
        self[atom] = frozenset(row[self.graph.mask[atom]].tolist())
        return self[atom]


def _through(around: _Around, atom: int, longest: int) -> Iterator[tuple[int, ...]]:
    """Chordless cycles through one atom, each once: from the smaller of its two neighbours."""
    far = _steps_to(around, atom, longest // 2)
    stack: list[tuple[int, ...]] = [(atom, first) for first in around[atom]]
    while stack:
        path = stack.pop()
        for new in around[path[-1]]:
            if new in path or any(new in around[old] for old in path[1:-1]):
                continue
            if new in around[atom]:
                if new > path[1]:
                    yield (*path, new)
            elif len(path) + far.get(new, longest) <= longest:
                stack.append((*path, new))


def _steps_to(around: _Around, atom: int, most: int) -> dict[int, int]:
    """Number of bonds from one atom to those around it."""
    steps, front = {atom: 0}, {atom}
    for n in range(1, most + 1):
        front = {i for k in front for i in around[k]} - steps.keys()
        steps.update(dict.fromkeys(front, n))
    return steps


def _canonical(cycle: tuple[int, ...]) -> tuple[int, ...]:
    start = cycle.index(min(cycle))
    turned = cycle[start:] + cycle[:start]
    return turned if turned[1] < turned[-1] else (turned[0], *turned[:0:-1])
