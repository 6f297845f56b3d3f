"""Bonds: which atoms are bonded, and how long and at what angles in the perfect crystal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from ase import Atoms

SHELL = 1.15  # bonds are up to this much longer than the shortest of an atom
CONTACT = 1.05  # bond lengths: nearer atoms repel each other where they are not bonded
Bonds = NDArray[np.intp]


@dataclass(frozen=True)
class Rule:
    """What the bonds of a perfect crystal are.

    Attributes:
        lengths: Lengths in Å that occur, by the two elements, sorted.
        cosines: Cosines of its angles by the element in the middle.
        bonds: Largest number of bonds of each element.
        apart: Atoms that are not bonded repel each other below this many bond lengths.
        flat: Whether all its bonds lie in the plane of the layer.
    """

    lengths: Mapping[tuple[str, str], Floats]
    cosines: Mapping[str, Floats]
    bonds: Mapping[str, int]
    apart: float
    flat: bool = False

    def length(self, first: str, second: str) -> float:
        """Ideal length in Å of a bond between two elements; the mean if there are several."""
        key = (min(first, second), max(first, second))
        if key in self.lengths:
            return float(np.mean(self.lengths[key]))
        scale = [np.mean(length) / _radii(*pair) for pair, length in self.lengths.items()]
        return float(np.mean(scale)) * _radii(first, second)

    @property
    def shortest(self) -> float:
        """Shortest bond in Å."""
        return float(min(length.min() for length in self.lengths.values()))

    @property
    def longest(self) -> float:
        """Longest bond in Å."""
        return float(max(length.max() for length in self.lengths.values()))

    def lengths_of(self, atoms: Atoms, pairs: Bonds) -> Floats:
        """Ideal lengths (B,) of bonds between pairs (B, 2) of atoms: the nearest that occurs."""
        symbols, kind = np.unique(atoms.get_chemical_symbols(), return_inverse=True)
        first, second = kind[pairs.T]
        table = np.array([[self.length(str(a), str(b)) for b in symbols] for a in symbols])
        found = table[first, second]
        vector = atoms.positions[pairs[:, 1]] - atoms.positions[pairs[:, 0]]
        actual = np.linalg.norm(wrapped(atoms, vector), axis=1)
        for pair, known in self.lengths.items():
            here = _joins(symbols[first], symbols[second], pair)
            found[here] = known[np.abs(actual[here][:, None] - known).argmin(axis=1)]
        return np.asarray(found)


def _radii(first: str, second: str) -> float:
    from ase.data import atomic_numbers, covalent_radii

    return float(covalent_radii[atomic_numbers[first]] + covalent_radii[atomic_numbers[second]])


def rule_of(unit: Atoms) -> Rule:
    """Measure bonds and angles of a perfect crystal; bonded are the nearest, within 15 %.

    Raises:
        UsageError: The atoms have no neighbours.
    """
    from ase.neighborlist import neighbor_list

    first, second, distance, vector = neighbor_list("ijdD", unit, 5.0)
    if len(first) == 0:
        raise UsageError("structure: no two atoms are within 5 Å; expected a crystal.")
    shortest = np.full(len(unit), np.inf)
    np.minimum.at(shortest, first, distance)
    near = distance < SHELL * np.minimum(shortest[first], shortest[second])
    symbols, counts = unit.get_chemical_symbols(), np.bincount(first[near])
    others = zip(first[~near], second[~near], distance[~near], strict=True)
    first, second, distance, vector = first[near], second[near], distance[near], vector[near]
    found: dict[tuple[str, str], list[float]] = {}
    for i, j, d in zip(first, second, distance, strict=True):
        found.setdefault((min(symbols[i], symbols[j]), max(symbols[i], symbols[j])), []).append(d)
    cosines: dict[str, list[float]] = {}
    unit_vector = vector / distance[:, None]
    for i in range(len(unit)):
        mine = unit_vector[first == i]
        upper = np.triu_indices(len(mine), 1)
        cosines.setdefault(symbols[i], []).extend((mine @ mine.T)[upper])
    rule = Rule(
        {pair: np.unique(np.round(d, 6)) for pair, d in found.items()},
        {s: np.unique(np.round(c, 6)) for s, c in cosines.items()},
        {s: int(counts[np.array(symbols) == s].max()) for s in cosines},
        CONTACT,
        bool(np.abs(vector[:, 2]).max() < 1e-6),
    )
    closest = min((d / rule.length(symbols[i], symbols[j]) for i, j, d in others), default=CONTACT)
    return replace(rule, apart=min(CONTACT, 0.95 * closest))


def bonds_of(atoms: Atoms, rule: Rule, reach: float = SHELL) -> Bonds:
    """Return the pairs (B, 2) of atoms that are at most `reach` ideal lengths apart.

    Only elements that are bonded in the perfect crystal can be.
    """
    pairs, distance = close_pairs(atoms, reach * rule.longest)
    first, second = np.array(atoms.get_chemical_symbols())[pairs].T
    bonded = np.zeros(len(pairs), dtype=bool)
    for pair, lengths in rule.lengths.items():
        bonded |= _joins(first, second, pair) & (distance < reach * lengths.max())
    return np.asarray(pairs[bonded])


def _joins(first: Any, second: Any, pair: tuple[str, str]) -> NDArray[np.bool_]:
    """Where the elements (B,) and (B,) of two atoms are those of a pair."""
    one, other = pair
    return np.asarray((first == one) & (second == other) | (first == other) & (second == one))


def close_pairs(atoms: Atoms, longest: float) -> tuple[Bonds, Floats]:
    """Return the pairs (P, 2) of atoms up to `longest` Å apart, and their distances (P,)."""
    places = atoms.positions
    turns = [(0, -1, 1) if periodic else (0,) for periodic in atoms.pbc]
    steps = np.stack(np.meshgrid(*turns, indexing="ij"), -1).reshape(-1, 3) @ atoms.cell[:]
    images = (places + steps[:, None]).reshape(-1, 3)
    index = np.tile(np.arange(len(places)), len(steps))
    near = np.all(images > places.min(axis=0) - longest, axis=1)
    near &= np.all(images < places.max(axis=0) + longest, axis=1)
    images, index = images[near], index[near]
    pairs = cKDTree(images).query_pairs(longest, output_type="ndarray")
    distance = np.linalg.norm(images[pairs[:, 0]] - images[pairs[:, 1]], axis=1)
    pairs = np.sort(index[pairs], axis=1)
    _, once = np.unique(pairs, axis=0, return_index=True)
    return pairs[once], distance[once]


def wrapped(atoms: Atoms, vectors: Floats) -> Floats:
    """Return vectors (N, 3) to the nearest periodic images; they must be short against the cell."""
    cell = np.asarray(atoms.cell[:])
    if not atoms.pbc.any():
        return vectors
    turns = np.round(vectors @ np.linalg.inv(cell)) * atoms.pbc
    return np.asarray(vectors - turns @ cell)
