"""What noise does to embeddings: the table is measured once more, with its own scatter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.classify.embedding import embed
from atomscope.columns import positions
from atomscope.discover.novelty import Floats, Ints
from atomscope.intervals import robust_scatter

SHIFT, LIGHT = 0.01, 0.04  # least scatter, as fits beside a defect err: spacings, log brightness
CLOSE = 0.3  # spacings: two neighbours opposite each other
LIKE = 12  # nearest atoms of the same environment
SAMPLE = 1000  # atoms of an environment that tell the scatter
DRAWS = 2
OBJECTS = 16  # that are measured again
AROUND = 7.0  # spacings around them: about as far as the network sees
FLOOR = 1e-3  # of the mean variance: directions that noise does not reach


def scatter_in(xy: Floats, log: Floats, kind: Ints, spacing: float) -> tuple[float, float]:
    """Scatter of positions (in their unit, per axis) and of log brightness in one frame.

    Two like atoms at v and -v from a third are on a lattice, whatever its cell: the sum of the
    vectors has six times the variance of a position, and smooth strain drops out.

    Args:
        xy: Positions (N, 2).
        log: (N,) log brightness, NaN where unknown.
        kind: (N,) environment of each, -1 for those of none.
        spacing: Between neighbours.
    """
    shifts, lights = [np.zeros(0)], [np.zeros(0)]
    for c in np.unique(kind[kind >= 0]):
        rows = np.flatnonzero(kind == c)
        if len(rows) <= LIKE:
            continue
        some = rows[:: 1 + len(rows) // SAMPLE]
        near = rows[cKDTree(xy[rows]).query(xy[some], k=LIKE + 1)[1][:, 1:]]
        away = xy[near] - xy[some][:, None]
        sums = np.linalg.norm(away[:, :, None] + away[:, None], axis=-1).min(axis=2)
        shifts.append(sums[sums < CLOSE * spacing] / np.sqrt(6))
        around = log[near[:, :6]]
        known = np.isfinite(log[some]) & np.isfinite(around).all(axis=1)
        lights.append((log[some] - around.mean(axis=1))[known] / np.sqrt(1 + 1 / 6))
    shift, light = np.concatenate(shifts), np.concatenate(lights)
    position = float(np.median(shift)) / 1.1774 if len(shift) else 0.0  # of Rayleigh's distribution
    brightness = robust_scatter(light) if len(light) else 0.0
    return max(position, SHIFT * spacing), max(brightness, LIGHT)


def covariance(
    table: pd.DataFrame,
    values: Floats,
    objects: Sequence[Ints],
    scatter: tuple[float, float],
    spacing: float,
    rng: np.random.Generator,
) -> Floats:
    """Covariance (D, D) that noise gives the embeddings of the atoms of objects.

    Args:
        table: N atoms.
        values: Their embeddings (N, D).
        objects: Rows of each.
        scatter: Of positions in px and of log brightness.
        spacing: Between neighbours in px.
        rng: Of the noise, and of the choice of objects.
    """
    chosen = rng.choice(len(objects), min(OBJECTS, len(objects)), replace=False)
    core = np.unique(np.concatenate([objects[k] for k in chosen]))
    rows = _around(table, core, AROUND * spacing)
    part = table.iloc[rows].reset_index(drop=True)
    at = np.searchsorted(rows, core)
    differences = []
    for _ in range(DRAWS):
        moved = part.assign(
            x_px=part["x_px"] + rng.normal(0, scatter[0], len(part)),
            y_px=part["y_px"] + rng.normal(0, scatter[0], len(part)),
        )
        if "intensity" in part:
            light = np.exp(rng.normal(0, scatter[1], len(part)))
            moved["intensity"] = part["intensity"] * light
        differences.append(embed(moved).values[at] - values[core])
    away = np.concatenate(differences)
    found = away.T @ away / len(away)
    return np.asarray(found + FLOOR * np.trace(found) / len(found) * np.eye(len(found)))


def _around(table: pd.DataFrame, core: Ints, reach: float) -> Ints:
    """Rows of finite positions near to some rows, those among them, ascending."""
    xy = positions(table)
    frame = table["frame"].to_numpy()
    found = []
    for number in np.unique(frame[core]):
        rows = np.flatnonzero((frame == number) & np.isfinite(xy).all(axis=1))
        away = cKDTree(xy[core[frame[core] == number]]).query(xy[rows])[0]
        found.append(rows[away <= reach])
    return np.asarray(np.sort(np.concatenate(found)))
