"""Laws of the refinement: known truth, invariances, honest errors, no runaway, no crash."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atomscope.columns import FLAGS, conform, has_flag, with_flags
from atomscope.errors import UsageError
from atomscope.refine import RefineOptions, cramer_rao, refine

POSITION = ["x_px", "y_px"]
ERROR = ["x_err_px", "y_err_px"]


def render(xy, peak, sigma, background, shape):
    image = np.full(shape, float(background))
    x, y = np.arange(shape[1]), np.arange(shape[0])
    peak, sigma = np.broadcast_to(peak, len(xy)), np.broadcast_to(sigma, len(xy))
    for (cx, cy), a, s in zip(xy, peak, sigma, strict=True):
        down, right = np.exp(-((y - cy) ** 2) / (2 * s**2)), np.exp(-((x - cx) ** 2) / (2 * s**2))
        image += a * np.outer(down, right)
    return image


def lattice(shape, spacing, rng, jitter=0.2):
    y, x = np.mgrid[spacing / 2 : shape[0] - 1 : spacing, spacing / 2 : shape[1] - 1 : spacing]
    xy = np.stack([x.ravel(), y.ravel()], axis=1)
    return xy + rng.normal(scale=jitter, size=xy.shape)


def table(xy):
    return pd.DataFrame(
        {"frame": 0, "atom": np.arange(len(xy)), "x_px": xy[:, 0], "y_px": xy[:, 1], "p": 1.0}
    )


def positions(result):
    return result[POSITION].to_numpy()


@pytest.fixture
def scene(rng):
    """A noisy lattice of 64 columns, four widths apart, and its starting table."""
    xy = lattice((80, 80), 10.0, rng)
    image = rng.poisson(render(xy, 60, 2.5, 20, (80, 80))).astype(float)
    return image, table(xy + rng.normal(scale=0.4, size=xy.shape)), xy


@pytest.mark.parametrize("spacing", [20.0, 10.0, 8.0])
def test_noiseless_truth_is_found(rng, spacing):
    xy = lattice((72, 76), spacing, rng)
    peak = rng.uniform(30, 60, len(xy))
    sigma = 2.5 * np.exp(rng.normal(scale=0.08, size=len(xy)))
    image = render(xy, peak, sigma, 7.0, (72, 76))
    found = refine(image, table(xy + rng.normal(scale=0.4, size=xy.shape)))
    assert (found["flags"].str.contains("unrefined")).sum() == 0
    np.testing.assert_allclose(positions(found), xy, atol=1e-4)
    np.testing.assert_allclose(found["width"], sigma, rtol=1e-3)
    np.testing.assert_allclose(found["intensity"], 2 * np.pi * peak * sigma**2, rtol=3e-3)
    np.testing.assert_allclose(found["background"], 7.0, atol=0.2)


def test_ellipse_is_found(rng):
    xy = lattice((60, 60), 15.0, rng)
    y, x = np.mgrid[:60, :60].astype(float)
    image = np.full((60, 60), 5.0)
    for cx, cy in xy:
        u, v = (x - cx + y - cy) / 2**0.5, (y - cy - x + cx) / 2**0.5
        image += 40 * np.exp(-(u**2) / (2 * 2.6**2) - v**2 / (2 * 2.0**2))
    found = refine(image, table(xy + 0.3), options=RefineOptions(elliptical=True))
    np.testing.assert_allclose(positions(found), xy, atol=1e-4)
    np.testing.assert_allclose(found["width"], np.sqrt(2.6 * 2.0), rtol=1e-3)
    np.testing.assert_allclose(found["intensity"], 2 * np.pi * 40 * 2.6 * 2.0, rtol=1e-3)


@pytest.mark.parametrize(
    ("width", "gain", "offset", "read", "spacing"),
    [
        ("own", 1.0, 0.0, 0.0, 16.0),
        ("own", 3.7, 120.0, 6.0, 8.0),
        ("shared", 3.7, 120.0, 6.0, 10.0),
    ],
)
def test_errors_are_small_and_honest(width, gain, offset, read, spacing):
    pulls, ratio = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        xy = lattice((112, 112), spacing, rng)
        counts = rng.poisson(render(xy, 50, 2.5, 20, (112, 112)))
        image = gain * counts + offset + read * rng.normal(size=counts.shape)
        start = table(xy + rng.normal(scale=0.5, size=xy.shape))
        found = refine(image, start, options=RefineOptions(width=width))
        error = positions(found) - xy
        assert found[ERROR].notna().all().all()
        pulls.append((error / found[ERROR].to_numpy()).ravel())
        bound = cramer_rao(xy, 50, 2.5, 20, (112, 112), readout_variance=(read / gain) ** 2)
        ratio.append(np.sqrt(np.mean(error**2) / np.mean(np.square(bound))))
    pull = np.abs(np.concatenate(pulls))
    scatter = 2.0 / np.sqrt(len(pull))
    assert np.mean(ratio) < 1.12
    assert abs(np.mean(pull < 1) - 0.683) < 0.03 + 0.46 * scatter
    assert abs(np.mean(pull < 1.96) - 0.95) < 0.02 + 0.22 * scatter


def test_errors_fall_with_the_root_of_the_dose(rng):
    xy = lattice((96, 96), 12.0, rng)
    clean = render(xy, 50, 2.5, 20, (96, 96))
    error = [
        refine(rng.poisson(clean * dose).astype(float), table(xy))[ERROR].median().mean()
        for dose in (1, 10, 100)
    ]
    np.testing.assert_allclose(np.array(error[:-1]) / error[1:], np.sqrt(10), rtol=0.06)


def test_whole_pixel_shift_moves_the_answer(scene):
    image, start, _ = scene
    base = refine(image, start)
    padded = np.pad(image, ((3, 0), (5, 0)), mode="reflect")
    moved = start.assign(x_px=start["x_px"] + 5, y_px=start["y_px"] + 3)
    mask = np.zeros(padded.shape, dtype=bool)
    mask[3:, 5:] = True
    again = refine(padded, moved, mask=mask)
    # The nodes of the background stand elsewhere and follow the noise a little otherwise.
    change = (positions(again) - [5, 3] - positions(base)) / base[ERROR].median().to_numpy()
    assert np.sqrt(np.mean(change**2)) < 0.3
    assert np.abs(change).max() < 0.8


@pytest.mark.parametrize("turn", ["mirror", "transpose", "rotate"])
def test_mirror_and_rotation(scene, turn):
    image, start, _ = scene
    n = image.shape[0] - 1
    x, y = start["x_px"].to_numpy(), start["y_px"].to_numpy()
    turned, tx, ty = {
        "mirror": (image[:, ::-1], n - x, y),
        "transpose": (image.T, y, x),
        "rotate": (np.rot90(image), y, n - x),
    }[turn]
    base, again = refine(image, start), refine(turned, start.assign(x_px=tx, y_px=ty))
    bx, by = base["x_px"].to_numpy(), base["y_px"].to_numpy()
    wanted = {"mirror": (n - bx, by), "transpose": (by, bx), "rotate": (by, n - bx)}[turn]
    limit = 0.05 * base["x_err_px"].median()
    np.testing.assert_allclose(positions(again), np.stack(wanted, axis=1), atol=limit)


@pytest.mark.parametrize(("gain", "offset"), [(3.7, 120.0), (1e-9, 0.0), (2e6, -5e5)])
def test_gain_and_offset_do_not_matter(scene, gain, offset):
    image, start, _ = scene
    base, again = refine(image, start), refine(gain * image + offset, start)
    np.testing.assert_allclose(again[POSITION + ERROR], base[POSITION + ERROR], rtol=1e-5)
    np.testing.assert_allclose(again["intensity"], gain * base["intensity"], rtol=1e-4)
    np.testing.assert_allclose(again["intensity_err"], gain * base["intensity_err"], rtol=1e-4)


def test_dark_is_bright_of_the_inverted_image(scene):
    image, start, _ = scene
    bright, dark = refine(image, start), refine(-image, start, dark=True)
    np.testing.assert_allclose(dark[POSITION + ERROR], bright[POSITION + ERROR], rtol=1e-9)
    np.testing.assert_allclose(dark["intensity"], -bright["intensity"], rtol=1e-9)
    np.testing.assert_allclose(dark["background"], -bright["background"], rtol=1e-9)


def test_order_of_rows_does_not_matter(scene, rng):
    image, start, _ = scene
    order = rng.permutation(len(start))
    base, again = refine(image, start), refine(image, start.iloc[order])
    np.testing.assert_array_equal(again["atom"], order)
    limit = 0.05 * base["x_err_px"].median()
    np.testing.assert_allclose(positions(again), positions(base)[order], atol=limit)


def test_an_atom_on_noise_stays_and_is_flagged(rng):
    xy = lattice((96, 96), 16.0, rng)
    image = rng.poisson(render(xy, 60, 2.5, 20, (96, 96))).astype(float)
    false = xy[:4] + 8.0
    found = refine(image, table(np.concatenate([xy, false])))
    odd = found["flags"].str.contains("unrefined").to_numpy()
    assert not odd[: len(xy)].any()
    shift = np.hypot(*(positions(found)[len(xy) :] - false).T)
    assert (shift[odd[len(xy) :]] == 0).all()
    assert (shift < 5.1).all()
    np.testing.assert_allclose(positions(found)[: len(xy)], xy, atol=0.5)
    assert found.loc[odd, [*ERROR, "intensity_err"]].isna().all().all()


def test_bad_pixels_are_left_out(scene):
    image, start, xy = scene
    broken = image.copy()
    broken[30:34, 12] = np.nan
    broken[60, 40:44] = np.inf
    found = refine(broken, start)
    assert np.isfinite(positions(found)).all()
    touched = found["flags"].str.contains("masked").to_numpy()
    assert 0 < touched.sum() < 12
    np.testing.assert_allclose(positions(found), xy, atol=0.6)
    np.testing.assert_allclose(positions(found), positions(refine(image, start)), atol=0.4)


def test_tiles_make_no_seam(monkeypatch, rng):
    from atomscope.refine import tiles

    xy = lattice((160, 150), 10.0, rng)
    image = rng.poisson(render(xy, 60, 2.5, 20, (160, 150))).astype(float)
    whole = refine(image, table(xy))
    monkeypatch.setattr(tiles, "_COLUMNS_PER_TILE", 60)
    parts = refine(image, table(xy))
    change = (positions(parts) - positions(whole)) / whole[ERROR].median().to_numpy()
    assert np.sqrt(np.mean(change**2)) < 0.3
    assert np.abs(change).max() < 0.8
    np.testing.assert_allclose(parts[ERROR], whole[ERROR], rtol=0.1)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (1, 40), (7, 5), (64, 64)])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_any_frame_gives_a_table(shape, count, rng):
    xy = rng.uniform([-2, -2], [shape[1] + 1, shape[0] + 1], size=(count, 2))
    for image in (np.zeros(shape), rng.normal(size=shape), np.full(shape, np.nan)):
        found = refine(image, table(xy))
        assert len(found) == count
        assert np.isfinite(positions(found)).all()


def test_coincident_atoms(scene):
    image, start, _ = scene
    double = pd.concat([start, start.iloc[:5]], ignore_index=True)
    found = refine(image, double)
    assert np.isfinite(positions(found)).all()
    assert found["flags"].str.contains("overlap")[:5].all()


def test_unknown_positions_stay_unknown(scene):
    image, start, _ = scene
    start.loc[3, "x_px"] = np.nan
    found = refine(image, start)
    assert np.isnan(found.loc[3, "x_px"])
    assert found.loc[3, "flags"] == "unrefined"
    assert found["x_err_px"].notna().sum() == len(start) - 1


def test_wrong_use_says_what_to_do(scene):
    image, start, _ = scene
    with pytest.raises(UsageError, match="one frame"):
        refine(np.zeros((2, 8, 8)), start)
    with pytest.raises(UsageError, match="x_px"):
        refine(image, start.drop(columns="x_px"))
    with pytest.raises(UsageError, match="mask"):
        refine(image, start, mask=np.ones((2, 2), dtype=bool))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    image=hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
    xy=hnp.arrays(np.float64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.floats(0, 23)),
    dark=st.booleans(),
    weights=st.sampled_from(["auto", "poisson", "gaussian"]),
    elliptical=st.booleans(),
)
def test_wild_arrays_never_raise(image, xy, dark, weights, elliptical):
    height, width = image.shape
    xy = np.minimum(xy, [width - 1, height - 1])
    options = RefineOptions(weights=weights, elliptical=elliptical)
    found = refine(image, table(xy), options=options, dark=dark)
    assert len(found) == len(xy)
    x, y = found["x_px"].to_numpy(), found["y_px"].to_numpy()
    assert ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).all()
    assert set(" ".join(found["flags"]).split()) <= set(FLAGS)
    refined = ~found["flags"].str.contains("unrefined").to_numpy(dtype=bool)
    assert np.isfinite(found.loc[refined, ERROR]).all().all()


def test_bound_of_one_column_is_the_textbook_one():
    sx, sy = cramer_rao(np.array([[32.3, 31.8]]), 1e4, 3.0, 1e-3, (64, 64))
    counts = 2 * np.pi * 1e4 * 9
    np.testing.assert_allclose([sx[0], sy[0]], 3.0 / np.sqrt(counts), rtol=2e-3)


def test_bound_with_integrated_pixels_is_that_of_a_wider_column():
    xy = np.array([[20.2, 20.4], [27.1, 21.0]])
    one = cramer_rao(xy, 50, 2.0, 5, (42, 48), integrated=True)
    other = cramer_rao(xy, 50 * 4 / (4 + 1 / 12), np.sqrt(4 + 1 / 12), 5, (42, 48))
    np.testing.assert_allclose(one, other, rtol=1e-3)
    own, shared, known = (
        np.sum(cramer_rao(xy, 50, 2.0, 5, (42, 48), width=w)) for w in ("own", "shared", "known")
    )
    assert known <= shared <= own


def test_fits_that_ran_away_are_taken_back():
    from atomscope.refine import hold

    detected = pd.DataFrame({"x_px": [10.0, 30.0], "y_px": [10.0, 30.0], "p": [1.0, 1.0]})
    fitted = conform(detected).assign(
        x_px=[10.5, 33.0], x_err_px=0.1, y_err_px=0.1, intensity_err=2.0, flags=["edge", "edge"]
    )
    held = hold(fitted, conform(detected), 1.0)
    assert held["x_px"].tolist() == [10.5, 30.0]
    assert held["x_err_px"].isna().tolist() == [False, True]
    assert held["flags"].tolist() == ["edge", "edge unrefined"]


def test_a_recipe_refines_as_refine_does():
    from atomscope.recipe import RefineStage

    assert RefineStage().model_dump(exclude={"stage"}) == RefineOptions().model_dump()


@given(
    texts=st.lists(st.sets(st.sampled_from(sorted(FLAGS))), min_size=1, max_size=8),
    word=st.sampled_from(sorted(FLAGS)),
    data=st.data(),
)
def test_flags_are_set_where_marked_and_others_stay(texts, word, data):
    rows = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))))
    before = pd.DataFrame({"flags": [" ".join(sorted(words)) for words in texts]})
    after = before.assign(flags=with_flags(before, {word: rows}))
    assert (has_flag(after, word) == rows).all()
    for other in set(FLAGS) - {word}:
        assert (has_flag(after, other) == has_flag(before, other)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64", "float32", ">f4", ">u2"])
def test_every_type_of_numbers_gives_the_same(scene, dtype):
    image, start, _ = scene
    expected, found = refine(image, start), refine(image.astype(dtype), start)
    np.testing.assert_allclose(positions(found), positions(expected), atol=1e-3)
    np.testing.assert_allclose(found["intensity"], expected["intensity"], rtol=1e-3)


def test_what_is_no_number_gets_one_line(scene):
    image, start, _ = scene
    with pytest.raises(UsageError, match="real numbers"):
        refine(image.astype(complex), start)
