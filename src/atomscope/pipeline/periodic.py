"""Atoms and vacancies of all frames where a recipe wants the lattice's periodicity enforced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import DEFECTS, conform, positions
from atomscope.pipeline.frames import in_angstrom
from atomscope.types import Image

if TYPE_CHECKING:
    from atomscope.species import Lattices

_SAME = 0.45  # spacings: nearer, two vacancies are one


def on_sites(atoms: pd.DataFrame, lattices: Lattices, shape: tuple[int, int]) -> pd.DataFrame:
    """Return the atoms that lie on a site of their frame's lattice, numbered anew."""
    from atomscope.lattice.enforce import enforce

    tables = []
    for frame, rows in atoms.groupby("frame", sort=False):
        lattice = lattices.get(int(str(frame)))
        left = rows if lattice is None else enforce(rows, lattice, shape)[0]
        tables.append(left.assign(atom=range(len(left))))
    return pd.concat(tables, ignore_index=True) if tables else atoms


def with_vacancies(
    defects: pd.DataFrame, image: Image, atoms: pd.DataFrame, lattices: Lattices
) -> pd.DataFrame:
    """Return the empty sites of each frame's lattice, in the words of a model that saw them too.

    Args:
        defects: Empty sites that a model found, of all frames. Where a frame has a lattice, those
            that lie on none of its empty sites are left out.
        image: The input.
        atoms: Atoms on their sites, in the order of the lattices'.
        lattices: Of each frame.
    """
    from atomscope.lattice.enforce import enforce

    tables = []
    for frame in image.numbers:
        seen, lattice = defects[defects["frame"] == frame], lattices.get(frame)
        if lattice is not None:
            rows = atoms[atoms["frame"] == frame]
            empty = enforce(rows, lattice, image.frame_shape)[1]
            seen = _merged(seen, in_angstrom(empty, image.pixel_size), _SAME * lattice.spacing)
        tables.append(seen.assign(defect=range(len(seen))))
    return conform(pd.concat(tables, ignore_index=True), DEFECTS)


def _merged(seen: pd.DataFrame, empty: pd.DataFrame, reach: float) -> pd.DataFrame:
    """Empty sites; what a model said of one stands in its place."""
    if seen.empty or empty.empty:
        return empty
    tree = cKDTree(positions(seen))
    distance, index = tree.query(positions(empty))
    met = distance < reach
    both: pd.DataFrame = pd.concat([seen.iloc[np.unique(index[met])], empty[~met]])
    return both.reset_index(drop=True)
