"""Laws of detection: known truth, symmetry, gain, size, and honest silence."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.detect import class_map, detect
from atomscope.detect.choose import CLEARLY, is_dark
from atomscope.detect.prepare import fill, level, usable
from atomscope.errors import InputError, UsageError
from atomscope.evaluate import score
from atomscope.scale import measure
from atomscope.simulate.imaging import amorphous, render
from atomscope.simulate.named import MEDIUM, named_frame
from atomscope.types import Image
from worlds import HEXAGONAL, HONEYCOMB, SQUARE, inner, lattice_frame, phosphorene_frame

CELLS = {"honeycomb": HONEYCOMB, "square": SQUARE, "hexagonal": (HEXAGONAL, np.zeros((1, 2)))}


def points(frame, **options):
    return detect(frame, **options)[["x_px", "y_px"]].to_numpy()


def inner_f1(truth, found, shape, margin, radius):
    near = inner(truth, shape, margin)
    tested = inner(found, shape, margin - radius)  # a true one may lie just outside the margin
    hits = score(near, tested, radius).tp
    false = len(tested) - score(inner(truth, shape, margin - 2 * radius), tested, radius).tp
    return 2 * hits / (len(near) + hits + false)


@pytest.mark.parametrize("spacing", [5.0, 8.0, 14.0, 26.0])
@pytest.mark.parametrize("cell", CELLS, ids=list(CELLS))
def test_lattices_of_any_scale_are_found_whole(cell, spacing):
    size = max(128, int(16 * spacing))
    frame, truth = lattice_frame(size=size, spacing=spacing, cell=CELLS[cell], dose=150)
    found = points(frame)
    assert inner_f1(truth, found, frame.shape, spacing, 0.25 * spacing) > 0.99


@pytest.mark.parametrize(("spacing", "size"), [(6.0, 96), (7.8, 96), (7.0, 160)])
def test_pairs_far_from_each_other_are_two_columns_each(spacing, size):
    cell = np.diag([3.7, 3.9])  # as in phosphorene: four times as far from pair to pair
    pairs = (cell, np.array([[0.0, 0.0], [0.7 / 3.7, 0.714 / 3.9]]))
    frame, truth = lattice_frame(size=size, spacing=spacing, cell=pairs, dose=100)
    found = points(frame)
    assert inner_f1(truth, found, frame.shape, spacing, 0.25 * spacing) > 0.97


@pytest.mark.parametrize(("angstrom", "dose"), [(0.11, 10.0), (0.06, 3.0), (0.035, 40.0)])
def test_pairs_at_high_magnification_are_not_taken_for_one_column(angstrom, dose):
    frame, truth = phosphorene_frame(angstrom, dose)
    found = points(frame, pixel_size=angstrom)
    assert inner_f1(truth, found, frame.shape, 1.0 / angstrom, 0.3 / angstrom) > 0.93


@pytest.mark.parametrize("gamma", [0.7, 1.0, 1.4])
def test_gamma_hides_no_sublattice(gamma):
    kinds = ("V_S",) * 12 + ("V_S line 3", "V_S line 4", "V_S line 5") * 2 + ("V_S2",) * 4
    made = named_frame("1H-MoS2", kinds, 43, size_px=800, pixel_size=0.11, dose=MEDIUM)
    grey = np.clip(made.image / np.quantile(made.image, 0.999), 0, None) ** gamma
    assert len(points(np.rint(230 * grey))) == pytest.approx(len(made.atoms), rel=0.03)


def test_gain_offset_and_number_type_do_not_matter():
    frame, _ = lattice_frame(size=160, dose=60)
    expected = points(frame)
    for changed in (frame * 7.5 - 3e4, frame.astype(">u2"), frame.astype(np.float32), frame / 1e9):
        found = points(changed)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("turn", range(1, 4))
def test_turned_frames_give_turned_columns(turn):
    frame, truth = lattice_frame(size=160, dose=100)
    found = points(np.rot90(frame, turn).copy())
    for _ in range(turn):  # turn the coordinates back, a quarter at a time
        found = np.stack([159 - found[:, 1], found[:, 0]], axis=1)
    assert inner_f1(truth, found, frame.shape, 12, 2.5) > 0.99


def test_mirrored_frame_gives_mirrored_columns():
    frame, truth = lattice_frame(size=160, dose=100)
    found = points(frame[:, ::-1].copy())
    found[:, 0] = 159 - found[:, 0]
    assert inner_f1(truth, found, frame.shape, 12, 2.5) > 0.99


def test_averaged_maps_turn_with_the_frame(rng):
    from atomscope.detect.tiles import Tile, maps
    from atomscope.models.normalise import normalise
    from atomscope.models.store import load

    frame = normalise(render(rng.uniform(0, 64, (9, 2)), np.ones(9), 1.6, (64, 64)))
    model, tile = load(), Tile(0, 0, 64, 64)
    heat, offset, _ = maps(model, frame, tile, symmetric=True)
    turned = np.ascontiguousarray(frame[:, ::-1].swapaxes(1, 2))
    heat_2, offset_2, _ = maps(model, turned, tile, symmetric=True)
    np.testing.assert_allclose(heat_2, heat[::-1].T, atol=1e-5)
    np.testing.assert_allclose(offset_2[0], -offset[1, ::-1].T, atol=1e-4)
    np.testing.assert_allclose(offset_2[1], offset[0, ::-1].T, atol=1e-4)


def test_dark_atoms_are_the_bright_ones_of_the_negative():
    frame, _ = lattice_frame(size=160, dose=100)
    np.testing.assert_allclose(
        points(-frame, contrast="dark"), points(frame, contrast="bright"), atol=0.02
    )


def test_isolated_dark_atoms_are_noticed(rng):
    xy = rng.uniform(10, 150, (14, 2))
    frame = 1 - 0.8 * render(xy, np.ones(14), 2.2, (160, 160)) + rng.normal(0, 0.04, (160, 160))
    assert is_dark(frame)
    assert not is_dark(1 - frame)
    assert score(xy, points(frame), 3).recall > 0.8


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("times", [1.5, 2, 3])
def test_isolated_atoms_are_found_in_enlarged_pictures(times, known, rng):
    xy = rng.uniform(10, 246, (25, 2))
    texture = 0.05 * amorphous(rng, (256, 256), 2.4, 2.0) + rng.normal(0, 0.25, (256, 256))
    frame = texture + render(xy, np.ones(25), 2.4, (256, 256))
    large = ndimage.zoom(frame, times, order=3, grid_mode=True, mode="nearest")
    image = Image(large, pixel_size=0.3 / times if known else None)
    found = detect(image)[["x_px", "y_px"]].to_numpy()
    assert score(xy, (found + 0.5) / times - 0.5, 3).f1 > 0.9


@pytest.mark.parametrize("cell", CELLS, ids=list(CELLS))
def test_bright_lattices_are_never_taken_for_dark(cell):
    for blur in (8.0, 12.0):
        frame, _ = lattice_frame(size=160, spacing=blur, cell=CELLS[cell], dose=300)
        assert not is_dark(frame)


@pytest.mark.parametrize("shape", [(64, 64), (65, 131), (200, 97), (1100, 90)])
def test_odd_and_narrow_sizes(shape):
    frame, truth = lattice_frame(shape=shape, spacing=9.0, dose=150)
    assert inner_f1(truth, points(frame), shape, 9, 2.3) > 0.99


def test_tiles_leave_no_seam(monkeypatch):
    from atomscope.detect import tiles

    frame, _ = lattice_frame(size=400, spacing=8.0, dose=100)
    whole = points(frame, factor=1.0)
    monkeypatch.setattr(tiles, "TILE", 128)
    parts = points(frame, factor=1.0)
    assert abs(len(parts) - len(whole)) <= 2
    distance = cKDTree(whole).query(parts)[0]
    assert np.quantile(distance, 0.99) < 0.1


def test_frames_of_a_movie_are_normalised_on_their_own():
    frame, _ = lattice_frame(size=128, dose=150)
    table = detect(np.stack([frame, frame * 40 + 9, frame]))
    groups = [g[["x_px", "y_px"]].to_numpy() for _, g in table.groupby("frame")]
    np.testing.assert_allclose(groups[1], groups[0], atol=0.02)
    np.testing.assert_allclose(groups[2], groups[0])


def test_noise_and_amorphous_support_are_not_answered_with_atoms(rng):
    area = 256 * 256 / 64  # cells as large as a column at canonical sampling
    for _ in range(4):
        assert len(points(rng.normal(size=(256, 256)))) < 0.01 * area
        texture = amorphous(rng, (256, 256), 2.0, 2.0) + rng.normal(0, 0.2, (256, 256))
        assert len(points(texture)) < 0.03 * area


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0])
def test_constant_frames_hold_nothing(value):
    assert len(detect(np.full((100, 80), value))) == 0


def test_under_sampled_frames_are_refused():
    y, x = np.mgrid[:256, :256]
    frame = np.cos(2 * np.pi * x / 2.1) + np.cos(2 * np.pi * y / 2.1)
    with pytest.raises(InputError, match="higher magnification"):
        detect(frame)


def test_all_nan_is_refused():
    with pytest.raises(InputError, match="no finite value"):
        detect(np.full((64, 64), np.nan))


def test_bad_pixels_cost_only_their_surroundings():
    frame, truth = lattice_frame(size=200, spacing=10, dose=200)
    clean = points(frame)
    frame[90:94, 40:44] = np.nan
    frame[150] = 0
    frame[10, 10] = np.inf
    found = points(frame)
    away = np.abs(truth[:, 1] - 150) > 8
    away &= np.hypot(truth[:, 0] - 41.5, truth[:, 1] - 91.5) > 12
    away &= np.hypot(truth[:, 0] - 10, truth[:, 1] - 10) > 8
    safe = inner(truth[away], frame.shape, 8)
    assert score(safe, found, 2.5).recall > 0.99
    assert len(found) <= len(clean) + 2


@pytest.mark.parametrize("dose", [12, 150])
def test_spikes_of_one_pixel_are_left_out_and_move_no_column(dose):
    frame, _ = lattice_frame(size=192, dose=dose)
    rng = np.random.default_rng(3)
    spikes = rng.permutation(frame.size)[:30]
    hit = frame.astype(float).ravel()
    hit[spikes[:20]] = frame.max() * rng.uniform(4, 40, 20)
    hit[spikes[20:]] -= frame.max() * rng.uniform(4, 40, 10)  # dead pixels of a corrected camera
    hit = hit.reshape(frame.shape)
    assert set(np.flatnonzero(~usable(hit))) == set(spikes)
    assert usable(frame).all()
    found, expected = points(hit), points(frame)
    assert abs(len(found) - len(expected)) <= 1
    assert np.quantile(cKDTree(expected).query(found)[0], 0.98) < 0.5


@pytest.mark.parametrize("sigma", [0.6, 0.8, 1.2])
def test_sharp_atoms_and_rare_electrons_are_no_spikes(sigma):
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:160, :160]
    atoms = sum(
        np.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * sigma**2))
        for a, b in rng.uniform(8, 152, (12, 2))
    )
    assert usable(200 * atoms + rng.normal(size=(160, 160))).all()
    for rate in (0.003, 0.03, 0.3, 3):
        assert usable(rng.poisson(rate, (160, 160))).mean() > 0.9999


def test_rows_that_count_no_electron_between_columns_are_not_dead():
    y, x = np.mgrid[:120, :120]
    sharp = np.exp(-((y % 20 - 10) ** 2 + (x % 20 - 10) ** 2) / (2 * 1.5**2))
    frame = np.random.default_rng(5).poisson(3 * sharp)
    assert (np.ptp(frame, axis=1) == 0).any()
    assert usable(frame).all()
    bright = np.random.default_rng(6).poisson(20 + 3 * sharp)
    bright[33:35] = 0
    assert not usable(bright)[33:35].any()
    assert usable(bright)[[32, 35]].all()


def test_filled_pixels_take_neighbouring_values():
    frame = np.tile(np.arange(20.0), (20, 1))
    frame[5, 5] = np.nan
    good = usable(frame)
    assert not good[5, 5]
    assert good.sum() == 399
    whole = fill(frame, good)
    assert abs(whole[5, 5] - whole[4, 5]) <= 1


def test_class_map_has_the_size_of_the_input_and_peaks_at_columns():
    frame, truth = lattice_frame(shape=(150, 211), spacing=11, dose=200)
    maps = class_map(frame)
    assert maps.shape == (2, *frame.shape)
    np.testing.assert_allclose(maps.sum(0), 1, atol=1e-4)
    heat = maps[1]
    safe = np.rint(inner(truth, frame.shape, 8)).astype(int)
    at_columns = heat[safe[:, 1], safe[:, 0]]
    assert np.quantile(at_columns, 0.05) > 4 * np.median(heat)


def test_probability_threshold_is_kept():
    frame, _ = lattice_frame(size=160, dose=4)
    loose, strict = detect(frame, min_p=0.2), detect(frame, min_p=0.8)
    assert strict["p"].min() >= 0.8
    assert len(loose) >= len(strict)


@pytest.mark.parametrize("options", [{"factor": -1.0}, {"factor": np.nan}, {"pixel_size": 0.0}])
def test_wrong_arguments_are_refused(options):
    with pytest.raises(UsageError):
        detect(np.zeros((64, 64)), **options)


def test_a_scale_bar_in_angstrom_is_not_needed():
    frame, _ = lattice_frame(size=128, dose=150)
    with_size = detect(Image(frame, pixel_size=0.12))
    np.testing.assert_allclose(with_size["x_px"], detect(frame)["x_px"], atol=0.05)


def test_a_lattice_is_seen_under_a_strong_background_and_heavy_atoms(rng):
    # patches of contamination and adatoms outweigh the columns in the autocorrelation
    frame, truth = lattice_frame(size=448, spacing=20.0, cell=CELLS["hexagonal"], dose=40)
    patches = ndimage.gaussian_filter(rng.normal(size=frame.shape), 45)
    frame = frame + rng.poisson(120 + 40 * patches / patches.std()) - 120.0
    adatoms = rng.uniform(20, 428, (12, 2))
    frame += 700 * render(adatoms, np.ones(12), 5.5, frame.shape)
    assert measure(frame.astype(np.float32)).order < CLEARLY  # the autocorrelation leaves it open
    near = inner(truth, frame.shape, 20)
    near = near[cKDTree(adatoms).query(near)[0] > 20]
    assert score(near, points(frame), 5.0).recall > 0.95


@pytest.mark.parametrize("contrast", ["bright", "dark"])
def test_a_few_atoms_far_brighter_do_not_hide_a_lattice(contrast):
    # at a dose of so few electrons their contrast is all that there is in 25 px around
    rng = np.random.default_rng(1)
    places = np.arange(6, 256, 26.0)
    truth = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    truth += rng.normal(0, 0.3, truth.shape)
    heavy = rng.uniform(15, 240, (6, 2))
    frame = 1.2 * render(truth, np.ones(len(truth)), 3.0, (256, 256))
    frame += 60 * render(heavy, np.ones(6), 3.0, frame.shape)
    counts = rng.poisson(0.05 + frame).astype(float)
    found = points(counts if contrast == "bright" else 300 - counts, contrast=contrast)
    far = truth[cKDTree(heavy).query(truth)[0] > 12]
    assert score(far, found, 3.0).recall > 0.9
    assert score(heavy, found, 3.0).recall > 0.8
    assert len(found) < 1.2 * (len(truth) + len(heavy))


def test_lines_of_a_scan_are_not_taken_for_columns():
    # the tip jumps up and down from line to line: a repeat of 3 px, 0.1 Å
    rng = np.random.default_rng(2)
    frame, truth = lattice_frame(size=256, spacing=56.0, cell=CELLS["hexagonal"], dose=None)
    jumps = ndimage.gaussian_filter1d(rng.normal(size=frame.shape), 8, axis=1)
    frame += 2 * jumps * np.cos(2 * np.pi / 3 * np.arange(256))[:, None]
    assert measure(level(frame.astype(np.float32))).spacing < 4
    image = Image(frame, pixel_size=0.04, modality="stm")
    found = detect(image, model="stm")[["x_px", "y_px"]].to_numpy()
    assert inner_f1(truth, found, frame.shape, 28, 14) > 0.9


def test_a_pixel_size_in_a_wrong_unit_changes_no_column():
    frame, _ = lattice_frame(size=192, spacing=12.0, dose=100)
    right, wrong = (detect(frame, pixel_size=size) for size in (0.12, 0.012))
    np.testing.assert_allclose(wrong[["x_px", "y_px", "p"]], right[["x_px", "y_px", "p"]])
