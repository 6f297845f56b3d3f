"""Larger cells that brightness or small shifts betray: order that positions alone do not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from atomscope.lattice.grow import Crystal
from atomscope.lattice.vectors import Floats, Ints

_MULTIPLES = (2, 3, 4)
_EXPLAINED = 0.35  # of a feature's variance within the sublattices; chance gives groups / atoms
_MORE = 0.2  # that a larger cell must explain beyond a smaller one
_LEAST = 6  # atoms of each new sublattice


def find_supercell(crystal: Crystal, features: Floats) -> Ints | None:
    """Return the cell, in units of the vectors, that orders the features, or None.

    Args:
        crystal: Indexed points.
        features: Numbers per point, shape (N, F): deviations, log intensity. NaN takes no part.

    Returns:
        Rows are the new vectors in units of the old, shape (2, 2).
    """
    member = crystal.site >= 0
    site, cell = crystal.site[member], crystal.cell[member]
    values = _standard(features[member], site)
    best, found = _EXPLAINED - _MORE, None
    for multiple in _MULTIPLES:
        if len(site) < _LEAST * multiple * len(crystal.basis):
            break
        scores = {
            tuple(map(tuple, h)): _explained(values, site * multiple + coset(cell, h))
            for h in cells_of(multiple)
        }
        winner = max(scores, key=lambda h: scores[h])
        if scores[winner] > best + _MORE:
            best, found = scores[winner], np.array(winner)
    return found


def cells_of(multiple: int) -> Iterator[Ints]:
    """Yield every cell of `multiple` times the area once (Hermite normal forms)."""
    for a in range(1, multiple + 1):
        if multiple % a == 0:
            for b in range(multiple // a):
                yield np.array([[a, b], [0, multiple // a]])


def coset(cell: Ints, h: Ints) -> Ints:
    """Return which of the det(h) cells inside the larger cell each cell (N, 2) is."""
    first = cell[:, 0] % h[0, 0]
    second = (cell[:, 1] - (cell[:, 0] // h[0, 0]) * h[0, 1]) % h[1, 1]
    return np.asarray(first * h[1, 1] + second)


def enlarge(crystal: Crystal, h: Ints) -> Crystal:
    """Return the crystal described by the larger cell `h`."""
    multiple = int(h[0, 0] * h[1, 1])
    which = coset(crystal.cell, h)
    corners = np.array([[i, j] for i in range(h[0, 0]) for j in range(h[1, 1])])
    inverse = np.linalg.inv(h)
    basis = ((crystal.basis[:, None] + corners) @ inverse).reshape(-1, 2)
    site = np.where(crystal.site >= 0, crystal.site * multiple + which, -1)
    cell = np.rint((crystal.cell - corners[which]) @ inverse).astype(np.int64)
    whole = np.floor(basis + 1e-9).astype(np.int64)
    cell = np.where(site[:, None] >= 0, cell + whole[site], 0)
    return replace(crystal, vectors=h @ crystal.vectors, basis=basis - whole, site=site, cell=cell)


def _standard(values: Floats, site: Ints) -> Floats:
    """Subtract the median of each sublattice, divide by the spread, cut what stands out."""
    result = np.zeros_like(values)
    for s in np.unique(site):
        rows = values[site == s]
        good = np.isfinite(rows).any(axis=0)
        result[site == s] = rows
        result[np.ix_(site == s, good)] -= np.nanmedian(rows[:, good], axis=0)
    scale = np.array([_spread(column) for column in result.T])
    return np.clip(result / np.where(scale > 0, scale, 1.0), -3, 3)


def _spread(column: Floats) -> float:
    known = np.abs(column[np.isfinite(column)])
    return 1.5 * float(np.median(known)) if len(known) else 0.0


def _explained(values: Floats, group: Ints) -> float:
    """Largest share of a feature's variance that lies between the groups."""
    shares = [0.0]
    for column in values.T:
        known = np.isfinite(column)
        total = float(np.sum(column[known] ** 2))
        count = np.bincount(group[known])
        sums = np.bincount(group[known], column[known])
        # Minus what chance gives: one unit of variance for each group.
        chance = np.count_nonzero(count) * total / max(int(known.sum()), 1)
        between = float(np.sum(sums**2 / np.maximum(count, 1))) - chance
        if total > 0:
            shares.append(between / total)
    return max(shares)
