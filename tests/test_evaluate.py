"""Laws of matching and scoring."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atomscope.errors import UsageError
from atomscope.evaluate import match, pool, reliability, score

coordinates = st.floats(-10, 10, allow_nan=False, width=32)
positions = st.integers(0, 7).flatmap(lambda n: arrays(float, (n, 2), elements=coordinates))
radii = st.floats(0.5, 15)


def best_by_brute_force(truth, found, radius):
    """Number of pairs and sum of squared distances of the best of all pairings."""
    if len(truth) > len(found):
        truth, found = found, truth
    squared = ((truth[:, None] - found[None]) ** 2).sum(axis=2)
    allowed = squared <= radius**2
    best = (0, 0.0)
    spots = range(len(found))
    for choice in itertools.permutations(spots, len(truth)):
        pairs = [(i, j) for i, j in enumerate(choice) if allowed[i, j]]
        best = max(best, (len(pairs), -sum(squared[i, j] for i, j in pairs)))
    return best[0], -best[1]


def total(pairs):
    return float((pairs.distances**2).sum())


@given(truth=positions, found=positions, radius=radii)
@settings(max_examples=200, deadline=None)
def test_no_point_is_used_twice_and_the_radius_holds(truth, found, radius):
    pairs = match(truth, found, radius)
    assert len(np.unique(pairs.truth)) == len(pairs.truth)
    assert len(np.unique(pairs.found)) == len(pairs.found)
    assert (pairs.distances <= radius * (1 + 1e-9)).all()
    assert np.array_equal(pairs.offsets, found[pairs.found] - truth[pairs.truth])
    assert pairs.is_true.sum() == len(pairs.truth)


small = st.integers(0, 6).flatmap(lambda n: arrays(float, (n, 2), elements=coordinates))


@given(truth=small, found=small, radius=radii)
@settings(max_examples=150, deadline=None)
def test_matching_is_the_best_of_all_pairings(truth, found, radius):
    pairs = match(truth, found, radius)
    count, cost = best_by_brute_force(truth, found, radius)
    assert len(pairs.truth) == count
    assert total(pairs) == pytest.approx(cost, rel=1e-6, abs=1e-6 * radius**2)


@given(truth=positions, found=positions, radius=radii)
@settings(max_examples=100, deadline=None)
def test_swapping_truth_and_found_swaps_precision_and_recall(truth, found, radius):
    forth, back = score(truth, found, radius), score(found, truth, radius)
    assert (forth.tp, forth.fp, forth.fn) == (back.tp, back.fn, back.fp)
    assert (forth.precision, forth.recall) == (back.recall, back.precision)
    assert forth.f1 == back.f1
    assert forth.rmse_px == pytest.approx(back.rmse_px, nan_ok=True, rel=1e-6, abs=1e-6 * radius)


@given(truth=positions, found=positions, radius=radii, seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_order_does_not_matter(truth, found, radius, seed):
    rng = np.random.default_rng(seed)
    shuffled = score(rng.permutation(truth), rng.permutation(found), radius)
    straight = score(truth, found, radius)
    assert (shuffled.tp, shuffled.fp, shuffled.fn) == (straight.tp, straight.fp, straight.fn)
    assert shuffled.rmse_px == pytest.approx(
        straight.rmse_px, nan_ok=True, rel=1e-6, abs=1e-6 * radius
    )


@given(truth=positions, found=positions, radius=radii)
@settings(max_examples=50, deadline=None)
def test_scores_do_not_depend_on_the_unit(truth, found, radius):
    # A power of two scales floats exactly.
    one, other = score(truth, found, radius), score(truth * 4, found * 4, radius * 4)
    assert (one.tp, one.fp, one.fn) == (other.tp, other.fp, other.fn)
    assert other.rmse_px == pytest.approx(4 * one.rmse_px, nan_ok=True, rel=1e-6, abs=1e-6 * radius)


def test_more_pairs_go_before_nearer_pairs():
    # The second truth is nearest to the first found, but then the first truth stays alone.
    pairs = match([[0.0, 0.0], [1.0, 0.0]], [[0.9, 0.0], [1.9, 0.0]], 1.0)
    assert pairs.truth.tolist() == [0, 1]
    assert pairs.found.tolist() == [0, 1]


def test_one_found_position_cannot_serve_two_atoms():
    scores = score([[0, 0], [1, 0]], [[0.5, 0]], 1.0)
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 1)


def test_a_known_shift_is_the_offset(rng):
    truth = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), -1).reshape(-1, 2) * 10
    scores = score(truth, rng.permutation(truth) + np.array([0.3, -0.4]), 2.0)
    assert scores.f1 == 1.0
    assert scores.rmse_px == pytest.approx(0.5)
    assert (scores.offset_x_px, scores.offset_y_px) == pytest.approx((0.3, -0.4))


def test_nothing_to_find_and_nothing_found():
    scores = score([], [], 1.0)
    assert (scores.precision, scores.recall, scores.f1) == (1.0, 1.0, 1.0)
    assert np.isnan(scores.rmse_px)
    assert score([], [[1, 1]], 1.0).f1 == 0.0
    assert score([[1, 1]], [], 1.0).f1 == 0.0


def test_rim_is_matched_but_not_counted():
    truth = np.array([[1.0, 5.0], [5.0, 5.0], [9.0, 9.0]])
    found = np.array([[1.0, 5.0], [5.2, 5.0], [0.0, 0.0], [5.0, 8.0]])
    scores = score(truth, found, 1.0, frame_shape=(11, 11), rim=2.0)
    assert (scores.tp, scores.fp, scores.fn) == (1, 1, 0)
    assert scores.rmse_px == pytest.approx(0.2)


@given(parts=st.lists(st.tuples(positions, positions), min_size=1, max_size=4), radius=radii)
@settings(max_examples=50, deadline=None)
def test_pooling_is_scoring_frames_far_apart_in_one(parts, radius):
    far = [np.array([1e4 * i, 0.0]) for i in range(len(parts))]
    together = score(
        np.concatenate([truth + shift for (truth, _), shift in zip(parts, far, strict=True)]),
        np.concatenate([found + shift for (_, found), shift in zip(parts, far, strict=True)]),
        radius * 1.000001,  # the shift rounds the last digits
    )
    pooled = pool([score(truth, found, radius * 1.000001) for truth, found in parts])
    assert (pooled.tp, pooled.fp, pooled.fn) == (together.tp, together.fp, together.fn)
    assert pooled.rmse_px == pytest.approx(together.rmse_px, nan_ok=True, abs=1e-6)
    assert pooled.offset_y_px == pytest.approx(together.offset_y_px, nan_ok=True, abs=1e-6)


@pytest.mark.parametrize("radius", [0.3, 0.9])
def test_fast_for_a_hundred_thousand_atoms(rng, radius):
    # 0.9 of the spacing connects nearly all candidates into one graph.
    truth = np.stack(np.meshgrid(np.arange(320.0), np.arange(320.0)), -1).reshape(-1, 2)
    found = rng.permutation(truth)[: len(truth) - 900] + rng.normal(0, 0.08, (len(truth) - 900, 2))
    start = time.process_time()  # not of the clock: the machine may be busy
    scores = score(truth, found, radius)
    assert time.process_time() - start < 20
    assert scores.tp >= 0.999 * len(found)


def test_stated_probabilities_that_are_right_have_no_error(rng):
    p = rng.uniform(size=200_000)
    curve = reliability(p, rng.uniform(size=p.size) < p)
    assert curve.ece < 0.01
    assert curve.count.sum() == p.size
    np.testing.assert_allclose(curve.stated, curve.observed, atol=0.02)
    assert ((curve.edges[:-1] <= curve.stated) & (curve.stated <= curve.edges[1:])).all()


def test_too_sure_by_a_fifth():
    curve = reliability(np.full(10, 1.0), np.arange(10) < 8)
    assert curve.ece == pytest.approx(0.2)
    assert np.isnan(curve.stated[:9]).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: match([[0, 0, 0]], [[0, 0]], 1.0), r"\(1, 3\)"),
        (lambda: match([[0, 0]], [[np.nan, 0]], 1.0), "not finite"),
        (lambda: match([[0, 0]], [[0, 0]], 0.0), "radius"),
        (lambda: score([[0, 0]], [[0, 0]], 1.0, rim=3), "frame_shape"),
        (lambda: reliability([0.5], [True, False]), "as many"),
        (lambda: reliability([1.5], [True]), "0 to 1"),
        (lambda: reliability([0.5], [True], bins=0), "bins"),
    ],
)
def test_errors_say_what_to_do(call, said):
    with pytest.raises(UsageError, match=said):
        call()


def test_importing_loads_nothing_heavy():
    code = "import sys, atomscope.evaluate; print('scipy' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
