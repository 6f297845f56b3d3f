"""The score of atoms and the verdict on images: what must not change them, and what must."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import atomscope
from atomscope.knowing import Verdict, join, know
from atomscope.knowing.local import compare, picture
from atomscope.pipeline import Result
from atomscope.simulate.imaging import amorphous
from worlds import SQUARE, lattice_frame, phosphorene_frame

SIZE = 160


@pytest.fixture(scope="module")
def good() -> Result:
    frame, _ = lattice_frame(size=SIZE, spacing=11.0, cell=SQUARE, dose=150.0)
    return atomscope.analyze(frame)


def judged(frame, result, **changes):
    """Judge the atoms of a result again, on another frame or with another table."""
    atoms = result.atoms.assign(**changes)
    return know(frame, atoms, view_of(result), spacing=8.0, sigma=1.4)


def view_of(result):
    from atomscope.detect.view import View
    from atomscope.scale import Scale

    v = result.card["view"]
    scale = Scale(v["spacing_px"], v["order"], v["sigma_px"])
    return View(v["factor"], v["contrast"] == "dark", scale, v["lattice"], v["levelled"])


def verdict_of(frame, **options) -> str:
    return atomscope.analyze(frame, **options).card["verdict"]["verdict"]


def test_a_good_lattice_is_in_domain_and_its_atoms_are_not_odd(good):
    assert good.card["verdict"]["verdict"] == "in domain"
    assert good.card["verdict"]["reasons"] == ()
    inside = good.atoms[good.atoms["flags"] == ""]
    assert inside["ood"].between(0, 1).all()
    assert inside["ood"].median() < 0.15


def test_noise_blank_and_amorphous_are_not_in_domain(rng):
    sigma = 2.5
    frames = {
        "noise": rng.normal(size=(SIZE, SIZE)),
        "counts": rng.poisson(3.0, (SIZE, SIZE)).astype(float),
        "blank": np.full((SIZE, SIZE), 7.0),
        "amorphous": rng.poisson(
            80 * (3 + amorphous(rng, (SIZE, SIZE), sigma, 2.0)).clip(0)
        ).astype(float),
    }
    for name, frame in frames.items():
        assert verdict_of(frame) != "in domain", name


def test_shuffled_pixels_are_out_of_domain(good, rng):
    frame = good.image.frame(0)
    shuffled = rng.permutation(frame.ravel()).reshape(frame.shape)
    assert verdict_of(shuffled) == "out of domain"
    # even where someone insists on the atoms
    ood, verdict = judged(shuffled, good)
    before = good.atoms["ood"].to_numpy()
    assert np.median(ood) > np.median(before)
    assert verdict.score > good.card["verdict"]["score"]


@pytest.mark.parametrize(("gain", "offset"), [(1e-6, 0.0), (3.0, -50.0), (4e7, 1e9)])
def test_gain_and_offset_change_nothing(good, gain, offset):
    frame = good.image.frame(0) * gain + offset
    brightness = {"intensity": good.atoms["intensity"] * gain}
    ood, verdict = judged(frame, good, **brightness)
    np.testing.assert_allclose(ood, good.atoms["ood"], atol=1e-5)
    assert verdict.score == pytest.approx(good.card["verdict"]["score"], abs=1e-5)


def test_transpose_and_mirror_change_nothing(good):
    frame, x, y = good.image.frame(0), good.atoms["x_px"], good.atoms["y_px"]
    turned = {
        "transpose": (frame.T, y, x),
        "mirror": (frame[:, ::-1], frame.shape[1] - 1 - x, y),
    }
    for name, (other, left, down) in turned.items():
        ood, verdict = judged(other, good, x_px=left, y_px=down)
        np.testing.assert_allclose(ood, good.atoms["ood"], atol=1e-6, err_msg=name)
        assert verdict.score == pytest.approx(good.card["verdict"]["score"], abs=1e-6), name


def test_dark_columns_are_judged_as_bright_ones(good):
    view = replace(view_of(good), dark=True)
    atoms = good.atoms.assign(intensity=-good.atoms["intensity"])
    ood, verdict = know(-good.image.frame(0), atoms, view, spacing=8.0, sigma=1.4)
    np.testing.assert_allclose(ood, good.atoms["ood"], atol=1e-9)
    assert verdict.score == pytest.approx(good.card["verdict"]["score"])


def test_what_is_changed_about_one_atom_makes_that_one_odd(good):
    middle = int(np.argmin(np.hypot(good.atoms["x_px"] - 80, good.atoms["y_px"] - 80)))
    before = good.atoms["ood"].to_numpy()
    for name, value in (("p", 0.5), ("width", 3.0), ("intensity", 4.0)):
        column = good.atoms[name].to_numpy(copy=True)
        column[middle] *= value
        ood, _ = judged(good.image.frame(0), good, **{name: column})
        assert ood[middle] > before[middle] + 0.2, name
        far = np.hypot(good.atoms["x_px"] - 80, good.atoms["y_px"] - 80) > 40
        np.testing.assert_allclose(ood[far], before[far], atol=0.02)


def test_a_streak_beside_an_atom_is_seen_by_that_atom_alone(good):
    frame = good.image.frame(0).astype(float).copy()
    middle = int(np.argmin(np.hypot(good.atoms["x_px"] - 80, good.atoms["y_px"] - 80)))
    x, y = np.rint(good.atoms[["x_px", "y_px"]].to_numpy()[middle]).astype(int)
    frame[y + 2 : y + 4, x - 4 : x + 5] += np.ptp(frame)
    ood, _ = judged(frame, good)
    gain = ood - good.atoms["ood"].to_numpy()
    assert np.argmax(gain) == middle or gain[middle] > 0.5


def test_noise_alone_is_not_taken_for_misfit(rng):
    y, x = np.mgrid[12:150:12, 12:150:12].reshape(2, -1)
    xy = np.stack([x, y], axis=1) + rng.uniform(-0.5, 0.5, (len(x), 2))
    peak, width = np.full(len(xy), 10.0), np.full(len(xy), 2.0)
    clean = picture((SIZE, SIZE), xy, peak, width, 12)
    for rms in (0.0, 1.0, 5.0):
        seen = compare(clean + rng.normal(0, 1, clean.shape) * rms + 100, xy, peak, width)
        assert seen is not None
        assert seen.misfit.mean() < 0.03
        assert np.sqrt(np.median(seen.noise)) == pytest.approx(rms, rel=0.05, abs=0.05)
    wrong = compare(clean, xy + 2.0, peak, width)
    assert wrong is not None
    assert wrong.misfit.mean() > 0.3


def long_columns(share, angle, rms, rng):
    """Elongation seen in columns that are 1 + share times as long and 1 - share times as wide."""
    y, x = np.mgrid[12:150:12, 12:150:12].reshape(2, -1)
    xy = np.stack([x, y], axis=1) + rng.uniform(-0.5, 0.5, (len(x), 2))
    down, right = np.mgrid[:SIZE, :SIZE]
    dx, dy = right - xy[:, 0, None, None], down - xy[:, 1, None, None]
    along = (np.cos(angle) * dx + np.sin(angle) * dy) / (2 + 2 * share)
    across = (np.cos(angle) * dy - np.sin(angle) * dx) / (2 - 2 * share)
    frame = 10 * np.exp(-0.5 * (along**2 + across**2)).sum(axis=0)
    frame += rng.normal(0, 1, frame.shape) * rms
    seen = compare(frame, xy, np.full(len(xy), 10.0), np.full(len(xy), 2.0))
    assert seen is not None
    return seen.long


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_elongation_is_measured_in_any_direction(rng, share):
    for angle in (0.0, 0.4, np.pi / 4, 2.0):
        assert long_columns(share, angle, 0.1, rng) == pytest.approx(share, rel=0.15)


def test_noise_has_no_elongation_and_hides_little_of_a_real_one(rng):
    assert max(long_columns(0.0, 0.0, rms, rng) for rms in (0.0, 1.0, 5.0)) < 0.02
    assert 0.1 < long_columns(0.2, 0.4, 5.0, rng) < 0.25


def test_pairs_that_look_like_one_column_are_doubtful(good):
    frame = good.image.frame(0)
    pairs = frame + np.roll(frame, 5, axis=1)  # columns have a width of 3 px
    _, alone = judged(frame, good)
    shifted = {"x_px": good.atoms["x_px"] + 2.5, "intensity": 2.0 * good.atoms["intensity"]}
    _, verdict = judged(pairs, good, **shifted)
    assert alone.verdict == "in domain"
    assert verdict.verdict != "in domain"
    assert any("not resolved" in reason for reason in verdict.reasons)


def test_pairs_that_were_told_apart_are_in_domain():
    frame, _ = phosphorene_frame(0.06, 20.0)
    found = atomscope.analyze(frame, pixel_size=0.06)
    assert found.card["view"]["pairs"]
    assert found.card["verdict"]["verdict"] == "in domain"
    assert found.card["warnings"] == []


def test_a_wrong_pixel_size_is_doubtful(good):
    ood, verdict = know(
        good.image.frame(0), good.atoms, view_of(good), spacing=8.0, sigma=1.4, pixel_size=3.0
    )
    assert verdict.verdict != "in domain"
    assert "no crystal" in verdict.reasons[0]
    np.testing.assert_allclose(ood, good.atoms["ood"])


@pytest.mark.parametrize(("angstrom", "told"), [(0.3, True), (0.7, False), (10.0, False)])
def test_only_distances_that_no_crystal_has_are_doubtful(good, angstrom, told):
    _, verdict = judged(good.image.frame(0), good)
    view = view_of(good)
    _, measured = know(
        good.image.frame(0), good.atoms, view, spacing=8.0, sigma=1.4, pixel_size=angstrom / 11.0
    )
    assert (measured.score > verdict.score) == told
    assert any("no crystal" in reason for reason in measured.reasons) == told


def test_without_a_fit_nothing_is_said(good):
    from atomscope.recipe import DetectStage, Recipe

    result = atomscope.analyze(good.image, recipe=Recipe(stages=(DetectStage(),)))
    assert result.card["verdict"]["verdict"] == "unknown"
    assert any("cannot be told" in line for line in result.warnings)
    assert result.atoms["ood"].isna().all()


def test_a_movie_has_the_verdict_of_its_middle_frame():
    scores = (0.9, 0.1, 0.4)
    joined = join([Verdict("any", s) for s in scores] + [Verdict.unknown("why")])
    assert joined.score == 0.4
    assert join([Verdict.unknown("why")]).score is None


def test_doubt_is_told_to_the_user(good, rng):
    frame = rng.permutation(good.image.frame(0).ravel()).reshape(SIZE, SIZE)
    result = atomscope.analyze(frame)
    assert len(result.warnings) >= 1
    assert not any("unlike what" in line for line in good.warnings)
