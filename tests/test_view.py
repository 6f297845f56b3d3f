"""Laws of the choice of the sampling: many pixels per column, noise that is as sure as columns."""

from __future__ import annotations

import numpy as np
import pytest

from atomscope import detect
from atomscope.detect.trials import ALIKE, CLEARER, NEARLY, Trial, _fuller
from atomscope.evaluate import score
from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile
from worlds import HONEYCOMB, SQUARE, inner, lattice_frame


@pytest.mark.parametrize("cell", [SQUARE, HONEYCOMB], ids=["square", "honeycomb"])
@pytest.mark.parametrize("told", [True, False])
def test_columns_of_many_pixels_and_few_electrons_are_seen(cell, told):
    """One electron in the brightest pixel of a column, 1500 in all of it."""
    frame, truth = lattice_frame(size=640, spacing=90.0, cell=cell, dose=1)
    atoms = detect(frame, pixel_size=2.0 / 90 if told else None)
    assert score(truth, atoms[["x_px", "y_px"]].to_numpy(), 25.0).f1 > 0.85


@pytest.mark.parametrize("spacing", [2.6, 3.0, 3.3])
@pytest.mark.parametrize("told", [True, False])
def test_columns_of_hardly_a_pixel_are_seen(spacing, told):
    frame, truth = lattice_frame(size=128, spacing=spacing, cell=SQUARE, dose=100)
    atoms = detect(frame, pixel_size=2.5 / spacing if told else None)
    assert score(truth, atoms[["x_px", "y_px"]].to_numpy(), 0.3 * spacing).f1 > 0.95


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_weak_sublattice_beside_a_strong_one_is_seen(seed):
    """Rutile along its axis: two heavy columns of a cell, four of a quarter of their brightness."""
    oxygen = [[0.305, 0.305], [0.695, 0.695], [0.195, 0.805], [0.805, 0.195]]
    basis = np.array([[0.0, 0.0], [0.5, 0.5], *oxygen])
    rng = np.random.default_rng(seed)
    size, cell = 256, 24.0
    xy, site = tile(cell * np.eye(2), basis, size, 0.3 + seed, rng.uniform(0, 1, 2))
    bright = np.where(np.asarray(site) < 2, 1.0, 0.25)
    frame = rng.poisson((render(xy, bright, 0.08 * cell, (size, size)) + 0.3) * 60).astype(float)
    found = detect(frame, pixel_size=4.6 / cell)[["x_px", "y_px"]].to_numpy()
    assert score(inner(xy, (size, size), -0.5), found, 0.08 * cell).f1 > 0.9


def test_no_lattice_is_finer_than_any_crystals(rng):
    """Noise repeats by chance, but not in less than half an ångström."""
    for _ in range(4):
        frame = rng.poisson(0.4, (400, 400)).astype(float)
        assert len(detect(frame, pixel_size=0.01)) < 40


def test_of_samplings_as_sure_as_each_other_one_that_repeats_is_taken(rng):
    y, x = np.mgrid[8:184:12, 8:184:12]
    lattice = np.stack([x.ravel(), y.ravel()], 1).astype(float)
    noise = rng.uniform(0, 192, (2 * len(lattice), 2))
    sparse = Trial(0.8, 0.9, lattice, (192, 192))
    dense = Trial(1.0, 0.9 - 0.5 * ALIKE, noise, (192, 192))
    assert dense.density > sparse.density
    assert _fuller([dense, sparse]) is sparse
    # where neither repeats, or one is surer, nothing changes
    scattered = Trial(0.8, 0.9, rng.uniform(0, 192, (60, 2)), (192, 192))
    assert _fuller([dense, scattered]) is dense
    surer = Trial(1.0, 0.9 + 2 * NEARLY, noise, (192, 192))
    assert _fuller([surer, sparse]) is surer


def test_a_little_less_certainty_and_far_more_order_are_better(rng):
    y, x = np.mgrid[8:184:12, 8:184:12]
    lattice = Trial(0.8, 0.9, np.stack([x.ravel(), y.ravel()], 1).astype(float), (192, 192))
    noise = Trial(1.0, 0.9 + 0.5 * NEARLY, rng.uniform(0, 192, (450, 2)), (192, 192))
    assert lattice.order > noise.order + CLEARER
    assert _fuller([noise, lattice]) is lattice


@pytest.mark.parametrize("shape", [(44, 44), (52, 70)])
@pytest.mark.parametrize("told", [True, False])
def test_a_handful_of_columns_is_a_lattice_where_they_are_evenly_spaced(shape, told):
    frame, truth = lattice_frame(shape=shape, spacing=12.9, dose=20)
    atoms = detect(frame, pixel_size=0.11 if told else None)
    assert score(truth, atoms[["x_px", "y_px"]].to_numpy(), 4.0).f1 > 0.85
