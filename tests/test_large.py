"""Frames that are worked on part by part give what they give in one piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atomscope.columns import ATOMS, conform, empty
from atomscope.detect import prepare
from atomscope.detect.prepare import Shown, fill, usable, whole_frame
from atomscope.knowing import local
from atomscope.lattice import empty_sites, fit_lattice, grow
from atomscope.models.normalise import normalise
from atomscope.refine import refine
from atomscope.refine.start import Start
from atomscope.refine.tiles import cut
from atomscope.sampling import Resampling, resample
from atomscope.types import Image


@pytest.fixture
def frame() -> np.ndarray:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:150, :131]
    lattice = np.cos(2 * np.pi * x / 7.3) + np.cos(2 * np.pi * y / 8.1)
    return (100 + 20 * lattice + 0.2 * x + rng.normal(0, 5, x.shape)).astype(np.float32)


@pytest.mark.parametrize("factor", [0.37, 1.0, 1.9])
def test_part_of_a_resampled_frame_is_that_of_the_whole(frame: np.ndarray, factor: float) -> None:
    whole = resample(frame, factor)
    some = Resampling(frame.shape, factor)
    assert some.shape == whole.shape
    for rows, columns in ((slice(0, 9), slice(3, 40)), (slice(30, some.shape[0]), slice(20, 31))):
        part = some.part(frame[some.source(rows, columns)], rows, columns)
        assert np.array_equal(part, whole[rows, columns])


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
@pytest.mark.parametrize("dark", [False, True])
def test_network_sees_the_same_part_by_part(
    frame: np.ndarray, factor: float, dark: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = fill(frame, np.ones(frame.shape, dtype=bool))
    whole = normalise(resample(-filled if dark else filled, factor))
    everything = (slice(None), slice(None), slice(None))
    assert np.array_equal(Shown(frame, factor, dark=dark)[everything], whole)
    monkeypatch.setattr(prepare, "MOST_PIXELS", 2000)
    parts = Shown(frame, factor, dark=dark)
    assert parts.shape == whole.shape
    np.testing.assert_allclose(parts[everything], whole, atol=2e-5)
    some = (slice(0, 1), slice(11, 57), slice(40, 1000))
    np.testing.assert_allclose(parts[some], whole[some], atol=2e-5)


def test_bad_pixels_are_filled_the_same_band_by_band(
    frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = np.random.default_rng(2).random(frame.shape) > 0.1
    good[40:52, 30:45] = False
    whole = whole_frame(frame, good)
    monkeypatch.setattr(prepare, "MOST_PIXELS", 100)
    monkeypatch.setattr(prepare, "_BAND", 32)
    monkeypatch.setattr(prepare, "_FAR", 16)
    parts = whole_frame(frame, good)
    assert np.array_equal(parts[good], frame[good])
    # a pixel as near to two good ones may take either
    assert np.mean(parts == whole) > 0.98


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_mapped_file_gives_the_same_frame_each_time(
    frame: np.ndarray, mode: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "frame.npy", frame)
    data = np.load(tmp_path / "frame.npy", mmap_mode=mode)  # type: ignore[arg-type]
    if mode == "c":  # what was written into memory alone is not lost
        data[3, 4] = frame[3, 4] = -7.0
    image = Image(data)
    for _ in range(3):
        assert np.array_equal(image.frame(0), frame)


def test_a_mask_is_made_once_for_the_same_values(
    frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    monkeypatch.setattr(prepare, "_SEEN", {})
    monkeypatch.setattr(prepare, "_usable", lambda f: made.append(f) or np.isfinite(f))
    frame[20, 30] = np.nan
    assert not usable(frame)[20, 30]
    assert not usable(frame.copy())[20, 30]
    assert len(made) == 1
    frame[20, 30] = 5.0  # another frame in the same place
    assert usable(frame).all()
    assert usable(frame.astype(float)).all()
    assert len(made) == 3
    assert usable(frame[::-1].T).shape == frame.T.shape


def test_rows_of_a_filled_frame_are_those_of_the_whole(frame: np.ndarray) -> None:
    good = np.random.default_rng(2).random(frame.shape) < 0.9
    whole = np.where(good, frame, np.median(frame[good]))
    filled = local.Filled(frame, good)
    assert filled.shape == frame.shape
    assert np.array_equal(filled[17:60], whole[17:60])


def test_atoms_are_compared_with_the_frame_the_same_band_by_band(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    xy = rng.random((160, 2)) * (121, 152) - 0.5
    peak, width = rng.normal(10, 2, len(xy)), rng.uniform(1.2, 1.6, len(xy))
    frame = local.picture((151, 120), xy, peak, width, 8) + rng.normal(0, 1, (151, 120))
    whole = local.compare(frame, xy, 0.9 * peak, width)
    monkeypatch.setattr(local, "BAND", 37)
    monkeypatch.setattr(local, "CHUNK", 50)
    parts = local.compare(frame, xy, 0.9 * peak, width)
    for name in ("told", "untold", "noise", "texture", "left", "dips", "rivals"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-9)


def crystal(count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    cell = np.stack(np.mgrid[:count, :count], -1).reshape(-1, 1, 2)
    cell = cell + np.array([[0, 0], [0.5, 0.45]])
    xy = (cell @ np.array([[9.0, 0.5], [0.3, 8.6]])).reshape(-1, 2) + 4
    return xy[rng.random(len(xy)) < 0.97] + rng.normal(0, 0.1, (1, 2))


def test_lattice_is_the_same_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    xy = crystal(14)
    whole = fit_lattice(xy)
    monkeypatch.setattr(grow, "_CHUNK", 11)
    parts = fit_lattice(xy)
    assert whole is not None
    assert parts is not None
    np.testing.assert_allclose(parts.vectors, whole.vectors, rtol=1e-12)
    assert np.array_equal(parts.cell, whole.cell)
    shape = (int(xy[:, 1].max()) + 5, int(xy[:, 0].max()) + 5)
    np.testing.assert_allclose(empty_sites(parts, xy, shape), empty_sites(whole, xy, shape))


def test_every_vacancy_inside_is_an_empty_site() -> None:
    full = crystal(14)
    inside = np.flatnonzero((np.abs(full - full.mean(axis=0)) < 35).all(axis=1))
    gone = inside[:: len(inside) // 5][:5]
    before = fit_lattice(full)
    rest = np.delete(full, gone, axis=0)
    after = fit_lattice(rest)
    assert before is not None
    assert after is not None
    shape = (int(full[:, 1].max()) + 5, int(full[:, 0].max()) + 5)
    sites = empty_sites(after, rest, shape)
    nearest = np.linalg.norm(sites[:, None] - full[gone], axis=-1).min(axis=0)
    assert nearest.max() < 0.5
    assert len(sites) == len(empty_sites(before, full, shape)) + len(gone)


def test_flags_of_others_stay_and_those_of_the_fit_are_renewed(frame: np.ndarray) -> None:
    xy = np.stack(np.meshgrid(np.arange(14.6, 120, 7.3), np.arange(16.2, 140, 8.1)), -1)
    table = pd.DataFrame(xy.reshape(-1, 2), columns=["x_px", "y_px"])
    table["flags"] = np.where(np.arange(len(table)) % 2 == 0, "recalled", "masked recalled")
    done = refine(frame, table)
    words = [set(str(text).split()) for text in done["flags"]]
    assert all("recalled" in each for each in words)
    assert not any("masked" in each for each in words)  # no pixel is bad here
    hole = np.ones(frame.shape, dtype=bool)
    hole[60:80, 50:70] = False
    marked = refine(frame, table, mask=hole)["flags"].str.contains("masked").to_numpy()
    away = np.abs(xy.reshape(-1, 2) - (59.5, 69.5)).max(axis=1)
    assert marked[away < 8].all()
    assert not marked[away > 20].any()


def test_conform_keeps_values_and_owns_its_memory() -> None:
    table = pd.DataFrame({"own": ["a", "b"], "y_px": [1, 2], "track": [None, 3]})
    done = conform(table)
    assert list(done.columns) == [c.name for c in ATOMS] + ["own"]
    assert done["y_px"].tolist() == [1.0, 2.0]
    assert done["track"].isna().tolist() == [True, False]
    assert done.dtypes.drop("own").equals(empty(ATOMS, 2).dtypes)
    done.loc[0, "own"] = "c"
    done.loc[0, "y_px"] = 9.0
    assert table["own"][0] == "a"
    assert table["y_px"][0] == 1


def test_the_table_that_is_complete_is_the_one_of_the_result() -> None:
    import atomscope

    rng = np.random.default_rng(8)
    y, x = np.mgrid[:128, :128]
    lattice = np.cos(2 * np.pi * x / 9) + np.cos(2 * np.pi * y / 9)
    seen: list[pd.DataFrame] = []
    result = atomscope.analyze(lattice + rng.normal(0, 0.1, x.shape), complete=seen.append)
    assert len(seen) == 1
    pd.testing.assert_frame_equal(seen[0], result.atoms)


def test_few_columns_in_a_large_frame_make_no_huge_tiles() -> None:
    xy = np.array([[100.0, 100.0], [3000.0, 200.0], [150.0, 2900.0], [2950.0, 3050.0]])
    start = Start(xy, np.full(4, 16.0), 2.0, np.ones(4))
    tiles = list(cut((3072, 3072), start))
    assert sorted(i for tile in tiles for i in tile.members[tile.core]) == [0, 1, 2, 3]
    assert max((t.box[1] - t.box[0]) * (t.box[3] - t.box[2]) for t in tiles) < 1700**2
