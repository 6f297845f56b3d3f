"""Task chains: laws of probabilities that are carried through, of recipes, and of bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atomscope.apps.cli import run
from atomscope.classify import Classifier, classify, teach
from atomscope.classify.gates import Answer, ends, holds, marginal, opened
from atomscope.classify.given import by_examples, by_words, shipped
from atomscope.classify.given import found as found_classifier
from atomscope.classify.shares import with_shares
from atomscope.columns import ATOMS, DEFECTS, STEPS, conform, empty
from atomscope.errors import UsageError
from atomscope.pipeline import analyze
from atomscope.pipeline.chain import Chained, chain_of, chained
from atomscope.recipe import (
    NONE,
    ClassifyStage,
    DetectStage,
    Recipe,
    SortStage,
    load,
    names,
)
from atomscope.simulate.named import named_frame
from test_classify import honeycomb, marked

NO_DEFECTS = empty(DEFECTS)


@pytest.fixture(scope="module")
def world() -> pd.DataFrame:
    table = honeycomb(1)
    return conform(table, ATOMS).assign(species=table["truth"], species_p=0.9)


@pytest.fixture(scope="module")
def taught(world: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = teach(world, marked(world, 8))
    return made.save(tmp_path_factory.mktemp("taught") / "mine")


def recipe_of(*steps: ClassifyStage | SortStage) -> Recipe:
    return Recipe(stages=(DetectStage(), *steps))


def asked(table: pd.DataFrame, *steps: ClassifyStage | SortStage) -> Chained:
    return chained(table, NO_DEFECTS, chain_of(recipe_of(*steps)))


def sort(step: str, **changes: object) -> SortStage:
    data = {"step": step, "by": "species", "labels": {"metal": ["heavy", "strong"]}} | changes
    return SortStage.model_validate(data)


def random_answers(seed: int, count: int = 7) -> list[Answer]:
    """A chain of four steps of random answers and gates."""
    rng = np.random.default_rng(seed)
    made: list[Answer] = []
    for n in range(4):
        labels = tuple("abc"[: rng.integers(1, 4)])
        among = {
            a.step: tuple(rng.choice([*a.labels, NONE], rng.integers(1, 3), replace=False))
            for a in made
            if rng.random() < 0.6
        }
        given = rng.dirichlet(np.full(len(labels) + 1, 0.4), count)
        made.append(Answer(f"s{n}", labels, given, among))
    return made


def drawn(answers: list[Answer], rng: np.random.Generator) -> dict[str, str]:
    """Draw what each step says of atom 0, as the definition of a chain has it."""
    said: dict[str, str] = {}
    for a in answers:
        inside = all(said[step] in labels for step, labels in a.among.items())
        words = [*a.labels, NONE]
        said[a.step] = str(rng.choice(words, p=a.given[0])) if inside else NONE
    return said


@given(st.integers(0, 500))
def test_probabilities_of_steps_and_ends_sum_to_one(seed: int) -> None:
    answers = random_answers(seed)
    for number in range(len(answers)):
        p = marginal(answers, number, 7)
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
        assert p.min() >= -1e-12
    pairs, p = ends(answers, 7)
    assert len(pairs) == sum(len(a.labels) for a in answers)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    assert p.min() >= -1e-12


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ends_are_those_of_chains_drawn_at_random(seed: int) -> None:
    answers, rng = random_answers(seed), np.random.default_rng(seed)
    pairs, p = ends(answers, 7)
    draws = 4000
    counts = dict.fromkeys([*pairs, None], 0)
    for _ in range(draws):
        said = drawn(answers, rng)
        last = [(a.step, said[a.step]) for a in answers if said[a.step] != NONE]
        counts[last[-1] if last else None] += 1
    found = np.array([counts[pair] for pair in [*pairs, None]]) / draws
    assert np.abs(found - p[0]).max() < 4 * 0.5 / np.sqrt(draws)


def test_a_step_behind_a_closed_gate_says_none(world: pd.DataFrame, taught: Path) -> None:
    nothing = sort("nothing", labels={"gold": ["Au"]}, doubt=0.0)
    nothing_sure = world.assign(species_p=1.0)
    look = ClassifyStage(classifier=str(taught), step="look", among={"nothing": ("gold",)})
    found = asked(nothing_sure, nothing, look)
    steps = found.steps[found.steps["step"] == "look"]
    assert (steps["label"] == NONE).all()
    assert steps["p"].min() > 0.99
    assert set(found.atoms["structure"]) == {""}
    gate = Answer("shut", ("x",), np.tile([0.0, 1.0], (3, 1)))
    behind = Answer("b", ("y",), np.full((3, 2), np.nan), {"shut": ("x",)})
    np.testing.assert_array_equal(marginal([gate, behind], 1, 3), [[0.0, 1.0]] * 3)


def test_chain_of_one_step_is_plain_classify(world: pd.DataFrame, taught: Path) -> None:
    made = found_classifier(taught)
    plain = classify(world, made)
    found = asked(world, ClassifyStage(classifier=str(taught)))
    assert (found.atoms["structure"] == plain["structure"]).all()
    np.testing.assert_allclose(found.atoms["structure_p"], plain["structure_p"], atol=1e-12)
    assert set(found.steps["step"]) == {"mine"}


def test_open_gate_is_the_classification_of_the_subset(world: pd.DataFrame, taught: Path) -> None:
    made = found_classifier(taught)
    seen = made.see(world)
    chosen = world["species"].isin(["heavy", "strong"]).to_numpy()
    said = by_examples(seen, made, chosen.astype(float))
    rows = np.flatnonzero(chosen & seen.whole)
    alone = made.answers(seen, rows)
    np.testing.assert_allclose(said[rows], alone, atol=1e-12)


def test_weights_of_one_change_no_shares() -> None:
    p = np.random.default_rng(5).dirichlet([1, 2, 0.2], 400)
    np.testing.assert_allclose(with_shares(p, np.ones(400))[0], with_shares(p)[0], atol=1e-12)


def test_doubt_of_a_gate_stays_in_what_is_behind_it() -> None:
    gate = Answer("gate", ("in",), np.array([[0.7, 0.3]]))
    behind = Answer("b", ("x", "y"), np.array([[0.8, 0.15, 0.05]]), {"gate": ("in",)})
    np.testing.assert_allclose(marginal([gate, behind], 1, 1), [[0.56, 0.105, 0.335]])
    # what follows from the gate does not count twice
    third = {"gate": frozenset(["in"]), "b": frozenset(["x"])}
    np.testing.assert_allclose(holds([gate, behind], third, 1), [0.56])
    np.testing.assert_allclose(opened([gate, behind], {"b": ("y",), "gate": (NONE,)}, 1), [0.0])


def test_order_of_independent_steps_does_not_matter(world: pd.DataFrame, taught: Path) -> None:
    first, second = sort("metal"), ClassifyStage(classifier=str(taught), step="mine")
    keys = ["step", "frame", "atom"]
    one, other = asked(world, first, second), asked(world, second, first)
    pd.testing.assert_frame_equal(
        one.steps.sort_values(keys, ignore_index=True),
        other.steps.sort_values(keys, ignore_index=True),
    )


def test_rules_share_out_what_they_doubt() -> None:
    words = np.array(["Mo", "W", "W", "Mo", "", "Mo"], dtype=object)
    sure = np.array([1.0, 1.0, 0.6, 0.9, np.nan, np.nan])
    p = by_words(words, sure, {"dopant": ["W", "V"]}, np.ones(6))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert p[1, 0] == 1.0
    assert 0.6 < p[2, 0] < 0.9
    assert p[0, 1] == 1.0
    assert 0 < p[3, 0] < 0.1
    wild = by_words(words, sure, {"any": ["*o"]}, np.ones(6))
    assert (wild[[0, 3], 0] > 0.9).all()
    doubted = by_words(words, sure, {"dopant": ["W"]}, np.ones(6), doubt=0.2)
    assert doubted[1, 0] < 0.9


def test_defects_sort_their_atoms(world: pd.DataFrame) -> None:
    number = pd.array([pd.NA] * len(world), dtype="Int64")
    number[:4] = 0
    number[4:6] = 1
    defects = conform(
        pd.DataFrame({"frame": 0, "defect": [0, 1], "name": ["V_S", "W_Mo"], "p": [0.8, 0.9]}),
        DEFECTS,
    )
    rule = sort("vacancy", by="defect", labels={"vacancy": ["V_*"]})
    found = chained(world.assign(defect=number), defects, chain_of(recipe_of(rule)))
    assert (found.steps["label"] == "vacancy").to_numpy().nonzero()[0].tolist() == [0, 1, 2, 3]
    assert found.steps["p"][:4].between(0.8, 0.81).all()


def test_what_no_column_says_is_a_warning(world: pd.DataFrame) -> None:
    found = asked(world.assign(species=""), sort("metal"))
    assert len(found.warnings) == 1
    assert "elements" in found.warnings[0]
    assert (found.steps["label"] == NONE).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_tables_of_few_atoms(rows: int, world: pd.DataFrame, taught: Path) -> None:
    few = world.iloc[:rows].assign(x_px=1.0, y_px=1.0)
    found = asked(few, sort("metal"), ClassifyStage(classifier=str(taught)))
    assert len(found.atoms) == rows
    assert len(found.steps) == 2 * rows
    assert list(found.steps.columns) == [c.name for c in STEPS]


@pytest.mark.parametrize("name", names())
def test_recipes_come_back_from_their_text(name: str, tmp_path: Path, taught: Path) -> None:
    for recipe in (load(name), load(name).with_classifiers([taught, taught])):
        path = tmp_path / "again.yaml"
        path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")), encoding="utf-8")
        assert load(path) == recipe


def test_shipped_chains_can_run() -> None:
    used = {
        step.classifier
        for name in names()
        for step in load(name).steps
        if isinstance(step, ClassifyStage)
    }
    assert used == set(shipped())
    for name in names():
        assert len(chain_of(load(name)).steps) == len(load(name).steps)


def test_given_classifiers_are_steps_of_the_recipe(taught: Path) -> None:
    recipe = load("columns").with_classifiers([taught, taught])
    assert [step.name for step in recipe.steps] == ["mine", "mine-2"]
    assert recipe.steps[1].among == {"mine": (NONE,)}
    kinds = [s.stage for s in recipe.stages]
    assert kinds.index("track") == kinds.index("classify") + 2 == kinds.index("name") + 3


def test_classifier_beside_the_recipe_is_found(taught: Path, tmp_path: Path) -> None:
    made = found_classifier(taught)
    Classifier(made.card, made.values, made.kind).save(tmp_path / "lines")
    stages = [{"stage": "detect"}, {"stage": "classify", "classifier": "lines"}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"stages": stages}))
    recipe = load(tmp_path / "mine.yaml")
    assert recipe.steps[0].name == "lines"
    assert chain_of(recipe).classifiers["lines"].labels == made.labels


TMD = {"stage": "classify", "classifier": "tmd-phases", "step": "phase"}
LAST = {"stage": "sort", "step": "dopant", "by": "species", "labels": {"W": ["W"]}}
BAD = {
    "later step": ([{**LAST, "among": {"phase": ["1T"]}}, TMD], "'phase', which is not before"),
    "unknown step": ([TMD, {**LAST, "among": {"host": ["x"]}}], "before it are: phase"),
    "unknown label": ([TMD, {**LAST, "among": {"phase": ["2H"]}}], "among '2H'.*1H, 1T, none"),
    "one name": ([TMD, TMD], "'phase' is there twice"),
    "no folder": ([{**TMD, "classifier": "nowhere"}], "nowhere.*atomscope teach"),
    "unknown key": ([{**TMD, "amongst": {}}], "amongst"),
    "unknown rule": ([{**LAST, "by": "colour"}], "by"),
    "no labels": ([{**LAST, "labels": {}}], "labels"),
    "none": ([{**LAST, "labels": {"none": ["W"]}}], "leave it out"),
    "doubt": ([{**LAST, "doubt": 1.5}], "doubt"),
    "order": ([{"stage": "track"}, TMD], "in this order"),
    "measure": ([{"stage": "measure"}, TMD], "in this order"),
    "split": ([TMD, {"stage": "name"}, LAST], "in this order"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_recipes_are_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, message = BAD[case]
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"stages": [{"stage": "detect"}, *steps]}))
    with pytest.raises(UsageError, match=message):
        chain_of(load(path))
    words = ["analyze", "--sample", "graphene-si", "--recipe", str(path), "-o", str(tmp_path / "o")]
    assert run(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_command_runs_a_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = named_frame("1H-MoS2", ("V_S",) * 3 + ("W_Mo",) * 2, 3, size_px=300, dose=300.0)
    np.save(tmp_path / "frame.npy", frame.image)
    words = ["analyze", str(tmp_path / "frame.npy"), "--pixel-size", "0.11", "--recipe"]
    out = tmp_path / "out"
    assert run([*words, "tmd-chain", "-o", str(out), "--json"]) == 0
    atoms = pd.read_csv(out / "atoms.csv", keep_default_na=False)
    steps = pd.read_csv(out / "steps.csv")
    assert len(steps) == 4 * len(atoms)
    assert steps["p"].dropna().between(0, 1).all()
    seen = atoms.loc[atoms["structure_p"] != "", "structure"]
    assert len(seen) > 0.6 * len(atoms)
    assert (seen == "1H").mean() > 0.8
    assert (seen == "1T").mean() < 0.05
    card = json.loads((out / "run.json").read_text())
    assert set(card["structures"]["steps"]) == {"dopant", "phase", "boundary", "vacancy"}
    assert sum(card["structures"]["steps"]["phase"].values()) == len(atoms)
    assert "1H" in capsys.readouterr().out or card["structures"]["found"]["1H"] > 0
    numbers = pd.read_csv(out / "measures.csv", keep_default_na=False)
    assert "1H" in set(numbers["group"])
    assert "boundary" in (out / "report.html").read_text(encoding="utf-8")


def test_without_a_chain_no_table_of_steps(tmp_path: Path) -> None:
    frame = named_frame("graphene", (), 4, size_px=160, dose=60.0)
    result = analyze(frame.image, pixel_size=0.11)
    assert len(result.steps) == 0
    result.save(tmp_path)
    assert not {"steps.csv", "measures.csv"} & {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("host", "recipe"), [("graphene", "tmd-chain"), ("1H-MoS2", "graphene-chain")]
)
def test_a_chain_says_nothing_of_a_lattice_that_it_was_not_taught(host, recipe):
    frame = named_frame(host, (), seed=22, dose=80.0)
    found = analyze(frame.image, pixel_size=frame.pixel_size, recipe=recipe)
    assert set(found.atoms["structure"]) == {""}
    assert found.atoms["structure_p"].isna().all()
    assert sum("were taught" in line for line in found.warnings) == 1
    own = "tmd-chain" if host == "1H-MoS2" else "graphene-chain"
    found = analyze(frame.image, pixel_size=frame.pixel_size, recipe=own)
    assert found.atoms["structure_p"].notna().any()
    assert not any("were taught" in line for line in found.warnings)


def test_a_chain_says_nothing_of_species_that_it_was_not_taught():
    frame = named_frame("graphene", ("Si1C3",), seed=21, dose=60.0)
    found = analyze(frame.image, elements="C,Si", recipe="tmd-chain")  # no pixel size
    assert set(found.atoms["structure"]) == {""}
    assert sum("were taught" in line for line in found.warnings) == 1
