"""Lines of vacancies: which stand in a row of the lattice, how long, which way, how far apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.intervals import binomial_interval, poisson_interval, ratio_interval
from atomscope.lattice import Lattice
from atomscope.measure.field import Field
from atomscope.measure.grains import Grains
from atomscope.rules.findings import Floats, Ints, joined

_NEAR = 1.15  # of the shortest lattice vector: steps along rows that are nearly as close-packed
_ALONG, _BESIDE = 1.2, 0.4  # of a step: how far the next vacancy of a line may be, and how askew
_NO_EXTENT = 1e-9  # of a step: sites in one place
_CLOSEST = 1.03  # of the shortest step: rows that are as close-packed


Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class LatticeRow:
    """Two and more vacancies that follow each other along a row of the lattice.

    Attributes:
        sites: Numbers of its vacancies, from one end to the other, shape (n,).
        places: Of these vacancies, px, shape (n, 2).
        step: Lattice vector along the row, px, shape (2,).
        steps: Lattice vectors along all close-packed rows there, px, shape (S, 2).
    """

    sites: Ints
    places: Floats
    step: Floats
    steps: Floats

    @property
    def along(self) -> Floats:
        """Direction (2,), a unit vector: least squares through the sites.

        Sites that are half a step apart (two sublattices, side by side in a zigzag row) have a line
        each, with a common direction.
        """
        unit = self.step / np.hypot(*self.step)
        half = np.rint(2 * (self.places - self.places[0]) @ self.step / (self.step @ self.step))
        centred = self.places.copy()
        for parity in (0, 1):
            here = half % 2 == parity
            if here.any():
                centred[here] -= centred[here].mean(axis=0)
        if np.abs(centred).max() < _NO_EXTENT * np.hypot(*self.step):
            return np.asarray(unit)
        along = np.linalg.svd(centred, full_matrices=False)[2][0]
        return np.asarray(along if along @ unit > 0 else -along)

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


def find_rows(places: Floats, steps: Floats, numbers: Ints | None = None) -> list[LatticeRow]:
    """Find vacancies in rows of the lattice.

    Two vacancies follow each other where one lattice vector, or less, leads along the row from one
    to the other and less than 0.4 of it beside: sites of the other sublattice in a zigzag
    row belong to it, neighbouring rows do not.

    Args:
        places: Of the vacancies, px, shape (V, 2).
        steps: Lattice vectors along the rows, shape (S, 2), see `row_steps`.
        numbers: Of the vacancies, shape (V,); 0 to V - 1 by default.
    """
    if len(places) < 2:
        return []
    numbers = np.arange(len(places)) if numbers is None else numbers
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
        for members in joined(len(places), pairs):
            if len(members) > 1:
                run = np.array(members)[np.argsort(places[members] @ step, kind="stable")]
                found.append(LatticeRow(numbers[run], places[run], step, steps))
    return found


def rows_by_grain(field: Field, grains: Grains | None, places: Floats) -> list[LatticeRow]:
    """Find vacancies in rows, those of each grain along its own rows.

    Args:
        field: Of the frame; without a lattice there are no rows.
        grains: Of the frame, None where it is one.
        places: Of the vacancies, px, shape (V, 2).
    """
    lattice = field.lattice
    if lattice is None or not len(places):
        return []
    steps = row_steps(lattice)
    if grains is None or grains.count < 2:
        return find_rows(places, steps)
    grain = grains.grain[cKDTree(field.xy).query(places)[1]]
    home, found = grains.mean(lattice.member), list[LatticeRow]()
    for number in np.unique(grain[grain >= 0]):
        here = np.flatnonzero(grain == number)
        turn = np.angle(grains.mean(grains.grain == number) / home) / grains.orientation.fold
        c, s = np.cos(turn), np.sin(turn)  # orientations count from x towards -y
        found += find_rows(places[here], steps @ np.array([[c, -s], [s, c]]), here)
    return found


def find_lines(count: int, rows: list[LatticeRow], least: int = 3) -> list[LatticeRow]:
    """Return the rows that are lines of vacancies, the longest first.

    A line has at least `least` vacancies, more than half of which stand in no longer row: the
    short rows across a broad band are none.

    Args:
        count: Number of vacancies.
        rows: Of the frame.
        least: Vacancies that make a line.
    """
    longest = longest_rows(count, rows)
    lines = [
        row
        for row in rows
        if len(row.sites) >= least and np.mean(longest[row.sites] <= len(row.sites)) > 0.5
    ]
    return sorted(lines, key=lambda line: (-len(line.sites), tuple(line.places.mean(axis=0))))


def longest_rows(count: int, rows: list[LatticeRow]) -> NDArray[np.int64]:
    """Length in vacancies of the longest row that each is in, shape (count,); 1 for a single."""
    longest = np.ones(count, dtype=np.int64)
    for row in rows:
        longest[row.sites] = np.maximum(longest[row.sites], len(row.sites))
    return longest


def beside(lines: list[LatticeRow]) -> Floats:
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


def line_rows(field: Field, lines: list[LatticeRow]) -> list[Row]:
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
            "row_angle": _row_angle(line),
            "spacing": spacing[number],
            "unit": field.unit,
            "sites": " ".join(map(str, line.sites)),
        }
        for number, line in enumerate(lines)
    ]


def _row_angle(line: LatticeRow) -> float:
    """Angle in degrees to the nearest close-packed row."""
    length = np.linalg.norm(line.steps, axis=1)
    rows = (line.steps / length[:, None])[length < _CLOSEST * length.min()]
    sine = line.along[0] * rows[:, 1] - line.along[1] * rows[:, 0]
    return float(np.degrees(np.arcsin(np.clip(np.abs(sine), 0, 1))).min())


def line_numbers(field: Field, lines: list[LatticeRow], vacancies: int, level: float) -> list[Row]:
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


def assembly(count: int, rows: list[LatticeRow], level: float = 0.95) -> Iterator[Row]:
    """Share of the vacancies that stand in rows of n and more, for n from 2 on.

    Vacancies of one cluster (joined by rows) know of each other; the interval is that of a
    ratio over clusters (`ratio_interval`), or the exact binomial one of the clusters where all or
    no vacancies count (times n where none does, since a cluster that did would have so many).

    Args:
        count: Number of vacancies of a frame.
        rows: Of the frame.
        level: Of the intervals.

    Yields:
        Rows of `tables.NUMBERS`: quantity 'share in lines', `at` = n.
    """
    if not count:
        return
    longest = longest_rows(count, rows)
    pairs = [pair for row in rows for pair in pairwise(row.sites.tolist())]
    clusters = joined(count, pairs)
    size = np.array([len(cluster) for cluster in clusters], dtype=float)
    for n in range(2, max(int(longest.max()), 2) + 2):
        inside = np.array([float((longest[cluster] >= n).sum()) for cluster in clusters])
        share = float(inside.sum() / size.sum())
        low, high = ratio_interval(inside, size, level)
        if share in (0.0, 1.0) or len(clusters) < 2:
            low, high = binomial_interval(round(share * len(clusters)), len(clusters), level)
            high *= n if share == 0 else 1  # one cluster more would be a row of n
        yield {
            "quantity": "share in lines",
            "at": n,
            "value": share,
            "low": low,
            "high": min(high, 1.0),
            "n": count,
        }
