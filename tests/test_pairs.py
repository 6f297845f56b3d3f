"""Laws of two isolated atoms that were found as one: told apart where resolved, else left alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atomscope.refine import RefineOptions, refine, split_pairs

SIZE, WIDTH, BACKGROUND = 160, 2.0, 5.0
OPTIONS = RefineOptions()


def picture(xy, peak, oval=0.0):
    """Gaussians of one width, `oval` longer along x than along y."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE), BACKGROUND)
    for (cx, cy), height in zip(xy, np.broadcast_to(peak, len(xy)), strict=True):
        q = ((x - cx) ** 2 * (1 - oval) + (y - cy) ** 2 * (1 + oval)) / WIDTH**2
        image += height * np.exp(-0.5 * q)
    return image


def table(xy):
    xy = np.asarray(xy, dtype=float)
    numbers = np.arange(len(xy))
    return pd.DataFrame(
        {"frame": 0, "atom": numbers, "x_px": xy[:, 0], "y_px": xy[:, 1], "p": 0.5 + numbers / 100}
    )


@pytest.fixture
def singles(rng):
    """Twenty-five atoms far from each other, not on a lattice."""
    y, x = np.mgrid[20:150:30, 20:150:30]
    return np.stack([x.ravel(), y.ravel()], 1) + rng.uniform(-5, 5, (25, 2))


def with_pair(singles, apart, angle):
    """Positions in which atom 12 is two, and those at which it is found as one."""
    half = 0.5 * apart * WIDTH * np.array([np.cos(angle), np.sin(angle)])
    true = np.vstack([singles[:12], singles[12] - half, singles[12] + half, singles[13:]])
    return true, singles


def resolved(image, found, **how):
    return split_pairs(image, refine(image, table(found), **how), options=OPTIONS, **how)


@pytest.mark.parametrize("angle", [0.0, 0.7, 1.6, 2.5])
@pytest.mark.parametrize("apart", [2.3, 2.8])
def test_two_are_told_apart(rng, singles, apart, angle):
    true, found = with_pair(singles, apart, angle)
    image = rng.poisson(picture(true, 150)).astype(float)
    result = resolved(image, found)
    split = result["flags"].astype(str).str.contains("split").to_numpy()
    assert len(result) == 26
    assert split.sum() == 2
    assert set(result["atom"][split]) == {12}
    assert set(result["p"][split]) == {0.62}
    axis = 0 if abs(np.cos(angle)) > 0.2 else 1
    xy = result.sort_values(["atom", ["x_px", "y_px"][axis]])
    order = np.lexsort((true[:, axis], [*range(13), *range(12, 25)]))
    off = xy[["x_px", "y_px"]].to_numpy() - true[order]
    error = xy[["x_err_px", "y_err_px"]].to_numpy()
    assert np.abs(off / error).max() < 4.5
    assert np.abs(off).max() < 0.5


def test_unresolved_ones_stay_one(rng, singles):
    true, found = with_pair(singles, 1.4, 0.3)
    image = rng.poisson(picture(true, 150)).astype(float)
    before = refine(image, table(found))
    pd.testing.assert_frame_equal(split_pairs(image, before, options=OPTIONS), before)


@pytest.mark.parametrize("oval", [0.0, 0.35])
def test_single_atoms_stay_as_they_are(rng, singles, oval):
    """Bright ones, and those of an astigmatic probe."""
    peak = rng.choice([60.0, 120.0], len(singles), p=[0.8, 0.2])
    image = rng.poisson(picture(singles, peak, oval)).astype(float)
    before = refine(image, table(singles))
    pd.testing.assert_frame_equal(split_pairs(image, before, options=OPTIONS), before)


def test_atoms_that_differ_in_shape_are_not_pairs(rng, singles):
    """Where atoms move while they are scanned, a long bright one says nothing."""
    image = np.full((SIZE, SIZE), BACKGROUND)
    for place in singles:
        image += picture([place], rng.uniform(50, 150), rng.uniform(-0.5, 0.5)) - BACKGROUND
    before = refine(rng.poisson(image).astype(float), table(singles))
    after = split_pairs(image, before, options=OPTIONS)
    assert len(after) == len(before)


def test_mirror_and_contrast_change_nothing(rng, singles):
    true, found = with_pair(singles, 2.6, 0.5)
    image = rng.poisson(picture(true, 150)).astype(float)
    plain = resolved(image, found)
    dark = resolved(-3.0 * image + 700, found, dark=True)
    mirrored = resolved(image[:, ::-1], np.stack([SIZE - 1 - found[:, 0], found[:, 1]], 1))
    plain = plain.sort_values(["atom", "y_px"])
    for other in (dark, mirrored.assign(x_px=SIZE - 1 - mirrored["x_px"])):
        xy = other.sort_values(["atom", "y_px"])[["x_px", "y_px"]].to_numpy()
        np.testing.assert_allclose(xy, plain[["x_px", "y_px"]].to_numpy(), atol=0.02)


def test_few_atoms_say_nothing_of_what_is_usual(rng, singles):
    image = rng.poisson(picture(singles[:4], 150)).astype(float)
    before = refine(image, table(singles[:4]))
    assert split_pairs(image, before, options=OPTIONS) is before


def test_pixels_that_are_not_used_do_not_matter(rng, singles):
    true, found = with_pair(singles, 2.6, 0.5)
    image = rng.poisson(picture(true, 150)).astype(float)
    mask = np.ones(image.shape, dtype=bool)
    mask[:4] = False
    spoiled = np.where(mask, image, np.nan)
    assert len(resolved(spoiled, found, mask=mask)) == 26
