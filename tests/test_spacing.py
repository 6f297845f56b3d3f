"""How far apart atoms lie: laws of the median distance to the nearest neighbour."""

from __future__ import annotations

import numpy as np
import pytest

from atomscope.spacing import is_ordered, median_spacing, nearest


def _grid(pitch: float) -> np.ndarray:
    y, x = np.mgrid[0:20, 0:20] * pitch
    return np.column_stack([x.ravel(), y.ravel()])


def test_the_spacing_of_a_grid_is_its_pitch() -> None:
    assert median_spacing(_grid(5.0)) == 5
    assert median_spacing(_grid(5.0), most=50) == 5


def test_atoms_at_one_place_have_none(rng: np.random.Generator) -> None:
    assert median_spacing(np.empty((0, 2))) is None
    assert median_spacing(np.ones((1, 2))) is None
    assert median_spacing(np.ones((3, 2))) is None
    twice = np.repeat(_grid(5.0), rng.integers(1, 3, 400), axis=0)
    assert median_spacing(twice) == 5


def test_the_spacing_scales_and_turns_with_the_atoms(rng: np.random.Generator) -> None:
    xy = rng.uniform(0, 100, (200, 2))
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert median_spacing(3 * xy @ turn) == pytest.approx(3 * median_spacing(xy))
    np.testing.assert_allclose(nearest(3 * xy @ turn), 3 * nearest(xy))


def test_lattices_are_ordered_and_chance_is_not(rng: np.random.Generator) -> None:
    assert is_ordered(nearest(_grid(5.0) + rng.normal(0, 0.1, (400, 2))))
    assert not is_ordered(nearest(rng.uniform(0, 100, (400, 2))))
