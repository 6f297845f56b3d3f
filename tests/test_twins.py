"""Structures that differ from a common one in brightness alone are told by brightness alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atomscope.classify import Classifier, classify, load, teach
from atomscope.classify.beside import Around
from atomscope.classify.twins import Twins, by_brightness, even_light
from atomscope.errors import UsageError
from test_beside import EDGE, square, turned
from test_classify import SPACING

FOREIGN = 0.28  # log brightness of the foreign atoms over their host
FEW = 12


def sheet(seed: int, *, hole: bool = False, slope: float = 0.0) -> pd.DataFrame:
    """A square lattice with a few atoms that are brighter; with `hole`, each beside an empty site.

    Their brightness scatters by 8 %; `slope` is how much brighter the light gets from side to side.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices((EDGE, EDGE)).reshape(2, -1)
    inner = np.flatnonzero((np.minimum(x, y) > 3) & (np.maximum(x, y) < EDGE - 4))
    places = inner[rng.permutation(len(inner))]
    chosen: list[int] = []
    for place in places:
        apart = np.hypot(x[chosen] - x[place], y[chosen] - y[place])
        if len(chosen) < FEW and (not chosen or apart.min() > 4.5):
            chosen.append(int(place))
    kind = np.full(EDGE**2, "host", dtype=object)
    kind[chosen] = "foreign"
    log = FOREIGN * (kind == "foreign") + rng.normal(0, 0.08, EDGE**2) + slope * x / EDGE
    xy = SPACING * np.stack([x, y], axis=1) + rng.normal(0, 0.02 * SPACING, (EDGE**2, 2))
    kept = np.ones(EDGE**2, bool)
    if hole:
        kept[np.array(chosen) + 1] = False
    made = {"x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": 40 * np.exp(log), "truth": kind}
    table = pd.DataFrame(made)[kept].reset_index(drop=True)
    return table.assign(frame=0, atom=np.arange(len(table)))


def examples(table: pd.DataFrame, count: int = 4, seed: int = 0) -> pd.DataFrame:
    inner = table[table[["x_px", "y_px"]].sub(SPACING * EDGE / 2).abs().max(axis=1) < 150]
    rows = inner.groupby("truth").sample(count, random_state=seed)
    return rows[["frame", "atom"]].assign(label=rows["truth"])


def f1(table: pd.DataFrame, by: Classifier) -> float:
    found = classify(table, by)
    told = found["structure_p"].notna()
    said, truth = found["structure"][told] == "foreign", table["truth"][told] == "foreign"
    return float(2 * (said & truth).sum() / (said.sum() + truth.sum()))


@pytest.fixture(scope="module")
def taught() -> Classifier:
    table = sheet(1)
    return teach(table, examples(table))


@pytest.mark.parametrize("draw", [1, 2])
def test_a_few_brighter_atoms_are_found(draw: int) -> None:
    table = sheet(1)
    made = teach(table, examples(table, seed=draw))
    assert made.twins is not None
    assert made.labels == ("foreign", "host")
    assert made.twins.of.tolist() == [1, -1]
    assert abs(made.twins.over[0] - FOREIGN) < 3 * 0.08 / np.sqrt(4)
    unaware = replace(made, twins=None)
    told = [f1(sheet(seed), made) for seed in range(2, 5)]
    before = [f1(sheet(seed), unaware) for seed in range(2, 5)]
    assert np.mean(told) > 0.7
    assert np.mean(told) > np.mean(before) + 0.1


def test_what_stands_elsewhere_is_no_twin() -> None:
    table = sheet(1, hole=True)
    made = teach(table, examples(table))
    assert made.twins is not None
    assert made.twins.of.tolist() == [-1, -1]
    unaware = replace(made, twins=None)
    pd.testing.assert_frame_equal(classify(sheet(2), made), classify(sheet(2), unaware))


@pytest.mark.parametrize("label", ["none", "other"])
def test_the_common_atoms_may_be_marked_as_none(label: str) -> None:
    table = sheet(1)
    table["truth"] = table["truth"].replace("host", label)
    made = teach(table, examples(table))
    assert f1(sheet(2), made) > 0.7


def test_several_images_teach_together(taught: Classifier) -> None:
    parts = [sheet(1), sheet(7)]
    marks = [examples(part, 2).assign(image=str(k)) for k, part in enumerate(parts)]
    made = teach(parts, pd.concat(marks))
    assert made.twins is not None
    assert made.twins.of.tolist() == [1, -1]
    assert made.twins.count[0] == 4


@pytest.mark.parametrize("factor", [0.2, 7.0])
def test_gain_changes_nothing(factor: float, taught: Classifier) -> None:
    table = sheet(2)
    brighter = table.assign(intensity=factor * table["intensity"])
    said, again = classify(table, taught), classify(brighter, taught)
    assert (said["structure"] == again["structure"]).all()
    np.testing.assert_allclose(said["structure_p"], again["structure_p"], atol=1e-3)


def test_uneven_light_is_taken_off(taught: Classifier) -> None:
    even = np.mean([f1(sheet(seed), taught) for seed in (2, 3)])
    uneven = np.mean([f1(sheet(seed, slope=0.8), taught) for seed in (2, 3)])
    assert uneven > even - 0.15


def test_without_brightness_nothing_is_said_of_it(taught: Classifier) -> None:
    table = sheet(2).assign(intensity=np.nan)
    unaware = replace(taught, twins=None)
    pd.testing.assert_frame_equal(classify(table, taught), classify(table, unaware))
    blind = sheet(1).drop(columns="intensity")
    made = teach(blind, examples(sheet(1)))
    assert made.twins is None or (made.twins.of == -1).all()


def test_noise_is_no_illumination() -> None:
    rng = np.random.default_rng(3)
    around, kind = square(), np.zeros(EDGE**2, int)
    noise = rng.normal(0, 0.1, EDGE**2)
    assert np.std(even_light(noise, kind, around) - noise) < 0.03
    slope = np.tile(np.linspace(0, 2, EDGE), EDGE)
    assert np.std(even_light(noise + slope, kind, around)) < 0.2 * np.std(slope)


def doubtful(seed: int = 4) -> tuple[np.ndarray, np.ndarray, Twins]:
    """Probabilities (N, 4) of three structures and none, and brightness; two are twins."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet([20, 1, 1, 1], EDGE**2)
    light = rng.normal(0, 0.1, EDGE**2)
    light[::17] = np.nan
    return p, light, Twins(np.array([-1, -1, 0]), np.array([0, 0, 0.4]), np.array([0, 0, 3]))


def test_together_they_stay_as_probable() -> None:
    p, light, known = doubtful()
    found = by_brightness(p, light, square(), known)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(found[:, [1, 3]], p[:, [1, 3]])
    np.testing.assert_array_equal(found[np.isnan(light)], p[np.isnan(light)])
    bright, dark = np.nanargmax(light), np.nanargmin(light)
    share = found[:, 2] / found[:, [0, 2]].sum(axis=1)
    assert share[bright] > share[dark]


def test_the_order_of_atoms_does_not_matter() -> None:
    p, light, known = doubtful()
    order = np.random.default_rng(5).permutation(len(p))
    found = by_brightness(p, light, square(), known)
    again = by_brightness(p[order], light[order], turned(square(), order), known)
    np.testing.assert_allclose(again, found[order], atol=1e-9)


def test_too_few_common_atoms_say_nothing() -> None:
    p, light, known = doubtful()
    few, nobody = slice(0, 20), np.full((20, 4), -1)
    alone = by_brightness(p[few], light[few], Around(nobody, nobody), known)
    np.testing.assert_array_equal(alone, p[few])


def test_folder_keeps_them(taught: Classifier, tmp_path: Path) -> None:
    again = load(taught.save(tmp_path / "taught"))
    table = sheet(3)
    pd.testing.assert_frame_equal(classify(table, again), classify(table, taught))
    with np.load(tmp_path / "taught" / "examples.npz") as file:
        arrays = dict(file)
    arrays["twin_of"] = np.array([7, -1])
    np.savez(tmp_path / "taught" / "examples.npz", **arrays)
    with pytest.raises(UsageError, match="does not fit its card"):
        load(tmp_path / "taught")
