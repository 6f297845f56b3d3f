"""Taught on one day and asked on another: gamma, strain; and places, bonds and rings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atomscope.classify import classify, load, teach
from atomscope.classify.adapt import Change, change_of
from atomscope.classify.embedding import embed, embedder, load_embedder
from atomscope.classify.given import found as by_name
from atomscope.classify.objects import objects
from atomscope.errors import UsageError
from atomscope.graph import connect
from test_classify import SPACING, honeycomb, marked


@pytest.fixture(scope="module")
def world() -> pd.DataFrame:
    return honeycomb(1)


def bent(table: pd.DataFrame, values: tuple[float, float, float]) -> pd.DataFrame:
    """Return the table with the logarithm of gamma and the strains given."""
    xy = table[["x_px", "y_px"]].to_numpy()
    xy, light = Change.of(np.array(values))(xy, table["intensity"].to_numpy())
    return table.assign(x_px=xy[:, 0], y_px=xy[:, 1], intensity=light)


def test_a_change_is_taken_back_by_its_opposite(world: pd.DataFrame) -> None:
    values = np.array([0.2, 0.05, -0.08])
    assert np.linalg.det(Change.of(values).strain) == pytest.approx(1)
    back = bent(bent(world, tuple(values)), tuple(-values))
    for name in ("x_px", "y_px", "intensity"):
        np.testing.assert_allclose(back[name], world[name], rtol=1e-9)


def test_a_search_goes_to_the_bottom(world: pd.DataFrame) -> None:
    goal = np.array([0.25, -0.04, 0.07])

    def misfit(part: pd.DataFrame, change: Change) -> float:
        log, away = np.log(change.power), change.strain - Change.of(goal).strain
        return float(200 * (log - goal[0]) ** 2 + 4000 * (away**2).sum())

    found = change_of(world, misfit)
    assert np.log(found.power) == pytest.approx(goal[0], abs=0.05)
    np.testing.assert_allclose(found.strain, Change.of(goal).strain, atol=0.01)


def test_nothing_is_changed_where_nothing_is_known(world: pd.DataFrame) -> None:
    found = change_of(world, lambda part, change: None)
    assert found.power == 1
    np.testing.assert_array_equal(found.strain, np.eye(2))


@pytest.mark.parametrize("values", [(-0.35, 0, 0), (0.3, 0, 0), (0, 0.05, 0.09), (0.2, 0.0, -0.1)])
def test_another_day_has_the_same_answer(
    values: tuple[float, float, float], world: pd.DataFrame
) -> None:
    taught = teach(world, marked(world))
    other = honeycomb(2)
    before, after = classify(other, taught), classify(bent(other, values), taught)
    whole = (before["structure_p"].notna() & after["structure_p"].notna()).to_numpy()
    assert whole.mean() > 0.7
    assert (before["structure"] == after["structure"])[whole].mean() > 0.97


def two_lattices(seed: int) -> pd.DataFrame:
    """Squares on the left, hexagons on the right, all of one brightness with noise."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(-30, 31), np.arange(-30, 31)), -1).reshape(-1, 2)
    hexagonal = grid @ (np.array([[1, 0], [0.5, np.sqrt(3) / 2]]) * SPACING * 1.07)
    square = grid @ (np.eye(2) * SPACING)
    left, right = square[square[:, 0] < -5], hexagonal[hexagonal[:, 0] > 5]
    xy = np.concatenate([left, right])
    truth = np.repeat(["square", "hexagonal"], [len(left), len(right)])
    inside = np.abs(xy).max(axis=1) < 14 * SPACING
    xy = xy[inside] + rng.normal(0, 0.05 * SPACING, (inside.sum(), 2))
    light = np.exp(rng.normal(0, 0.1, len(xy)))
    table = pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": light})
    return table.assign(truth=truth[inside], frame=0, atom=np.arange(len(xy)))


def test_one_example_of_a_place_finds_a_phase(tmp_path: Path) -> None:
    first, second = two_lattices(1), two_lattices(2)
    far = first["x_px"].abs() > 4 * SPACING
    examples = marked(first[far], 1)
    taught = teach(first, examples, of="place")
    assert load(taught.save(tmp_path / "places")).card.of == "place"
    found = classify(second, taught)
    asked = embed(second).whole & (second["x_px"].abs() > 3 * SPACING).to_numpy()
    assert (found["structure"] == second["truth"])[asked].mean() > 0.97


def test_bonds_and_rings_are_those_of_the_graph(world: pd.DataFrame) -> None:
    seen = embed(world)
    bonds, of_bonds = objects(world, seen, "bond")
    pairs = np.array([row.split() for row in bonds["atoms"]], dtype=int)
    np.testing.assert_array_equal(pairs, connect(world).bonds)
    np.testing.assert_allclose(of_bonds.values, seen.values[pairs].mean(axis=1))
    hexagons, _ = objects(world, seen, "ring")
    assert set(hexagons["atoms"].str.split().str.len()) == {6}
    middle = world[["x_px", "y_px"]].to_numpy()[np.array(hexagons["atoms"][0].split(), int)]
    np.testing.assert_allclose(hexagons[["x_px", "y_px"]].to_numpy()[0], middle.mean(axis=0))


def test_rings_are_taught_by_their_middle(world: pd.DataFrame, tmp_path: Path) -> None:
    def with_truth(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        made, seen = objects(table, embed(table), "ring")
        strong = (table["truth"] == "strong").to_numpy()
        holds = [strong[np.array(row.split(), int)].any() for row in made["atoms"]]
        return made.assign(truth=np.where(holds, "strong", "plain")), seen.whole

    first, whole = with_truth(world)
    shown = first[whole].groupby("truth").sample(12, random_state=0)
    marks = shown[["x_px", "y_px"]].assign(label=shown["truth"])
    other = honeycomb(4)
    second, asked = with_truth(other)
    taught = teach(world, marks, of="ring")
    found = classify(other, taught)
    right = (found["structure"] == second["truth"])[asked]
    assert right.groupby(second["truth"][asked]).mean().min() > 0.7
    with pytest.raises(UsageError, match="expected atoms or places"):
        by_name(taught.save(tmp_path / "rings"))


def test_what_cannot_be_taught_is_said(world: pd.DataFrame) -> None:
    marks = marked(world)
    with pytest.raises(UsageError, match="expected one of atom, place, bond, ring"):
        teach(world, marks, of="molecule")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="radius 0"):
        teach(world, marks, of="place", radius=0)
    with pytest.raises(UsageError, match="nothing to mark"):
        teach(world.iloc[:1], marks, of="ring")


def test_a_network_of_its_own_goes_with_the_folder(world: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from atomscope.train.finetune import finetune

    marks = marked(world)
    label = np.full(len(world), -1)
    for number, (_, group) in enumerate(marks.groupby("label")):
        label[group.index] = number
    net = load_embedder(finetune([world], [label], tmp_path / "net", steps=2))
    taught = teach(world, marks, net=net)
    again = load(taught.save(tmp_path / "mine"))
    assert again.net.sha256 == net.sha256 != embedder().sha256
    pd.testing.assert_frame_equal(classify(world, again), classify(world, taught))
    (tmp_path / "mine" / "network" / "second.onnx").write_bytes(b"no")
    with pytest.raises(UsageError, match="not that of its card"):
        load(tmp_path / "mine")
