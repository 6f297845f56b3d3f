"""How good are found atoms: one-to-one matching with known positions, scores, reliability.

Positions are (N, 2) arrays of x, y; the unit is whatever the caller uses throughout (px here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomscope.errors import UsageError

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Match:
    """Pairs of a true and a found position, each used at most once.

    Attributes:
        truth: Index of the true position of each pair, ascending, shape (K,).
        found: Index of the found position of each pair, shape (K,).
        offsets: Found minus true position of each pair, shape (K, 2).
        n_truth: Number of true positions, N.
        n_found: Number of found positions, M.
    """

    truth: IntArray
    found: IntArray
    offsets: FloatArray
    n_truth: int
    n_found: int

    @property
    def distances(self) -> FloatArray:
        """Distance within each pair, shape (K,)."""
        return np.hypot(self.offsets[:, 0], self.offsets[:, 1])

    @property
    def is_true(self) -> NDArray[np.bool_]:
        """Which found positions belong to a true one, shape (M,)."""
        return np.isin(np.arange(self.n_found), self.found)


@dataclass(frozen=True)
class Scores:
    """Counts of a detection and the errors of the matched positions.

    Attributes:
        tp: True positions that were found.
        fp: Found positions without a true one.
        fn: True positions that were missed.
        rmse_px: Root mean square distance of the pairs, NaN without pairs.
        offset_x_px: Mean of found minus true x, NaN without pairs.
        offset_y_px: Mean of found minus true y, NaN without pairs.
    """

    tp: int
    fp: int
    fn: int
    rmse_px: float
    offset_x_px: float
    offset_y_px: float

    @property
    def precision(self) -> float:
        """Share of the found positions that are true; 1 where nothing was found."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the true positions that were found; 1 where there was nothing to find."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 for nothing to find and nothing found."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True)
class Reliability:
    """Stated probability against observed frequency, in bins of equal width.

    Attributes:
        edges: Borders of the bins, shape (bins + 1,).
        stated: Mean probability in each bin, NaN where it is empty, shape (bins,).
        observed: Share that was true in each bin, NaN where it is empty, shape (bins,).
        count: Number of values in each bin, shape (bins,).
        ece: Expected calibration error, the mean of |stated - observed| weighted by count.
    """

    edges: FloatArray
    stated: FloatArray
    observed: FloatArray
    count: IntArray
    ece: float


def match(truth_xy: ArrayLike, found_xy: ArrayLike, radius: float) -> Match:
    """Pair true and found positions one to one within a radius.

    Of all ways to pair them, the most pairs are taken, and among those the smallest sum of squared
    distances (the assignment problem, solved exactly on the sparse graph of candidates with
    the algorithm of Jonker and Volgenant, Computing 38, 325 (1987)).

    Args:
        truth_xy: True positions, shape (N, 2).
        found_xy: Found positions, shape (M, 2).
        radius: Largest distance of a pair, inclusive, in the unit of the positions.

    Raises:
        UsageError: Positions that are not (N, 2) and finite, or a radius that is not above 0.
    """
    truth, found = _positions(truth_xy, "truth_xy"), _positions(found_xy, "found_xy")
    if not (np.isfinite(radius) and radius > 0):
        raise UsageError(f"radius {radius!r}; expected a length above 0.")
    rows, columns, distances = _candidates(truth, found, radius)
    pair_rows, pair_columns = _assign(rows, columns, (distances / radius) ** 2)
    offsets = found[pair_columns] - truth[pair_rows]
    return Match(pair_rows, pair_columns, offsets, len(truth), len(found))


def score(
    truth_xy: ArrayLike,
    found_xy: ArrayLike,
    radius: float,
    *,
    frame_shape: tuple[int, int] | None = None,
    rim: float = 0.0,
) -> Scores:
    """Match and count.

    Args:
        truth_xy: True positions, shape (N, 2), in px.
        found_xy: Found positions, shape (M, 2), in px.
        radius: Largest distance of a pair in px.
        frame_shape: Height and width of the frame in px; needed for a rim.
        rim: Positions nearer than this to the border are still matched, so that nothing changes for
            the others, but not counted: a pair counts where its true position lies.

    Raises:
        UsageError: See `match`; or a rim without a frame shape.
    """
    truth, found = _positions(truth_xy, "truth_xy"), _positions(found_xy, "found_xy")
    pairs = match(truth, found, radius)
    truth_counts, found_counts = _inside(truth, frame_shape, rim), _inside(found, frame_shape, rim)
    counted = truth_counts[pairs.truth]
    tp = int(counted.sum())
    return _scores(
        tp=tp,
        fp=int((found_counts & ~pairs.is_true).sum()),
        fn=int(truth_counts.sum()) - tp,
        offsets=pairs.offsets[counted],
    )


def pool(scores: Sequence[Scores]) -> Scores:
    """Return the scores of several frames as one: counts add, errors weigh by pairs."""
    tp = sum(s.tp for s in scores)
    matched = [s for s in scores if s.tp]

    def mean(values: list[float]) -> float:
        weights = [s.tp for s in matched]
        return float(np.average(values, weights=weights)) if matched else np.nan

    return Scores(
        tp=tp,
        fp=sum(s.fp for s in scores),
        fn=sum(s.fn for s in scores),
        rmse_px=float(np.sqrt(mean([s.rmse_px**2 for s in matched]))),
        offset_x_px=mean([s.offset_x_px for s in matched]),
        offset_y_px=mean([s.offset_y_px for s in matched]),
    )


def reliability(p: ArrayLike, is_true: ArrayLike, bins: int = 10) -> Reliability:
    """Compare stated probabilities with what was observed.

    The expected calibration error is that of Guo et al., ICML 2017 (arXiv:1706.04599).

    Args:
        p: Stated probabilities between 0 and 1, shape (M,).
        is_true: Whether each was true, shape (M,).
        bins: Number of bins of equal width between 0 and 1.

    Raises:
        UsageError: Lengths that differ, probabilities outside 0 to 1, or fewer than one bin.
    """
    stated = np.asarray(p, dtype=float).reshape(-1)
    true = np.asarray(is_true, dtype=bool).reshape(-1)
    if stated.shape != true.shape:
        raise UsageError(f"{stated.size} probabilities for {true.size} outcomes; expected as many.")
    if not np.all((stated >= 0) & (stated <= 1)):
        raise UsageError("probabilities outside 0 to 1, or not a number; expected 0 to 1.")
    if bins < 1:
        raise UsageError(f"{bins} bins; expected at least 1.")
    which = np.minimum((stated * bins).astype(int), bins - 1)
    count = np.bincount(which, minlength=bins)
    filled = np.where(count > 0, count, np.nan)
    mean_stated = np.bincount(which, weights=stated, minlength=bins) / filled
    mean_true = np.bincount(which, weights=true, minlength=bins) / filled
    gaps = np.nan_to_num(np.abs(mean_stated - mean_true))
    ece = float(gaps @ count / count.sum()) if stated.size else np.nan
    return Reliability(np.linspace(0, 1, bins + 1), mean_stated, mean_true, count, ece)


def _positions(values: ArrayLike, name: str) -> FloatArray:
    positions = np.asarray(values, dtype=float)
    if positions.size == 0:
        return np.empty((0, 2))
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise UsageError(f"{name} has shape {positions.shape}; expected (N, 2): x, y.")
    if not np.isfinite(positions).all():
        raise UsageError(f"{name} has values that are not finite; expected numbers.")
    return positions


def _candidates(
    truth: FloatArray, found: FloatArray, radius: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """All pairs within the radius: indices of both and distances."""
    from scipy.spatial import KDTree

    if not len(truth) or not len(found):
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    near = KDTree(truth).sparse_distance_matrix(KDTree(found), radius, output_type="ndarray")
    return near["i"], near["j"], near["v"]


def _assign(rows: IntArray, columns: IntArray, costs: FloatArray) -> tuple[IntArray, IntArray]:
    """Most pairs, then least cost (0 to 1 each), of a sparse bipartite graph."""
    lonely = (np.bincount(rows) == 1)[rows] & (np.bincount(columns) == 1)[columns]
    contested_rows, contested_columns = _assign_contested(
        rows[~lonely], columns[~lonely], costs[~lonely]
    )
    pair_rows = np.concatenate([rows[lonely], contested_rows])
    pair_columns = np.concatenate([columns[lonely], contested_columns])
    order = np.argsort(pair_rows)
    return pair_rows[order], pair_columns[order]


def _assign_contested(
    rows: IntArray, columns: IntArray, costs: FloatArray
) -> tuple[IntArray, IntArray]:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    if not len(rows):
        return rows, columns
    row_ids, row = np.unique(rows, return_inverse=True)
    column_ids, column = np.unique(columns, return_inverse=True)
    n, m = len(row_ids), len(column_ids)
    # Every row may stay alone at a price above that of all rearrangements together, which makes a
    # full matching exist and puts the number of pairs before the distances.
    alone = np.arange(n)
    graph = csr_array(
        (
            np.concatenate([1.0 + costs, np.full(n, 2.0 + min(n, m))]),
            (np.concatenate([row, alone]), np.concatenate([column, m + alone])),
        ),
        shape=(n, m + n),
    )
    chosen_row, chosen_column = min_weight_full_bipartite_matching(graph)
    paired = chosen_column < m
    return row_ids[chosen_row[paired]], column_ids[chosen_column[paired]]


def _inside(
    positions: FloatArray, frame_shape: tuple[int, int] | None, rim: float
) -> NDArray[np.bool_]:
    if rim <= 0:
        return np.ones(len(positions), dtype=bool)
    if frame_shape is None:
        raise UsageError(f"rim {rim} without frame_shape; give the height and width of the frame.")
    height, width = frame_shape
    from_border = np.minimum(positions, np.array([width - 1, height - 1]) - positions)
    return np.asarray(from_border.min(axis=1) >= rim) if len(positions) else np.zeros(0, dtype=bool)


def _scores(tp: int, fp: int, fn: int, offsets: FloatArray) -> Scores:
    if not tp:
        return Scores(tp, fp, fn, np.nan, np.nan, np.nan)
    mean_x, mean_y = offsets.mean(axis=0)
    rmse = np.sqrt((offsets**2).sum(axis=1).mean())
    return Scores(tp, fp, fn, float(rmse), float(mean_x), float(mean_y))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
