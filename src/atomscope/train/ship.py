"""From best weights to a model folder: calibration, reliability, scores, ONNX, card."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file

from atomscope.io.folders import whole_folder
from atomscope.io.write import write_whole
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
from atomscope.train.calibrate import (
    Maxima,
    fit_curve,
    fit_spots,
    look_at_worlds,
    reliability,
    scores,
)
from atomscope.train.checkpoint import save
from atomscope.train.classes import calibrate_classes, class_scores, class_shares
from atomscope.train.data import CALIBRATION, VALIDATION
from atomscope.train.eight_bit import quantise
from atomscope.train.plain import make_plain
from atomscope.train.settings import TrainingRecipe
from atomscope.train.start import FULL

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
    network.eval()
    calibrate_classes(network, recipe)
    with whole_folder(folder) as draft:
        return _fill(draft, network, recipe, commit, patches)


def _fill(folder: Path, network: UNet, recipe: TrainingRecipe, commit: str, patches: int) -> Card:
    """Export, calibrate and score; write weights, test pair and card into the folder."""
    _export(Exported(network).eval(), folder / "weights.onnx")
    if recipe.eight_bit:
        save(network.state_dict(), folder / FULL)
        quantise(folder / "weights.onnx", recipe)
    model = _uncalibrated(recipe, (folder / "weights.onnx").read_bytes(), commit)
    frame = normalise(patch(np.random.default_rng(7), 64).frame)
    heat, offset, label = model.run(frame)
    np.savez_compressed(
        folder / "test_pair.npz", frame=frame, heat=heat, offset=offset, label=label
    )

    def seen(stream: int, *, lattice: bool) -> Maxima:
        return look_at_worlds(model, recipe, stream, patches, lattice=lattice)

    both = recipe.phases[-1].world.kinds[1] > 0
    curve = fit_curve(seen(CALIBRATION, lattice=True))
    spots = recipe.spots
    if spots is None and both:
        spots = fit_spots(seen(CALIBRATION, lattice=False))
    tested = seen(VALIDATION, lattice=True)
    p, true = curve.probability(tested.heat), tested.true
    found = scores("lattice", p, tested)
    if spots is not None:
        tested = seen(VALIDATION, lattice=False)
        lone = spots.probability(tested.heat, tested.prominence)
        found += scores("isolated", lone, tested, spots.least_p)
        p, true = np.concatenate([p, lone]), np.concatenate([true, tested.true])
    card = model.card.model_copy(
        update={
            "calibration": Calibration(lattice=curve, isolated=spots),
            "reliability": reliability(p, true),
        }
    )
    found += class_scores(replace(model, card=card), recipe, patches).items()  # as it is used
    card = card.model_copy(update={"scores": dict(found)})
    write_card(card, folder)
    return card


def write_card(card: Card, folder: Path) -> None:
    """Write the card of a model folder, whole or not at all."""
    text = yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_whole(folder / "card.yaml", lambda path: path.write_text(text, encoding="utf-8"))


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
        classes=tuple(
            ColumnClass(**c.model_dump(), share=share)
            for c, share in zip(recipe.classes, class_shares(recipe), strict=True)
        ),
        halo_px=HALO,
        least_heat=LEAST_HEAT,
        calibration=Calibration(lattice=line, isolated=None),
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
    make_plain(path)
