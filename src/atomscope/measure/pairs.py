"""How defects or atoms lie together: densities and pair correlations with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from atomscope.intervals import poisson_interval
from atomscope.rules.findings import Floats
from atomscope.rules.statistics import pair_counts

_BINS = 12
_FEWEST = 4  # points in a frame, of which pairs are counted


def pair_correlation(
    points: pd.DataFrame,
    shape: tuple[int, int],
    edges: Floats | None = None,
    *,
    scale: float = 1.0,
    views: int = 1,
    level: float = 0.95,
) -> Iterator[dict[str, Any]]:
    """Pair correlation g(r) of points in frames, corrected for the border.

    g = pairs found / pairs expected of uniform places in the same frames (`pair_counts`). The
    interval is that of a Poisson count (Garwood): of pairs where these are independent, of fewer
    lumps of pairs where pairs that share a point make their variance larger (many points).
    `at` is the middle of the bin.

    Args:
        points: Table with frame, x_px and y_px.
        shape: Of the frames (y, x) in px.
        edges: Of the bins in px, ascending; 12 up to half of the shorter edge by default.
        scale: Unit per px, for `at`.
        views: Frames that show the same place: counts are those of one of them.
        level: Of the intervals.

    Yields:
        Rows of `tables.NUMBERS` without frame, group and unit; those of empty bins have none.
    """
    if edges is None:
        edges = np.linspace(0, min(shape) / 2, _BINS + 1)
    found, expected, variance = pair_counts(points, shape, edges)
    lump = np.maximum(variance / np.where(expected > 0, expected, 1.0), 1.0)
    middle = (edges[1:] + edges[:-1]) / 2
    counts = zip(middle, found / views, expected / views, lump, strict=True)
    for at, count, usual, size in counts:
        if usual > 0:
            low, high = (size * end for end in poisson_interval(float(count) / size, level))
            yield {
                "quantity": "pair correlation",
                "at": float(at) * scale,
                "value": float(count / usual),
                "low": low / usual,
                "high": high / usual,
                "n": round(float(count)),
            }


def pairs_by_name(
    points: pd.DataFrame, names: str, shape: tuple[int, int], *, scale: float, level: float = 0.95
) -> list[dict[str, Any]]:
    """Pair correlations of all points together and of each name that is common enough.

    The frames of a movie show one place again and again: their counts are averaged.

    Args:
        points: Table with frame, x_px, y_px and a column of names.
        names: That column.
        shape: Of the frames (y, x) in px.
        scale: Unit per px.
        level: Of the intervals.

    Returns:
        Rows of `tables.NUMBERS` without frame and unit; the group is the name, '' for all.
    """
    views = max(points["frame"].nunique(), 1)
    kinds = [("", points), *((str(n), rows) for n, rows in points.groupby(names))]
    enough = [(n, rows) for n, rows in kinds if len(rows) >= _FEWEST * views]
    if len(enough) == 2:  # all of one name
        enough = enough[1:] if len(enough[0][1]) == len(enough[1][1]) else enough
    return [
        {"group": name, **row}
        for name, rows in enough
        for row in pair_correlation(rows, shape, scale=scale, views=views, level=level)
    ]
