"""Structure statistics: vacancy lines, phases, grains, mixing and pairs, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from atomscope.columns import DEFECTS, conform
from atomscope.errors import UsageError
from atomscope.measure.field import Field, Shape, fields
from atomscope.measure.pairs import pairs_by_name
from atomscope.measure.tables import TABLES, table

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
        phase: Column of atoms that tells phases.
        phases: Its words that are phases; all but those of vacancies by default.
        vacancies: Names of defects, and words of that column, that are vacancies; by default
            those that read so (V_S, V1, vacancy, ...).
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
    defects = conform(pd.DataFrame() if defects is None else defects, DEFECTS)
    numbers = [*_pairs(found, defects, level)]
    tables = {name: table(name, []) for name in TABLES}
    return tables | {"numbers": table("numbers", numbers)}


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


def _pairs(found: list[Field], defects: pd.DataFrame, level: float) -> list[dict[str, object]]:
    if not found or defects.empty:
        return []
    first = found[0]
    rows = pairs_by_name(defects, "name", first.frame_shape, scale=first.scale, level=level)
    return [{"unit": "", **row} for row in rows]
