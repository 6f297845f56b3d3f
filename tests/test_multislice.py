"""Laws of multislice images and of the cells they are made of."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from atomscope.errors import MissingExtraError, UsageError
from atomscope.simulate import multislice
from atomscope.simulate.crystals import project
from atomscope.simulate.incoherent import TYPICAL, FastModel, View, fit
from atomscope.simulate.materials import material
from atomscope.simulate.multislice import Microscope, Scan
from atomscope.simulate.slabs import columns_of_cell, oriented

KNOWN = FastModel(1.5, 0.45, 0.15, 2.2)
FAST = Microscope(60e3, 25.0, detectors={"HAADF": (50.0, 120.0), "ABF": (12.5, 25.0)})
# Three heavy atoms in a cell without any symmetry: no turn brings it onto its mirror image.
CHIRAL = Atoms("AuAgCu", [(1.5, 1.2, 2), (5.9, 1.8, 2), (2.4, 4.6, 2)], cell=(8.0, 6.5, 4.0))


@pytest.fixture(scope="module")
def chiral() -> Scan:
    pytest.importorskip("abtem")
    return multislice.scan(CHIRAL, FAST)


def turn_of(xy) -> float:
    """Twice the signed area of a triangle."""
    (ax, ay), (bx, by) = xy[1] - xy[0], xy[2] - xy[0]
    return float(ax * by - ay * bx)


def test_a_picture_has_the_handedness_of_its_structure(chiral):
    shape, pixel = (65, 80), 0.1
    frame = chiral.image("HAADF", pixel, shape)
    places, index = chiral.places(CHIRAL.positions[:, :2], pixel, shape)
    np.testing.assert_array_equal(np.sort(index), [0, 1, 2])
    for x, y in np.rint(places).astype(int):  # a maximum within a pixel
        window = frame.take(range(y - 4, y + 5), 0, mode="wrap").take(range(x - 4, x + 5), 1)
        peak = np.array(np.unravel_index(window.argmax(), window.shape)) - 4
        assert np.abs(peak).max() <= 1
    heights = frame[tuple(np.rint(places[np.argsort(index)]).astype(int).T[::-1])]
    assert heights[0] > heights[1] > heights[2]  # Au, Ag, Cu
    # as the table of atoms is written for other programs: y of the file points up
    up = places[np.argsort(index)] * [1, -1]
    assert np.sign(turn_of(up)) == np.sign(turn_of(CHIRAL.positions[:, :2]))


def test_bright_field_is_dark_where_dark_field_is_bright(chiral):
    places, _ = chiral.places(CHIRAL.positions[:, :2], 0.1, (65, 80))
    cols, rows = np.rint(places).astype(int).T
    for name, sign in (("HAADF", 1), ("ABF", -1)):
        frame = chiral.image(name, 0.1, (65, 80))
        assert np.all(sign * (frame[rows, cols] - np.median(frame)) > 0)


def test_prism_is_multislice(chiral):
    prism = multislice.scan(CHIRAL, FAST, method="prism")
    for name, signal in chiral.signals.items():
        np.testing.assert_allclose(prism.signals[name], signal, rtol=1e-3, atol=1e-7)


def test_a_moved_structure_moves_the_picture(chiral):
    height, width = chiral.signals["HAADF"].shape
    step = np.array([CHIRAL.cell[0, 0] / width, CHIRAL.cell[1, 1] / height])
    moved = CHIRAL.copy()
    moved.positions[:, :2] += step * [3, 2]
    found = multislice.scan(moved, FAST).signals["HAADF"]
    expected = np.roll(chiral.signals["HAADF"], (-2, 3), (0, 1))  # up in y is up in the frame
    np.testing.assert_allclose(found, expected, rtol=0.05, atol=1e-3 * expected.max())


def test_phonons_are_seeded():
    pytest.importorskip("abtem")
    first, second, other = (
        multislice.scan(CHIRAL, FAST, phonons=1, vibration=0.1, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.signals["HAADF"], second.signals["HAADF"])
    assert not np.allclose(first.signals["HAADF"], other.signals["HAADF"], rtol=1e-2)


class TestScan:
    """Sampling a scan needs no abTEM."""

    scan = Scan({"ADF": np.random.default_rng(1).random((6, 8)).astype(np.float32)}, (8.0, 6.0))

    def test_its_own_grid_gives_it_back(self):
        frame = self.scan.image("ADF", 1.0, (6, 8))
        np.testing.assert_allclose(frame, self.scan.signals["ADF"], atol=1e-6)

    def test_it_repeats_itself(self):
        frame = self.scan.image("ADF", 0.5, (24, 32))
        np.testing.assert_allclose(frame[:12, :16], frame[12:, 16:], atol=1e-6)

    def test_the_origin_shifts(self):
        frame = self.scan.image("ADF", 0.5, (12, 16), origin=(2.0, 1.5))
        plain = self.scan.image("ADF", 0.5, (12, 16))
        np.testing.assert_allclose(frame, np.roll(plain, (-3, -4), (0, 1)), atol=1e-6)

    def test_the_source_blurs_and_keeps_the_mean(self):
        sharp, wide = (self.scan.image("ADF", 1.0, (6, 8), source=w) for w in (0.0, 2.0))
        assert wide.mean() == pytest.approx(sharp.mean(), rel=1e-6)
        assert wide.std() < 0.7 * sharp.std()

    def test_places_are_inside_and_repeat(self):
        xy = np.array([[0.2, 0.1], [7.9, 3.0]])
        shape, pixel = (40, 52), (0.3, 0.25)
        places, index = self.scan.places(xy, pixel, shape, origin=(3.3, 0.7))
        assert np.all((places >= -0.5) & (places < [51.5, 39.5]))
        back = places * [0.25, 0.3] + [3.3, 0.7]
        apart = back - xy[index] * [1, -1]
        apart -= np.round(apart / [8, 6]) * [8, 6]
        np.testing.assert_allclose(apart, 0, atol=1e-9)
        # as many as there are: every period once
        area = 40 * 0.3 * 52 * 0.25
        assert len(places) == pytest.approx(2 * area / 48, abs=3)


class TestCells:
    """Oriented cells."""

    @pytest.mark.parametrize(
        ("name", "zone"),
        [
            ("graphene", (0, 0, 1)),
            ("1H-MoS2", (0, 0, 1)),
            ("SrTiO3", (0, 0, 1)),
            ("Si", (1, 1, 0)),
            ("Au", (1, 1, 1)),
            ("TiO2", (0, 0, 1)),
            ("2H-WSe2", (2, 1, 0)),
        ],
    )
    def test_they_hold_whole_crystals(self, name, zone):
        atoms = material(name).atoms
        cell = oriented(atoms, zone, 15.0)
        np.testing.assert_allclose(cell.cell[:], np.diag(cell.cell.lengths()), atol=1e-9)
        basis = project(atoms, zone)
        turns = np.prod(cell.cell.lengths()[:2]) / abs(np.linalg.det(basis.cell))
        assert turns == pytest.approx(round(turns), abs=1e-6)
        assert len(columns_of_cell(cell)[0]) == round(turns) * len(basis.sites)
        if atoms.pbc[2]:
            assert len(cell) / cell.get_volume() == pytest.approx(len(atoms) / atoms.get_volume())

    def test_handedness_is_kept(self):
        motif = Atoms("AuAgCuNi", [(0.5, 0.5, 0.5), (2.5, 0.7, 0.6), (0.8, 2.6, 0.4), (1, 1, 2.3)])
        motif.cell, motif.pbc = np.eye(3) * 5, True
        volume = np.linalg.det(motif.positions[1:] - motif.positions[0])
        for zone in ((0, 0, 1), (1, 1, 0), (1, 1, 1), (-1, 0, 2)):
            cell = oriented(motif, zone)
            first = cell.positions[cell.symbols == "Au"][0]
            others = []
            for symbol in ("Ag", "Cu", "Ni"):
                away = cell.positions[cell.symbols == symbol] - first
                away -= np.round(away / cell.cell.lengths()) * cell.cell.lengths()
                others.append(away[np.argmin(np.linalg.norm(away, axis=1))])
            assert np.linalg.det(np.array(others)) == pytest.approx(volume, rel=1e-6)

    def test_zones_that_cannot_be_are_refused(self):
        with pytest.raises(UsageError, match="zone"):
            oriented(material("Si").atoms, (0, 0, 0))
        with pytest.raises(UsageError, match="layer"):
            oriented(material("graphene").atoms, (1, 0, 0))


class TestFastModel:
    """The fit of the fast model finds what an image was made with."""

    @staticmethod
    def view(gain=1.0, offset=0.0, numbers=((42,), (16, 16)), seed=1):
        rng = np.random.default_rng(seed)
        grid = np.stack(np.meshgrid(np.arange(9), np.arange(9)), -1).reshape(-1, 2)
        xy = grid * 8.0 - 2 + rng.uniform(-0.8, 0.8, grid.shape)
        kinds = tuple(numbers[i % len(numbers)] for i in range(len(xy)))
        blank = View(np.zeros((60, 60), np.float32), xy, kinds, 0.25)
        return replace(blank, frame=gain * blank.drawn(KNOWN) + offset)

    def test_it_finds_the_model(self):
        found = fit([self.view()])
        np.testing.assert_allclose(found, KNOWN, rtol=0.05)
        assert self.view().correlation(found) > 0.99999

    def test_gain_and_offset_have_no_say(self):
        np.testing.assert_allclose(
            fit([self.view(gain=3e-4, offset=2e-3)]), fit([self.view()]), rtol=0.02
        )

    def test_columns_that_are_all_alike_tell_no_exponent(self):
        found = fit([self.view(numbers=((6,),))])
        assert found.exponent == TYPICAL
        np.testing.assert_allclose(found[1:], KNOWN[1:], rtol=0.05)

    def test_a_wrong_model_correlates_less(self):
        view = self.view()
        for change in ({"exponent": 1.2}, {"sigma": 0.7}, {"tail": -0.2}):
            assert view.correlation(KNOWN._replace(**change)) < 0.999


class TestErrors:
    """One clear line each."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"energy": 80.0},
            {"semiangle": 0.0},
            {"detectors": {"HAADF": (90.0, 60.0)}},
            {"detectors": {"HAADF": (60.0, 900.0)}},
        ],
    )
    def test_microscopes(self, wrong):
        with pytest.raises(UsageError, match="expected"):
            Microscope(**wrong)

    def test_cells_without_right_angles(self):
        pytest.importorskip("abtem")
        with pytest.raises(UsageError, match="right angles"):
            multislice.scan(material("graphene").atoms)

    def test_without_abtem(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "abtem", None)
        with pytest.raises(MissingExtraError, match=r"atomscope\[simulate\]"):
            multislice.scan(CHIRAL)
