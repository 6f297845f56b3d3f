"""One frame of a table of atoms: places, lattice, bonds and the unit of its lengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from atomscope.columns import conform, is_placed, positions
from atomscope.errors import UsageError
from atomscope.graph import AtomGraph, connect
from atomscope.lattice import Lattice, fit_lattice
from atomscope.measure.cells import Cells, voronoi_cells
from atomscope.rules.findings import Floats
from atomscope.spacing import median_spacing

Shape = tuple[int, int]
_CLOSER = 0.7  # of the distance of neighbours


@dataclass(frozen=True, eq=False)
class Field:
    """Atoms of one frame whose positions are finite.

    Attributes:
        frame: Its number.
        atoms: Rows with the columns of `atomscope.columns.ATOMS`, N of them.
        lattice: Of the largest grain, None where there is none.
        shape: Of the frame (y, x) in px, None where it is not known.
        pixel_size: Å per px, None where it is not known.
    """

    frame: int
    atoms: pd.DataFrame
    lattice: Lattice | None
    shape: Shape | None
    pixel_size: float | None

    @cached_property
    def xy(self) -> Floats:
        """Positions in px, shape (N, 2)."""
        return positions(self.atoms)

    @cached_property
    def spacing(self) -> float:
        """Distance between neighbours in px; NaN for fewer than two atoms."""
        if self.lattice is not None:
            return self.lattice.spacing
        return median_spacing(self.xy) or np.nan

    @property
    def unit(self) -> str:
        """Of lengths: Å where the pixel size is known, else the spacing of the lattice."""
        return "Å" if self.pixel_size is not None else "spacing"

    @property
    def scale(self) -> float:
        """What a px is in that unit."""
        return self.pixel_size if self.pixel_size is not None else 1 / self.spacing

    @cached_property
    def frame_shape(self) -> Shape:
        """Shape of the frame; without a known one, of the least that holds all atoms."""
        if self.shape is not None:
            return self.shape
        far = np.ceil(self.xy.max(axis=0, initial=0.0)).astype(int) + 1
        return int(far[1]), int(far[0])

    @cached_property
    def cells(self) -> Cells:
        """Cells of the atoms."""
        return voronoi_cells(self.xy, self.shape)

    @cached_property
    def graph(self) -> AtomGraph | None:
        """Bonds within the first shell, in px; None where no shell can be told."""
        try:
            return connect(self.atoms[["x_px", "y_px"]], shape=self.shape)
        except UsageError:
            return None


def fields(
    atoms: pd.DataFrame, *, pixel_size: float | None = None, shape: Shape | None = None
) -> list[Field]:
    """Split a table into its frames, in order.

    The lattice of each is fitted to the positions alone: order that only brightness shows (an
    ordered alloy) must not make sublattices of its own here, since mixing is what is measured.

    Args:
        atoms: Of any number of frames; positions that are not finite are left out.
        pixel_size: Å per px; by default what the columns x and x_px say.
        shape: Of the frames (y, x) in px.

    Raises:
        UsageError: The table has no positions, or the pixel size cannot be.
    """
    table, pixel_size = _in_px(atoms, pixel_size)
    table = table[is_placed(table)]
    found = []
    for number, rows in table.groupby("frame", sort=True):
        lattice = _plausible(positions(rows))
        numbered = rows.reset_index(drop=True)
        found.append(Field(int(str(number)), numbered, lattice, shape, pixel_size))
    return found


def _plausible(xy: Floats) -> Lattice | None:
    """Lattice of the positions; None where its sites stand closer than the atoms do.

    Of two grains as large as each other one lattice may be fitted, with sites for both.
    """
    lattice = fit_lattice(xy)
    if lattice is None or lattice.spacing < _CLOSER * (median_spacing(xy) or np.inf):
        return None
    return lattice


def _in_px(atoms: pd.DataFrame, pixel_size: float | None) -> tuple[pd.DataFrame, float | None]:
    """Return the table with positions in px, and the pixel size where anything says it."""
    if pixel_size is not None and not (np.isfinite(pixel_size) and pixel_size > 0):
        raise UsageError(f"pixel_size {pixel_size!r}: expected Å per px, above 0.")
    has_px, has_a = ({*names} <= {*atoms.columns} for names in (("x_px", "y_px"), ("x", "y")))
    if not (has_px or has_a):
        raise UsageError("atoms: no positions; expected columns x_px, y_px (px) or x, y (Å).")
    table = conform(atoms)
    if not has_px:
        return table.assign(x_px=table["x"], y_px=table["y"]), 1.0
    if pixel_size is None and has_a:
        both = table[["x", "x_px"]].to_numpy(float)
        both = both[np.isfinite(both).all(axis=1) & (np.abs(both[:, 1]) > 1)]
        pixel_size = float(np.median(both[:, 0] / both[:, 1])) if len(both) else None
    return table, pixel_size
