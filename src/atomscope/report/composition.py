"""What the atoms are, as a table: numbers, shares, probabilities, brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atomscope.report.words import percent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Part:
    """One species: its name, atoms, share of all, mean probability, median intensity, as texts."""

    name: str
    atoms: str
    share: str
    mean_p: str
    intensity: str


def composition(atoms: pd.DataFrame) -> list[Part]:
    """Return a row for each species, most atoms first and the unknown last; none without species.

    Args:
        atoms: Atoms table with `species`, `species_p` and `intensity`.
    """
    species = atoms["species"].fillna("").astype(str).to_numpy(dtype=object)
    names, counts = np.unique(species[species != ""], return_counts=True)
    order = np.lexsort((names, -counts))
    rows = [_part(name, atoms[species == name], len(atoms)) for name in names[order]]
    unknown = atoms[species == ""]
    if rows and len(unknown):
        rows.append(_part("", unknown, len(atoms)))
    return rows


def _part(name: str, rows: pd.DataFrame, total: int) -> Part:
    intensity = rows["intensity"].to_numpy(float)
    p = rows["species_p"].to_numpy(float)
    known, sure = np.isfinite(intensity).any(), np.isfinite(p).any() and name != ""
    return Part(
        name or "unknown",
        f"{len(rows):,}",
        percent(len(rows) / total),
        f"{np.nanmean(p):.3f}" if sure else "",
        f"{np.nanmedian(intensity):.4g}" if known else "",
    )
