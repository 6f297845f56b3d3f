"""What recurs in the frames and has no name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atomscope.errors import UsageError
from atomscope.recipe import Recipe
from atomscope.species import Lattices
from atomscope.types import Image

if TYPE_CHECKING:
    from atomscope.discover import Discoveries

MOST = 20_000  # atoms: of a longer movie as many frames, spread evenly, as hold so many


@dataclass(frozen=True)
class Discovered:
    """What has no name, None where it was not looked for; facts for the run card; warnings."""

    discoveries: Discoveries | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def searchable(atoms: pd.DataFrame, lattices: Lattices, plan: Recipe) -> list[int]:
    """Return the frames to look at: those with a lattice, where there is not too much to see."""
    frames = [frame for frame, lattice in sorted(lattices.items()) if lattice is not None]
    counts = atoms["frame"].value_counts().reindex(frames).fillna(0)
    if plan.discover is None or not frames or int(counts.min()) > MOST:
        return []
    most = max(1, int(MOST / max(float(counts.mean()), 1.0)))
    picked = np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int)
    return [frames[i] for i in picked]


def discovered(
    image: Image, atoms: pd.DataFrame, defects: pd.DataFrame, chosen: list[int]
) -> Discovered:
    """Look for configurations that recur in some frames."""
    if not chosen:
        return Discovered()
    from atomscope.discover import discover
    from atomscope.discover.find import SEED

    here, named = (table[table["frame"].isin(chosen)] for table in (atoms, defects))
    try:
        found = discover(here, named, pixel_size=image.pixel_size)
    except UsageError as error:
        return Discovered(warnings=(f"{image.name}: nothing was discovered: {error}",))
    facts = {"frames": len(chosen), "configurations": len(found), **found.facts}
    return Discovered(found, {"discoveries": facts, "seeds": {"discover": SEED}})


def write_found(
    found: Discoveries | None, atoms: pd.DataFrame, image: Image, out: Path
) -> tuple[Path, ...]:
    """Write the table and the cells into a folder, where anything was discovered."""
    if not found:
        return ()
    from atomscope.discover import write_discoveries

    return write_discoveries(found, atoms, out, pixel_size=image.pixel_size)
