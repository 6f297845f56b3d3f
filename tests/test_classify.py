"""Structures taught by examples: laws of the embedding, of teaching, and of bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from atomscope.apps.cli import run
from atomscope.classify import (
    Classifier,
    classify,
    label_sets,
    load,
    read_examples,
    suggest,
    teach,
)
from atomscope.classify.embedding import FOLDER, embed, embedder
from atomscope.errors import UsageError
from atomscope.models.surroundings import surroundings

SPACING = 10.0  # px


def honeycomb(seed: int, *, noise: float = 0.05, side: float = 26.0) -> pd.DataFrame:
    """A honeycomb of two columns with foreign atoms (0.3 times, 2.2 times as bright)."""
    rng = np.random.default_rng(seed)
    cell = SPACING * np.sqrt(3) * np.array([[1, 0], [-0.5, np.sqrt(3) / 2]])
    steps = np.stack(np.meshgrid(*[np.arange(-40, 41)] * 2), -1).reshape(-1, 1, 2)
    sites = np.array([[0, 0], [1 / 3, 2 / 3]])
    xy = ((steps + sites) @ cell).reshape(-1, 2)
    kind = np.tile(np.array(["heavy", "light"], dtype=object), len(steps))
    inside = np.abs(xy).max(axis=1) < side * SPACING / 2
    xy, kind = xy[inside], kind[inside]
    light = np.where(kind == "heavy", 1.0, 0.45)
    for name, factor, host in (("weak", 0.5, "light"), ("strong", 2.2, "heavy")):
        chosen = rng.choice(np.flatnonzero(kind == host), len(xy) // 20, replace=False)
        kind[chosen], light[chosen] = name, light[chosen] * factor
    xy = xy + rng.normal(0, 0.02 * SPACING, xy.shape) + 200
    return pd.DataFrame(
        {
            "frame": 0,
            "atom": np.arange(len(xy)),
            "x_px": xy[:, 0],
            "y_px": xy[:, 1],
            "intensity": 100 * light * np.exp(rng.normal(0, noise, len(xy))),
            "truth": kind,
        }
    )


def marked(table: pd.DataFrame, count: int = 5, seed: int = 0) -> pd.DataFrame:
    """Examples of each kind, away from the rim."""
    whole = table[embed(table).whole]
    rows = [rows.sample(count, random_state=seed) for _, rows in whole.groupby("truth")]
    return pd.concat(rows)[["x_px", "y_px", "truth"]].rename(columns={"truth": "label"})


@pytest.fixture(scope="module")
def world() -> pd.DataFrame:
    return honeycomb(1)


@pytest.fixture(scope="module")
def taught(world: pd.DataFrame) -> Classifier:
    return teach(world, marked(world))


def _embedding(xy: NDArray[np.float64], light: NDArray[np.float64]) -> NDArray[np.float32]:
    return embedder().run(surroundings(xy, light).inputs())


@pytest.mark.parametrize("change", ["turn", "mirror", "scale", "shift", "gain", "order"])
def test_embedding_does_not_change_with(change: str, world: pd.DataFrame) -> None:
    xy, light = world[["x_px", "y_px"]].to_numpy(), world["intensity"].to_numpy()
    before = _embedding(xy, light)
    order = np.random.default_rng(0).permutation(len(xy))
    c, s = np.cos(0.7), np.sin(0.7)
    after = {
        "turn": lambda: _embedding(xy @ np.array([[c, s], [-s, c]]), light),
        "mirror": lambda: _embedding(xy * [-1, 1], light),
        "scale": lambda: _embedding(xy * 0.37, light),
        "shift": lambda: _embedding(xy + np.array([31.0, -7.0]), light),
        "gain": lambda: _embedding(xy, light * 40),
        "order": lambda: _embedding(xy[order], light[order])[np.argsort(order)],
    }[change]()
    scale = np.sqrt(np.trace(embedder().scatter))
    assert np.abs(after - before).max() < 1e-4 * max(1.0, scale)
    assert before.std(axis=0).max() > 0.1 * scale  # and says something


def test_embedding_notices_what_is_there(world: pd.DataFrame) -> None:
    xy, light = world[["x_px", "y_px"]].to_numpy(), world["intensity"].to_numpy().copy()
    middle = int(np.argmin(np.abs(xy - xy.mean(axis=0)).sum(axis=1)))
    before = _embedding(xy, light)[middle]
    light[middle] *= 2
    brighter = _embedding(xy, light)[middle]
    assert np.abs(brighter - before).max() > 1e-2


def test_network_is_small() -> None:
    card = yaml.safe_load((FOLDER / "structures.yaml").read_text())
    assert card["parameters"] <= 10_000


def test_examples_are_found_again_elsewhere(taught: Classifier) -> None:
    other = honeycomb(2)
    found = classify(other, taught)
    whole = embed(other).whole
    right = (found["structure"] == found["truth"])[whole]
    by_kind = right.groupby(found["truth"][whole]).mean()
    assert by_kind.min() > 0.75
    assert found["structure_p"][whole].between(0, 1).all()
    assert (found["structure"][~whole] == "").all()
    assert found["structure_p"][~whole].isna().all()


def test_more_examples_do_no_harm(world: pd.DataFrame) -> None:
    other = honeycomb(3, noise=0.1)
    whole = embed(other).whole

    def score(count: int) -> float:
        runs = [classify(other, teach(world, marked(world, count, s))) for s in range(3)]
        return float(np.mean([(r["structure"] == r["truth"])[whole].mean() for r in runs]))

    assert score(12) > score(1) - 0.02


def test_what_was_not_shown_is_less_sure(world: pd.DataFrame) -> None:
    examples = marked(world)
    part = teach(world, examples[examples["label"] != "strong"])
    whole = embed(world).whole
    p = part.probabilities(embed(world).values[whole])
    strong = (world["truth"] == "strong").to_numpy()[whole]
    assert np.median(p[strong, -1]) > 5 * np.median(p[~strong, -1])


def test_negatives_count_as_none(world: pd.DataFrame) -> None:
    examples = marked(world)
    examples["label"] = examples["label"].where(examples["label"] == "weak", "none")
    made = teach(world, examples)
    assert made.labels == ("weak",)
    assert set(classify(world, made)["structure"]) == {"weak", ""}


def test_sets_of_labels_hold_the_truth(world: pd.DataFrame) -> None:
    made = teach(world, marked(world, 20), level=0.9)
    other = honeycomb(4)
    whole = embed(other).whole
    sets = label_sets(other, made)
    # as many of each kind as were shown: what the level speaks of
    held = pd.Series([t in s for t, s in zip(other["truth"], sets, strict=True)])[whole]
    assert held.groupby(other["truth"][whole]).mean().mean() > 0.8
    assert np.mean([len(s) for s, yes in zip(sets, whole, strict=True) if yes]) < 2.5


def test_folder_gives_the_same_answers(
    world: pd.DataFrame, taught: Classifier, tmp_path: Path
) -> None:
    again = load(taught.save(tmp_path / "mine"))
    pd.testing.assert_frame_equal(classify(world, again), classify(world, taught))
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {"card.yaml", "examples.npz"}


def test_several_images(world: pd.DataFrame) -> None:
    other = honeycomb(5)
    first, second = marked(world).assign(image="a.tif"), marked(other).assign(image="b")
    made = teach([world, other], pd.concat([first, second]), images=["a.tif", "b.tif"])
    assert set(made.card.examples.values()) == {10}


def test_suggestions_are_doubtful_and_apart(world: pd.DataFrame, taught: Classifier) -> None:
    places = suggest(world, taught, 4)
    assert len(places) == places["atom"].nunique() == 4
    assert places["doubt"].max() > 0.1


CASES = {
    "far": ({"x_px": [-50.0], "y_px": [200.0], "label": ["a"]}, "the nearest atom of .* px away"),
    "contradiction": ({"atom": [7, 7], "label": ["a", "b"]}, "examples 1 and 2 mark the same atom"),
    "no label": ({"atom": [7, 8], "label": ["a", ""]}, "row 2 has no label"),
    "empty": ({"atom": [], "label": []}, "holds no examples"),
    "no atom": ({"atom": [10**6], "label": ["a"]}, "has no atom 1000000"),
    "columns": ({"x": [1.0], "label": ["a"]}, "expected label, and x_px and y_px"),
    "only none": ({"atom": [7], "label": ["none"]}, "every label is 'none'"),
    "odd": ({"atom": [7], "label": ["a\x00b"]}, "odd characters"),
    "frame": ({"atom": [7], "frame": [3], "label": ["a"]}, "nothing to mark in frame 3"),
    "place": ({"x_px": [np.nan], "y_px": [1.0], "label": ["a"]}, "no position"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_examples_are_named(case: str, world: pd.DataFrame) -> None:
    data, message = CASES[case]
    with pytest.raises(UsageError, match=message) as caught:
        teach(world, pd.DataFrame(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_tables_of_few_atoms(rows: int, world: pd.DataFrame, taught: Classifier) -> None:
    few = world.iloc[:rows].assign(x_px=1.0, y_px=1.0)  # all in one point
    assert len(classify(few, taught)) == rows
    assert len(suggest(few, taught)) == 0
    few.loc[few.index[:1], "x_px"] = np.nan
    assert (classify(few, taught)["structure"] == "").all()


def test_damaged_folders_are_named(taught: Classifier, tmp_path: Path) -> None:
    folder = taught.save(tmp_path / "mine")
    card = yaml.safe_load((folder / "card.yaml").read_text())

    def expect(message: str, **change: object) -> None:
        (folder / "card.yaml").write_text(yaml.safe_dump({**card, **change}))
        with pytest.raises(UsageError, match=message):
            load(folder)

    expect("format 9", format=9)
    expect("teach it again", network_sha256="0" * 64)
    expect("not a classifier", labels=3)
    expect("does not fit", labels=["a"])
    (folder / "examples.npz").write_bytes(b"no")
    expect("not a classifier")
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="atomscope teach"):
        load(folder)


def test_command(world: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world.to_csv(tmp_path / "atoms.csv", index=False)
    marked(world).to_csv(tmp_path / "marks.csv", index=False)
    assert len(read_examples(tmp_path / "marks.csv")) == 20
    words = ["teach", str(tmp_path / "marks.csv"), str(tmp_path), "-o", str(tmp_path / "mine")]
    assert run([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["examples"] == {"heavy": 5, "light": 5, "strong": 5, "weak": 5}
    assert min(report["found"].values()) > 0
    assert run([*words[:2], "-o", str(tmp_path / "mine")]) == 2
    assert "no image given" in capsys.readouterr().err
    assert run(["analyze", "--sample", "graphene-si", "--classifier", str(tmp_path / "no")]) == 2
    assert "atomscope teach" in capsys.readouterr().err
