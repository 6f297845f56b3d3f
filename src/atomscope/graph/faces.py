"""Rings of a sheet: the faces of its network, walked bond by bond for all atoms at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import UsageError
from atomscope.graph.atomgraph import AtomGraph, Bools, Floats, Ints
from atomscope.graph.planar import planar as as_planar

LONGEST = 16  # atoms of a ring: larger ones are holes


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings of a graph.

    Attributes:
        members: (R, longest) atoms of each ring in order, -1 where padded; turning from x to y,
            the smallest number first.
        size: (R,) number of atoms of each.
        of_atom: (N, k) rings that each atom is in, smallest first, -1 where padded.
        atom_sizes: (N, k) their sizes, ascending, 0 where padded.
        open: (N,) whether the walk around one of the faces at the atom does not close within
            `longest` steps: at the border of the frame, beside a large hole, or without bonds.
    """

    members: Ints
    size: NDArray[np.int64]
    of_atom: Ints
    atom_sizes: NDArray[np.int64]
    open: Bools

    def __len__(self) -> int:
        """Return the number of rings."""
        return len(self.size)


def rings(graph: AtomGraph, longest: int = 12, *, planar: bool = True) -> Rings:
    """Return the rings of a sheet with up to `longest` atoms.

    These are the faces of its network: the polygons without bonds inside. The outline of several
    polygons is none, although it may be a cycle without chords (in graphene the 12 atoms around
    three hexagons that share an atom); `chordless_cycles` finds those too. Atoms that dangle
    on one bond into a ring do not change it. Faces that are open at the border are no rings.

    Args:
        graph: Of any number of atoms; time and memory grow with it linearly.
        longest: Number of atoms, 3 to 16. A vacancy in graphene makes a ring of 12, two
            neighbouring ones make one of 14.
        planar: Drop the less probable of two crossing bonds first.

    Raises:
        UsageError: `longest` is not from 3 to 16.
    """
    if not 3 <= longest <= LONGEST:
        raise UsageError(f"longest {longest}: expected a number of atoms from 3 to {LONGEST}.")
    core = _without_ends(as_planar(graph) if planar else graph)
    members, size = _faces(core, longest)
    of_atom = _by_atom(members, size, len(graph))
    sizes = np.where(of_atom >= 0, np.append(size, 0)[of_atom], 0)
    found = (of_atom >= 0).sum(axis=1)
    return Rings(members, size, of_atom, sizes, found < np.maximum(core.coordination, 1))


def _without_ends(graph: AtomGraph) -> AtomGraph:
    """Take off bonds to atoms that have no other, again and again."""
    mask = graph.mask.copy()
    degree = mask.sum(axis=1)
    ends = np.flatnonzero(degree == 1)
    while len(ends):
        slot = mask[ends].argmax(axis=1)
        other, back = graph.neighbours[ends, slot], graph.twins[ends, slot]
        mask[ends, slot] = False
        mask[other, back] = False
        degree[ends] = 0
        degree[other] = mask[other].sum(axis=1)
        ends = np.unique(other[degree[other] == 1])
    return graph.keep(mask)


def _faces(graph: AtomGraph, longest: int) -> tuple[Ints, NDArray[np.int64]]:
    """Members and sizes of the closed faces that turn from x to y (those outside turn back).

    A bond is walked in both directions. On arrival the walk goes on with the bond before the one
    it came by, in the order of the angle: the polygon stays on one side.
    """
    width = graph.neighbours.shape[1]
    degree = graph.coordination
    step = np.zeros(graph.mask.size, dtype=np.intp)
    atom, slot = np.nonzero(graph.mask)
    other, back = graph.neighbours[atom, slot], graph.twins[atom, slot]
    start = atom * width + slot
    step[start] = other * width + (back - 1) % degree[other]
    found, sizes = [np.zeros(0, np.intp)], [np.zeros(0, np.int64)]
    here = start
    for size in range(1, longest + 1):
        here = step[here]
        closed = here == start
        found.append(start[closed])
        sizes.append(np.full(int(closed.sum()), size, dtype=np.int64))
        # Each face is walked from its smallest bond alone.
        on = here > start
        start, here = start[on], here[on]
    first, length = np.concatenate(found), np.concatenate(sizes)
    members = np.full((len(first), longest), -1, dtype=np.intp)
    here = first
    for n in range(longest):
        members[:, n] = np.where(n < length, here // max(width, 1), -1)
        here = step[here]
    good = (length >= 3) & (_area(graph.positions, members) > 0) & ~_repeats(members)
    return members[good], length[good]


def _area(positions: Floats, members: Ints) -> Floats:
    """Twice the signed area of each polygon, positive when it turns from x to y."""
    area = np.zeros(len(members))
    origin = positions[members[:, 0]]
    last = np.zeros_like(origin)
    for column in members.T[1:]:
        told = column >= 0
        here = np.where(told[:, None], positions[column] - origin, last)
        area += last[:, 0] * here[:, 1] - last[:, 1] * here[:, 0]
        last = here
    return area


def _repeats(members: Ints) -> Bools:
    """Whether a walk comes through an atom twice: not one ring but several, or a bridge."""
    order = np.sort(members, axis=1)
    return np.asarray(((order[:, 1:] == order[:, :-1]) & (order[:, 1:] >= 0)).any(axis=1))


def _by_atom(members: Ints, size: NDArray[np.int64], count: int) -> Ints:
    """Numbers (N, k) of the rings of each atom, sorted by size, -1 where padded."""
    ring, place = np.nonzero(members >= 0)
    atom = members[ring, place]
    order = np.lexsort((ring, size[ring], atom))
    atom, ring = atom[order], ring[order]
    number = np.bincount(atom, minlength=count)
    first = np.cumsum(number) - number
    found = np.full((count, int(number.max(initial=0))), -1, dtype=np.intp)
    found[atom, np.arange(len(atom)) - first[atom]] = ring
    return found
