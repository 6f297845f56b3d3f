"""Laws of the network's input, targets and model folder."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from atomscope.apps.cli import run
from atomscope.errors import UsageError
from atomscope.models import store
from atomscope.models.normalise import normalise
from atomscope.models.targets import to_maps, to_points
from worlds import lattice_frame


@settings(max_examples=25, deadline=None)
@given(
    gain=st.floats(1e-6, 1e6),
    offset=st.floats(-1e3, 1e3),
    height=st.integers(8, 90),
    width=st.integers(8, 90),
)
def test_gain_and_offset_change_nothing(gain, offset, height, width):
    frame = np.random.default_rng(height * width).normal(10, 3, (height, width))
    changed = gain * (frame + offset)
    np.testing.assert_allclose(normalise(changed), normalise(frame), atol=2e-3)


def test_slow_background_changes_little():
    frame, _ = lattice_frame(size=160, spacing=8)
    y, x = np.mgrid[:160, :160] / 160
    tilted = frame + 400 * x - 250 * y**2
    inside = slice(20, -20)
    difference = (normalise(tilted) - normalise(frame))[:, inside, inside]
    assert np.sqrt(np.mean(difference**2)) < 0.12


def test_constant_frame_is_zero():
    assert not normalise(np.full((40, 30), 7.0)).any()


def test_mirror_of_the_input_is_mirror_of_the_output(rng):
    frame = rng.normal(size=(64, 96))
    np.testing.assert_allclose(normalise(frame[:, ::-1]), normalise(frame)[..., ::-1], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 60))
def test_points_to_maps_and_back(seed, count):
    rng = np.random.default_rng(seed)
    xy = rng.uniform(0, 95, (count, 2))
    if count > 1:  # as far apart as columns are at the canonical sampling
        keep = [0]
        for i in range(1, count):
            if np.min(np.linalg.norm(xy[i] - xy[keep], axis=1)) > 4:
                keep.append(i)
        xy = xy[keep]
    heat, offset, _, _ = to_maps(xy, (96, 96))
    found, value, _ = to_points(heat, offset, 0.5)
    assert len(found) == len(xy)
    if len(xy):
        assert cKDTree(found).query(xy)[0].max() < 1e-5
        assert value.min() > 0.8


def test_plateau_gives_one_point():
    heat = np.zeros((9, 9), dtype=np.float32)
    heat[4, 3:6] = 0.9
    points, _, _ = to_points(heat, np.zeros((2, 9, 9), dtype=np.float32), 0.5)
    assert len(points) == 1


def test_shipped_models_load_and_give_their_test_output():
    assert "universal" in store.names()
    for name in store.names():
        model = store.load(name)
        heat, offset, label = model.run(np.zeros((2, 64, 96), dtype=np.float32))
        assert label.shape == (len(model.card.classes), 64, 96)
        if len(label):
            np.testing.assert_allclose(label.sum(0), 1, atol=1e-4)
        assert heat.shape == (64, 96)
        assert offset.shape == (2, 64, 96)
        assert 0 <= heat.min() <= heat.max() <= 1


def test_same_answer_on_one_and_two_threads():
    frame = normalise(lattice_frame(size=192)[0])
    one, two = (store.load("universal", n).run(frame)[0] for n in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_calibration_is_monotonic_and_reliable():
    card, _ = store.read_card("universal")
    curve, spots = card.calibration.lattice, card.calibration.isolated
    assert np.all(np.diff(curve.heat) > 0)
    assert np.all(np.diff(curve.p) >= 0)
    heat = np.linspace(0, 1, 50)
    p = spots.probability(heat, np.full(50, spots.least_prominence + 1))
    assert np.all(np.diff(p) >= 0)
    assert 0 <= p[0] < p[-1] <= 1
    assert np.all(spots.probability(heat, np.full(50, spots.least_prominence - 1)) == 0)
    assert card.reliability.expected_calibration_error < 0.05


def test_wrong_weights_are_refused(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(store.ZOO / "universal", folder)
    weights = bytearray((folder / "weights.onnx").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.onnx").write_bytes(weights)
    with pytest.raises(UsageError, match="SHA-256"):
        store.load(str(folder))


@pytest.mark.parametrize("text", ["[1, 2", "name: x", "!!python/object:os.system {}"])
def test_bad_cards_are_refused(tmp_path, text):
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(UsageError, match="model card"):
        store.load(str(tmp_path))


def test_unknown_model_names_the_known_ones():
    with pytest.raises(UsageError, match="universal"):
        store.load("nonsense")


def test_an_exported_model_is_the_model(tmp_path, capsys):
    out = tmp_path / "mine"
    assert run(["models", "export", "universal", "-o", str(out)]) == 0
    copied, shipped = store.load(str(out)), store.load("universal")
    assert (copied.sha256, copied.card) == (shipped.sha256, shipped.card)
    capsys.readouterr()
    assert run(["models", "export", "universal", "-o", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["models", "export", "none-such", "-o", str(tmp_path / "b")]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}
