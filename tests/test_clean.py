"""Sets of noise-free frames: layers with labelled defects, and patches cut from stored frames."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from atomscope.apps.cli import run
from atomscope.errors import InputError, UsageError
from atomscope.simulate import clean, shards
from atomscope.simulate.dataset import World, patch
from atomscope.simulate.imaging import render
from atomscope.simulate.recording import Patch
from atomscope.simulate.scene import OTHER
from atomscope.simulate.sheets import columns_of
from atomscope.simulate.specimen import RECIPES, SpecimenRecipe, specimen, truth
from atomscope.train.settings import WorldSettings

CLASSES = ("A", "B", "gap")
PIXEL = (0.15, 0.14)  # Å, y and x
SHAPE = (140, 160)  # px: 21 by 22.4 Å
SIGMA = 0.42  # Å


def lattice_patch(seed: int) -> Patch:
    """A chiral periodic pattern of two species with gaps, drawn sharp and without noise."""
    rng = np.random.default_rng(seed)
    steps = np.stack(np.meshgrid(np.arange(7), np.arange(7)), -1).reshape(-1, 1, 2)
    cell = np.array([3.2, 3.0])
    xy = (steps + np.array([[0.2, 0.2], [0.7, 0.4]])).reshape(-1, 2) * cell
    label = np.tile([0, 1], 49)
    label[rng.choice(len(label), 6, replace=False)] = 2
    weight = np.array([1.0, 0.6, 0.0])[label] * 3e-4  # shares of the beam
    every = np.concatenate([xy + cell * 7 * [i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    pixel = np.array(PIXEL[::-1])
    at, sigma = every / pixel, SIGMA / pixel
    y, x = np.arange(SHAPE[0]), np.arange(SHAPE[1])
    rows = np.exp(-0.5 * ((y - at[:, 1:]) / sigma[1]) ** 2)
    cols = np.exp(-0.5 * ((x - at[:, :1]) / sigma[0]) ** 2)
    frame = (rows * np.tile(weight, 9)[:, None]).T @ cols
    return Patch(frame.astype(np.float32), xy / pixel, label)


def write(folder: Path, **notes: object) -> Path:
    about = {"pixel_size_angstrom": PIXEL, "periodic": True} | notes
    shards.write_set(folder, shards.Plan({}, CLASSES, 1, 3, 2, about), lattice_patch)
    return folder


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("clean") / "set")


def test_width_spacing_and_height_are_measured(stored):
    for frame in clean.load_clean(stored, CLASSES):
        assert frame.sigma == pytest.approx(SIGMA, rel=0.03)
        assert frame.spacing == pytest.approx(np.hypot(1.6, 0.6), rel=1e-3)
        np.testing.assert_allclose(frame.height[frame.label == 0], 1.0, atol=0.05)


@pytest.mark.parametrize("seed", range(6))
def test_columns_stay_where_the_frame_shows_them(stored, seed):
    """Turned, mirrored, rescaled and cropped, frame and truth still fit each other."""
    rng = np.random.default_rng(seed)
    frames = clean.load_clean(stored, CLASSES)
    frame, scene, sigma = clean.view(rng, 128, 8.0, 2.3, frames)
    assert sigma == pytest.approx(max(2.3, SIGMA / frames[0].spacing * 8), rel=0.03)
    weight = np.array([1.0, 0.6, 0.0])[scene.label]
    drawn = render(scene.xy, weight, sigma, (128, 128))
    assert np.corrcoef(drawn.ravel(), frame.ravel())[0, 1] > 0.998
    assert frame.mean() == pytest.approx(drawn.mean(), rel=0.08)
    nearest = cKDTree(scene.xy).query(scene.xy, k=2)[0][:, 1]
    assert np.median(nearest) == pytest.approx(8.0, rel=0.06)


def test_patches_hold_the_classes_of_the_set(stored):
    world = WorldSettings(kinds=(0.9, 0.0, 0.1), clean=str(stored)).world(CLASSES)
    drawn = [patch(np.random.default_rng(s), 96, world) for s in range(12)]
    assert {int(v) for p in drawn for v in p.label} == {0, 1, 2}
    assert all(np.isfinite(p.frame).all() and p.frame.shape == (96, 96) for p in drawn)
    again = patch(np.random.default_rng(3), 96, world)
    np.testing.assert_array_equal(again.frame, drawn[3].frame)
    plain = WorldSettings(kinds=(1.0, 0.0, 0.0), clean=str(stored)).world()
    assert set(patch(np.random.default_rng(1), 96, plain).label) == {OTHER}


def test_dark_columns_become_bright(stored, tmp_path):
    def inverted(index: int) -> Patch:
        drawn = lattice_patch(index)
        return drawn._replace(frame=1 - drawn.frame)

    plan = shards.Plan({}, CLASSES, 1, 1, 1, {"pixel_size_angstrom": PIXEL, "periodic": True})
    shards.write_set(tmp_path / "dark", plan, inverted)
    dark, bright = clean.load_clean(tmp_path / "dark", CLASSES), clean.load_clean(stored, CLASSES)
    np.testing.assert_allclose(dark[0].spline, bright[0].spline, atol=2e-3)


def test_an_empty_world_still_has_no_atoms(stored):
    world = World(kinds=(0.0, 0.0, 1.0), clean=clean.load_clean(stored, CLASSES))
    assert len(patch(np.random.default_rng(1), 64, world).xy) == 0


class TestSpecimens:
    """Layers with changes; drawing one needs no abTEM."""

    @pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
    @pytest.mark.parametrize("seed", [1, 2])
    def test_every_change_has_its_label(self, path, seed):
        recipe = SpecimenRecipe.load(path.stem)
        sheet = specimen(recipe, np.random.default_rng(seed))
        xy, label = truth(sheet, recipe)
        host = sheet.atoms.arrays["host"]
        lost = sum(len(d.empty) for d in sheet.defects)
        columns = columns_of(sheet)
        assert sum(len(n) for n in columns.numbers) == len(sheet.atoms)
        named = Counter(recipe.classes[i] for i in label)
        for formula, name in recipe.columns.items():
            if formula != "empty":
                assert named[name] == columns.species.count(formula)
        whole = [c for c in recipe.changes if c.remove]
        assert named["vacancy"] <= sum(c.count[1] for c in whole)
        assert lost > 0 or named["vacancy"] == 0
        assert len(xy) == len(columns.xy) + named["vacancy"]
        foreign = np.array(sheet.atoms.get_chemical_symbols()) != host
        assert foreign.sum() == named.get("heavier", 0)

    def test_the_same_seed_gives_the_same_layer(self):
        recipe = SpecimenRecipe.load("mos2-s")
        first, second, other = (specimen(recipe, np.random.default_rng(s)) for s in (1, 1, 2))
        np.testing.assert_array_equal(first.atoms.positions, second.atoms.positions)
        assert len(first.atoms) != len(other.atoms) or not np.allclose(
            first.atoms.positions, other.atoms.positions
        )

    def test_too_many_changes_are_refused(self):
        recipe = SpecimenRecipe.load("graphene-si")
        many = recipe.changes[0].model_copy(update={"count": (90, 90)})
        with pytest.raises(UsageError, match="no free column C"):
            specimen(recipe.model_copy(update={"changes": (many,)}), np.random.default_rng(1))


def test_multislice_sets_are_sources_of_patches(tmp_path):
    """From a layer by abTEM to a patch: the columns are where the frame is bright."""
    pytest.importorskip("abtem")
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nstructure: graphene\nedges: [12, 12]\nclasses: [C, heavier, vacancy]\n"
        "columns: {C: C, Si: heavier, empty: vacancy}\nenergy: 60.0e+3\nsemiangle: 25\n"
        "detector: [40, 100]\npixel_size: 0.2\nchanges:\n"
        "  - {at: C, put: Si, count: [1, 1]}\n  - {at: C, remove: 1, count: [1, 1]}\n"
    )
    options = ["--multislice", "--count", "1", "-o", str(tmp_path / "set")]
    assert run(["simulate", str(path), *options]) == 0
    frame = clean.load_clean(tmp_path / "set", ("C", "heavier", "vacancy"))[0]
    named = [frame.height[frame.label == i] for i in range(3)]
    assert [len(heights) for heights in named[1:]] == [1, 1]
    assert named[1][0] > named[0].max()
    assert named[2][0] < 0.5 * named[0].min()
    drawn, scene, _ = clean.view(np.random.default_rng(1), 96, 9.0, 2.0, (frame,))
    cols, rows = np.rint(scene.xy[scene.label == 0]).astype(int).T
    inside = (cols >= 0) & (cols < 96) & (rows >= 0) & (rows < 96)
    assert np.median(drawn[rows[inside], cols[inside]]) > 1.3 * np.median(drawn)


class TestErrors:
    """One clear line each."""

    def test_a_set_with_noise_is_no_source(self, tmp_path):
        with pytest.raises(InputError, match="--multislice"):
            clean.load_clean(write(tmp_path / "set", periodic=False), CLASSES)

    def test_labels_must_be_known(self, stored):
        with pytest.raises(UsageError, match="labelled gap"):
            WorldSettings(clean=str(stored)).world(("A", "B"))

    def test_there_must_be_a_set(self, tmp_path):
        with pytest.raises(InputError, match="no set"):
            WorldSettings(clean=str(tmp_path)).world(CLASSES)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ("{at: C, count: [1, 2]}", "either"),
            ("{at: C, put: Si, remove: 1, count: [1, 2]}", "either"),
            ("{at: C, putt: Si, count: [1, 2]}", "putt"),
        ],
    )
    def test_wrong_recipes(self, tmp_path, capsys, change, words):
        path = tmp_path / "wrong.yaml"
        path.write_text(
            "name: wrong\nstructure: graphene\nclasses: [C]\ncolumns: {C: C}\n"
            f"detector: [60, 150]\nchanges: [{change}]\n"
        )
        options = ["--multislice", "-o", str(tmp_path / "set")]
        assert run(["simulate", str(path), *options]) == 2
        line = capsys.readouterr().err
        assert words in line
        assert line.count("\n") == 1

    def test_without_abtem(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "abtem", None)
        options = ["--multislice", "-o", str(tmp_path / "set")]
        assert run(["simulate", "graphene-si", *options]) == 3
        assert "atomscope[simulate]" in capsys.readouterr().err
        assert not (tmp_path / "set").exists()

    def test_size_and_multislice_exclude_each_other(self, tmp_path, capsys):
        options = ["--multislice", "--size", "64", "-o", str(tmp_path / "set")]
        assert run(["simulate", "graphene-si", *options]) == 2
        assert "size 64 px: expected none with multislice" in capsys.readouterr().err
