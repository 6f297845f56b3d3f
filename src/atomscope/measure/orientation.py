"""Which way the lattice is turned at each atom: the order parameter of its bonds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.graph import AtomGraph
from atomscope.rules.findings import Floats, Words
from atomscope.rules.host import commonest

Complex = NDArray[np.complex128]

_FOLDS = (6, 4, 2)
_ALTERNATE = 0.8  # share of bonds between the two species of a compound


@dataclass(frozen=True, eq=False)
class Orientation:
    """Order of the bonds of each atom.

    Attributes:
        psi: Mean of exp(i n θ) over the bonds of each atom, θ from x towards -y, shape (N,);
            of the atoms of the second species of a compound the opposite where n is 3.
        fold: n: 6 for hexagonal lattices and honeycombs of one species, 3 for those of two (a
            turn by 60° makes a twin), 4 for square ones, else 2.
    """

    psi: Complex
    fold: int

    @property
    def period(self) -> float:
        """Turn in degrees after which the lattice is the same."""
        return 360.0 / self.fold

    def angle(self, psi: Complex | complex) -> Floats:
        """Direction of the bonds in degrees, 0 to the period, of order parameters."""
        turn = np.degrees(np.angle(psi)) / self.fold
        return np.asarray(turn % self.period)

    def between(self, first: Complex | complex, second: Complex | complex) -> Floats:
        """Smallest turn in degrees between two order parameters, 0 to half the period."""
        return np.asarray(np.abs(np.degrees(np.angle(first * np.conj(second)))) / self.fold)


def orientation_of(graph: AtomGraph, species: Words) -> Orientation:
    """Return the bond-orientational order (Nelson, Halperin, Phys. Rev. B 19, 2457 (1979)).

    Of 6, 4 and 2 the n with the largest mean order is taken.

    Args:
        graph: Bonds of the first shell.
        species: Of each atom, words, '' where unknown, shape (N,).
    """
    sign = _sides(graph, species)
    theta = np.arctan2(-graph.vectors[..., 1], graph.vectors[..., 0])
    count = np.maximum(graph.coordination, 1)

    def order(n: int) -> Complex:
        return np.asarray((np.exp(1j * n * theta) * graph.mask).sum(axis=1) / count)

    if sign is not None:
        return Orientation(order(3) * sign, 3)
    found = {n: order(n) for n in _FOLDS}
    fold = max(_FOLDS, key=lambda n: float(np.abs(found[n]).mean()) if len(theta) else 0.0)
    return Orientation(found[fold], fold)


def _sides(graph: AtomGraph, species: Words) -> Floats | None:
    """1 and -1 for the two sublattices of a honeycomb of two species, None for other lattices.

    The commonest species and the one it is bonded to alternate; what an atom of another species
    stands for, its neighbours tell.
    """
    if not len(graph) or np.median(graph.coordination) != 3:
        return None
    first = commonest(species)
    near = species[graph.neighbours] if graph.neighbours.size else species[:, None]
    second = commonest(near[(species == first)[:, None] & graph.mask & (near != first)])
    if not first or not second:
        return None
    sign = (species == first).astype(float) - (species == second)
    i, j = graph.bonds.T
    host = (sign[i] != 0) & (sign[j] != 0)
    if host.mean() < _ALTERNATE or np.mean(sign[i][host] != sign[j][host]) < _ALTERNATE:
        return None
    around = (sign[graph.neighbours] * graph.mask).sum(axis=1)
    return np.asarray(np.where(sign != 0, sign, -np.sign(around)))
