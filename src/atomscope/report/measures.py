"""Structure statistics on the page: numbers with intervals, the longest lines and boundaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

_MOST = 12  # rows of each table
_CURVES = {"share in lines": (3.0, "of {n} and more"), "Warren-Cowley": (1.0, "shell {n}")}


@dataclass(frozen=True)
class Number:
    """One number, as texts: what, of what, value with unit, interval."""

    quantity: str
    group: str
    value: str
    interval: str


@dataclass(frozen=True)
class Statistics:
    """What the page shows: numbers, lines and boundaries (tables of texts), and a note."""

    numbers: tuple[Number, ...]
    lines: tuple[tuple[str, ...], ...]
    segments: tuple[tuple[str, ...], ...]
    note: str


def statistics(tables: Mapping[str, pd.DataFrame] | None) -> Statistics | None:
    """Put the tables of `atomscope.measure` into words; None where there is nothing.

    Of a movie the last frame is shown. Curves are shown at one point: the share of vacancies in
    lines of three and more, the Warren-Cowley parameter of the first shell.

    Args:
        tables: By name, as `measure` returns them.
    """
    if not tables or tables["numbers"].empty:
        return None
    frames = tables["numbers"]["frame"].dropna()
    last = int(frames.max()) if len(frames) else 0
    numbers, lines, segments = (
        tables[name][tables[name]["frame"] == last] for name in ("numbers", "lines", "segments")
    )
    shown = [_number(row) for row in numbers.to_dict("records") if _is_shown(row)]
    note = "Intervals are 95 % ones unless asked otherwise; curves are in measures.csv."
    if frames.nunique() > 1:
        note = f"Of the last frame ({last}) of {frames.nunique():,}. {note}"
    return Statistics(tuple(shown), _lines(lines), _segments(segments), note) if shown else None


def _is_shown(row: Mapping[object, object]) -> bool:
    at, quantity = float(str(row["at"])), str(row["quantity"])
    return at == _CURVES[quantity][0] if quantity in _CURVES else bool(np.isnan(at))


def _number(row: Mapping[object, object]) -> Number:
    quantity, group, unit = (str(row[name]) for name in ("quantity", "group", "unit"))
    low, value, high = (float(str(row[name])) for name in ("low", "value", "high"))
    if quantity in _CURVES:
        at, words = _CURVES[quantity]
        group = ", ".join(part for part in (group, words.format(n=round(at))) if part)
    interval = "" if np.isnan(low) else f"{low:.3g} to {high:.3g}"
    return Number(quantity, group, f"{value:.3g} {unit}".strip(), interval)


def _lines(rows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Vacancies, length, direction, distance to the next of the longest lines."""
    longest = rows.sort_values("n_sites", ascending=False, kind="stable").head(_MOST)
    return tuple(
        (
            str(row["n_sites"]),
            f"{row['length']:.3g} {row['unit']}",
            f"{row['direction']:.1f}°",
            _known(row["spacing"], f" {row['unit']}"),
        )
        for row in longest.to_dict("records")
    )


def _segments(rows: pd.DataFrame) -> tuple[tuple[str, ...], ...]:
    """Grains, misorientation, length, dislocation spacing of the longest boundaries."""
    longest = rows.sort_values("length", ascending=False, kind="stable").head(_MOST)
    return tuple(
        (
            f"{row['first']}|{row['second']}",
            _known(row["misorientation"], "°"),
            f"{row['length']:.3g} {row['unit']}",
            _known(row["core_spacing"], f" {row['unit']}"),
        )
        for row in longest.to_dict("records")
    )


def _known(value: float, unit: str) -> str:
    return f"{value:.3g}{unit}" if np.isfinite(value) else ""
