"""Frames that count single electrons: chance is told from atoms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomscope import Image, detect
from atomscope.detect import find, look
from atomscope.detect.events import chance, counted
from atomscope.evaluate import score
from atomscope.models.store import load

SIZE, WIDTH = 192, 2.0  # px
ALL = np.ones((SIZE, SIZE), dtype=bool)


def atoms_on_a_support(seed, number=25, electrons=40.0, ground=0.03):
    """Counted electrons of atoms at least eight widths apart, and where the atoms are."""
    rng = np.random.default_rng(seed)
    xy = np.empty((0, 2))
    while len(xy) < number:
        new = rng.uniform(8, SIZE - 9, 2)
        if not len(xy) or np.hypot(*(xy - new).T).min() > 8 * WIDTH:
            xy = np.concatenate([xy, new[None]])
    y, x = np.mgrid[:SIZE, :SIZE]
    rate = np.full((SIZE, SIZE), ground)
    for px, py in xy:
        bell = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * WIDTH**2))
        rate += electrons * bell / (2 * np.pi * WIDTH**2)
    return rng.poisson(rate).astype(np.float32), xy


@pytest.mark.parametrize("rate", [0.003, 0.02, 0.1, 0.5])
@pytest.mark.parametrize("pixel_size", [None, 0.1, 0.2])
def test_electrons_on_nothing_are_no_atoms(rate, pixel_size):
    rng = np.random.default_rng(int(rate * 1e4))
    frames = [rng.poisson(rate, (SIZE, SIZE)).astype(np.float32) for _ in range(3)]
    found = [len(detect(Image(frame, pixel_size=pixel_size))) for frame in frames]
    assert sum(found) <= 3


@pytest.mark.parametrize("ground", [0.0, 0.01, 0.1])
def test_atoms_of_few_electrons_are_found_and_little_else(ground):
    scores = []
    for seed in range(3):
        frame, xy = atoms_on_a_support(seed, ground=ground)
        found = detect(Image(frame, pixel_size=0.2))[["x_px", "y_px"]].to_numpy()
        scores.append(score(xy, found, 2 * WIDTH))
    assert np.mean([s.precision for s in scores]) > 0.85
    assert np.mean([s.recall for s in scores]) > 0.95


@pytest.mark.parametrize("electrons", [5.0, 10.0])
def test_an_averaged_crystal_ends_where_its_electrons_do(electrons):
    rng = np.random.default_rng(8)
    along = 10.0 * np.array([[1.0, 0.1], [-0.1, 1.0]])
    steps = np.stack(np.meshgrid(np.arange(-40, 40), np.arange(-40, 40)), -1).reshape(-1, 2)
    xy = steps @ along + SIZE / 2
    xy = xy[(xy > 0).all(axis=1) & (xy < SIZE - 1).all(axis=1) & (xy[:, 0] < 0.6 * SIZE)]
    y, x = np.mgrid[:SIZE, :SIZE]
    rate = np.full((SIZE, SIZE), 0.003)
    for px, py in xy:
        bell = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * WIDTH**2))
        rate += electrons * bell / (2 * np.pi * WIDTH**2)
    found = detect(rng.poisson(rate).astype(np.float32))[["x_px", "y_px"]].to_numpy()
    seen = score(xy, found, 2.5)
    assert seen.precision > 0.88
    assert seen.recall > 0.9


def test_empty_sites_need_no_events():
    """Sites that a model with classes calls empty are seen in counted frames as in others."""
    rng = np.random.default_rng(11)
    steps = np.stack(np.meshgrid(np.arange(-30, 30), np.arange(-30, 30)), -1).reshape(-1, 2)
    cell = 19.0 * np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
    xy = np.concatenate([steps @ cell, (steps + 1 / 3) @ cell]) + SIZE / 2
    xy = xy[(xy > 2).all(axis=1) & (xy < SIZE - 3).all(axis=1)]
    inner = np.flatnonzero((np.abs(xy - SIZE / 2) < SIZE / 2 - 25).all(axis=1))
    empty = rng.choice(inner, 8, replace=False)
    y, x = np.mgrid[:SIZE, :SIZE]
    rate = np.full((SIZE, SIZE), 0.01)
    for px, py in np.delete(xy, empty, axis=0):
        rate += 60 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) / (8 * np.pi)
    frame = rng.poisson(rate).astype(np.float32)
    assert counted(frame, ALL) is not None
    model = load("graphene")
    seen = find(frame, model, look(Image(frame), model))
    assert score(xy[empty], seen.vacant.xy, 4.0).f1 > 0.7
    assert score(np.delete(xy, empty, axis=0), seen.xy, 4.0).f1 > 0.97


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-100, 100))
def test_gain_and_offset_change_nothing(gain, offset):
    frame, xy = atoms_on_a_support(1)
    first = counted(frame, ALL)
    second = counted(gain * frame.astype(np.float64) + gain * offset, ALL)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.events, second.events)
    assert np.array_equal(chance(first, xy, WIDTH), chance(second, xy, WIDTH))


def test_frames_with_noise_of_readout_or_many_electrons_count_nothing():
    rng = np.random.default_rng(3)
    frame, _ = atoms_on_a_support(2)
    assert counted(frame + rng.normal(0, 0.05, frame.shape), ALL) is None
    assert counted(rng.poisson(3.0, frame.shape).astype(np.float32), ALL) is None
    assert counted(np.zeros((32, 32), dtype=np.float32), np.ones((32, 32), dtype=bool)) is None


def test_chance_is_as_often_right_as_it_says():
    """Of the places that chance alone makes, hardly any looks like more."""
    rng = np.random.default_rng(4)
    sure = 0
    for _ in range(20):
        frame = rng.poisson(0.05, (SIZE, SIZE)).astype(np.float32)
        xy = np.argwhere(frame > 0)[:, ::-1].astype(float)  # each of them on at least one event
        counts = counted(frame, ALL)
        assert counts is not None
        sure += int((chance(counts, xy, WIDTH) < 0.2).sum())
    assert sure <= 8  # 0.2 in each frame, of about 1800 places that overlap by tens


def test_atoms_are_beyond_chance_wherever_they_are():
    frame, xy = atoms_on_a_support(5)
    counts = counted(frame, ALL)
    assert counts is not None
    assert chance(counts, xy, WIDTH).max() < 0.01
    order = np.random.default_rng(0).permutation(len(xy))
    assert np.allclose(chance(counts, xy[order], WIDTH), chance(counts, xy, WIDTH)[order])
    turned = counted(np.ascontiguousarray(frame.T), ALL)
    assert turned is not None
    assert np.allclose(chance(turned, xy[:, ::-1], WIDTH), chance(counts, xy, WIDTH), atol=1e-3)
    assert len(chance(counts, np.empty((0, 2)), WIDTH)) == 0


def test_what_cannot_count_is_no_evidence():
    frame, xy = atoms_on_a_support(6)
    good = ALL.copy()
    good[:, : SIZE // 2] = False
    frame[:, : SIZE // 2] = 50.0
    counts = counted(frame, good)
    assert counts is not None
    left = xy[:, 0] < SIZE / 2 - 8
    assert (chance(counts, xy, WIDTH)[left] > 0.9).all()
