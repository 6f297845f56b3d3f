"""Laws of the simulated world."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from atomscope.simulate import imaging, lattices, scene
from atomscope.simulate.crystals import substitute
from atomscope.simulate.dataset import World, patch, patches
from atomscope.simulate.samples import SIZE, graphene_si, write


def test_same_seed_same_bytes_other_seed_other_bytes():
    first, second, other = patches(3, 4), patches(3, 4), patches(4, 4)
    assert first[0].tobytes() == second[0].tobytes()
    assert all(np.array_equal(a, b) for a, b in zip(first[1], second[1], strict=True))
    assert first[0].tobytes() != other[0].tobytes()


def test_patches_are_finite_and_truth_lies_inside():
    for seed in range(60):
        frame, xy, _ = patch(np.random.default_rng(seed), 96)
        assert frame.shape == (96, 96)
        assert np.isfinite(frame).all()
        assert np.all((xy >= -0.5) & (xy < 95.5))


def test_frames_without_atoms_hold_none():
    world = World(kinds=(0.0, 0.0, 1.0))
    assert all(len(patch(np.random.default_rng(s), 64, world)[1]) == 0 for s in range(10))


def test_rendered_volume_and_centre():
    frame = imaging.render(np.array([[20.3, 31.8]]), np.array([2.0]), 2.5, (64, 48))
    y, x = np.mgrid[:64, :48]
    assert frame.sum() == pytest.approx(2.0 * 2 * np.pi * 2.5**2, rel=1e-4)
    assert (frame * x).sum() / frame.sum() == pytest.approx(20.3, abs=1e-3)
    assert (frame * y).sum() / frame.sum() == pytest.approx(31.8, abs=1e-3)


def test_rendering_is_linear(rng):
    xy, weight = rng.uniform(0, 40, (9, 2)), rng.uniform(0.2, 1, 9)
    whole = imaging.render(xy, weight, 1.7, (40, 40), tail=0.1)
    parts = sum(
        imaging.render(xy[i : i + 1], weight[i : i + 1], 1.7, (40, 40), tail=0.1) for i in range(9)
    )
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_poisson_noise_has_the_stated_strength(rng):
    clean = np.full((200, 200), 0.8, dtype=np.float32)
    noisy = imaging.detector_noise(rng, clean, 0.1, shot=1.0)
    assert noisy.std() == pytest.approx(0.1, rel=0.03)
    assert noisy.mean() == pytest.approx(0.8, abs=0.003)


def test_jitter_keeps_the_mean_position(rng):
    frame = imaging.render(np.array([[32.0, 32.0]]), np.ones(1), 3.0, (64, 64))
    x = np.arange(64)
    shifts = [(imaging.scan_jitter(frame, rng, 0.5).sum(0) @ x) / frame.sum() for _ in range(50)]
    assert np.mean(shifts) == pytest.approx(32.0, abs=0.06)


@pytest.mark.parametrize("spacing", [5.0, 8.0, 14.0])
def test_shortest_distance_of_a_lattice_is_its_spacing(spacing):
    for seed in range(25):
        found = lattices.random_lattice(np.random.default_rng(seed), 120, spacing)
        nearest = cKDTree(found.xy).query(found.xy, k=2)[0][:, 1]
        assert nearest.min() == pytest.approx(spacing, rel=1e-6)


def test_merged_columns_keep_their_distance(rng):
    crowd = scene.Scene.unlabelled(rng.uniform(0, 50, (300, 2)), rng.uniform(0.1, 1, 300), 5.0)
    merged = scene.merge_unresolved(crowd, 3.0)
    assert cKDTree(merged.xy).query(merged.xy, k=2)[0][:, 1].min() >= 3.0
    assert merged.weight.max() == crowd.weight.max()


def test_substitution_moves_only_outwards(rng):
    xy = rng.uniform(-10, 10, (40, 2))
    moved, weight = substitute(xy, np.ones(40), 7, factor=3.0, push=0.3)
    np.testing.assert_array_equal(moved[7], xy[7])
    assert weight[7] == 3.0
    before = np.linalg.norm(np.delete(xy, 7, 0) - xy[7], axis=1)
    after = np.linalg.norm(np.delete(moved, 7, 0) - xy[7], axis=1)
    assert np.all(after > before)
    assert (after - before).max() == pytest.approx(0.3)


def test_the_sample_is_made_again_byte_for_byte(tmp_path):
    from atomscope.apps.run import SAMPLES

    assert write(tmp_path).read_bytes() == (SAMPLES / "graphene-si.tif").read_bytes()
    frames, truth = graphene_si()
    assert frames.shape == (12, SIZE, SIZE)
    assert len(truth) == 12
