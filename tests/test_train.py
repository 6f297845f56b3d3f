"""Training is seeded, resumable, and ends in a model folder that loads."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from atomscope.apps.train import Resources, train_and_ship
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
    checkpoint = loop.save_checkpoint

    def stop_after_saving(*arguments):
        checkpoint(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", stop_after_saving)
    with pytest.raises(KeyboardInterrupt):
        loop.train(TINY, tmp_path / "parts", workers=0)
    monkeypatch.setattr(loop, "save_checkpoint", checkpoint)
    parts = loop.train(TINY, tmp_path / "parts", workers=0)
    first, second = weights(whole), weights(parts)
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("room", [0, 20_000, 60_000, 300_000])
def test_a_full_disc_leaves_nothing_half_written_and_the_run_goes_on(tmp_path, monkeypatch, room):
    whole = loop.train(TINY, tmp_path / "whole", workers=0)
    write, left = Path.write_bytes, [room]

    def write_while_there_is_room(path, content):
        left[0] -= len(content)
        write(path, content[: max(len(content) + left[0], 0)] if left[0] < 0 else content)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_while_there_is_room)
    with pytest.raises(UsageError, match=r"No space left on device.*start the same command again"):
        train_and_ship(TINY, tmp_path / "parts", Resources(0, 1, "cpu"))
    monkeypatch.undo()
    assert not list((tmp_path / "parts").rglob("*.tmp"))
    assert not list((tmp_path / "parts").glob(".model*"))
    first = weights(whole)
    second = weights(loop.train(TINY, tmp_path / "parts", workers=0))
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_folder_belongs_to_one_recipe(tmp_path):
    loop.claim(tmp_path, TINY.model_dump_json())
    loop.claim(tmp_path, TINY.model_dump_json())
    with pytest.raises(UsageError, match="another recipe"):
        loop.claim(tmp_path, TINY.model_copy(update={"batch": 5}).model_dump_json())


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


def test_each_row_has_the_mean_loss_of_the_steps_since_the_one_before(tmp_path):
    losses = {}
    for every in (1, 3):
        phases = (TrainingPhase(steps=5),)
        recipe = TINY.model_copy(update={"phases": phases, "validate_every": every})
        loop.train(recipe, tmp_path / str(every), workers=0)
        log = tmp_path / str(every) / "phase-1" / "metrics.csv"
        losses[every] = np.genfromtxt(log, delimiter=",", names=True)["train_loss"]
    each = losses[1]
    assert losses[3] == pytest.approx([each[:3].mean(), each[3:].mean()], rel=1e-4)


def test_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("name: x\nstepps: 4\n")
    with pytest.raises(UsageError, match="stepps"):
        TrainingRecipe.load(path)


def test_a_network_with_classes_is_shipped_and_sorts_columns(tmp_path):
    from atomscope.models import store
    from atomscope.train.settings import ClassSettings, HostSettings, WorldSettings
    from atomscope.train.ship import ship

    world = WorldSettings(
        kinds=(1.0, 0.0, 0.0), hosts=(HostSettings(structure="1H-WS2", sites={"W": "W"}),)
    )
    recipe = TINY.model_copy(
        update={
            "classes": (ClassSettings(name="W", species="W"), ClassSettings(name="none")),
            "phases": (TrainingPhase(steps=6, fold=True, world=world),),
        }
    )
    weights = loop.train(recipe, tmp_path / "run", workers=0)
    card = ship(recipe, weights, tmp_path / "model", commit="none", patches=3)
    assert [c.name for c in card.classes] == ["W", "none"]
    assert sum(c.share for c in card.classes) == pytest.approx(1, abs=1e-3)
    assert set(card.scores) >= {"f1 W", "f1 none", "lattice_f1"}
    model = store.load(str(tmp_path / "model"))
    label = model.run(np.zeros((2, 32, 48), dtype=np.float32)).label
    np.testing.assert_allclose(label.sum(0), 1, atol=1e-5)
    # sites without a class are not learned, so all that is seen is of the first class
    assert label[0].mean() > 0.5


def test_scores_of_classes_are_those_of_the_model_as_it_is_used(tmp_path, monkeypatch):
    from atomscope.models.store import Curve, load
    from atomscope.train import ship as shipping
    from atomscope.train.classes import class_scores
    from atomscope.train.rescore import rescore
    from atomscope.train.structure import recipe_for

    recipe = recipe_for("1H-WS2").model_copy(update={"widths": TINY.widths, "size": 64})
    state = shipping.UNet(TINY.widths, folded=True, classes=3).state_dict()
    state["head.bias"][:4] = -0.8  # heat of 0.3 all over
    weights_file = tmp_path / "weights.safetensors"
    loop.save({k: v.contiguous() for k, v in state.items()}, weights_file)
    sure = Curve(heat=(0.0, 1.0), p=(1.0, 1.0))
    monkeypatch.setattr(shipping, "fit_curve", lambda seen: sure)
    card = shipping.ship(recipe, weights_file, tmp_path / "model", commit="none", patches=3)
    again = class_scores(load(str(tmp_path / "model")), recipe, 3)
    assert {name: card.scores[name] for name in again} == again
    assert max(again.values()) > 0
    written = rescore(tmp_path / "model", commit="later", patches=3)
    assert written.scores == card.scores
    assert "scored_at_commit: later" in (tmp_path / "model" / "card.yaml").read_text()


def test_rare_classes_weigh_more_but_no_more_than_asked():
    from atomscope.train.data import class_balance
    from atomscope.train.structure import recipe_for

    recipe = recipe_for("1H-WS2").model_copy(update={"batch": 2, "size": 64})
    last = recipe.phases[-1]

    def balance(most):
        return class_balance(recipe, last.model_copy(update={"most_weight": most}))

    np.testing.assert_array_equal(balance(1.0), 1)
    free = balance(1e9)
    assert free.min() == 1
    assert free.argmax() == recipe.class_names.index("vacancy")
    np.testing.assert_array_equal(balance(3.0), free.clamp(max=3.0))


def run_in_torch(weights, frame):
    """Heat and offsets of the network of the zoo, in full precision."""
    from safetensors.torch import load_file

    from atomscope.models.unet import Exported, UNet

    network = UNet(folded=True, widths=(32, 64, 96, 128))
    network.load_state_dict(load_file(weights))
    with torch.no_grad():
        heat, offset = Exported(network).eval()(torch.from_numpy(frame)[None])
    return heat[0, 0].numpy(), offset[0].numpy()


def test_fine_tuning_starts_from_the_shipped_weights(tmp_path):
    from atomscope.models.normalise import normalise
    from atomscope.models.store import load
    from atomscope.train.start import start_weights

    frame = normalise(np.random.default_rng(2).normal(size=(64, 80)).astype(np.float32))
    heat, offset = run_in_torch(start_weights("stm", tmp_path), frame)
    maps = load("stm").run(frame)
    np.testing.assert_allclose(heat, maps.heat, atol=1e-4)
    np.testing.assert_allclose(offset, maps.offset, atol=1e-3)


def test_eight_bits_see_what_full_precision_sees(tmp_path):
    from atomscope.models.normalise import normalise
    from atomscope.models.store import load
    from atomscope.simulate.dataset import patch
    from atomscope.train.start import start_weights

    weights = start_weights("universal", tmp_path)
    seen = []
    for seed in range(12):
        frame = normalise(patch(np.random.default_rng(900 + seed), 128).frame)
        heat, offset = run_in_torch(weights, frame)
        maps = load("universal").run(frame)
        clear = heat > 0.2
        seen.append((maps.heat[clear] - heat[clear], (maps.offset - offset)[:, clear].ravel()))
    heat, offset = (np.concatenate(part) for part in zip(*seen, strict=True))
    assert len(heat) > 1000
    assert 0 < np.sqrt(np.mean(heat**2)) < 0.015
    assert abs(heat.mean()) < 0.004
    assert 0 < np.sqrt(np.mean(offset**2)) < 0.04


def test_eight_bits_are_a_setting_of_the_recipe(tmp_path):
    from safetensors.torch import load_file

    from atomscope.models.store import load
    from atomscope.train.ship import ship
    from atomscope.train.start import start_weights

    best = loop.train(TINY, tmp_path / "run", workers=0)
    short = TINY.model_copy(update={"eight_bit": True})
    ship(TINY, best, tmp_path / "full", commit="none", patches=3)
    ship(short, best, tmp_path / "short", commit="none", patches=3)
    size = {name: (tmp_path / name / "weights.onnx").stat().st_size for name in ("full", "short")}
    assert size["short"] < size["full"]
    starts = []
    for name in size:
        (tmp_path / f"from-{name}").mkdir()
        starts.append(load_file(start_weights(str(tmp_path / name), tmp_path / f"from-{name}")))
    assert starts[0].keys() == starts[1].keys()
    assert all(torch.equal(starts[0][key], starts[1][key]) for key in starts[0])
    frame = np.random.default_rng(1).normal(size=(2, 64, 48)).astype(np.float32)
    full, eight = (load(str(tmp_path / name)).run(frame) for name in size)
    assert 0 < np.abs(full.heat - eight.heat).max() < 0.05


def test_weights_of_another_architecture_are_refused_in_one_line(tmp_path):
    from atomscope.models.unet import UNet
    from atomscope.train.checkpoint import fill, plain

    small, large = (UNet((16, 16, 16, w), folded=True) for w in (16, 32))
    fill(small, plain(small), tmp_path)
    with pytest.raises(UsageError, match="another architecture") as caught:
        fill(small, plain(large), tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="another architecture"):
        fill(UNet((16, 16, 16, 16), folded=True, classes=2), plain(small), tmp_path)
