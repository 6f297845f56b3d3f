"""From best weights to a model folder: calibration, reliability, scores, ONNX, card."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.optimize import isotonic_regression
from scipy.spatial import cKDTree

from atomscope.detect.tiles import maxima
from atomscope.models.normalise import normalise
from atomscope.models.store import (
    Calibration,
    Card,
    ColumnClass,
    Curve,
    Model,
    Reliability,
    open_session,
)
from atomscope.models.unet import DEPTH, Exported, UNet, fold
from atomscope.simulate.dataset import patch
from atomscope.train.classes import class_scores, temperature
from atomscope.train.data import CALIBRATION, VALIDATION, shown
from atomscope.train.settings import TrainingRecipe

LEAST_HEAT = 0.08  # maxima below this are never columns
ATOM_SIGMA = 1.4  # px: width at which isolated atoms are shown; the world's median is 1.6
HALO = 64  # px of overlap between tiles; beyond it the network sees nothing that matters
Floats = NDArray[np.float64]


def ship(
    recipe: TrainingRecipe, weights: Path, folder: Path, *, commit: str, patches: int = 600
) -> Card:
    """Write the model folder of trained weights.

    Args:
        recipe: The recipe of the training run.
        weights: File with the best weights (safetensors).
        folder: Model folder to write.
        commit: Commit of the code that measures the scores.
        patches: Patches of each kind for the calibration, and as many for the scores.
    """
    network = UNet(recipe.widths, folded=True, classes=len(recipe.classes))
    network.load_state_dict(fold(load_file(weights)))
    folder.mkdir(parents=True, exist_ok=True)
    network.eval()
    _export(Exported(network, temperature(network, recipe)).eval(), folder / "weights.onnx")
    model = _uncalibrated(recipe, (folder / "weights.onnx").read_bytes(), commit)
    frame = normalise(patch(np.random.default_rng(7), 64).frame)
    heat, offset, label = model.run(frame)
    np.savez_compressed(
        folder / "test_pair.npz", frame=frame, heat=heat, offset=offset, label=label
    )

    def found(stream: int, *, lattice: bool) -> Maxima:
        return _maxima(model, recipe, stream, patches, lattice=lattice)

    lattice = _calibrate(found(CALIBRATION, lattice=True))
    both = recipe.phases[-1].world.kinds[1] > 0
    calibration = Calibration(
        lattice=lattice,
        isolated=_calibrate(found(CALIBRATION, lattice=False)) if both else lattice,
    )
    kinds = ("lattice", "isolated") if both else ("lattice",)
    seen = {kind: found(VALIDATION, lattice=kind == "lattice") for kind in kinds}
    p = {k: calibration.probability(v.heat, lattice=k == "lattice") for k, v in seen.items()}
    card = model.card.model_copy(
        update={
            "calibration": calibration,
            "reliability": _reliability(
                np.concatenate(list(p.values())), np.concatenate([v.true for v in seen.values()])
            ),
            "scores": {k: v for kind in seen for k, v in _scores(kind, p[kind], seen[kind])}
            | class_scores(model, recipe, patches),
        }
    )
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    return card


def _uncalibrated(recipe: TrainingRecipe, weights: bytes, commit: str) -> Model:
    """Return the exported model with a card that lacks calibration and scores."""
    line = Curve(heat=(0.0, 1.0), p=(0.0, 1.0))
    card = Card(
        name=recipe.name,
        version=recipe.version,
        task=recipe.task,
        description=recipe.description,
        spacing_px=recipe.phases[-1].world.spacing,
        sigma_px=ATOM_SIGMA,
        classes=tuple(ColumnClass(**c.model_dump()) for c in recipe.classes),
        halo_px=HALO,
        least_heat=LEAST_HEAT,
        calibration=Calibration(lattice=line, isolated=line),
        reliability=Reliability(
            stated=(), observed=(), counts=(), expected_calibration_error=float("inf")
        ),
        recipe=recipe.model_dump(mode="json"),
        scores={},
        scored_at_commit=commit,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        licence="MIT",
    )
    return Model(card, open_session(weights), card.weights_sha256)


def _export(network: torch.nn.Module, path: Path) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    example = torch.zeros(1, 2, 8 * DEPTH, 10 * DEPTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            dynamo=True,
            input_names=["frame"],
            output_names=["heat", "offset"],
            dynamic_shapes={"frame": {2: dynamic, 3: dynamic}},
            external_data=False,
            verbose=False,
        )


@dataclass(frozen=True)
class Maxima:
    """Heat (N,) and truth (N,) of all maxima in seeded patches, and the true columns in all."""

    heat: Floats
    true: NDArray[np.bool_]
    columns: int


def _maxima(
    model: Model, recipe: TrainingRecipe, stream: int, count: int, *, lattice: bool
) -> Maxima:
    """Run the model over patches with lattices, or over all others."""
    heats, trues, columns = [], [], 0
    last = recipe.phases[-1]
    _, isolated, nothing = last.world.kinds
    rest = isolated + nothing
    shares = (1.0, 0.0, 0.0) if lattice else (0.0, isolated / rest, nothing / rest)
    world = replace(last.world.world(recipe.class_names), kinds=shares)
    for i in range(count):
        # numbers beyond those of the patches that choose the best weights
        key = (last.seed, stream, 10**6 + i, int(lattice))
        frame, xy, _ = patch(np.random.default_rng(key), recipe.size, world)
        found = maxima(model, shown(frame, world), lattice=lattice)
        order = np.argsort(-found.p)
        heats.append(found.p[order])
        trues.append(_claim(found.xy[order], xy))
        columns += len(xy)
    return Maxima(np.concatenate(heats), np.concatenate(trues), columns)


def _scores(kind: str, p: Floats, seen: Maxima) -> list[tuple[str, float]]:
    """Precision, recall and F1 at p = 0.5."""
    called = p >= 0.5
    hits, count = int((seen.true & called).sum()), int(called.sum())
    return [
        (f"{kind}_precision", round(hits / max(count, 1), 4)),
        (f"{kind}_recall", round(hits / max(seen.columns, 1), 4)),
        (f"{kind}_f1", round(2 * hits / max(count + seen.columns, 1), 4)),
    ]


def _claim(points: Floats, xy: Floats, radius: float = 2.5) -> NDArray[np.bool_]:
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


def _calibrate(seen: Maxima, groups: int = 40) -> Curve:
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


def _reliability(p: Floats, true: NDArray[np.bool_], bins: int = 10) -> Reliability:
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
