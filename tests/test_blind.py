"""Laws of pixels without data: what could not be seen there is neither there nor missing."""

from __future__ import annotations

import numpy as np
import pytest

import atomscope
from atomscope.simulate.named import named_frame

WHOLE = ("graphene", "1H-MoS2")


def _rows(frame):
    for first in range(30, len(frame), 60):
        frame[first : first + 3] = np.nan


def _columns(frame):
    _rows(frame.T)


def _block(frame):
    frame[150:170, 140:160] = np.nan


def _strewn(frame):
    places = np.random.default_rng(0).integers(0, frame.size, 400)
    frame.ravel()[places] = np.nan


@pytest.mark.parametrize("host", WHOLE)
@pytest.mark.parametrize("lose", [_rows, _columns, _block, _strewn])
def test_lost_pixels_are_no_vacancies(host, lose):
    made = named_frame(host, (), seed=3, size_px=300, dose=200.0)
    frame = made.image.astype(float)
    lose(frame)
    result = atomscope.analyze(frame, pixel_size=made.pixel_size)
    assert len(result.atoms) > 0.8 * len(made.atoms)
    assert list(result.defects["name"]) == []


def test_vacancies_away_from_lost_pixels_are_still_named():
    made = named_frame("graphene", ("V1",), seed=5, size_px=420, dose=200.0)
    frame = made.image.astype(float)
    x, y = made.defects[["x_px", "y_px"]].to_numpy(float)[0]
    lost = int(y + 60) if y < 300 else int(y - 60)
    frame[lost : lost + 4] = np.nan
    result = atomscope.analyze(frame, pixel_size=made.pixel_size)
    assert list(result.defects["name"]) == ["V1"]
    assert np.hypot(*(result.defects[["x_px", "y_px"]].to_numpy(float)[0] - (x, y))) < 5


def test_a_vacancy_on_lost_pixels_is_not_known():
    made = named_frame("graphene", ("V1",), seed=5, size_px=420, dose=200.0)
    frame = made.image.astype(float)
    col, row = made.defects[["x_px", "y_px"]].to_numpy(float)[0].round().astype(int)
    frame[row - 8 : row + 9, col - 8 : col + 9] = np.nan
    assert len(atomscope.analyze(frame, pixel_size=made.pixel_size).defects) == 0
