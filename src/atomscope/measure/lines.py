"""Lines of vacancies: which stand in a row of the lattice, how long, which way, how far apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.intervals import binomial_interval, poisson_interval, ratio_interval
from atomscope.lattice import Lattice
from atomscope.measure.field import Field
from atomscope.rules.findings import Floats, Ints, joined

_NEAR = 1.15  # of the shortest lattice vector: steps along rows that are nearly as close-packed
_ALONG, _BESIDE = 1.2, 0.4  # of a step: how far the next vacancy of a line may be, and how askew
_CLOSEST = 1.03  # of the shortest step: rows that are as close-packed


Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """Vacancies that follow each other along a row of the lattice.

    Attributes:
        sites: Numbers of its vacancies, from one end to the other, shape (n,).
        step: Lattice vector along the row, px, shape (2,).
        places: Of these vacancies, px, shape (n, 2).
        sublattice: Of these vacancies, shape (n,).
    """

    sites: Ints
    step: Floats
    places: Floats
    sublattice: Ints

    @property
    def along(self) -> Floats:
        """Direction (2,), a unit vector: of least squares through the sites of each sublattice.

        A zigzag row has two sublattices side by side, which must not turn it.
        """
        centred = self.places.copy()
        for site in set(self.sublattice.tolist()):
            here = self.sublattice == site
            centred[here] -= centred[here].mean(axis=0)
        if np.abs(centred).max() < 1e-9 * np.hypot(*self.step):
            return np.asarray(self.step / np.hypot(*self.step))
        return np.asarray(np.linalg.svd(centred, full_matrices=False)[2][0])

    @property
    def length(self) -> float:
        """From the middle of one end to that of the other, px."""
        return float(np.ptp(self.places @ self.along))


def row_steps(lattice: Lattice) -> Floats:
    """Lattice vectors (S, 2) along the close-packed rows, px, one of each pair of opposites."""
    a, b = lattice.vectors
    steps = np.array([a, b, a + b, a - b])
    length = np.linalg.norm(steps, axis=1)
    return np.asarray(steps[length < _NEAR * length.min()])


def find_lines(places: Floats, lattice: Lattice, sublattice: Ints, least: int = 3) -> list[Line]:
    """Find lines of vacancies.

    Two vacancies follow each other along a row where one lattice vector, or less, leads from one
    to the other and less than 0.4 of it beside: sites of the other sublattice in a zigzag
    row belong to it, neighbouring rows do not. A row of vacancies is a line where more than
    half of them stand in no longer row: the short rows across a broad band are none.

    Args:
        places: Of the vacancies, px, shape (V, 2).
        lattice: Of the frame.
        sublattice: Of each vacancy, shape (V,).
        least: Vacancies that make a line.

    Returns:
        The longest first.
    """
    if len(places) < least:
        return []
    runs = _runs(places, lattice)
    longest = longest_rows(len(places), runs)
    found = []
    for step, run in runs:
        if len(run) >= least and np.mean(longest[run] <= len(run)) > 0.5:
            order = run[np.argsort(places[run] @ step, kind="stable")]
            found.append(Line(order, step, places[order], sublattice[order]))
    return sorted(found, key=lambda line: (-len(line.sites), tuple(line.places.mean(axis=0))))


def _runs(places: Floats, lattice: Lattice) -> list[tuple[Floats, Ints]]:
    """Step and vacancies of all rows of two and more."""
    steps = row_steps(lattice)
    reach = np.hypot(_ALONG, _BESIDE) * float(np.linalg.norm(steps, axis=1).max())
    i, j = cKDTree(places).query_pairs(reach, output_type="ndarray").reshape(-1, 2).T
    away = places[j] - places[i]
    found = []
    for step in steps:
        size = float(step @ step)
        along = np.abs(away @ step) / size
        beside = np.abs(away @ np.array([-step[1], step[0]])) / size
        linked = (along < _ALONG) & (beside < _BESIDE)
        pairs = zip(i[linked].tolist(), j[linked].tolist(), strict=True)
        found += [(step, np.array(run)) for run in joined(len(places), pairs) if len(run) > 1]
    return found


def longest_rows(count: int, runs: list[tuple[Floats, Ints]]) -> NDArray[np.int64]:
    """Length in vacancies of the longest row that each is in, shape (count,); 1 for a single."""
    longest = np.ones(count, dtype=np.int64)
    for _, run in runs:
        longest[run] = np.maximum(longest[run], len(run))
    return longest


def beside(lines: list[Line]) -> Floats:
    """Distance (L,) from each line to the nearest parallel one that it overlaps, px; else NaN.

    Parallel are lines along the same row of the lattice. The distance is that of the middles,
    across the direction of the line.
    """
    found = np.full(len(lines), np.nan)
    for n, line in enumerate(lines):
        along = line.along
        across = np.array([-along[1], along[0]])
        here, middle = line.places @ along, (line.places @ across).mean()
        for other in lines:
            there = other.places @ along
            overlap = min(here.max(), there.max()) - max(here.min(), there.min())
            if other is not line and np.allclose(other.step, line.step) and overlap > 0:
                away = abs(float((other.places @ across).mean() - middle))
                if away > _BESIDE * np.hypot(*line.step) / 2:
                    found[n] = np.nanmin([found[n], away])
    return found


def line_rows(field: Field, lines: list[Line]) -> list[Row]:
    """Return the rows of `tables.LINES` of one frame, all but `life`."""
    spacing = beside(lines) * field.scale
    return [
        {
            "frame": field.frame,
            "line": number,
            "x_px": line.places[:, 0].mean(),
            "y_px": line.places[:, 1].mean(),
            "n_sites": len(line.sites),
            "length": line.length * field.scale,
            "direction": float(np.degrees(np.arctan2(-line.along[1], line.along[0])) % 180),
            "row_angle": _row_angle(line, field.lattice),
            "spacing": spacing[number],
            "unit": field.unit,
            "sites": " ".join(map(str, line.sites)),
        }
        for number, line in enumerate(lines)
    ]


def _row_angle(line: Line, lattice: Lattice | None) -> float:
    """Angle in degrees to the nearest close-packed row."""
    if lattice is None:
        return np.nan
    steps = row_steps(lattice)
    length = np.linalg.norm(steps, axis=1)
    rows = (steps / length[:, None])[length < _CLOSEST * length.min()]
    sine = line.along[0] * rows[:, 1] - line.along[1] * rows[:, 0]
    return float(np.degrees(np.arcsin(np.clip(np.abs(sine), 0, 1))).min())


def line_numbers(field: Field, lines: list[Line], vacancies: int, level: float) -> list[Row]:
    """Rows of `tables.NUMBERS` on the lines of one frame.

    Vacancies and lines per area have exact Poisson intervals, mean length and mean spacing those
    of Student's t over the lines.
    """
    area = float(np.prod(field.frame_shape)) * field.scale**2
    rows: list[Row] = []
    for quantity, count in (("vacancies", vacancies), ("lines", len(lines))):
        low, high = poisson_interval(count, level)
        rows.append(
            {
                "quantity": f"{quantity} per area",
                "value": count / area,
                "low": low / area,
                "high": high / area,
                "n": count,
                "unit": f"1/{field.unit}²",
            }
        )
    apart = beside(lines)
    values = {
        "line length": np.array([line.length for line in lines]),
        "line spacing": apart[np.isfinite(apart)],
    }
    for quantity, lengths in values.items():
        if len(lengths):
            scaled = lengths * field.scale
            low, high = ratio_interval(scaled, np.ones(len(scaled)), level)
            row = {"value": scaled.mean(), "low": low, "high": high, "n": len(scaled)}
            rows.append({"quantity": quantity, "unit": field.unit, **row})
    return rows


def assembly(places: Floats, lattice: Lattice, level: float = 0.95) -> Iterator[Row]:
    """Share of the vacancies that stand in rows of n and more, for n from 2 on.

    Vacancies of one cluster (joined by rows) know of each other; the interval is that of a
    ratio over clusters (`ratio_interval`), or the exact binomial one of the clusters where all or
    no vacancies count.

    Args:
        places: Of the vacancies of a frame, px, shape (V, 2).
        lattice: Of the frame.
        level: Of the intervals.

    Yields:
        Rows of `tables.NUMBERS`: quantity 'share in lines', `at` = n.
    """
    if not len(places):
        return
    runs = _runs(places, lattice) if len(places) > 1 else []
    longest = longest_rows(len(places), runs)
    pairs = [(int(a), int(b)) for _, run in runs for a, b in itertools.pairwise(run)]
    clusters = joined(len(places), pairs)
    size = np.array([len(cluster) for cluster in clusters], dtype=float)
    for n in range(2, max(int(longest.max()), 2) + 2):
        inside = np.array([float((longest[cluster] >= n).sum()) for cluster in clusters])
        share = float(inside.sum() / size.sum())
        low, high = ratio_interval(inside, size, level)
        if share in (0.0, 1.0) or len(clusters) < 2:
            count = round(share * len(clusters))
            low, high = binomial_interval(count, len(clusters), level)
        yield {
            "quantity": "share in lines",
            "at": n,
            "value": share,
            "low": low,
            "high": min(high, 1.0),
            "n": len(places),
        }
