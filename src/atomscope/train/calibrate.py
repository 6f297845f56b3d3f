"""Calibration and scores of a trained network, on worlds that its training never saw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.spatial import cKDTree

from atomscope.detect.prominence import prominence
from atomscope.detect.tiles import maxima
from atomscope.models.store import LEAST_HEAT, MOST_PROMINENCE, Curve, Model, Reliability, Spots
from atomscope.simulate.dataset import patch
from atomscope.train.data import shown
from atomscope.train.settings import TrainingRecipe

# What stands out less the eye does not call an atom.
LEAST_PROMINENCE = 3.0
MARKED = 2.0  # times the weight of simulated worlds: of each set of micrographs marked by hand
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Maxima:
    """All maxima of the heat in seeded patches.

    Attributes:
        heat: Shape (N,).
        prominence: Shape (N,).
        true: Whether a column is there, shape (N,).
        columns: Number of columns in all patches.
    """

    heat: Floats
    prominence: Floats
    true: NDArray[np.bool_]
    columns: int


def look_at_worlds(
    model: Model, recipe: TrainingRecipe, stream: int, count: int, *, lattice: bool
) -> Maxima:
    """Run the model over patches with lattices, or over all others."""
    heats, stands, trues, columns = [], [], [], 0
    last = recipe.phases[-1]
    _, isolated, nothing = last.world.kinds
    rest = isolated + nothing
    shares = (1.0, 0.0, 0.0) if lattice else (0.0, isolated / rest, nothing / rest)
    world = replace(last.world.world(recipe.class_names), kinds=shares)
    for i in range(count):
        # numbers beyond those of the patches that choose the best weights
        key = (last.seed, stream, 10**6 + i, int(lattice))
        frame, xy, _ = patch(np.random.default_rng(key), recipe.size, world)
        seen = shown(frame, world)
        found = maxima(model, seen, lattice=lattice)
        found = found.keep(np.argsort(-found.p))
        heats.append(found.p)
        stands.append(prominence(seen, model.card.sigma_px, found.xy))
        trues.append(claimed(found.xy, xy))
        columns += len(xy)
    return Maxima(np.concatenate(heats), np.concatenate(stands), np.concatenate(trues), columns)


def scores(kind: str, p: Floats, seen: Maxima, least: float = 0.5) -> list[tuple[str, float]]:
    """Precision, recall and F1 of what is at least as probable as `least`."""
    called = p >= least
    hits, count = int((seen.true & called).sum()), int(called.sum())
    return [
        (f"{kind}_precision", round(hits / max(count, 1), 4)),
        (f"{kind}_recall", round(hits / max(seen.columns, 1), 4)),
        (f"{kind}_f1", round(2 * hits / max(count + seen.columns, 1), 4)),
    ]


def fit_spots(seen: Maxima, *marked: Maxima) -> Spots:
    """Fit the logistic model of isolated atoms by maximum likelihood.

    Args:
        seen: Of simulated worlds.
        marked: Of sets of micrographs whose atoms were marked by hand, each with the same say.
    """
    sets = [(seen, 1.0), *((one, MARKED) for one in marked)]
    clear = [one.prominence >= LEAST_PROMINENCE for one, _ in sets]
    if clear[0].sum() < 100:  # a trial run: nothing to learn from
        return Spots(intercept=0, heat=1, prominence=0, least_prominence=LEAST_PROMINENCE)
    parts = [
        (one.heat[c], one.prominence[c], one.true[c], np.full(c.sum(), weight / c.sum()))
        for (one, weight), c in zip(sets, clear, strict=True)
    ]
    heat, high, true, say = (np.concatenate(part) for part in zip(*parts, strict=True))
    heat, high = heat.clip(LEAST_HEAT, 1 - LEAST_HEAT), np.minimum(high, MOST_PROMINENCE)
    design = np.stack([np.ones_like(heat), np.log(heat / (1 - heat)), high], 1)
    sign = 2.0 * true - 1

    def loss(w: Floats) -> float:
        return float(say @ np.logaddexp(0, -sign * (design @ w)) / say.sum() + 1e-5 * w @ w)

    a, b, c = minimize(loss, np.zeros(3)).x
    return Spots(
        intercept=round(float(a), 4),
        heat=round(float(b), 4),
        prominence=round(float(c), 4),
        least_prominence=LEAST_PROMINENCE,
    )


def claimed(points: Floats, xy: Floats, radius: float = 2.5) -> NDArray[np.bool_]:
    """Give each true column to the strongest maximum within `radius` px."""
    true = np.zeros(len(points), dtype=bool)
    if len(points) == 0 or len(xy) == 0:
        return true
    free = np.ones(len(xy), dtype=bool)
    near = cKDTree(xy).query_ball_point(points, radius)
    for i, candidates in enumerate(near):
        open_ones = [j for j in candidates if free[j]]
        if open_ones:
            best = min(open_ones, key=lambda j: float(np.sum((xy[j] - points[i]) ** 2)))
            free[best], true[i] = False, True
    return true


def fit_curve(seen: Maxima, groups: int = 40) -> Curve:
    """Fit p(heat): the share of true columns in groups of equal number, made monotonic."""
    heat, true = seen.heat, seen.true
    if len(heat) < 2 * groups:  # a trial run: nothing to learn from
        return Curve(heat=(0.0, 1.0), p=(0.0, 1.0))
    order = np.array_split(np.argsort(heat), groups)
    centre = np.array([heat[group].mean() for group in order])
    share = np.array([true[group].mean() for group in order])
    weight = np.array([len(group) for group in order], dtype=float)
    fitted = isotonic_regression(share, weights=weight).x.clip(0.0, 0.9999)
    return Curve(heat=tuple(centre.round(4)), p=tuple(fitted.round(4)))


def reliability(p: Floats, true: NDArray[np.bool_], bins: int = 10) -> Reliability:
    """Return how often columns stated with a probability are there, in bins of equal width."""
    index = np.minimum((p * bins).astype(int), bins - 1)
    used = [b for b in range(bins) if np.any(index == b)]
    stated = [float(p[index == b].mean()) for b in used]
    observed = [float(true[index == b].mean()) for b in used]
    counts = [int((index == b).sum()) for b in used]
    gap = np.abs(np.array(stated) - observed) @ np.array(counts) / max(len(p), 1)
    return Reliability(
        stated=tuple(np.round(stated, 4)),
        observed=tuple(np.round(observed, 4)),
        counts=tuple(counts),
        expected_calibration_error=round(float(gap), 4),
    )
