"""How well brightness is known: what the fit traded with the background, how errors grow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atomscope.columns import conform
from atomscope.simulate.lattices import tile
from atomscope.species import study
from atomscope.species.errors import growth, shown
from atomscope.species.ground import off_ground
from atomscope.species.mixture import Data, Mixture, fit_mixture
from worlds import HONEYCOMB, Floats

SHAPE = (380, 380)
LOST = 9.0  # counts px of a column for one count of the background under it
OWN, LIFT = 48.0, 3.6  # counts px of noise of a column of 1000, counts of the background
NITROGEN = 1.288  # (7 / 6) ** 1.64


def graphene(rng: np.random.Generator, nitrogen: int = 0) -> tuple[pd.DataFrame, Floats]:
    """A table with noise that columns share with the background; the true brightness."""
    cell, basis = HONEYCOMB
    xy, _ = tile(cell * 13, basis, SHAPE[0], 0.3, rng.uniform(0, 1, 2))
    xy = xy[np.all((xy > 0) & (xy < SHAPE[0] - 1), axis=1)]
    true = np.full(len(xy), 1000.0)
    inside = np.flatnonzero(np.abs(xy - SHAPE[0] / 2).max(axis=1) < SHAPE[0] / 2 - 40)
    true[rng.choice(inside, nitrogen, replace=False)] *= NITROGEN
    lift = rng.normal(0, LIFT, len(xy))
    noise = rng.normal(0, OWN, len(xy)) * np.sqrt(0.4 + 0.6 * true / 1000)
    bright = true + noise - LOST * lift
    error = np.hypot(OWN, LOST * LIFT) * np.sqrt(0.4 + 0.6 * np.maximum(bright, 0) / 1000)
    rows = pd.DataFrame(xy, columns=["x_px", "y_px"]).assign(
        atom=range(len(xy)), p=0.99, width=3.9, background=50 + lift
    )
    return conform(rows.assign(intensity=bright, intensity_err=error)), true


def cleaned(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    return off_ground(rows, np.zeros(len(rows), dtype=np.int64))


def test_light_that_went_to_the_background_comes_back(rng):
    rows, true = graphene(rng)
    bright, gone = cleaned(rows)
    assert np.std(rows["intensity"] - true) > 1.12 * OWN
    assert np.std(bright - true) < 1.05 * OWN
    np.testing.assert_allclose(np.sqrt(np.median(gone)), LOST * LIFT, rtol=0.15)
    # neither a level nor a slow change of the background has a say
    slope = 0.05 * rows["x_px"] - 0.02 * rows["y_px"] + 300
    np.testing.assert_allclose(
        cleaned(rows.assign(background=rows["background"] + slope))[0], bright, atol=0.2 * OWN
    )


@pytest.mark.parametrize("tail", [0.0, 0.006])
def test_what_a_column_lacks_in_its_own_background_is_no_error(tail, rng):
    """A dopant of a seventh of the light of its host lacks its tails, too, and stays as dim."""
    rows, _ = graphene(rng)
    inside = np.flatnonzero(np.abs(rows[["x_px", "y_px"]] - SHAPE[0] / 2).max(axis=1) < 140)
    dopant = rng.choice(inside, 15, replace=False)
    less = np.zeros(len(rows))
    less[dopant] = 850.0
    odd = rows.assign(
        intensity=rows["intensity"] - less, background=rows["background"] - tail * less
    )
    bright, _ = cleaned(odd)
    assert np.mean(bright[dopant]) == pytest.approx(150, abs=3 * OWN / np.sqrt(len(dopant)))
    assert np.std(bright[less == 0] - 1000) < 1.05 * OWN


def test_a_background_that_tells_nothing_changes_nothing(rng):
    rows, _ = graphene(rng)
    other = rng.permutation(rows["background"].to_numpy())
    for told in (other, np.full(len(rows), 50.0), np.full(len(rows), np.nan)):
        bright, gone = cleaned(rows.assign(background=told))
        np.testing.assert_array_equal(bright, rows["intensity"])
        assert not gone.any()
    few = rows.iloc[:20]
    np.testing.assert_array_equal(cleaned(few)[0], few["intensity"])


def test_the_unit_of_the_detector_does_not_matter(rng):
    rows, _ = graphene(rng)
    names = ["intensity", "intensity_err", "background"]
    other = rows.assign(**{name: 1e4 * rows[name] for name in names})
    (bright, gone), (other_bright, other_gone) = cleaned(rows), cleaned(other)
    np.testing.assert_allclose(other_bright, 1e4 * bright, rtol=1e-6)
    np.testing.assert_allclose(other_gone, 1e8 * gone, rtol=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_how_errors_grow_is_read_from_them(share, rng):
    y = np.append(rng.normal(1, 0.06, 900), rng.normal(4, 0.2, 8))
    square = 0.05**2 * (1 - share + share * y) * rng.uniform(0.95, 1.05, len(y))
    assert growth(y, square) == pytest.approx(share, abs=0.1)
    assert growth(y, 1e6 * square) == pytest.approx(growth(y, square), abs=1e-6)
    assert growth(y[:10], square[:10]) == 0.0


def test_an_error_is_that_of_the_class_not_of_what_was_seen(rng):
    """Where noise grows with brightness, the posterior is that of the noise of each class."""
    mean = np.array([1.0, 1.6])
    error = 0.2 * np.sqrt((1 + 3 * mean) / 4)
    y = mean[rng.integers(0, 2, 500)] + rng.normal(0, 0.2, 500)
    density = np.exp(-0.5 * ((y[:, None] - mean) / error) ** 2) / error
    exact = density / density.sum(axis=1, keepdims=True)
    mixture = Mixture(mean, np.zeros(2), np.array([[0.5, 0.5, 1e-9]]), tail=1e-9)
    group = np.zeros(len(y), dtype=np.int64)
    at_one = np.full(len(y), 0.2)
    found = mixture.posterior(Data(y, at_one, group, 1, 1 / 5, 0.75))[:, :2]
    np.testing.assert_allclose(found, exact, atol=1e-3)
    blind = mixture.posterior(Data(y, at_one, group, 1, 1 / 5))[:, :2]
    assert np.abs(blind - exact).max() > 0.05


@pytest.mark.parametrize("wrong", [0.0, 0.05])
def test_fits_that_went_wrong_are_counted(wrong, rng):
    error = np.full(3000, 0.05)
    scale = np.where(rng.random(len(error)) < wrong, 3.0, 1.0)
    y = 1 + rng.normal(0, error * scale)
    found = fit_mixture(Data(y, error, np.zeros(len(y), dtype=np.int64), 1, 1 / 3))
    assert 0.3 * wrong < found.tail < 2 * wrong + 0.006


def test_errors_that_are_upper_limits_come_down_and_others_do_not(rng):
    group = np.zeros(2000, dtype=np.int64)
    y = 1 + rng.normal(0, 0.05, len(group))
    for stated, factor in ((0.06, 0.05 / 0.06), (0.05, 1.0), (0.03, 1.0)):
        error = np.full(len(group), stated)
        error[:500] = 0.2  # at the border
        assert shown(y, error, group) == pytest.approx(factor, abs=0.04)
        # another sublattice that scatters more has the say
        other = 2 + rng.normal(0, stated, 500)
        both = np.append(y, other), np.append(error, np.full(500, stated))
        assert shown(*both, np.append(group, np.ones(500, dtype=np.int64))) >= max(
            0.99 * factor, 0.9
        )


def test_nitrogen_is_told_from_carbon_as_well_as_noise_allows():
    """Its distance is 5.9 standard deviations of what the background leaves, 5.1 of all noise."""
    right, false, atoms = 0, 0, 0
    for seed in range(8):
        rows, true = graphene(np.random.default_rng(seed), nitrogen=2)
        found = study(rows, elements="C,N", hosts=("C",), shape=SHAPE).atoms["species"]
        right += int((found[true > 1000] == "N").sum())
        false += int((found[true == 1000] == "N").sum())
        atoms += len(rows)
    assert right >= 13
    assert false <= 2e-4 * atoms
