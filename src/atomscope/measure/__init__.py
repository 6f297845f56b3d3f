"""Structure statistics: vacancy lines, phases, grains, mixing and pairs, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from atomscope.columns import DEFECTS, conform, positions
from atomscope.errors import UsageError
from atomscope.measure.borders import border_density
from atomscope.measure.field import Field, Shape, fields
from atomscope.measure.grains import Grains, find_grains, grain_rows
from atomscope.measure.growth import grown, motions
from atomscope.measure.lines import (
    LatticeRow,
    Row,
    assembly,
    find_lines,
    line_numbers,
    line_rows,
    rows_by_grain,
)
from atomscope.measure.mixing import mixing_rows
from atomscope.measure.pairs import pairs_by_name
from atomscope.measure.phases import (
    Phases,
    phase_borders,
    phase_fractions,
    phases_of,
)
from atomscope.measure.segments import boundary_numbers, segment_rows
from atomscope.measure.tables import TABLES, table
from atomscope.measure.vacancies import vacancies as vacancies_of

__all__ = ["TABLES", "measure"]


def measure(
    atoms: pd.DataFrame,
    defects: pd.DataFrame | None = None,
    *,
    pixel_size: float | None = None,
    tracks: pd.DataFrame | None = None,
    shape: Shape | None = None,
    times: Sequence[float] | None = None,
    dose: float | None = None,
    phase: str = "structure",
    phases: Sequence[str] | None = None,
    vacancies: Sequence[str] | None = None,
    least: int = 3,
    level: float = 0.95,
) -> dict[str, pd.DataFrame]:
    """Measure the structures of one image or movie.

    Args:
        atoms: Table of `atomscope.columns.ATOMS` of any number of frames.
        defects: Table of `atomscope.columns.DEFECTS`.
        pixel_size: Å per px; by default what the table says. Without one, lengths are in
            spacings of the lattice.
        tracks: Table of `atomscope.columns.TRACKS`: tells the drift between frames, which is
            found from the atoms otherwise.
        shape: Of the frames (y, x) in px; where the atoms end by default.
        times: Time of each frame in s.
        dose: Of one frame in e/Å².
        phase: Column of atoms that tells phases: `structure`, `label`, or one of your own.
        phases: Its words that are phases; by default all that do not read like a defect
            (vacancy, boundary, dopant, ...).
        vacancies: Names of defects, and words of that column and of `structure`, that are
            vacancies; by default those that read so (V_S, V1, vacancy line, ...).
        least: Vacancies that make a line.
        level: Of the intervals.

    Returns:
        Tables by name, always the same (`tables.TABLES`); without rows where there is nothing:
        numbers (frame, quantity, group, at, value, low, high, n, unit), vacancies, lines,
        line_events, borders, grains and segments.

    Raises:
        UsageError: No positions, an unknown column, or an option that cannot be.
    """
    _check(atoms, phase, least, level, dose)
    found = fields(atoms, pixel_size=pixel_size, shape=shape)
    if times is not None and found and len(times) <= found[-1].frame:
        raise UsageError(
            f"times: {len(times)} of them; expected one for each frame, 0 to {found[-1].frame}."
        )
    if defects is not None:
        defects = conform(defects, DEFECTS)
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    columns = dict.fromkeys(("structure", phase))
    places = [vacancies_of(f, _here(defects, f), columns=columns, names=vacancies) for f in found]
    rows["vacancies"] = [
        {str(name): value for name, value in row.items()}
        for sites in places
        for row in sites.to_dict("records")
    ]
    grains = [find_grains(field) for field in found]
    _add_lines(rows, found, grains, places, tracks, least, level)
    for field, of_frame in zip(found, grains, strict=True):
        _add_phases(rows, field, phases_of(field, phase, phases, vacancies), level)
        _add_grains(rows, field, of_frame, level)
        rows["numbers"] += [{"frame": field.frame, **row} for row in mixing_rows(field, level)]
    for row in rows["numbers"]:
        frame = int(row["frame"])
        row["time"] = times[frame] if times is not None else float("nan")
        row["dose"] = dose * (frame + 1) if dose is not None else float("nan")
    rows["numbers"] += _pairs(found, defects, rows["vacancies"], level)
    return {name: table(name, rows[name]) for name in TABLES}


def _here(defects: pd.DataFrame | None, field: Field) -> pd.DataFrame | None:
    return None if defects is None else defects[defects["frame"] == field.frame]


def _add_lines(
    rows: dict[str, list[Row]],
    found: list[Field],
    grains: list[Grains | None],
    places: list[pd.DataFrame],
    tracks: pd.DataFrame | None,
    least: int,
    level: float,
) -> None:
    """Add lines, what they did, and numbers on them."""
    frames: list[list[LatticeRow]] = []
    for field, of_frame, sites in zip(found, grains, places, strict=True):
        count = len(sites)
        in_rows = rows_by_grain(field, of_frame, positions(sites))
        frames.append(find_lines(count, in_rows, least))
        if field.lattice is not None:
            shares = [{**row, "unit": ""} for row in assembly(count, in_rows, level)]
            numbers = [*line_numbers(field, frames[-1], count, level), *shares]
            rows["numbers"] += [{"frame": field.frame, **row} for row in numbers]
    lives, rows["line_events"] = grown(frames, motions(found, tracks), found)
    for field, lines, life in zip(found, frames, lives, strict=True):
        numbered = zip(line_rows(field, lines), life, strict=True)
        rows["lines"] += [{**row, "life": number} for row, number in numbered]


def _add_phases(
    rows: dict[str, list[Row]], field: Field, found: Phases | None, level: float
) -> None:
    if found is None:
        return
    rows["borders"] += phase_borders(found)
    numbers = [
        *phase_fractions(found, level),
        *border_density(field, found.borders, found.names, "border length", level),
    ]
    rows["numbers"] += [{"frame": field.frame, **row} for row in numbers]


def _add_grains(
    rows: dict[str, list[Row]], field: Field, found: Grains | None, level: float
) -> None:
    if found is None:
        return
    rows["grains"] += grain_rows(found)
    rows["segments"] += segment_rows(found)
    numbers = boundary_numbers(found, level)
    rows["numbers"] += [{"frame": field.frame, **row} for row in numbers]


def _check(atoms: pd.DataFrame, phase: str, least: int, level: float, dose: float | None) -> None:
    if not isinstance(atoms, pd.DataFrame):
        raise UsageError(f"atoms: {type(atoms).__name__}; expected a table (pandas.DataFrame).")
    if phase not in conform(atoms.iloc[:0]):
        raise UsageError(f"atoms have no column {phase!r}; expected one that tells phases.")
    if least < 2:
        raise UsageError(f"least {least}: expected 2 or more vacancies in a line.")
    if not 0 < level < 1:
        raise UsageError(f"level {level}: expected a value between 0 and 1, such as 0.95.")
    if dose is not None and not dose > 0:
        raise UsageError(f"dose {dose}: expected e/Å² per frame above 0.")


def _pairs(
    found: list[Field], defects: pd.DataFrame | None, vacancies: list[Row], level: float
) -> list[Row]:
    """Pair correlations of defects by name, and of the sites of vacancies."""
    rows: list[Row] = []
    for points, prefix in ((defects, ""), (pd.DataFrame(vacancies), "sites of vacancies")):
        if found and points is not None and len(points):
            shape, scale = found[0].frame_shape, found[0].scale
            named = points.assign(name=prefix) if prefix else points
            rows += pairs_by_name(named, "name", shape, scale=scale, level=level)
    return [{**row, "unit": ""} for row in rows]
