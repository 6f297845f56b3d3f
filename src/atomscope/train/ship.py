"""From best weights to a model folder: calibration, reliability, scores, ONNX, card."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.optimize import isotonic_regression
from scipy.spatial import cKDTree

from atomscope.models.store import Calibration, Card, Reliability
from atomscope.models.targets import to_points
from atomscope.models.unet import DEPTH, Exported, UNet
from atomscope.simulate.dataset import World, patch
from atomscope.train.data import CALIBRATION, VALIDATION
from atomscope.train.settings import TrainingRecipe

LEAST_HEAT = 0.08  # maxima below this are never columns
HALO = 64  # px of overlap between tiles; beyond it the network sees nothing that matters
Floats = NDArray[np.float64]


def ship(
    recipe: TrainingRecipe, weights: Path, folder: Path, *, commit: str, patches: int = 1500
) -> Card:
    """Write the model folder of trained weights.

    Args:
        recipe: The recipe of the training run.
        weights: File with the best weights (safetensors).
        folder: Model folder to write.
        commit: Commit of the code that measures the scores.
        patches: Patches for the calibration, and as many for the scores.
    """
    from atomscope.models.normalise import normalise

    network = UNet(recipe.widths)
    network.load_state_dict(load_file(weights))
    network = Exported(network.eval()).eval()

    def found(stream: int) -> tuple[Floats, NDArray[np.bool_], int]:
        return _maxima(network, recipe, stream, patches)

    heat, true, _ = found(CALIBRATION)
    calibration = _calibrate(heat, true)
    heat, true, columns = found(VALIDATION)
    p = np.interp(heat, calibration.heat, calibration.p)
    reliability = _reliability(p, true)
    hits, called = int((true & (p >= 0.5)).sum()), int((p >= 0.5).sum())
    folder.mkdir(parents=True, exist_ok=True)
    _export(network, folder / "weights.onnx")
    frame, _ = patch(np.random.default_rng(7), 64)
    frame = normalise(frame)
    with torch.no_grad():
        heat_map, offset = network(torch.from_numpy(frame)[None, None])
    np.savez_compressed(
        folder / "test_pair.npz", frame=frame, heat=heat_map[0, 0].numpy(), offset=offset[0].numpy()
    )
    card = Card(
        name=recipe.name,
        version=recipe.version,
        task=recipe.task,
        description="Finds bright columns of any lattice and isolated atoms on a support.",
        spacing_px=recipe.world.spacing,
        sigma_px=1.5,
        classes=("background", "column"),
        halo_px=HALO,
        least_heat=LEAST_HEAT,
        calibration=calibration,
        reliability=reliability,
        recipe=recipe.model_dump(mode="json"),
        scores={
            "validation_precision": round(hits / max(called, 1), 4),
            "validation_recall": round(hits / max(columns, 1), 4),
            "validation_f1": round(2 * hits / max(called + columns, 1), 4),
        },
        scored_at_commit=commit,
        weights_sha256=hashlib.sha256((folder / "weights.onnx").read_bytes()).hexdigest(),
        licence="MIT",
    )
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / "card.yaml").write_text(text, encoding="utf-8")
    return card


def _export(network: torch.nn.Module, path: Path) -> None:
    dynamic = torch.export.Dim.DYNAMIC
    example = torch.zeros(1, 1, 8 * DEPTH, 10 * DEPTH)
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


@torch.no_grad()
def _maxima(
    network: torch.nn.Module, recipe: TrainingRecipe, stream: int, count: int
) -> tuple[Floats, NDArray[np.bool_], int]:
    """Return heat and truth of all maxima in seeded patches, and the number of true columns."""
    from atomscope.models.normalise import normalise

    heats, trues, columns = [], [], 0
    world = World(**recipe.world.model_dump())
    for i in range(count):
        # a second stream number keeps these apart from the loss-validation patches
        frame, xy = patch(
            np.random.default_rng((recipe.seed, stream, 10**6 + i)), recipe.size, world
        )
        heat, offset = network(torch.from_numpy(normalise(frame))[None, None])
        points, value, _ = to_points(heat[0, 0].numpy(), offset[0].numpy(), LEAST_HEAT)
        order = np.argsort(-value)
        heats.append(value[order])
        trues.append(_claim(points[order], xy))
        columns += len(xy)
    return np.concatenate(heats), np.concatenate(trues), columns


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


def _calibrate(heat: Floats, true: NDArray[np.bool_], groups: int = 40) -> Calibration:
    """Fit p(heat): the share of true columns in groups of equal number, made monotonic."""
    if len(heat) < 2 * groups:  # a trial run: nothing to learn from
        return Calibration(heat=(0.0, 1.0), p=(0.0, 1.0))
    order = np.array_split(np.argsort(heat), groups)
    centre = np.array([heat[group].mean() for group in order])
    share = np.array([true[group].mean() for group in order])
    weight = np.array([len(group) for group in order], dtype=float)
    fitted = isotonic_regression(share, weights=weight).x.clip(0.0, 0.9999)
    return Calibration(heat=tuple(centre.round(4)), p=tuple(fitted.round(4)))


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
