"""Sets of simulated images: the same bytes for the same seed, however often they were stopped."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import atomscope
from atomscope.apps.cli import run
from atomscope.errors import InputError, UsageError
from atomscope.models import targets
from atomscope.simulate import shards
from atomscope.simulate.scene import OTHER

SMALL = {"--count": "7", "--size": "48", "--shard": "3", "--seed": "5"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make(folder: Path, recipe: str = "graphene", **other: str) -> int:
    options = SMALL | {f"--{name}": value for name, value in other.items()}
    words = [word for pair in options.items() for word in pair]
    return run(["simulate", recipe, "-o", str(folder), *words])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "whole"
    assert make(folder) == 0
    return folder


def test_a_set_holds_frames_class_maps_and_tables(whole):
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["classes"] == ["background", "C", "heavier", "lighter", "vacancy"]
    assert [entry["images"] for entry in manifest["shards"]] == [3, 3, 1]
    rows = 0
    for entry in manifest["shards"]:
        with np.load(whole / entry["frames"]) as arrays:
            frames, classes = arrays["frames"], arrays["classes"]
        assert frames.dtype == np.float32
        assert classes.dtype == np.uint8
        assert frames.shape == classes.shape == (entry["images"], 48, 48)
        table = pd.read_csv(whole / entry["table"])
        rows += len(table)
        for _, row in table.iterrows():  # every column shows in the map at its own pixel
            here = classes[row.image - entry["first"], round(row.y_px), round(row.x_px)]
            assert manifest["classes"][here] == row.label
    assert rows == sum(entry["columns"] for entry in manifest["shards"]) > 100


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(whole, tmp_path):
    assert make(tmp_path / "again") == 0
    assert contents(tmp_path / "again") == contents(whole)
    assert make(tmp_path / "other", seed="6") == 0
    assert contents(tmp_path / "other")["shard-0000.npz"] != contents(whole)["shard-0000.npz"]


def test_images_do_not_depend_on_the_size_of_the_shards(whole, tmp_path):
    assert make(tmp_path / "one", shard="100") == 0
    for first, second in zip(
        shards.read_set(whole), shards.read_set(tmp_path / "one"), strict=True
    ):
        np.testing.assert_array_equal(first.frame, second.frame)
        np.testing.assert_array_equal(first.xy, second.xy)
        assert first.label == second.label


class Killed(BaseException):
    """What no handler catches."""


@pytest.mark.parametrize("writes", range(1, 11))
def test_a_run_killed_at_any_write_goes_on_to_the_same_bytes(whole, tmp_path, monkeypatch, writes):
    """Three shards make ten writes; a kill leaves the draft of one of them."""
    out, left = tmp_path / "set", [writes]
    write_whole = shards.write_whole

    def killed(path, writer):
        left[0] -= 1
        if left[0] == 0:
            path.with_name("." + "0" * 32 + path.suffix).write_bytes(b"half")
            raise Killed
        return write_whole(path, writer)

    monkeypatch.setattr(shards, "write_whole", killed)
    monkeypatch.setattr(sys.modules["atomscope.io.write"], "write_whole", killed)
    with pytest.raises(Killed):
        make(out)
    monkeypatch.undo()
    assert make(out) == 0
    assert contents(out) == contents(whole)


def test_finished_shards_are_not_drawn_again(whole, tmp_path):
    out = tmp_path / "set"
    assert make(out) == 0
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert make(out) == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("name", ["shard-0001.npz", "shard-0001.csv"])
@pytest.mark.parametrize("gone", [False, True])
def test_a_tampered_or_missing_file_is_written_again(whole, tmp_path, name, gone):
    out = tmp_path / "set"
    assert make(out) == 0
    path = out / name
    if gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match="not the one"):
        list(shards.read_set(out))
    assert make(out) == 0
    assert contents(out) == contents(whole)


def test_recipes_without_classes_have_one(tmp_path):
    folder = atomscope.simulate("universal", tmp_path / "set", count=3, size=64, seed=1)
    manifest = shards.read_manifest(folder)
    assert manifest["classes"] == ["background", "column"]
    assert {name for image in shards.read_set(folder) for name in image.label} == {"column"}


def test_the_class_map_is_that_of_the_training(rng):
    xy, label = rng.uniform(-3, 50, (40, 2)), rng.integers(-1, 3, 40)
    painted = shards.class_map(xy, label, (48, 44))
    maps = targets.to_maps(xy, (48, 44), label)
    assert shards.REACH == targets.REACH
    taught = maps.label >= 0
    np.testing.assert_array_equal(painted[taught], maps.label[taught] + 1)
    assert np.all(painted[maps.near & ~taught] == shards.NO_CLASS)
    assert np.all(painted[~maps.near] == 0)
    assert OTHER == -1


class TestErrors:
    """One clear line each, and no half-written set."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nosuch"], "nosuch"),
            (["graphene", "--count", "0"], "count 0"),
            (["graphene", "--shard", "0"], "shard 0"),
            (["graphene", "--seed", "-1"], "seed -1"),
            (["graphene", "--size", "8"], "size 8"),
        ],
    )
    def test_wrong_options(self, tmp_path, capsys, arguments, words):
        assert run(["simulate", *arguments, "-o", str(tmp_path / "set")]) == 2
        line = capsys.readouterr().err
        assert words in line
        assert line.count("\n") == 1
        assert not (tmp_path / "set").exists()

    @pytest.mark.parametrize("change", [{"recipe": "tmd"}, {"seed": "6"}])
    def test_a_folder_belongs_to_one_set(self, whole, capsys, change):
        before = contents(whole)
        assert make(whole, **change) == 2
        assert "another" in capsys.readouterr().err
        assert contents(whole) == before

    def test_a_folder_with_other_files_is_left_alone(self, tmp_path, capsys):
        (tmp_path / "thesis.txt").write_text("precious")
        assert make(tmp_path) == 2
        assert "other files" in capsys.readouterr().err
        assert contents(tmp_path) == {"thesis.txt": b"precious"}

    def test_a_file_in_place_of_the_folder(self, tmp_path, capsys):
        (tmp_path / "set").write_text("x")
        assert make(tmp_path / "set") == 2
        assert capsys.readouterr().err.count("\n") == 1

    def test_a_full_disc(self, whole, tmp_path, capsys):
        """Files may not grow over 20 kB: the manifest fits, no shard does."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            assert make(tmp_path / "set") == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        line = capsys.readouterr().err
        assert "space" in line
        assert line.count("\n") == 1
        assert set(contents(tmp_path / "set")) == {"manifest.json"}
        assert make(tmp_path / "set") == 0
        assert contents(tmp_path / "set") == contents(whole)

    @pytest.mark.parametrize("text", [None, "", "[]", '{"count": 1}'])
    def test_a_folder_that_is_no_set(self, tmp_path, text):
        if text is not None:
            (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(InputError, match="no set of images"):
            list(shards.read_set(tmp_path))

    def test_a_set_that_is_not_finished(self, whole, tmp_path):
        manifest = json.loads((whole / "manifest.json").read_text())
        manifest["shards"].pop()
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(InputError, match="not finished"):
            list(shards.read_set(tmp_path))

    def test_plans_are_checked(self):
        with pytest.raises(UsageError, match="classes"):
            shards.Plan({}, (), 0, 1)
