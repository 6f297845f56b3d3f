"""Laws of joined pixels: wide columns tell the same, however fine the pixels are."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from atomscope.refine import RefineOptions, refine
from atomscope.refine.joined import WIDTH, join
from atomscope.refine.pixels import Pixels
from atomscope.simulate.imaging import render

refine_table = sys.modules["atomscope.refine.table"]
SIGMA = 8.0  # px: joined by three
PEAK, GROUND = 40.0, 12.0


@pytest.fixture
def scene(rng):
    """Columns five widths apart, as counted, in a frame whose sides no step divides."""
    y, x = np.mgrid[30:300:40, 30:330:40]
    xy = np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(-3, 3, (x.size, 2))
    clean = PEAK * render(xy, np.ones(len(xy)), SIGMA, (323, 349)) + GROUND
    start = pd.DataFrame(xy + rng.normal(0, 1.5, xy.shape), columns=["x_px", "y_px"])
    return clean, rng.poisson(clean).astype(float), start, xy


def _places(table):
    return table[["x_px", "y_px"]].to_numpy(float)


def test_noiseless_truth_is_found(scene):
    clean, _, start, xy = scene
    found = refine(clean, start)
    assert SIGMA > 2 * WIDTH
    np.testing.assert_allclose(_places(found), xy, atol=0.01)
    np.testing.assert_allclose(found["width"], SIGMA, rtol=0.003)
    np.testing.assert_allclose(found["intensity"], 2 * np.pi * SIGMA**2 * PEAK, rtol=0.01)
    np.testing.assert_allclose(found["background"], GROUND, atol=0.3)


@pytest.mark.parametrize("weights", ["auto", "poisson", "gaussian"])
def test_errors_are_those_of_fine_pixels(scene, weights, monkeypatch):
    _, counts, start, xy = scene
    options = RefineOptions(weights=weights)
    joined = refine(counts, start, options=options)
    monkeypatch.setattr(refine_table, "WIDTH", np.inf)
    fine = refine(counts, start, options=options)
    rms = [np.sqrt(np.mean((_places(found) - xy) ** 2)) for found in (joined, fine)]
    assert rms[0] < 1.05 * rms[1]
    for name in ("x_err_px", "y_err_px", "intensity_err"):
        np.testing.assert_allclose(joined[name].median(), fine[name].median(), rtol=0.1)
    for name in ("intensity", "width", "background"):
        np.testing.assert_allclose(joined[name].median(), fine[name].median(), rtol=0.01)


def test_marks_are_those_of_the_frame(scene):
    _, counts, start, _ = scene
    counts[150:153] = np.nan
    flags = refine(counts, start)["flags"].str.split()
    y = start["y_px"].to_numpy()
    x = start["x_px"].to_numpy()
    masked = np.array(["masked" in words for words in flags])
    edge = np.array(["edge" in words for words in flags])
    assert masked[np.abs(y - 151) < 1.5 * SIGMA].all()
    assert not masked[np.abs(y - 151) > 3 * SIGMA].any()
    inset = np.minimum(np.minimum(x, 348 - x), np.minimum(y, 322 - y))
    assert edge[inset < 0.6 * SIGMA].all()
    assert not edge[inset > 1.5 * SIGMA].any()


@pytest.mark.parametrize("counts", [True, False])
def test_joining_keeps_sums_or_means(counts, rng):
    image = rng.uniform(0, 9, (31, 44))
    usable = rng.random(image.shape) > 0.02
    image[~usable] = np.nan
    joined = join(Pixels(image, usable), 4, counts=counts)
    assert joined.shape == (8, 11)
    values, good = joined.part((0, 8, 0, 11))
    for row, column in np.ndindex(joined.shape):
        block = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        assert good[row, column] == (usable[block].size == 16 and usable[block].all())
        if good[row, column]:
            expected = image[block].sum() if counts else image[block].mean()
            assert values[row, column] == pytest.approx(expected)


def test_small_frames_of_wide_columns_stay_within_the_frame(rng):
    for _ in range(60):
        shape = tuple(rng.integers(12, 60, 2))
        xy = rng.uniform(0, 1, (6, 2)) * (shape[1] - 1, shape[0] - 1)
        image = rng.poisson(PEAK * render(xy, np.ones(6), 7.0, shape) + GROUND)
        found = refine(image, pd.DataFrame(xy, columns=["x_px", "y_px"]))
        assert (_places(found) >= 0).all()
        assert (_places(found) <= (shape[1] - 1, shape[0] - 1)).all()
