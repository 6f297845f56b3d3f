"""From a table of atoms to a ranked list of configurations that have no name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from atomscope.classify.embedding import embed, embedder
from atomscope.columns import DISCOVERIES, empty, is_placed, positions
from atomscope.discover.clusters import clustered, whitening
from atomscope.discover.known import known_of
from atomscope.discover.mean import Average
from atomscope.discover.noise import covariance, scatter_in
from atomscope.discover.novelty import Floats, Novelty, novelty
from atomscope.discover.objects import Objects, inside, objects_of
from atomscope.discover.rank import TWICE, Found, ranked

SEED = 20
NOISE = 0.99  # share of host atoms that noise keeps nearer to the host


@dataclass(frozen=True, eq=False)
class Discoveries:
    """Configurations that recur and have no name.

    Attributes:
        table: Of `columns.DISCOVERIES`, one row per configuration, the surest and commonest first.
        averages: Mean structure of the first of them, in the same order.
        facts: Numbers for a run card: atoms looked at, threshold, scatter, objects, singles.
    """

    table: pd.DataFrame
    averages: tuple[Average, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of configurations."""
        return len(self.table)


def discover(
    atoms: pd.DataFrame,
    defects: pd.DataFrame | None = None,
    *,
    pixel_size: float | None = None,
    seed: int = SEED,
) -> Discoveries:
    """Find what recurs in a table of atoms and is neither host nor named.

    Atoms far from the common environments of the table are joined to objects; objects that differ
    by no more than noise are occurrences of one configuration. Those that a named defect or a
    taught structure accounts for are known; the others are ranked by how often they occur times
    how surely they are of their own kind.

    Args:
        atoms: Of one or more frames; x_px and y_px are needed, intensity and species are used.
        defects: What rules have named in them, `columns.DEFECTS`.
        pixel_size: Å per px.
        seed: Of the noise that tells what noise does, and of samples.

    Returns:
        No rows where nothing recurs, or the table has too few atoms to have a host.

    Raises:
        UsageError: There are no positions.
    """
    table = _in_order(atoms)
    if not len(table):
        return Discoveries(empty(DISCOVERIES))
    rng = np.random.default_rng(seed)
    seen = embed(table)
    xy, frame = positions(table), table["frame"].to_numpy(np.int64)
    whole = seen.whole & inside(xy, frame, seen.spacing)
    new = novelty(seen.values, whole, embedder().scatter, rng)
    facts: dict[str, Any] = {"atoms": int(whole.sum()), "environments": len(new.centres)}
    if not len(new.centres):
        return Discoveries(empty(DISCOVERIES), facts=facts)
    spacing = float(np.median(seen.spacing))
    objects = objects_of(table, new.score, spacing)
    facts |= {
        "threshold": objects.threshold,
        "objects": len(objects.rows),
        "extended": objects.extended,
    }
    if not objects.rows:
        return Discoveries(empty(DISCOVERIES), facts=facts)
    scatter = _scatter(table, new, objects, spacing)
    white = whitening(covariance(table, seen.values, objects.rows, scatter, spacing, rng))
    found = _compared(table, seen.values @ white, new, white, objects, defects, spacing, rng)
    rows, averages = ranked(found, pixel_size)
    facts |= {
        "scatter_px": scatter[0],
        "scatter_brightness": scatter[1],
        "known": int(found.known.known.sum()),
        "singles": int((np.bincount(found.label)[found.label] < TWICE).sum()),
    }
    return Discoveries(rows, averages, facts)


def _compared(
    table: pd.DataFrame,
    values: Floats,
    new: Novelty,
    white: Floats,
    objects: Objects,
    defects: pd.DataFrame | None,
    spacing: float,
    rng: np.random.Generator,
) -> Found:
    """Cluster the objects, and tell which are known."""
    from_host = ((values - (new.centres @ white)[new.nearest]) ** 2).sum(axis=1)
    from_host = (from_host - np.quantile(from_host[new.score < objects.tail.start], NOISE)).clip(0)
    label, apart, against = clustered(values, from_host, objects.rows, rng)
    known = known_of(table, objects.rows, from_host, defects, spacing)
    return Found(
        table, new.score, objects, label, apart, against, known, from_host, values, spacing
    )


def _in_order(atoms: pd.DataFrame) -> pd.DataFrame:
    """Rows with positions, by place, so that the result does not depend on their order."""
    table = atoms.reset_index(drop=True)
    if "frame" not in table:
        table = table.assign(frame=0)
    if "atom" not in table:
        table = table.assign(atom=table.groupby("frame").cumcount())
    kept = table[is_placed(table)].sort_values(["frame", "atom"], kind="stable")
    return kept.reset_index(drop=True)


def _scatter(
    table: pd.DataFrame, new: Novelty, objects: Objects, spacing: float
) -> tuple[float, float]:
    """Median over the frames of the scatter of positions (px) and log brightness."""
    host = np.where(np.nan_to_num(new.score, nan=np.inf) < objects.threshold, new.nearest, -1)
    light = np.full(len(table), np.nan)
    if "intensity" in table:
        bright = table["intensity"].to_numpy(float)
        light = np.log(np.where(bright > 0, bright, np.nan))
    xy, frame = positions(table), table["frame"].to_numpy()
    each = [
        scatter_in(xy[frame == f], light[frame == f], host[frame == f], spacing)
        for f in np.unique(frame)
    ]
    return float(np.median([e[0] for e in each])), float(np.median([e[1] for e in each]))
