"""Atoms and the bonds between them, padded to the same number of neighbours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class AtomGraph:
    """Atoms of one frame and their bonds.

    Neighbours stand in the order of the angle of their bond, atan2(y, x) ascending, at the left of
    each row; every bond is there from both ends.

    Attributes:
        positions: (N, 2), x to the right, y down, in `unit`.
        species: (N,) words, '' where unknown.
        neighbours: (N, K) numbers of the bonded atoms, -1 where padded.
        mask: (N, K), False where padded.
        vectors: (N, K, 2) from atom to neighbour, 0 where padded.
        bond_p: (N, K) probability that the true distance is within the longest bond, given the
            errors of both positions; 0 where padded.
        errors: (N, 2) standard errors of the positions, 0 where unknown.
        border: (N,) whether the border of the frame is so near that a bond may be cut off.
        unit: Of all lengths, 'Å' or 'px'.
    """

    positions: Floats
    species: NDArray[Any]
    neighbours: Ints
    mask: Bools
    vectors: Floats
    bond_p: Floats
    errors: Floats
    border: Bools
    unit: Literal["Å", "px"]

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.positions)

    @cached_property
    def coordination(self) -> NDArray[np.int64]:
        """Number of bonds of each atom, shape (N,)."""
        return np.asarray(self.mask.sum(axis=1, dtype=np.int64))

    @cached_property
    def slots(self) -> tuple[Ints, Ints]:
        """Row and column (B,), (B,) of each bond in the padded arrays, in the order of `bonds`."""
        rows = np.arange(len(self))[:, None]
        atom, slot = np.nonzero(self.mask & (self.neighbours > rows))
        order = np.lexsort((self.neighbours[atom, slot], atom))
        return atom[order], slot[order]

    @cached_property
    def bonds(self) -> Ints:
        """Pairs (B, 2) of bonded atoms, the smaller number first, sorted."""
        return np.stack([self.slots[0], self.neighbours[self.slots]], axis=1)

    @property
    def lengths(self) -> Floats:
        """Length (B,) of each bond."""
        return np.asarray(np.hypot(*self.vectors[self.slots].T))

    @property
    def length_errors(self) -> Floats:
        """Standard error (B,) of each length, from the errors of both ends along the bond."""
        return spread_along(self.vectors[self.slots], *self.errors[self.bonds.T])

    @cached_property
    def padded_lengths(self) -> Floats:
        """Length (N, K) of the bond to each neighbour, 0 where padded."""
        return np.asarray(np.hypot(self.vectors[..., 0], self.vectors[..., 1]))

    @cached_property
    def twins(self) -> Ints:
        """Column (N, K) in which the neighbour holds this bond, -1 where padded."""
        return twins(self.neighbours, self.mask)

    def keep(self, bonds: Bools) -> AtomGraph:
        """Return the graph with the bonds (N, K) that are marked; mark both ends of each."""
        packed = pack(bonds & self.mask, self.neighbours, self.vectors, self.bond_p)
        mask, neighbours, vectors, bond_p = packed
        return replace(self, neighbours=neighbours, mask=mask, vectors=vectors, bond_p=bond_p)


def spread_along(vectors: Floats, first: Floats, second: Floats) -> Floats:
    """Standard error of lengths from the errors (..., 2) of both ends, along vectors (..., 2)."""
    square = first**2 + second**2
    length = np.hypot(vectors[..., 0], vectors[..., 1])
    share = np.divide(
        vectors**2,
        length[..., None] ** 2,
        out=np.full_like(vectors, 0.5),
        where=length[..., None] > 0,
    )
    return np.asarray(np.sqrt((square * share).sum(axis=-1)))


def pack(
    mask: Bools, neighbours: Ints, vectors: Floats, bond_p: Floats
) -> tuple[Bools, Ints, Floats, Floats]:
    """Move what is marked to the left of each row, in order, and cut off empty columns."""
    width = int(mask.sum(axis=1).max(initial=0))
    order = np.argsort(~mask, axis=1, kind="stable")[:, :width]
    mask = np.take_along_axis(mask, order, axis=1)
    neighbours = np.where(mask, np.take_along_axis(neighbours, order, axis=1), -1)
    vectors = np.take_along_axis(vectors, order[..., None], axis=1) * mask[..., None]
    bond_p = np.take_along_axis(bond_p, order, axis=1) * mask
    return mask, neighbours, vectors, bond_p


def twins(neighbours: Ints, mask: Bools) -> Ints:
    """Column (N, K) in which the neighbour holds the atom, -1 where it does not."""
    found = np.full(neighbours.shape, -1, dtype=np.intp)
    rows = np.arange(len(neighbours))[:, None]
    for slot in range(neighbours.shape[1]):
        back = neighbours[:, slot][neighbours] == rows
        found[back & mask] = slot
    return found
