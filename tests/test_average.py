"""Lattices that noise hides: what repeats is found, what does not is not invented."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

import atomscope
from atomscope.detect import look
from atomscope.detect.average import averaged
from atomscope.models.store import load
from atomscope.types import Image

SPACING, SIGMA = 10.0, 1.6
Frame = NDArray[np.float32]


def crystal(
    electrons: float,
    seed: int,
    *,
    turn: float = 0.3,
    side: int = 256,
    half: bool = False,
    gone: int = 0,
) -> tuple[Frame, NDArray[np.float64]]:
    """Counts of a hexagonal lattice with so many electrons per column, and its columns."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(-60, 61), np.arange(-60, 61)), -1).reshape(-1, 2)
    c, s = np.cos(turn), np.sin(turn)
    xy = grid @ (SPACING * np.array([[1, 0], [-0.5, np.sqrt(3) / 2]])) @ [[c, s], [-s, c]]
    xy = xy + side / 2 + rng.uniform(-5, 5, 2)
    xy = xy[np.all((xy > -8) & (xy < side + 8), axis=1)]
    xy = xy[xy[:, 0] < side / 2] if half else xy
    xy = xy[np.argsort(np.hypot(*(xy - side / 2).T))][gone:]  # a hole in the middle
    y, x = np.arange(side)[:, None], np.arange(side)
    mean = np.full((side, side), 0.15 * electrons / SPACING**2)
    for px, py in xy:
        mean += (
            electrons
            / (2 * np.pi * SIGMA**2)
            * np.exp(-((y - py) ** 2) / (2 * SIGMA**2))
            * np.exp(-((x - px) ** 2) / (2 * SIGMA**2))
        )
    inside = np.all((xy > 0) & (xy < side - 1), axis=1)
    return rng.poisson(mean).astype(np.float32), xy[inside]


def is_faint(frame: Frame) -> bool:
    return look(Image(frame), load("universal")).faint


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.1])
def test_a_lattice_of_three_electrons_a_column_is_found(turn: float) -> None:
    frame, truth = crystal(3, 1, turn=turn)
    result = atomscope.analyze(frame, pixel_size=0.25)
    xy = result.atoms[["x_px", "y_px"]].to_numpy()
    rim = np.all((truth > 6) & (truth < 249), axis=1)
    assert (cKDTree(xy).query(truth[rim])[0] < 0.3 * SPACING).mean() > 0.97
    assert (cKDTree(truth).query(xy)[0] < 0.3 * SPACING).mean() > 0.93
    assert any("averaged" in line for line in result.warnings)


def test_a_clear_lattice_is_shown_as_it_is() -> None:
    assert is_faint(crystal(3, 2)[0])
    assert not is_faint(crystal(200, 2)[0])


@pytest.mark.parametrize("what", ["noise", "stripes", "spots"])
def test_nothing_is_invented(what: str) -> None:
    rng = np.random.default_rng(3)
    mean = np.full((256, 256), 0.05)
    if what == "stripes":
        mean = mean * (1 + 0.8 * np.sin(np.arange(256) * 0.9))[:, None]
    if what == "spots":
        for y, x in rng.integers(10, 246, (60, 2)):
            mean[y - 1 : y + 2, x - 1 : x + 2] += 0.3
    frame = rng.poisson(mean).astype(np.float32)
    assert not is_faint(frame)


def test_the_average_ends_where_the_crystal_does() -> None:
    frame, _ = crystal(6, 4, half=True)
    shown = averaged(frame, SPACING)
    near, far = shown[40:216, 30:100], shown[40:216, 170:240]
    assert near.std() > 3 * far.std()


def test_gain_and_offset_change_nothing() -> None:
    frame, _ = crystal(4, 5)
    first = averaged(frame, SPACING)
    second = averaged(3.5 * frame + 1000, SPACING)
    np.testing.assert_allclose(second, 3.5 * first, atol=0.02 * float(np.abs(second).max()))


def test_mirrors_go_with_the_frame() -> None:
    frame, _ = crystal(4, 6)
    first, second = averaged(frame, SPACING), averaged(frame[:, ::-1], SPACING)[:, ::-1]
    np.testing.assert_allclose(second, first, atol=0.02 * float(np.abs(first).max()))


def test_what_the_frame_shows_to_be_empty_is_left_out() -> None:
    found = []
    for seed in range(4):
        frame, truth = crystal(10, 10 + seed, gone=1)
        result = atomscope.analyze(frame, pixel_size=0.25)
        assert any("averaged" in line for line in result.warnings)
        xy = cKDTree(result.atoms[["x_px", "y_px"]].to_numpy())
        rim = np.all((truth > 6) & (truth < 249), axis=1)
        assert (xy.query(truth[rim])[0] < 0.3 * SPACING).mean() > 0.97
        hole = truth[np.argsort(np.hypot(*(truth - 128).T))[:6]].mean(axis=0)
        found.append(bool(xy.query(hole)[0] < 0.3 * SPACING))
    assert sum(found) <= 2  # a site of ten electrons that has none; before, all were filled
