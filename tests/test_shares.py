"""Probabilities that know how common classes are here."""

from __future__ import annotations

import numpy as np
import pytest

from atomscope import shares

KNOWN = np.array([0.9, 0.06, 0.04])


def observed(truth: np.ndarray, sharp: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (N, 3) of a judge who learned where classes are as common as KNOWN says."""
    evidence = rng.normal(0, sharp, (len(truth), 3))
    evidence[np.arange(len(truth)), truth] += sharp**2
    p = KNOWN * np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


class TestShift:
    """From the shares that probabilities were learned with to those that are here."""

    def test_the_same_shares_change_nothing(self) -> None:
        p = np.tile(KNOWN, (50, 1))
        np.testing.assert_allclose(shares.with_shares(p, KNOWN, 10.0)[0], p, atol=1e-12)
        rng = np.random.default_rng(3)
        p = observed(rng.choice(3, 20_000, p=KNOWN), 1.5, rng)
        moved, share = shares.with_shares(p, KNOWN, 10.0)
        np.testing.assert_allclose(share[0], KNOWN, atol=0.01)
        assert np.abs(moved - p).mean() < 0.01

    @pytest.mark.parametrize("here", [(0.6, 0.3, 0.1), (0.98, 0.01, 0.01)])
    def test_other_shares_are_found_and_decisions_gain(self, here) -> None:
        rng = np.random.default_rng(4)
        truth = rng.choice(3, 20_000, p=here)
        p = observed(truth, 1.8, rng)
        moved, share = shares.with_shares(p, KNOWN, 10.0, trust=1.0)
        np.testing.assert_allclose(share[0], here, atol=0.02)
        assert (moved.argmax(axis=1) == truth).mean() > (p.argmax(axis=1) == truth).mean()

    def test_a_class_without_evidence_goes_to_nearly_no_atoms(self) -> None:
        rng = np.random.default_rng(5)
        p = observed(np.zeros(5000, dtype=int), 2.0, rng)
        moved, _ = shares.with_shares(p, KNOWN, 10.0)
        doubted = p[:, 0] < 0.5
        assert doubted.sum() > 20
        assert (moved[:, 0] < 0.5).sum() < doubted.sum() / 4

    def test_a_few_clear_atoms_of_a_rare_class_stay(self) -> None:
        p = np.tile([0.999, 0.0005, 0.0005], (3000, 1))
        p[7] = [1e-4, 1 - 2e-4, 1e-4]
        moved, _ = shares.with_shares(p, KNOWN, 10.0)
        assert moved[7, 1] > 0.95

    def test_atoms_and_classes_in_another_order(self) -> None:
        rng = np.random.default_rng(6)
        p = observed(rng.choice(3, 400, p=(0.5, 0.4, 0.1)), 1.0, rng)
        weight, group = rng.random(400), rng.integers(0, 4, 400)
        moved, share = shares.with_shares(p, KNOWN, 20.0, weight=weight, group=group)
        rows, classes = rng.permutation(400), np.array([2, 0, 1])
        again, other = shares.with_shares(
            p[rows][:, classes], KNOWN[classes], 20.0, weight=weight[rows], group=group[rows]
        )
        np.testing.assert_allclose(again, moved[rows][:, classes], atol=1e-9)
        np.testing.assert_allclose(other, share[:, classes], atol=1e-9)

    def test_a_group_is_told_by_the_others_alone(self) -> None:
        rng = np.random.default_rng(7)
        group = np.repeat([0, 1], 1000)
        p = observed(np.where(group == 0, 0, rng.choice(3, 2000, p=(0.5, 0.4, 0.1))), 3.0, rng)
        share = shares.with_shares(p, KNOWN, 10.0, group=group)[1]
        assert share[0, 1] > 0.3
        assert share[1, 1] < 0.02
        alone = shares.with_shares(p[:1000], KNOWN, 10.0, group=group[:1000])[0]
        np.testing.assert_allclose(alone, p[:1000], atol=1e-12)

    def test_nobody_has_no_shares(self) -> None:
        moved, share = shares.with_shares(np.zeros((0, 3)), KNOWN, 10.0)
        assert moved.shape == (0, 3)
        np.testing.assert_allclose(share, KNOWN[None])
