"""Merging atoms to regions of one orientation."""

from __future__ import annotations

from cmath import phase

import numpy as np
from numpy.typing import NDArray

from atomscope.measure.orientation import Orientation
from atomscope.rules.findings import Floats, Ints

_SURE = 3.0  # standard errors by which the means of two regions may differ more


def merged(
    unit: NDArray[np.complex128],
    pairs: tuple[Ints, Ints],
    turn: Floats,
    orientation: Orientation,
    least_angle: float,
    scatter: float,
) -> Ints:
    """Merge neighbours to regions, those with the smallest turn between them first.

    Args:
        unit: Order parameter of each atom with modulus 1, 0 where it has none, shape (N,).
        pairs: Atoms of the bonds, (B,) and (B,).
        turn: Between both atoms of each bond, degrees, shape (B,).
        orientation: That compares order parameters.
        least_angle: Means of regions that differ by less are one, degrees.
        scatter: Standard deviation of the orientation of one atom, degrees.

    Returns:
        A number for the region of each atom, shape (N,).
    """
    parent = list(range(len(unit)))
    total = unit.tolist()
    size = [1] * len(unit)
    factor = np.deg2rad(orientation.fold)
    order = np.argsort(turn, kind="stable")
    for i, j in zip(pairs[0][order].tolist(), pairs[1][order].tolist(), strict=True):
        a, b = _root(parent, i), _root(parent, j)
        if a == b:
            continue
        allowed = least_angle + _SURE * scatter * (1 / size[a] + 1 / size[b]) ** 0.5
        product = total[a] * total[b].conjugate()
        if abs(phase(product)) < factor * allowed:
            if size[a] < size[b]:
                a, b = b, a
            parent[b] = a
            total[a] += total[b]
            size[a] += size[b]
    return np.array([_root(parent, i) for i in range(len(parent))], dtype=np.intp)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
