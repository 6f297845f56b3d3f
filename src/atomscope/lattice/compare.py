"""Whether a lattice that was seen is one that is known, and at which scale."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from atomscope.lattice.fit import Lattice
from atomscope.lattice.vectors import Floats

_STRETCH = 1.1  # of one direction against the other: drift and scan errors, strain
_SAME_AREA = 0.02  # cells that hold as many columns
_PLACE = 0.2  # of the shortest distance: how far a column may be from its place


@dataclass(frozen=True)
class Match:
    """How a lattice that was seen lies on a known one.

    Attributes:
        scale: Å per px.
        sites: Sites (of the known cell) on which each sublattice that was seen comes to lie;
            several where the one seen repeats in less than a known cell.
    """

    scale: float
    sites: tuple[tuple[int, ...], ...]


def matches(lattice: Lattice, cell: Floats, sites: Floats) -> Iterator[Match]:
    """Lay a lattice that was seen on a known one, in all ways that fit.

    Both are compared as patterns of columns, so either may be described by a cell several times
    as large: by edges, angle, the number of columns per area, and their places.

    Args:
        lattice: Seen, px.
        cell: Known vectors as rows, Å, shape (2, 2).
        sites: Fractional positions of the columns in it, shape (S, 2).

    Yields:
        Matches that put other sites under what was seen, the least distorted first.
    """
    per_column = abs(np.linalg.det(cell)) / len(sites)
    area = abs(np.linalg.det(lattice.vectors)) / len(lattice.basis)
    scale = float(np.sqrt(per_column / area))
    images = _images(lattice.vectors * scale, cell, sites)
    ways = (places for pair in images for places in _laid(lattice.basis, pair, cell, sites))
    for places in dict.fromkeys(ways):
        yield Match(scale, places)


def _images(vectors: Floats, cell: Floats, sites: Floats) -> Floats:
    """Pairs of steps between known columns (M, 2, 2) like the vectors, the most alike first."""
    length = np.linalg.norm(vectors, axis=1)
    steps = _steps(cell, sites, _STRETCH * length.max())
    size = np.linalg.norm(steps, axis=1)
    first, second = (steps[np.abs(np.log(size / one)) < np.log(_STRETCH)] for one in length)
    i, j = (k.ravel() for k in np.indices((len(first), len(second))))
    pairs = np.stack([first[i], second[j]], axis=1)
    change = np.linalg.inv(vectors) @ pairs
    pairs = pairs[np.abs(np.abs(np.linalg.det(change)) - 1) < _SAME_AREA]
    stretch = np.linalg.svd(np.linalg.inv(vectors) @ pairs, compute_uv=False)
    ratio = stretch[:, 0] / stretch[:, 1]
    order = np.argsort(ratio, kind="stable")
    return np.asarray(pairs[order][ratio[order] < _STRETCH])


def _steps(cell: Floats, sites: Floats, reach: float) -> Floats:
    """Vectors (N, 2) in Å from column to column, up to a length."""
    most = int(np.ceil(reach * np.linalg.norm(np.linalg.inv(cell), axis=0).max())) + 1
    index = np.arange(-most, most + 1)
    whole = np.stack(np.meshgrid(index, index, indexing="ij"), axis=-1).reshape(-1, 1, 1, 2)
    steps = ((whole + sites[:, None] - sites) @ cell).reshape(-1, 2)
    steps = np.unique(np.round(steps, 3), axis=0)
    size = np.linalg.norm(steps, axis=1)
    return np.asarray(steps[(size > 0) & (size <= reach)])


def _laid(
    basis: Floats, vectors: Floats, cell: Floats, sites: Floats
) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Known sites under each sublattice of a pattern (vectors in Å), wherever none lies off."""
    index = np.arange(-2, 3)
    whole = np.stack(np.meshgrid(index, index, indexing="ij"), axis=-1).reshape(1, -1, 2)
    seen = (basis[:, None] + whole) @ vectors
    middle = seen[:, len(index) ** 2 // 2]
    apart = cKDTree(seen.reshape(-1, 2)).query(middle, k=2)[0][:, 1].min()
    inverse = np.linalg.inv(cell)
    for origin in sites:
        away = ((seen @ inverse + origin - basis[0] @ vectors @ inverse)[..., None, :]) - sites
        away = np.linalg.norm((away - np.round(away)) @ cell, axis=-1)
        if away.min(axis=-1).max() < _PLACE * apart:
            yield tuple(tuple(np.unique(row).tolist()) for row in away.argmin(axis=-1))
