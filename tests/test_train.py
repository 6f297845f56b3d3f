"""Training is seeded, resumable, and ends in a model folder that loads."""

from __future__ import annotations

import numpy as np
import pytest

from atomscope.errors import UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from atomscope.train import run as loop  # noqa: E402
from atomscope.train.settings import TrainingPhase, TrainingRecipe  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # the exporter warns about itself

TINY = TrainingRecipe(
    name="tiny",
    phases=(TrainingPhase(steps=6), TrainingPhase(steps=3, seed=1, learning_rate=1e-3)),
    batch=2,
    size=32,
    widths=(16, 16, 16, 16),
    validate_every=3,
    validation_batches=1,
    average=0.5,
)


def weights(path):
    from safetensors.numpy import load_file

    return load_file(path)


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(tmp_path, monkeypatch):
    whole = loop.train(TINY, tmp_path / "whole", workers=0)
    checkpoint = loop._checkpoint

    def stop_after_saving(*arguments):
        checkpoint(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_checkpoint", stop_after_saving)
    with pytest.raises(KeyboardInterrupt):
        loop.train(TINY, tmp_path / "parts", workers=0)
    monkeypatch.setattr(loop, "_checkpoint", checkpoint)
    parts = loop.train(TINY, tmp_path / "parts", workers=0)
    first, second = weights(whole), weights(parts)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_folder_belongs_to_one_recipe(tmp_path):
    loop._claim(tmp_path, TINY)
    loop._claim(tmp_path, TINY)
    with pytest.raises(UsageError, match="another recipe"):
        loop._claim(tmp_path, TINY.model_copy(update={"batch": 5}))


def test_shipped_folder_loads_and_is_checked(tmp_path):
    from atomscope.models.store import load
    from atomscope.train.ship import ship

    best = loop.train(TINY, tmp_path / "run", workers=0)
    card = ship(TINY, best, tmp_path / "model", commit="none", patches=12)
    model = load(str(tmp_path / "model"))
    assert model.card == card
    assert model.run(np.zeros((2, 48, 80), dtype=np.float32))[0].shape == (48, 80)


def test_loss_falls(tmp_path):
    phases = (TrainingPhase(steps=100, learning_rate=5e-3),)
    recipe = TINY.model_copy(update={"phases": phases, "validate_every": 20})
    loop.train(recipe, tmp_path, workers=0)
    rows = np.genfromtxt(tmp_path / "phase-1" / "metrics.csv", delimiter=",", names=True)
    assert rows["train_loss"][-1] < 0.8 * rows["train_loss"][0]


def test_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nstepps: 4\n")
    with pytest.raises(UsageError, match="stepps"):
        TrainingRecipe.load(path)
