"""Whether the pixel size is one that the lattice of the host can have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from atomscope.lattice.vectors import Floats
from atomscope.pipeline.material import Levels, holding
from atomscope.rules import load

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.lattice import Lattice
    from atomscope.species import Lattices

_OFF = 0.15  # share by which lattices of one kind and calibrations differ
_COMMON = 0.2  # share of the atoms that a species of the host has at least


def size_doubt(
    atoms: pd.DataFrame, lattices: Lattices, levels: Levels, host: str, pixel_size: float | None
) -> tuple[str, ...]:
    """Say so where no known material of the host's columns has the lattice at this pixel size.

    Args:
        atoms: With species.
        lattices: Of the frames; the first one speaks.
        levels: Brightness of their sublattices, see `levels_of`.
        host: Rule book of the host, its name or file; or empty.
        pixel_size: Å per px.
    """
    frame, lattice = next(((k, one) for k, one in lattices.items() if one), (0, None))
    if lattice is None or pixel_size is None:
        return ()
    asked = dict(_asked(lattice, levels.get(frame), _columns(atoms, host)))
    if not asked or any(abs(pixel_size / size - 1) <= _OFF for size in asked.values()):
        return ()
    name, size = min(asked.items(), key=lambda one: abs(np.log(one[1] / pixel_size)))
    return (
        f"Columns lie {lattice.spacing * pixel_size:.3g} Å apart at {pixel_size:.4g} Å per px; in "
        f"{name}, whose columns and lattice these are, it is {lattice.spacing * size:.3g} Å: "
        f"{size:.4g} Å per px is likely; give it with --pixel-size.",
    )


def _columns(atoms: pd.DataFrame, host: str) -> tuple[frozenset[str], ...]:
    """Sets of columns that the host may consist of: what is common, or else what its book knows."""
    share = atoms["species"].value_counts(normalize=True)
    common = frozenset(str(one) for one, part in share.items() if one and part > _COMMON)
    return (common,) if common else tuple(map(frozenset, _of_book(host)))


def _of_book(host: str) -> Iterator[tuple[str, ...]]:
    """Combinations of the columns that a rule book takes for usual, one for each role."""
    columns = load(host).columns if host else {}
    if columns:
        yield from product(*columns.values())


def _asked(
    lattice: Lattice, level: Floats | None, columns: tuple[frozenset[str], ...]
) -> Iterator[tuple[str, float]]:
    """Names of the materials with these columns and this lattice, and the pixel sizes."""
    for axis in holding([_elements(one) for one in columns]):
        for fit in axis.fits(lattice, level):
            if frozenset(fit.species) in columns:
                yield axis.name, fit.size


def _elements(columns: frozenset[str]) -> frozenset[str]:
    """Symbols of the elements in some columns."""
    return frozenset(re.findall("[A-Z][a-z]?", " ".join(columns)))
