"""One-to-one assignment at the least total cost, component by component.

In a dense lattice nearly every atom has one place within reach and the other way round; only what
competes is solved, each knot by itself (Crouse, IEEE Trans. Aerosp. Electron. Syst. 52, 1679
(2016), as in scipy). Time grows linearly with the number of atoms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def one_to_one(rows: Ints, columns: Ints, cost: Floats, alone: float) -> Ints:
    """Choose pairs of which no two share a row or a column.

    Args:
        rows: Row of each possible pair, shape (K,).
        columns: Column of each, shape (K,).
        cost: Of each, shape (K,).
        alone: What it costs to leave a row and a column that could be a pair alone; dearer pairs
            are never chosen.

    Returns:
        Indices of the chosen pairs, sorted.
    """
    cheap = np.flatnonzero(cost < alone)
    r = np.unique(rows[cheap], return_inverse=True)[1]
    c = np.unique(columns[cheap], return_inverse=True)[1]
    single = (np.bincount(r)[r] == 1) & (np.bincount(c)[c] == 1) if len(cheap) else cheap == 0
    chosen = [cheap[single]]
    knots = np.flatnonzero(~single)
    if len(knots):
        n = int(r.max()) + 1
        size = n + int(c.max()) + 1
        links = coo_matrix((np.ones(len(knots)), (r[knots], n + c[knots])), (size, size))
        label = connected_components(links, directed=False)[1][r[knots]]
        order = np.argsort(label, kind="stable")
        starts = np.flatnonzero(np.diff(label[order])) + 1
        for part in np.split(knots[order], starts):
            chosen.append(cheap[part[_solve(r[part], c[part], cost[cheap[part]], alone)]])
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _solve(rows: Ints, columns: Ints, cost: Floats, alone: float) -> Ints:
    """Pairs of one component: each row may stay alone, at half the price of a pair of them."""
    r_names, r = np.unique(rows, return_inverse=True)
    c_names, c = np.unique(columns, return_inverse=True)
    n, m = len(r_names), len(c_names)
    # gains below 0 are worth taking, 0 is to stay alone
    gain = np.zeros((n, n + m))
    index = np.full((n, m), -1)
    gain[:, :m] = 1.0
    gain[r, c], index[r, c] = cost - alone, np.arange(len(rows))
    i, j = linear_sum_assignment(gain)
    taken = (j < m) & (gain[i, j] < 0)
    return np.asarray(index[i[taken], j[taken]], dtype=np.int64)
