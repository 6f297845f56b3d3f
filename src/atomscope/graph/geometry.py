"""Angles, bond lengths and local strain of the atoms of a graph, with their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.graph.atomgraph import AtomGraph, Floats, Ints

_SHARE = 0.05  # of the inner atoms that must have a number of bonds for a mean shell of it


@dataclass(frozen=True, eq=False)
class Angles:
    """Angles between bonds that are next to each other around an atom.

    Attributes:
        value: (N, K) degrees from each bond to the next one around the atom, turning from x to y;
            they add up to 360. NaN where padded and where there are fewer than two bonds.
        error: (N, K) their standard errors in degrees, from the errors of the three positions.
    """

    value: Floats
    error: Floats

    @property
    def spread(self) -> Floats:
        """Largest less smallest angle (N,) in degrees, NaN below two bonds."""
        high = np.where(np.isnan(self.value), -np.inf, self.value).max(axis=1, initial=-np.inf)
        low = np.where(np.isnan(self.value), np.inf, self.value).min(axis=1, initial=np.inf)
        told = np.isfinite(high)
        return np.asarray(np.subtract(high, low, out=np.full_like(high, np.nan), where=told))


@dataclass(frozen=True, eq=False)
class BondLengths:
    """The bonds around each atom.

    Attributes:
        mean: (N,) mean length in the unit of the graph, NaN without bonds.
        error: (N,) its standard error, from the errors of the positions.
        spread: (N,) standard deviation of the lengths, NaN below two bonds.
    """

    mean: Floats
    error: Floats
    spread: Floats


def angles(graph: AtomGraph) -> Angles:
    """Return the angles between neighbouring bonds of each atom."""
    degree = graph.coordination
    told = graph.mask & (degree[:, None] > 1)
    atom, slot = np.nonzero(told)
    after = (slot + 1) % degree[atom]
    u, v = graph.vectors[atom, slot], graph.vectors[atom, after]
    turn = np.arctan2(v[:, 1], v[:, 0]) - np.arctan2(u[:, 1], u[:, 0])
    value, error = np.full(graph.mask.shape, np.nan), np.full(graph.mask.shape, np.nan)
    value[told] = np.degrees(np.mod(turn, 2 * np.pi))
    # The angle of a bond changes by (-y, x) / r² times the shift of its far end.
    at_u, at_v = _slope(u), _slope(v)
    first = graph.errors[graph.neighbours[atom, slot]]
    second = graph.errors[graph.neighbours[atom, after]]
    square = (at_u * first) ** 2 + (at_v * second) ** 2 + ((at_v - at_u) * graph.errors[atom]) ** 2
    error[told] = np.degrees(np.sqrt(square.sum(axis=1)))
    return Angles(value, error)


def _slope(vectors: Floats) -> Floats:
    square = np.maximum((vectors**2).sum(axis=1, keepdims=True), np.finfo(float).tiny)
    return np.asarray(vectors[:, ::-1] * [-1.0, 1.0] / square)


def bond_lengths(graph: AtomGraph) -> BondLengths:
    """Return mean, error and spread of the bond lengths of each atom.

    The error holds that the atom's own shift lengthens some bonds and shortens others.
    """
    degree = graph.coordination.astype(np.float64)
    few = np.maximum(degree, 1.0)
    length = graph.padded_lengths
    mean = length.sum(axis=1) / few
    safe = np.where(length > 0, length, 1.0)
    unit = graph.vectors / safe[..., None]
    far = (unit * graph.errors[graph.neighbours]) ** 2 * graph.mask[..., None]
    own = (unit.sum(axis=1) * graph.errors) ** 2
    error = np.sqrt(far.sum(axis=(1, 2)) + own.sum(axis=1)) / few
    square = ((length - mean[:, None]) ** 2 * graph.mask).sum(axis=1) / np.maximum(degree - 1, 1)
    none, single = degree < 1, degree < 2
    return BondLengths(
        np.where(none, np.nan, mean),
        np.where(none, np.nan, error),
        np.where(single, np.nan, np.sqrt(square)),
    )


def strain(graph: AtomGraph) -> Floats:
    """Return the strain (N, 2, 2) of each atom's bonds against the mean shell of its like.

    Like are atoms with the same number of bonds (three or more). The bonds v of an atom make the
    tensor M = Σ v vᵀ; a deformation F makes F M Fᵀ of it. Strain is F - 1 with the symmetric F
    that leads from the mean M of inner atoms to the atom's own, which is exact for a pure stretch
    and blind to rotations. It is NaN at the border, below three bonds, and for a number of bonds
    that fewer than 5 % of the inner atoms have.
    """
    shell = np.einsum("nki,nkj->nij", graph.vectors, graph.vectors)
    found: Floats = np.full_like(shell, np.nan)
    inner = ~graph.border
    degree = graph.coordination
    for bonds in np.unique(degree[inner]):
        here = inner & (degree == bonds)
        if bonds < 3 or here.sum() < _SHARE * inner.sum():
            continue
        root = _power(shell[here].mean(axis=0)[None], 0.5)
        back = _power(root, -1.0)
        stretch = back @ _power(root @ shell[here] @ root, 0.5) @ back
        found[here] = stretch - np.eye(2)
    return found


def _power(matrices: Floats, exponent: float) -> Floats:
    """Power of symmetric positive matrices (M, 2, 2)."""
    value, vector = np.linalg.eigh(matrices)
    value = np.maximum(value, np.finfo(float).tiny) ** exponent
    return np.asarray(np.einsum("mij,mj,mkj->mik", vector, value, vector))


def too_close(graph: AtomGraph, share: float = 0.6) -> Ints:
    """Return the pairs (P, 2) of atoms nearer than `share` of the typical (median) bond.

    Pairs count whether the rules let them be bonded or not.

    Raises:
        UsageError: `share` is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise UsageError(f"share {share}: expected a number between 0 and 1.")
    lengths = graph.lengths
    if len(lengths) == 0:
        return np.zeros((0, 2), dtype=np.intp)
    pairs = cKDTree(graph.positions).query_pairs(
        share * float(np.median(lengths)), output_type="ndarray"
    )
    return np.asarray(pairs[np.lexsort(pairs.T[::-1])], dtype=np.intp)
