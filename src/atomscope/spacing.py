"""How far apart atoms lie, and whether as alike as in a lattice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.types import FloatArray

SAMPLE = 5000  # atoms whose median does for a picture
_ORDERED = 0.35  # quartile range over median; above 0.6 where atoms lie at random


def nearest(xy: FloatArray, every: int = 1) -> NDArray[np.float64]:
    """Return how far the nearest of the atoms at xy (N, 2) is from each, or from every n-th.

    Infinite for one atom alone.
    """
    distances: NDArray[np.float64] = cKDTree(xy).query(xy[::every], k=2)[0]
    return distances[:, 1]


def median_spacing(xy: FloatArray, most: int | None = None) -> float | None:
    """Return the median distance to the nearest neighbour, in units of xy (N, 2).

    Atoms at one and the same place say nothing; None where there are no two places.

    Args:
        xy: Positions of one frame, finite.
        most: About as many atoms are asked, evenly drawn; by default all.
    """
    if len(xy) < 2:
        return None
    apart = nearest(xy, max(1, len(xy) // (most or len(xy))))
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else None


def is_ordered(spacings: FloatArray) -> bool:
    """Whether distances to the nearest neighbour are as alike as in a lattice."""
    low, middle, high = np.quantile(spacings, [0.25, 0.5, 0.75])
    return bool(high - low < _ORDERED * middle)
