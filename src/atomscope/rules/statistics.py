"""Defects counted over many images: concentrations with intervals, and how they lie together."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.intervals import poisson_interval

Floats = NDArray[np.float64]

_FINE, _COARSE = 64, 8  # points along an edge of a frame, and of a quarter of it


def concentrations(defects: pd.DataFrame, area: float, level: float = 0.95) -> pd.DataFrame:
    """Count defects by name, per area.

    Args:
        defects: Table of `atomscope.columns.DEFECTS`, of one or more images.
        area: Of all frames together, in nm² (or in px² where the pixel size is unknown).
        level: Of the intervals.

    Returns:
        Columns name, count, density, density_low, density_high; the commonest first.

    Raises:
        UsageError: The area is not above 0.
    """
    if not area > 0:
        raise UsageError(f"area {area}: expected nm² (or px²) above 0.")
    counts = defects["name"].value_counts()
    rows = []
    for name, count in counts.items():
        low, high = poisson_interval(float(count), level)
        rows.append((name, int(count), count / area, low / area, high / area))
    columns = ["name", "count", "density", "density_low", "density_high"]
    return pd.DataFrame(rows, columns=columns)


def pair_counts(
    points: pd.DataFrame, shape: tuple[int, int], edges: Floats
) -> tuple[Floats, Floats, Floats]:
    """Pairs of points within frames by distance: how many, and how many are expected.

    Pairs expected at each distance are those of uniform places in the same frames (the overlap of
    a rectangle with itself, shifted; averaged over directions), so borders do not bias their
    ratio g(r), the pair correlation (Ripley, J. R. Stat. Soc. B 39, 172 (1977)).

    Args:
        points: Table with frame, x_px and y_px; places that are not finite are left out.
        shape: Of the frames (y, x) in px.
        edges: Of the bins, px, ascending, shape (B + 1,).

    Returns:
        Found and expected pairs in each bin, (B,) and (B,), and the variance (B,) of those found
        where points are uniform: of pairs on their own, and of pairs that share a point, which has
        fewer neighbours where it is near the border (a U-statistic: Hoeffding, Ann. Math. Stat.
        19, 293 (1948)).
    """
    edges = np.asarray(edges, float)
    found = np.zeros(len(edges) - 1)
    pairs = forks = 0.0
    for _, rows in points.groupby("frame"):
        xy = positions(rows)
        xy = xy[np.isfinite(xy).all(axis=1)]
        if len(xy) < 2:
            continue
        tree = cKDTree(xy)
        # an edge belongs to the bin above it
        within = tree.count_neighbors(tree, np.nextafter(edges, -np.inf))
        found += np.diff(np.where(edges > 0, within - len(xy), 0)) / 2
        pairs += len(xy) * (len(xy) - 1) / 2
        forks += len(xy) * (len(xy) - 1) * (len(xy) - 2)
    share, uneven = _usual(tuple(edges.tolist()), shape)
    variance = pairs * share * (1 - share) + forks * uneven
    return found, pairs * share, variance


@lru_cache(maxsize=64)
def _usual(edges: tuple[float, ...], shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Share of uniform pairs in each bin (B,), and `_unevenness`; the same for many tables."""
    bins = np.array(edges)
    return np.diff(_uniform(bins, shape)), _unevenness(bins, shape)


def _uniform(r: Floats, shape: tuple[int, int]) -> Floats:
    """Share of pairs of uniform points in a rectangle that are nearer than r; by quadrature."""
    a, b = float(shape[1]), float(shape[0])
    fine = np.linspace(0, max(float(r.max()), 1e-9), 2001)
    angle = (np.arange(90) + 0.5) * np.pi / 180
    dx, dy = fine[:, None] * np.cos(angle), fine[:, None] * np.sin(angle)
    left = np.clip(1 - dx / a, 0, None) * np.clip(1 - dy / b, 0, None)
    density = 2 * np.pi * fine / (a * b) * left.mean(axis=1)
    share = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(fine))])
    return np.asarray(np.interp(r, fine, share))


def _unevenness(edges: Floats, shape: tuple[int, int]) -> Floats:
    """Variance (B,) over the frame of the share of it that lies at the distances of each bin."""
    fine = (np.arange(_FINE) + 0.5) / _FINE
    grid = np.stack(np.meshgrid(fine * shape[1], fine * shape[0]), axis=-1).reshape(-1, 2)
    middle = (np.arange(_COARSE) + 0.5) / _COARSE / 2  # a quarter stands for all
    places = np.stack(np.meshgrid(middle * shape[1], middle * shape[0]), axis=-1).reshape(-1, 2)
    away = [np.hypot(*(grid - place).T) for place in places]
    share = np.array([np.histogram(distance, bins=edges)[0] for distance in away]) / len(grid)
    return np.asarray(share.var(axis=0))
