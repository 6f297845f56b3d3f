"""How common classes are, and which stand beside which, is learned from the atoms themselves."""

from __future__ import annotations

import numpy as np
import pytest

from atomscope.classify import embedding
from atomscope.classify.shares import with_neighbours, with_shares
from test_classify import SPACING, honeycomb

EDGE = 40


def square() -> np.ndarray:
    """Numbers (N, 4) of the neighbours on a square lattice, -1 beyond its rim."""
    number = np.full((EDGE + 2, EDGE + 2), -1)
    number[1:-1, 1:-1] = np.arange(EDGE**2).reshape(EDGE, EDGE)
    sides = (number[:-2, 1:-1], number[2:, 1:-1], number[1:-1, :-2], number[1:-1, 2:])
    return np.stack([side.ravel() for side in sides], axis=1)


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
    shares = with_shares(p)[0]
    np.testing.assert_array_equal(with_neighbours(p, None), shares)
    np.testing.assert_allclose(with_neighbours(p, np.full((len(p), 3), -1)), shares, atol=1e-12)
    assert with_neighbours(p[:0], np.zeros((0, 6), int)).shape == (0, 3)


def test_the_order_of_atoms_and_of_neighbours_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    p, near = doubtful(arranged("blocks", rng), rng), square()
    found = with_neighbours(p, near)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(with_neighbours(p, near[:, ::-1]), found, atol=1e-9)
    order = rng.permutation(len(p))
    place = np.append(np.argsort(order), -1)
    np.testing.assert_allclose(with_neighbours(p[order], place[near[order]]), found[order])


def test_atoms_beside_are_those_of_the_same_frame() -> None:
    table = honeycomb(3)
    seen = embedding.embed(table)
    assert seen.near is not None
    row, slot = np.nonzero(seen.near >= 0)
    apart = table[["x_px", "y_px"]].to_numpy()
    length = np.linalg.norm(apart[row] - apart[seen.near[row, slot]], axis=1)
    assert length.max() < 1.6 * SPACING
    assert (row != seen.near[row, slot]).all()
    some = np.flatnonzero(seen.whole)
    near = seen.near_among(some)
    assert near is not None
    row, slot = np.nonzero(near >= 0)
    np.testing.assert_array_equal(some[near[row, slot]], seen.near[some[row], slot])
