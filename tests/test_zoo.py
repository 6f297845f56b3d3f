"""The zoo: which model is chosen for a lattice, and what becomes of its answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atomscope import analyze
from atomscope.detect.label import judged_together
from atomscope.detect.tiles import Found
from atomscope.lattice import fit_lattice
from atomscope.models.store import ZOO, ColumnClass, read_card
from atomscope.pipeline.zoo import choose_model
from atomscope.simulate.crystals import columns_along
from atomscope.simulate.materials import material
from atomscope.simulate.samples import graphene_si

PIXEL = 0.13


def seen(name: str, zone=(0, 0, 1), *, angle: float = 0.3, seed: int = 0):
    """Columns of a material as a table of atoms, and their lattice."""
    columns = columns_along(material(name).atoms, zone, edge=50)
    weight = columns.weights()
    shown = weight > 0.15
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rng = np.random.default_rng(seed)
    xy = columns.xy[shown] @ turn / PIXEL + 300 + rng.normal(0, 0.2, (shown.sum(), 2))
    intensity = weight[shown] * rng.normal(1, 0.05, shown.sum())
    kept = rng.random(len(xy)) > 0.03
    atoms = pd.DataFrame({"x_px": xy[kept, 0], "y_px": xy[kept, 1], "intensity": intensity[kept]})
    return fit_lattice(xy[kept], intensity[kept]), atoms


@pytest.mark.parametrize(
    ("name", "zone", "model"),
    [
        ("graphene", (0, 0, 1), "graphene"),
        ("1H-MoS2", (0, 0, 1), "tmd"),
        ("1H-WSe2", (0, 0, 1), "tmd"),
        ("SrTiO3", (0, 0, 1), "perovskite"),
        ("Si", (1, 1, 0), "dumbbell"),
        ("GaAs", (1, 1, 0), "dumbbell"),
        ("hBN", (0, 0, 1), None),
        ("Au", (1, 1, 0), None),
        ("Al", (0, 0, 1), None),
        ("TiO2", (0, 0, 1), None),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_the_lattice_decides(name, zone, model, angle):
    lattice, atoms = seen(name, zone, angle=angle)
    assert choose_model(lattice, atoms, PIXEL).name == model


def test_another_size_of_pixel_is_another_lattice():
    lattice, atoms = seen("graphene")
    assert choose_model(lattice, atoms, PIXEL * 1.3).name is None


def test_without_a_pixel_size_nothing_is_chosen_and_the_remedy_is_said():
    lattice, atoms = seen("graphene")
    choice = choose_model(lattice, atoms, None)
    assert choice.name is None
    assert "--pixel-size" in choice.why


def test_random_points_have_no_model(rng):
    xy = rng.uniform(0, 300, (200, 2))
    atoms = pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": 1.0})
    assert choose_model(fit_lattice(xy), atoms, PIXEL).name is None


def test_weights_name_no_folder_of_the_machine_that_made_them():
    weights = sorted(ZOO.glob("*/*.onnx"))
    assert len(weights) >= 7
    for path in weights:
        assert b"site-packages" not in path.read_bytes(), path.parent.name


CLASSES = tuple(
    ColumnClass(name=name, share=share, vacant=name == "vacancy")
    for name, share in (("C", 0.9), ("heavier", 0.04), ("lighter", 0.03), ("vacancy", 0.03))
)


def movie_of(rng, frames: int, doubts: int = 0, dopants: int = 0) -> list[Found]:
    """Frames of 100 sites: carbon, an empty site, clear dopants, and doubtful ones in the first."""
    label = np.tile([0.99, 0.004, 0.004, 0.002], (frames, 100, 1))
    label[:, -1] = (0.01, 0.01, 0.04, 0.94)
    label[:, :dopants] = (0.001, 0.998, 0.0005, 0.0005)
    label[0, 50 : 50 + doubts] = (0.3, 0.6, 0.05, 0.05)
    return [Found(rng.uniform(0, 99, (100, 2)), np.full(100, 0.95), each) for each in label]


class TestJudgedTogether:
    """Labels that know the shares of the rest of the movie."""

    def test_a_single_frame_and_unknown_shares_stay(self, rng):
        one, movie = movie_of(rng, 1, doubts=3), movie_of(rng, 5, doubts=3)
        unknown = tuple(c.model_copy(update={"share": 0.0}) for c in CLASSES)
        for before, classes in ((one, CLASSES), (movie, unknown)):
            for a, b in zip(before, judged_together(before, classes), strict=True):
                np.testing.assert_array_equal(a.label, b.label)

    def test_doubts_that_no_other_frame_shares_go_and_clear_dopants_stay(self, rng):
        first = judged_together(movie_of(rng, 8, doubts=2), CLASSES)[0]
        assert np.all(first.label[50:52].argmax(1) == 0)
        for frame in judged_together(movie_of(rng, 8, dopants=1), CLASSES):
            assert frame.label[0, 1] > 0.95
            assert np.all(frame.label[1:-1].argmax(1) == 0)

    def test_where_dopants_are_common_doubts_are_rather_such(self, rng):
        first = judged_together(movie_of(rng, 8, doubts=2, dopants=10), CLASSES)[0]
        assert np.all(first.label[50:52, 1] > 0.6)

    def test_empty_sites_keep_their_probability(self, rng):
        movie = movie_of(rng, 6, doubts=1, dopants=2)
        for before, after in zip(movie, judged_together(movie, CLASSES), strict=True):
            np.testing.assert_allclose(before.label[:, 3], after.label[:, 3], atol=1e-12)
            np.testing.assert_allclose(after.label.sum(1), 1, atol=1e-9)

    def test_the_order_of_frames_does_not_matter_and_empty_ones_tell_nothing(self, rng):
        movie = movie_of(rng, 5, doubts=2, dopants=1)
        none = Found(np.empty((0, 2)), np.empty(0), np.empty((0, 4)))
        plain = judged_together(movie, CLASSES)
        turned = judged_together([none, *movie[::-1]], CLASSES)
        assert turned[0].label.shape == (0, 4)
        for a, b in zip(plain, turned[:0:-1], strict=True):
            np.testing.assert_allclose(a.label, b.label, atol=1e-9)


def test_the_zoo_knows_the_shares_of_its_worlds():
    for name in ("graphene", "tmd", "perovskite", "dumbbell"):
        share = [c.share for c in read_card(name)[0].classes]
        assert min(share) > 0
        assert sum(share) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_silicon_of_the_sample_is_found_without_elements_and_nothing_else_is():
    movie, _ = graphene_si()
    found = analyze(movie, pixel_size=0.11)
    foreign = found.defects[found.defects["name"].str.startswith(("M", "L"))]
    assert list(foreign["frame"]) == list(range(len(movie)))
    assert set(foreign["name"]) == {"M1C3"}
