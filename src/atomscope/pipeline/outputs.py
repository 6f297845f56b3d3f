"""The files of a run by name: those of an earlier one are gone before the first is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from atomscope.errors import UsageError
from atomscope.pipeline.statistics import file_of

if TYPE_CHECKING:
    import pandas as pd

ATOMS = "atoms.csv"
CARD = "run.json"  # goes first: without it nothing else looks like a finished run
_FILES = (
    CARD, "report.html", "overlay.png", "structures.extxyz", "atoms.parquet", "defects.csv",
    "steps.csv", "tracks.csv", "events.csv", "transitions.csv", "events.json", "discoveries.csv",
)  # fmt: skip
_CELLS, _CELL = "discoveries", re.compile(r"\d{2,}\.extxyz")


def begin(folder: Path, atoms: pd.DataFrame) -> Path:
    """Write the table of atoms into a folder in which nothing of an earlier run is left.

    Returns:
        The path of the table.

    Raises:
        UsageError: The folder cannot be written.
    """
    from atomscope.io.write import write_table

    clear(folder)
    return write_table(atoms, folder / ATOMS)


def clear(folder: Path) -> None:
    """Remove what an earlier run left, but for the table of atoms, which is replaced in one step.

    Nothing goes whose name is not that of an output, nor out of a folder that no run has used.

    Raises:
        UsageError: A file cannot be removed.
    """
    from atomscope.measure.tables import TABLES

    if not any((folder / name).is_file() for name in (ATOMS, CARD)):
        return
    names = (*_FILES, *map(file_of, TABLES))
    cells = folder / _CELLS
    found = [cells / p.name for p in cells.glob("*.extxyz") if _CELL.fullmatch(p.name)]
    try:
        for path in (*(folder / name for name in names), *found):
            if path.is_file():
                path.unlink()
        if found and not any(cells.iterdir()):
            cells.rmdir()
    except OSError as error:
        raise UsageError(
            f"{folder}: files of an earlier run cannot be removed ({error.strerror or error}); "
            "give a folder that can be written with -o."
        ) from error
