"""Columns of the tables that `measure` gives, declared once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from atomscope.columns import Column, conform

STAGE = "measure"

NUMBERS: tuple[Column, ...] = (
    Column("frame", "Int64", "", "frame of the movie, empty for all together", STAGE),
    Column("time", "float64", "s", "time of the frame, empty while unknown", STAGE),
    Column("dose", "float64", "e/Å²", "dose until then, empty while unknown", STAGE),
    Column("quantity", "string", "", "what was measured", STAGE),
    Column("group", "string", "", "of what: a phase, a pair of species, ...", STAGE),
    Column("at", "float64", "", "where on a curve: distance, shell, least length", STAGE),
    Column("value", "float64", "", "the number, in its unit", STAGE),
    Column("low", "float64", "", "lower end of its interval, empty where it has none", STAGE),
    Column("high", "float64", "", "upper end", STAGE),
    Column("n", "int64", "", "how many things were counted", STAGE),
    Column("unit", "string", "", "unit of the value, empty for shares and ratios", STAGE),
)

LINES: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", STAGE),
    Column("line", "int64", "", "number of the line in its frame, from 0", STAGE),
    Column("life", "int64", "", "number of the line in the movie, from 0", STAGE),
    Column("x_px", "float64", "px", "its middle, to the right", STAGE),
    Column("y_px", "float64", "px", "its middle, downwards", STAGE),
    Column("n_sites", "int64", "", "vacancies in it", STAGE),
    Column("length", "float64", "", "between the middles of its ends", STAGE),
    Column("direction", "float64", "°", "from x towards -y (up), 0 to 180", STAGE),
    Column("row_angle", "float64", "°", "to the nearest close-packed row, 0 to 90", STAGE),
    Column("spacing", "float64", "", "to the next parallel line beside it", STAGE),
    Column("unit", "string", "", "of lengths: Å, or spacing of the lattice", STAGE),
    Column("sites", "string", "", "numbers of its vacancies, joined by a space", STAGE),
)

LINE_EVENTS: tuple[Column, ...] = (
    Column("frame", "int64", "", "first frame that shows it", STAGE),
    Column("kind", "string", "", "appear, grow, shrink, merge, split, exchange, vanish", STAGE),
    Column("from", "string", "", "lines of the frame before, joined by a space", STAGE),
    Column("to", "string", "", "lines of this frame, joined by a space", STAGE),
    Column("sites_from", "int64", "", "vacancies in these lines before", STAGE),
    Column("sites_to", "int64", "", "vacancies in these lines now", STAGE),
)

BORDERS: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", STAGE),
    Column("border", "int64", "", "number of the border in its frame, from 0", STAGE),
    Column("first", "string", "", "phase or grain on one side", STAGE),
    Column("second", "string", "", "phase or grain on the other side", STAGE),
    Column("x_px", "float64", "px", "its middle, to the right", STAGE),
    Column("y_px", "float64", "px", "its middle, downwards", STAGE),
    Column("length", "float64", "", "along the border", STAGE),
    Column("chord", "float64", "", "extent along its main axis", STAGE),
    Column("direction", "float64", "°", "of that axis, from x towards -y (up), 0 to 180", STAGE),
    Column("roughness", "float64", "", "rms distance from the straight line through it", STAGE),
    Column("unit", "string", "", "of lengths: Å, or spacing of the lattice", STAGE),
)

SEGMENTS: tuple[Column, ...] = (
    *BORDERS,
    Column("misorientation", "float64", "°", "between the grains", STAGE),
    Column("misorientation_err", "float64", "°", "its standard error", STAGE),
    Column("cores", "float64", "", "dislocations in it, empty where they cannot be told", STAGE),
    Column("core_spacing", "float64", "", "length over dislocations", STAGE),
    Column("frank_spacing", "float64", "", "expected one: b / (2 sin(θ/2)) by Frank", STAGE),
)

GRAINS: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", STAGE),
    Column("grain", "int64", "", "number of the grain in its frame, the largest is 0", STAGE),
    Column("x_px", "float64", "px", "its middle, to the right", STAGE),
    Column("y_px", "float64", "px", "its middle, downwards", STAGE),
    Column("n_atoms", "int64", "", "atoms in it", STAGE),
    Column("area", "float64", "", "of its cells", STAGE),
    Column(
        "orientation",
        "float64",
        "°",
        "of its bonds, from x towards -y (up), 0 to the period",
        STAGE,
    ),
    Column("orientation_err", "float64", "°", "its standard error", STAGE),
    Column("period", "float64", "°", "turn after which the lattice is the same", STAGE),
    Column("unit", "string", "", "of the area: Å², or spacing²", STAGE),
)

VACANCIES: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", STAGE),
    Column("vacancy", "int64", "", "number of the vacancy in its frame, from 0", STAGE),
    Column("x_px", "float64", "px", "its site, to the right", STAGE),
    Column("y_px", "float64", "px", "its site, downwards", STAGE),
    Column("name", "string", "", "what it is called", STAGE),
)

TABLES: dict[str, tuple[Column, ...]] = {
    "numbers": NUMBERS,
    "vacancies": VACANCIES,
    "lines": LINES,
    "line_events": LINE_EVENTS,
    "borders": BORDERS,
    "grains": GRAINS,
    "segments": SEGMENTS,
}


def table(name: str, rows: Iterable[Mapping[str, Any]] | pd.DataFrame) -> pd.DataFrame:
    """Return rows as one of the `TABLES`, with all its columns in order."""
    found = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    words = [c.name for c in TABLES[name] if c.dtype == "string" and c.name in found]
    return conform(found.fillna(dict.fromkeys(words, "")), TABLES[name])
