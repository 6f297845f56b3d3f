"""The scale of a frame is found from the frame itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from atomscope.sampling import resample, to_input
from atomscope.scale import enlarged, measure
from atomscope.simulate.imaging import render
from worlds import HEXAGONAL, HONEYCOMB, SQUARE, lattice_frame


@pytest.mark.parametrize("spacing", [4.0, 7.0, 12.0, 25.0, 45.0])
@pytest.mark.parametrize(
    "cell", [SQUARE, (HEXAGONAL, np.zeros((1, 2)))], ids=["square", "hexagonal"]
)
def test_spacing_of_simple_lattices(spacing, cell):
    frame, _ = lattice_frame(size=320, spacing=spacing, cell=cell, dose=30)
    found = measure(frame)
    assert found.spacing == pytest.approx(spacing, rel=0.04)
    assert found.order > 0.4


@pytest.mark.parametrize("spacing", [2.4, 2.8, 3.2])
@pytest.mark.parametrize("angle", [0.0, 0.3, 0.7])
def test_spacing_of_columns_of_hardly_a_pixel(spacing, angle):
    frame, _ = lattice_frame(size=160, spacing=spacing, cell=SQUARE, angle=angle, dose=50)
    found = measure(frame)
    assert not found.too_fine
    assert found.spacing == pytest.approx(spacing, rel=0.04)


@pytest.mark.parametrize("sigma", [1.5, 3.0, 6.0])
def test_grain_of_isolated_atoms_is_their_width(sigma, rng):
    xy = rng.uniform(0, 400, (60, 2))
    frame = render(xy, np.ones(60), sigma, (400, 400)) + rng.normal(0, 0.15, (400, 400))
    assert measure(frame).sigma == pytest.approx(sigma, rel=0.35)


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_noise_of_enlarged_and_smoothed_pictures_is_smooth(sigma, rng):
    xy = rng.uniform(0, 256, (40, 2))
    frame = render(xy, np.ones(40), sigma, (256, 256)) + rng.normal(0, 0.3, (256, 256))
    assert not measure(frame).smooth
    assert measure(ndimage.gaussian_filter(frame, 1.0)).smooth
    for times, order in ((1.5, 3), (2, 1), (2, 3), (3, 1), (4, 3)):
        assert measure(ndimage.zoom(frame, times, order=order)).smooth
    assert measure(7 - 3 * ndimage.zoom(frame, 2)).smooth


def test_honeycomb_gives_bond_or_cell_but_no_harmonic():
    frame, _ = lattice_frame(size=320, spacing=11.0, cell=HONEYCOMB, dose=60)
    found = measure(frame).spacing
    assert min(abs(found - 11.0), abs(found - 11.0 * np.sqrt(3))) < 0.6


def test_gain_offset_and_tilt_do_not_matter():
    frame, _ = lattice_frame(size=256, spacing=10)
    tilted = -5.0 + 3.0 * frame + np.linspace(0, 500, 256)
    assert measure(tilted).spacing == pytest.approx(measure(frame).spacing, rel=0.02)


def test_noise_has_no_spacing(rng):
    orders = [measure(rng.normal(size=(256, 256))).order for _ in range(5)]
    assert max(orders) < 0.2 or measure(rng.normal(size=(256, 256))).sigma is None


@pytest.mark.parametrize("shape", [(1, 50), (3, 3), (15, 200)])
def test_tiny_and_constant_frames_say_nothing(shape):
    assert measure(np.zeros(shape)).spacing is None
    assert measure(np.full((64, 64), 3.0)).spacing is None


@pytest.mark.parametrize("factor", [0.21, 0.5, 0.83, 1.0, 1.7, 3.0])
def test_resampled_structure_lies_where_the_coordinates_say(factor):
    y, x = np.mgrid[:90, :120]
    frame = np.exp(-((x - 61.3) ** 2 + (y - 40.7) ** 2) / (2 * 7.0**2))
    small = resample(frame, factor)
    rows, cols = np.mgrid[: small.shape[0], : small.shape[1]]
    centre = np.array([[(small * cols).sum(), (small * rows).sum()]]) / small.sum()
    np.testing.assert_allclose(to_input(centre, factor), [[61.3, 40.7]], atol=0.08)
    np.testing.assert_allclose((to_input(centre, factor) + 0.5) * factor - 0.5, centre)


def test_resampling_keeps_constants():
    np.testing.assert_allclose(resample(np.full((33, 21), 4.0), 0.37), 4.0, rtol=1e-5)


@pytest.mark.parametrize("times", [2, 3])
def test_enlarged_pictures_have_the_scale_of_the_original(times):
    frame, _ = lattice_frame(size=160, spacing=9, dose=20)
    large = np.kron(frame, np.ones((times, times)))
    assert (enlarged(frame), enlarged(large)) == (1, times)
    assert enlarged(large[1:, :-1]) == times  # wherever the blocks begin
    scale, expected = measure(large), measure(frame)
    assert (scale.times, expected.times) == (times, 1)
    assert scale.spacing == pytest.approx(times * expected.spacing, rel=0.02)
    assert scale.sigma == pytest.approx(times * expected.sigma, rel=0.05)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_enlarged_pictures_of_few_counts_are_recognised(times, rng):
    """Of a few single electrons most rows are alike."""
    counts = (rng.random((300, 300)) < 0.002).astype(float)
    assert enlarged(np.kron(counts, np.ones((times, times)))) == times


@pytest.mark.parametrize("frame", [np.zeros((64, 64)), np.tile(np.arange(64.0), (64, 1))])
def test_frames_without_detail_are_not_enlarged(frame):
    assert enlarged(frame) == 1
