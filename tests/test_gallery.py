"""Laws of the gallery: what the motifs of a report are averages of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atomscope.report.gallery import View, align, cut_out, mean_length, mean_lengths, mean_of


def motif_views(rng: np.random.Generator, n: int, noise: float) -> tuple[list[View], list[Any]]:
    """A chiral motif of five atoms, turned, mirrored, shifted, shuffled; its noisy pictures."""
    points = np.array([[0.0, 0], [9, 0], [0, 12], [-10, -3], [14, 11]])
    species = np.array(["Si", "C", "C", "C", "C"], dtype=object)
    weight = np.array([2.0, 1, 1, 1, 1])
    y, x = np.mgrid[0:90, 0:90]
    views, frames = [], []
    for number in range(n):
        angle, flip = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        xy = points @ (turn @ np.diag([1, flip])).T + rng.uniform(40, 50, 2)
        order = rng.permutation(5)
        views.append(View(xy[order], species[order], np.full((5, 2), 0.1), number))
        square = (x[..., None] - xy[:, 0]) ** 2 + (y[..., None] - xy[:, 1]) ** 2
        clean = (weight * np.exp(-square / 2 / 3.0**2)).sum(axis=-1)
        frames.append(clean + rng.normal(0, noise, clean.shape))
    return views, frames


def averaged(views: list[View], frames: list[Any], reference: View) -> np.ndarray:
    cuts = [cut_out(f, align(v, reference), 40.0, 40) for v, f in zip(views, frames, strict=True)]
    return mean_of([cut for cut, _ in cuts], [weight for _, weight in cuts])


def test_the_class_average_is_the_motif_and_its_error_falls_as_the_root_of_n() -> None:
    rng = np.random.default_rng(5)
    views, clean = motif_views(rng, 1, 0.0)
    reference = View(views[0].points - views[0].points.mean(axis=0), *_rest(views[0]))
    truth = averaged(views, clean, reference)
    errors = []
    for n in (8, 128):
        seen, frames = motif_views(rng, n, 0.5)
        errors.append(np.std(averaged(seen, frames, reference) - truth))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)  # √(128 / 8)
    assert errors[0] < 0.5 / np.sqrt(8)


def _rest(view: View) -> tuple[Any, Any, int]:
    return view.species, view.errors, view.frame


def test_alignment_undoes_any_rigid_motion_and_finds_the_partners() -> None:
    views, _ = motif_views(np.random.default_rng(1), 20, 0.0)
    for view in views[1:]:
        pose = align(view, views[0])
        moved = view.points @ pose.matrix.T + pose.shift
        np.testing.assert_allclose(moved[pose.partner], views[0].points, atol=1e-6)
        np.testing.assert_allclose(pose.matrix @ pose.matrix.T, np.eye(2), atol=1e-9)
        assert pose.misfit < 1e-6


def test_without_mirrors_handedness_is_kept() -> None:
    view = motif_views(np.random.default_rng(1), 1, 0.0)[0][0]
    other = View(view.points * [-1, 1], *_rest(view))
    assert align(other, view).misfit < 1e-6
    kept = align(other, view, mirror=False)
    assert kept.misfit > 1.0
    assert np.linalg.det(kept.matrix) == pytest.approx(1)


def test_a_missed_and_a_false_atom_do_not_turn_the_motif() -> None:
    reference, view = motif_views(np.random.default_rng(3), 2, 0.0)[0]
    species = np.array([*view.species[:-1], "C"], dtype=object)
    points = np.vstack([view.points[:-1], view.points[-1:] + 30.0])
    pose = align(View(points, species, view.errors), reference)
    met = pose.partner >= 0
    assert met.sum() == 4
    moved = points @ pose.matrix.T + pose.shift
    np.testing.assert_allclose(moved[pose.partner[met]], reference.points[met], atol=0.3)


def test_mean_bond_lengths_lie_within_their_errors() -> None:
    rng = np.random.default_rng(8)
    off = []
    for _ in range(40):
        views, _ = motif_views(rng, 6, 0.0)
        reference = views[0]
        noisy = [View(v.points + rng.normal(0, 0.3, (5, 2)), *_rest(v)) for v in views]
        poses = [align(view, reference) for view in noisy]
        centre = int(np.flatnonzero(reference.species == "Si")[0])
        bonds = np.array([[centre, j] for j in range(5) if j != centre])
        truth = np.hypot(*(reference.points[bonds[:, 0]] - reference.points[bonds[:, 1]]).T)
        mean, error = mean_lengths(noisy, poses, bonds)
        off.append((mean - truth) / error)
    assert np.std(off) == pytest.approx(1.29, abs=0.25)  # Student's t with 5 degrees
    assert abs(np.mean(off)) < 0.25


def test_the_error_of_one_view_is_that_of_its_positions() -> None:
    rng = np.random.default_rng(2)
    view = motif_views(rng, 1, 0.0)[0][0]
    bonds = np.array([[0, 1], [0, 2], [2, 3]])
    pose = align(view, view)
    spread, shifts = 0.1, rng.normal(0, 0.1, (4000, 5, 2))
    moved = [mean_length(View(view.points + s, *_rest(view)), pose, bonds)[0] for s in shifts]
    exact = View(view.points, view.species, np.full((5, 2), spread))
    assert mean_length(exact, pose, bonds)[1] == pytest.approx(np.std(moved), rel=0.05)
