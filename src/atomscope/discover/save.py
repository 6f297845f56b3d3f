"""Discoveries as files: a table, and a cell of each mean structure for a calculator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atomscope.columns import is_placed
from atomscope.discover.find import Discoveries
from atomscope.discover.mean import Average
from atomscope.errors import UsageError
from atomscope.io.write import write_table, write_whole
from atomscope.lattice import Lattice
from atomscope.rules.cell import defect_cell
from atomscope.species import fit_lattices

if TYPE_CHECKING:
    from ase import Atoms

LEAST = 6  # primitive cells along an edge
AROUND = 4  # of host beside the configuration


def write_discoveries(
    found: Discoveries,
    atoms: pd.DataFrame,
    out: str | Path,
    *,
    pixel_size: float | None = None,
) -> tuple[Path, ...]:
    """Write discoveries.csv and, where lattice, pixel size and species are known, the cells.

    Cells are discoveries/NN.extxyz, periodic, y upwards; positions are those of the mean structure.

    Args:
        found: What `discover` gave.
        atoms: The table that it was given.
        out: Folder.
        pixel_size: Å per px.

    Returns:
        The files that were written.

    Raises:
        UsageError: A file cannot be written.
    """
    out = Path(out)
    written = [write_table(found.table, out / "discoveries.csv")]
    frames = {one.frame for one in found.averages} if pixel_size is not None else set()
    atoms = atoms[is_placed(atoms)]
    fill = {"frame": 0, "intensity": np.nan}
    atoms = atoms.assign(**{name: value for name, value in fill.items() if name not in atoms})
    lattices = fit_lattices(atoms[atoms["frame"].isin(frames)]) if frames else {}
    for number, one in enumerate(found.averages):
        lattice = lattices.get(one.frame)
        if lattice is None or pixel_size is None:
            continue
        try:
            cell = cell_of(one, atoms, lattice, pixel_size)
        except UsageError:
            continue  # a species is unknown: the table is written all the same
        path = out / "discoveries" / f"{number:02d}.extxyz"
        written.append(write_whole(path, lambda draft, cell=cell: _write(cell, draft)))  # type: ignore[misc]
    return tuple(written)


def _write(cell: Atoms, path: Path) -> None:
    cell.write(path, format="extxyz")


def cell_of(one: Average, atoms: pd.DataFrame, lattice: Lattice, pixel_size: float) -> Atoms:
    """Cut a mean structure out of its frame as a periodic cell; see `rules.cell.defect_cell`.

    Args:
        one: Mean structure.
        atoms: The table that `discover` was given.
        lattice: Of its frame.
        pixel_size: Å per px.

    Raises:
        UsageError: A species is not known.
    """
    here = one.in_place(atoms)
    radius = np.linalg.norm(one.points[one.core] - one.centre, axis=1).max(initial=0.0)
    edge = np.linalg.norm(lattice.vectors, axis=1).min()
    repeat = max(LEAST, int(np.ceil(2 * radius / edge)) + AROUND)
    centre = (float(one.centre[0]), float(one.centre[1]))
    return defect_cell(here, centre, lattice, pixel_size, repeat=repeat)
