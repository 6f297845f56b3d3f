"""Which classes stand beside which is learned from the atoms themselves and from examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atomscope.classify import classify, embedding, load, teach
from atomscope.classify.beside import Around, Shown, beside_examples, with_neighbours
from atomscope.classify.shares import with_shares
from test_classify import SPACING, honeycomb

EDGE = 40


def square(*, far: bool = False) -> Around:
    """Neighbours (N, 4) on a square lattice, -1 beyond its rim: the nearest, or the next."""
    number = np.full((EDGE + 2, EDGE + 2), -1)
    number[1:-1, 1:-1] = np.arange(EDGE**2).reshape(EDGE, EDGE)
    sides = (number[:-2, 1:-1], number[2:, 1:-1], number[1:-1, :-2], number[1:-1, 2:])
    four = np.stack([side.ravel() for side in sides], axis=1)
    return Around(np.full_like(four, -1), four) if far else Around(four, np.full_like(four, -1))


def arranged(how: str, rng: np.random.Generator) -> np.ndarray:
    """Classes (N,) in blocks, in turns, or anyhow."""
    y, x = np.indices((EDGE, EDGE))
    kinds = {"blocks": (x // 10 + y // 10) % 2, "turns": (x + y) % 2}
    return kinds[how].ravel() if how in kinds else rng.integers(0, 2, EDGE**2)


def doubtful(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (N, 3) that are right for four of five; none of them is out of the question."""
    log = np.where(truth == 1, 1.0, -1.0) + rng.normal(0, 1.2, len(truth))
    p = 1 / (1 + np.exp(-2 * log / 1.2**2))
    return np.stack([1 - p, p, 0 * p], axis=1)


@pytest.mark.parametrize(("how", "gain"), [("blocks", 0.025), ("turns", 0.025), ("anyhow", -0.01)])
def test_neighbours_tell_what_stands_beside_what(how: str, gain: float) -> None:
    rng = np.random.default_rng(0)
    truth = arranged(how, rng)
    p = doubtful(truth, rng)
    alone = (with_shares(p)[0].argmax(axis=1) == truth).mean()
    asked = (with_neighbours(p, square()).argmax(axis=1) == truth).mean()
    assert asked >= alone + gain


def test_who_stands_alone_knows_the_shares() -> None:
    rng = np.random.default_rng(1)
    p = doubtful(arranged("blocks", rng), rng)
    shares, nobody = with_shares(p)[0], np.full((len(p), 3), -1)
    np.testing.assert_array_equal(with_neighbours(p, None), shares)
    alone = with_neighbours(p, Around(nobody, nobody), None, np.full((3, 3), 5.0))
    np.testing.assert_allclose(alone, shares, atol=1e-12)
    empty = Around(nobody[:0], nobody[:0])
    assert with_neighbours(p[:0], empty).shape == (0, 3)


def turned(around: Around, order: np.ndarray) -> Around:
    place = np.append(np.argsort(order), -1)
    return Around(place[around.near[order]], place[around.next[order]])


def test_the_order_of_atoms_and_of_neighbours_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    p, near = doubtful(arranged("blocks", rng), rng), square().near
    around = Around(near, near[:, ::-1])
    shown = rng.uniform(0.5, 2, (3, 3))
    found = with_neighbours(p, around, None, shown)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    mirrored = Around(near[:, ::-1], near)
    np.testing.assert_allclose(with_neighbours(p, mirrored, None, shown), found, atol=1e-9)
    order = rng.permutation(len(p))
    again = with_neighbours(p[order], turned(around, order), None, shown)
    np.testing.assert_allclose(again, found[order])


def rows_and_singles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Classes (N,) on a square lattice: host, 1 in rows of three, 2 alone; p in doubt of these."""
    kind = np.zeros((EDGE, EDGE), int)
    for y in range(2, EDGE - 2, 4):
        for x in range(2, EDGE - 4, 6):
            kind[y, x : x + 3] = [(1, 1, 1), (0, 2, 0)][rng.integers(2)]
    truth = kind.ravel()
    p = np.full((EDGE**2, 4), 1e-4)
    p[truth == 0, 0] = 1
    between = rng.uniform(0.3, 0.7, (truth > 0).sum())
    p[truth > 0, 1:3] = np.stack([between, 1 - between], axis=1)
    return truth, p / p.sum(axis=1, keepdims=True)


def test_examples_show_what_stands_next_to_what() -> None:
    truth, _ = rows_and_singles(np.random.default_rng(3))
    taught = np.eye(4)[truth]
    rows = np.concatenate([np.flatnonzero(truth == c)[:5] for c in (0, 1, 2)])
    shown = beside_examples([Shown(taught, square(far=True), rows, truth[rows])])
    assert shown[1, 1] > 4
    assert shown[2, 2] < 1
    np.testing.assert_array_equal(shown[-1], 1)
    asked, p = rows_and_singles(np.random.default_rng(4))
    rare = asked > 0
    alone = with_neighbours(p, square(far=True)).argmax(axis=1)
    told = with_neighbours(p, square(far=True), None, shown).argmax(axis=1)
    assert (told == asked)[rare].mean() > (alone == asked)[rare].mean() + 0.15
    np.testing.assert_array_equal(told[~rare], 0)


def test_examples_make_no_common_atom_rare() -> None:
    truth, _ = rows_and_singles(np.random.default_rng(5))
    p = np.full((EDGE**2, 4), 1e-4)
    p[:, 0], p[truth > 0, 1] = 0.7, 0.3
    p /= p.sum(axis=1, keepdims=True)
    shown = np.ones((4, 4))
    shown[1, 1] = 64
    before = with_neighbours(p, square(far=True))
    np.testing.assert_allclose(with_neighbours(p, square(far=True), None, shown), before)


def test_without_examples_nothing_is_known_of_what_stands_next() -> None:
    truth, _ = rows_and_singles(np.random.default_rng(6))
    nobody = np.empty(0, np.intp)
    shown = beside_examples([Shown(np.eye(4)[truth], square(far=True), nobody, nobody)])
    np.testing.assert_allclose(shown, 1)
    unknown = np.full((len(truth), 4), np.nan)
    np.testing.assert_allclose(
        beside_examples([Shown(unknown, square(far=True), np.arange(9), truth[:9])]), 1
    )


def test_atoms_around_are_those_of_the_same_frame() -> None:
    table = honeycomb(3)
    seen = embedding.embed(table)
    assert seen.around is not None
    xy = table[["x_px", "y_px"]].to_numpy()
    bounds = ((seen.around.near, 0.7, 1.6), (seen.around.next, 1.1, 2.3))
    some = np.flatnonzero(seen.whole)
    among = seen.around.among(some)
    for (every, low, high), part in zip(bounds, (among.near, among.next), strict=True):
        row, slot = np.nonzero(every >= 0)
        length = np.linalg.norm(xy[row] - xy[every[row, slot]], axis=1)
        assert low * SPACING < length.min()
        assert length.max() < high * SPACING
        row, slot = np.nonzero(part >= 0)
        np.testing.assert_array_equal(some[part[row, slot]], every[some[row], slot])
    assert not (set(seen.around.near[50]) & set(seen.around.next[50])) - {-1}


def test_what_was_shown_travels_with_the_folder(tmp_path) -> None:
    table = honeycomb(3)
    marks = pd.DataFrame({"atom": [40, 41, 90, 91], "label": ["a", "a", "b", "b"], "frame": 0})
    made = teach(table, marks)
    assert made.shown is not None
    again = load(made.save(tmp_path / "taught"))
    np.testing.assert_array_equal(again.shown, made.shown)
    pd.testing.assert_frame_equal(classify(table, again), classify(table, made))
