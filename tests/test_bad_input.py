"""Bad input through the command line: an exit code and one line for each, never a traceback."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import atomscope
from atomscope.apps.cli import run
from atomscope.errors import AtomscopeError, UsageError
from atomscope.types import Image
from io_files import Dm, write_hyperspy_layout
from worlds import inner, lattice_frame

FILES = {"atoms.csv", "defects.csv", "structures.extxyz", "report.html", "overlay.png", "run.json"}
COUNTS = lattice_frame(size=96, dose=120.0)[0].clip(0, 255)
NM = ["nm", "nm"]


def _npy(path: Path, values: Any) -> Path:
    path = path.with_suffix(".npy")
    np.save(path, values)
    return path


def _bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _truncated_dm4(path: Path) -> Path:
    whole = Dm(4).write(path.with_suffix(".dm4"), COUNTS.astype("f4"), [0.01, 0.01], NM, "HAADF")
    return _bytes(whole, whole.read_bytes()[: COUNTS.size * 2])


def _spectrum_h5(path: Path) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["counts"] = np.arange(1000.0)
    return path.with_suffix(".h5")


def _diffraction_tif(path: Path) -> Path:
    path = path.with_suffix(".tif")
    metadata = {"unit": "1/nm"}
    tifffile.imwrite(path, COUNTS.astype("f4"), imagej=True, resolution=(20, 20), metadata=metadata)
    return path


def _diffraction_hspy(path: Path) -> Path:
    path = path.with_suffix(".hspy")
    with h5py.File(path, "w") as file:
        write_hyperspy_layout(file, COUNTS, [0.05, 0.05], ["1/nm", "1/nm"])
    return path


def _photograph(path: Path) -> Path:
    colours = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype("u1")
    tifffile.imwrite(path.with_suffix(".tif"), colours, photometric="rgb")
    return path.with_suffix(".tif")


Maker = Callable[[Path], Path]
REFUSED: dict[str, tuple[Maker, str]] = {
    "empty file": (lambda p: _bytes(p.with_suffix(".tif"), b""), "the file is empty"),
    "truncated dm4": (_truncated_dm4, "expected a whole file"),
    "text as tif": (lambda p: _bytes(p.with_suffix(".tif"), b"a, b\n1, 2\n"), "TIFF"),
    "unknown kind": (lambda p: _bytes(p.with_suffix(".docx"), b"hello"), "not known"),
    "spectrum h5": (_spectrum_h5, "spectrum"),
    "spectrum npy": (lambda p: _npy(p, np.arange(1000.0)), "spectrum"),
    "diffraction tif": (_diffraction_tif, "diffraction pattern"),
    "diffraction hspy": (_diffraction_hspy, "diffraction pattern"),
    "photograph": (_photograph, "colour"),
    "all NaN": (lambda p: _npy(p, np.full((64, 64), np.nan)), "no finite value"),
    "movie of NaN": (lambda p: _npy(p, np.full((5, 64, 64), np.nan)), "no finite value"),
    "all infinite": (lambda p: _npy(p, np.full((64, 64), np.inf)), "no finite value"),
    "1 x N": (lambda p: _npy(p, np.ones((1, 500))), "profile"),
    "3 x 3": (lambda p: _npy(p, np.arange(9.0).reshape(3, 3)), "shape (3, 3)"),
    "no pixels": (lambda p: _npy(p, np.zeros((0, 64))), "empty array"),
    "no frames": (lambda p: _npy(p, np.zeros((0, 64, 64))), "empty array"),
    "4-D": (lambda p: _npy(p, np.zeros((4, 4, 16, 16))), "4-D"),
    "complex": (lambda p: _npy(p, COUNTS * 1j), "modulus"),
    "words": (lambda p: _npy(p, np.full((8, 8), "a")), "numbers"),
    "missing": (lambda p: p.with_suffix(".tif"), "no such file"),
    "folder": (lambda p: p.parent, "folder"),
}

EMPTY: dict[str, np.ndarray[Any, Any]] = {
    "zeros": np.zeros((64, 64)),
    "constant": np.full((64, 64), 7, dtype="u2"),
    "tiny": np.arange(25.0).reshape(5, 5),
    "movie of zeros": np.zeros((3, 32, 32), dtype="f4"),
}

MISUSED: dict[str, tuple[list[str], str]] = {
    "unknown option": (["GOOD", "--nonsense"], "--nonsense"),
    "no input": ([], "no input"),
    "pixel size in words": (["GOOD", "--pixel-size", "nm"], "--pixel-size"),
    "pixel size below 0": (["GOOD", "--pixel-size=-1"], "above 0"),
    "pixel size NaN": (["GOOD", "--pixel-size", "nan"], "above 0"),
    "frames without colon": (["GOOD", "--frames", "3"], "A:B"),
    "frames in words": (["GOOD", "--frames", "a:b"], "A:B"),
    "frames beyond the end": (["GOOD", "--frames", "9:12"], "0:1"),
    "frames backwards": (["GOOD", "--frames", "5:2"], "0:1"),
    "select": (["GOOD", "--select", "7"], "expected a number or name"),
    "select in strange digits": (["GOOD", "--select", "²"], "expected a number or name"),
    "contrast": (["GOOD", "--contrast", "blue"], "bright"),
    "format": (["GOOD", "--format", "xls"], "csv"),
    "no jobs": (["GOOD", "--jobs", "0"], "1 or more"),
    "sample": (["--sample", "gold"], "graphene-si"),
    "model": (["GOOD", "--model", "none"], "universal"),
    "recipe": (["GOOD", "--recipe", "none"], "columns"),
}

RECIPES = {
    "unknown key": ("colour: red", "colour"),
    "unknown key of a stage": ("stages: [{stage: detect, colour: red}]", "colour"),
    "unknown stage": ("stages: [{stage: guess}]", "guess"),
    "two detections": ("stages: [{stage: detect}, {stage: detect}]", "expected 'detect'"),
    "refinement first": ("stages: [{stage: refine}, {stage: detect}]", "expected 'detect'"),
    "no stages": ("stages: []", "expected 'detect'"),
    "value out of range": ("stages: [{stage: detect, min_p: 7}]", "min_p"),
    "empty": ("", "dictionary"),
    "a list": ("- detect", "dictionary"),
    "not YAML": ("{]", "not a YAML file"),
    "not text": ("\0", "not a YAML file"),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return _npy(tmp_path / "good", COUNTS.astype("f4"))


def _told(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run `atomscope analyze`, check the exit code, and return its one line of complaint."""
    capsys.readouterr()
    assert run(["analyze", *map(str, arguments)]) == code
    line = capsys.readouterr().err
    assert line.startswith("atomscope: ")
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert "Traceback" not in line
    return line


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, reason = REFUSED[case]
    (tmp_path / "in").mkdir()
    line = _told(capsys, 3, make(tmp_path / "in" / "input"), "-o", tmp_path / "out")
    assert reason in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", EMPTY)
def test_frames_without_atoms(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", str(_npy(tmp_path / "a", EMPTY[case])), "-o", str(tmp_path / "o")]) == 0
    told = capsys.readouterr()
    assert "note: No atoms found" in told.out
    assert "host" not in told.out
    assert told.err == ""
    movie = {"tracks.csv", "events.csv"} if "movie" in case else set()
    assert _names(tmp_path / "o") == FILES | movie
    assert len(pd.read_csv(tmp_path / "o" / "atoms.csv")) == 0


@pytest.mark.parametrize("case", MISUSED)
def test_wrong_usage(
    case: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, reason = MISUSED[case]
    given = [str(good) if word == "GOOD" else word for word in arguments]
    assert reason in _told(capsys, 2, *given, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", RECIPES)
def test_bad_recipe(
    case: str, good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, reason = RECIPES[case]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(text, encoding="utf-8")
    line = _told(capsys, 2, good, good, "--recipe", recipe, "-o", tmp_path / "out")
    assert reason in line
    assert "recipe.yaml" in line


@pytest.mark.parametrize("words", [["nonsense"], ["info"], ["models", "show", "none"]])
def test_other_commands_used_wrongly(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    assert capsys.readouterr().err.startswith("atomscope: ")


def test_info_of_bad_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(tmp_path / "none.tif")]) == 3
    assert "no such file" in capsys.readouterr().err
    assert run(["info", str(_spectrum_h5(tmp_path / "a"))]) == 0
    assert "not taken: a spectrum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("package", "words", "extra"),
    [
        ("pyarrow", ["analyze", "--sample", "graphene-si", "--format", "parquet"], "parquet"),
        ("torch", ["train", "graphene"], "train"),
        ("onnxscript", ["train", "graphene"], "train"),
    ],
)
def test_what_is_not_installed_is_told_before_the_work(
    package: str,
    words: list[str],
    extra: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run([*words, "-o", str(tmp_path / "out")]) == 3
    assert f"pip install 'atomscope[{extra}]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_info_marks_the_image_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, spectrum=COUNTS[0], first=COUNTS[:40, :40], second=COUNTS, third=COUNTS[:9, :9])
    assert run(["info", str(path)]) == 0
    marked = [line.split() for line in capsys.readouterr().out.splitlines() if line[0] == "*"]
    assert [line[2] for line in marked] == ["second"]
    assert atomscope.read(path).frame_shape == COUNTS.shape


def test_output_that_cannot_be_written(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = good.read_bytes()
    assert "expected a folder" in _told(capsys, 2, good, "-o", good)
    assert "cannot be made" in _told(capsys, 2, good, "-o", good / "out")
    assert "cannot be made" in _told(capsys, 2, good, "-o", tmp_path / ("a" * 300))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "atoms.csv").mkdir()
    assert "cannot be written" in _told(capsys, 2, good, "-o", tmp_path / "out")
    assert good.read_bytes() == before


def test_bad_inputs_among_good_ones(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [tmp_path / "none.tif", _bytes(tmp_path / "text.tif", b"hello\n")]
    other = tmp_path / "other"
    other.mkdir()
    again = _npy(other / "good", COUNTS[:64, :64])
    inputs = [good, bad[0], again, bad[1]]
    assert run(["analyze", *map(str, inputs), "-o", str(tmp_path / "out"), "--json"]) == 4
    told = capsys.readouterr()
    assert [line[:11] for line in told.err.splitlines()] == ["atomscope: "] * 2
    summaries = json.loads(told.out)
    assert [Path(s["input"]) for s in summaries] == inputs
    assert ["error" in s for s in summaries] == [False, True, False, True]
    assert _names(tmp_path / "out") == {"good", "good-2"}
    for name, summary in (("good", summaries[0]), ("good-2", summaries[2])):
        assert _names(tmp_path / "out" / name) == FILES
        assert len(pd.read_csv(tmp_path / "out" / name / "atoms.csv")) == summary["atoms"] > 0
    assert run(["analyze", *map(str, bad), "-o", str(tmp_path / "bad")]) == 3


def test_what_nobody_foresaw_stops_no_other_input(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def hash_of(path: Path) -> str:
        if "odd" in str(path):
            raise ZeroDivisionError("by\nzero")
        return "sha256:0"

    monkeypatch.setattr("atomscope.io.input_hash", hash_of)
    odd = _npy(tmp_path / "odd", COUNTS)
    line = _told(capsys, 4, odd, good, "-o", tmp_path / "out")
    assert "ZeroDivisionError: by zero" in line
    assert _names(tmp_path / "out" / "good") == FILES
    assert "ATOMSCOPE_TRACEBACK=1" in _told(capsys, 1, odd, "-o", tmp_path / "alone")
    monkeypatch.setenv("ATOMSCOPE_TRACEBACK", "1")
    assert run(["analyze", str(odd), "-o", str(tmp_path / "alone")]) == 1
    assert "in hash_of" in capsys.readouterr().err


def _xy(atoms: pd.DataFrame) -> np.ndarray[Any, Any]:
    return atoms[["x_px", "y_px"]].to_numpy()


def _assert_same_atoms(found: pd.DataFrame, expected: pd.DataFrame, within: float) -> None:
    assert len(found) == len(expected) > 20
    assert cKDTree(_xy(expected)).query(_xy(found))[0].max() < within


@pytest.fixture(scope="module")
def clean() -> pd.DataFrame:
    return atomscope.analyze(COUNTS).atoms


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", ">i4", "<f2", ">f4", "f8", ">f8"])
def test_same_atoms_in_every_type(dtype: str, clean: pd.DataFrame) -> None:
    _assert_same_atoms(atomscope.analyze(COUNTS.astype(dtype)).atoms, clean, 2e-3)


def test_same_atoms_however_the_array_lies_in_memory(clean: pd.DataFrame) -> None:
    turned = np.asfortranarray(COUNTS)[::-1][::-1]
    turned.flags.writeable = False
    _assert_same_atoms(atomscope.analyze(turned).atoms, clean, 1e-6)


@pytest.mark.parametrize(
    ("gain", "offset"), [(1.0, -1000.0), (-1.0, 0.0), (1e-9, 1e-9), (1e6, 0.0)]
)
def test_same_atoms_at_any_gain_and_offset(gain: float, offset: float, clean: pd.DataFrame) -> None:
    contrast = "dark" if gain < 0 else "bright"
    found = atomscope.analyze(gain * COUNTS + offset, contrast=contrast).atoms
    _assert_same_atoms(found, clean, 2e-2)


def test_bad_pixels_harm_only_their_surroundings() -> None:
    counts, truth = lattice_frame(size=128, dose=120.0, seed=3)
    rng = np.random.default_rng(5)
    bad = np.zeros(counts.shape, dtype=bool)
    bad[rng.integers(0, 128, 12), rng.integers(0, 128, 12)] = True
    bad[90:92] = True
    broken = np.where(bad & (rng.random(bad.shape) < 0.5), np.inf, counts)
    broken[bad & np.isfinite(broken)] = np.nan
    broken[:, 40] = 0.0
    bad[:, 40] = True
    found = atomscope.analyze(broken).atoms
    damage = cKDTree(np.argwhere(bad)[:, ::-1])
    away = inner(truth, counts.shape, 8)
    away = away[damage.query(away)[0] > 6]
    assert len(away) > 30
    assert cKDTree(_xy(found)).query(away)[0].max() < 1
    seen = inner(_xy(found), counts.shape, 8)
    assert cKDTree(truth).query(seen[damage.query(seen)[0] > 6])[0].max() < 1
    touched = found[damage.query(_xy(found))[0] < 1]
    assert touched["flags"].str.contains("masked").all()


def test_movie_larger_than_the_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "movie.npy"
    try:
        movie = np.lib.format.open_memmap(path, "w+", "<f2", (40_000, 512, 512))
    except OSError:
        pytest.skip("this file system holds no sparse file of 20 GB")
    movie[7] = np.random.default_rng(0).poisson(24, (512, 512))
    movie[7, 100:196, 200:296] = COUNTS
    movie.flush()
    del movie
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(["analyze", str(path), "--frames", "7:8", "-o", str(tmp_path / "out")]) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2_000_000  # kB
    atoms = pd.read_csv(tmp_path / "out" / "atoms.csv")
    assert (atoms["x_px"].between(199, 296) & atoms["y_px"].between(99, 196)).sum() > 30


def test_frame_larger_than_the_memory(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, side = tmp_path / "frame.npy", 70_000
    try:
        np.lib.format.open_memmap(path, "w+", "<f4", (side, side)).flush()
    except OSError:
        pytest.skip("this file system holds no sparse file of 20 GB")
    monkeypatch.setattr("atomscope.memory.available", lambda: 30_000_000_000)
    line = _told(capsys, 3, path, "-o", tmp_path / "out")
    assert "70,000 x 70,000 px" in line
    assert "30 GB are available" in line
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("atomscope.memory.available", lambda: 10_000_000_000)
    with pytest.raises(AtomscopeError, match=r"19.6 GB of memory .* 10 GB are"):
        atomscope.read(path).frame(0)
    with pytest.raises(AtomscopeError, match="3 frames at a time"):
        atomscope.analyze(Image(np.broadcast_to(np.float32(1), (3, 20_000, 20_000))), jobs=4)
    assert run(["analyze", str(good), "-o", str(tmp_path / "out")]) == 0


def test_memory_that_is_available_is_that_of_this_machine() -> None:
    from atomscope.memory import available

    found = available()
    assert found is None or 0 < found <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_memory_used_up_while_files_are_written(
    good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("atomscope.io.write.write_extxyz", full)
    assert "memory" in _told(capsys, 3, good, "-o", tmp_path / "out")


@st.composite
def _wild(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of wild shapes, types and values, some with atoms in them."""
    sides = st.integers(0, 40)
    shape = draw(
        st.one_of(
            st.tuples(sides, sides),
            st.tuples(st.integers(0, 3), sides, sides),
            st.tuples(st.integers(1, 9), st.integers(60, 200)),
            st.lists(st.integers(0, 5), max_size=5).map(tuple),
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    base = rng.poisson(30, shape).astype("f8")
    if len(shape) >= 2 and draw(st.booleans()):
        crop = COUNTS[: shape[-2], : shape[-1]]
        base[..., : crop.shape[0], : crop.shape[1]] += crop
    base *= draw(st.sampled_from([0.0, 1.0, -1.0, 1e-12, 1e9]))
    odd = draw(st.sampled_from([0.0, np.nan, np.inf, -np.inf, -1e6, 1e12, 1e-30]))
    base[rng.random(shape) < draw(st.sampled_from([0.0, 0.0, 0.01, 0.5, 1.0]))] = odd
    kinds = ["f8", ">f8", "f4", ">f4", "f2", "u1", ">u2", "i4", "i8", "?", "c8", "U3", "O", "M8[s]"]
    dtype = np.dtype(draw(st.sampled_from(kinds)))
    if dtype.kind in "OUM":
        return np.full(shape, {"O": None, "U": "a", "M": "2020-01-01"}[dtype.kind], dtype)
    with np.errstate(all="ignore"):
        return base.astype(dtype)


@given(
    array=_wild(),
    pixel_size=st.sampled_from([None, 0.1, 1e-9, 1e9, 0.0, -1.0, np.nan]),
    contrast=st.sampled_from([None, "bright", "dark"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_wild_arrays_raise_nothing_else(
    array: np.ndarray[Any, Any], pixel_size: float | None, contrast: str | None
) -> None:
    try:
        result = atomscope.analyze(array, pixel_size=pixel_size, contrast=contrast)
    except AtomscopeError as error:
        line = str(error)
        assert "\n" not in line
        return
    atoms, (height, width) = result.atoms, result.image.frame_shape
    assert np.isfinite(_xy(atoms)).all()
    assert atoms["x_px"].between(-0.5, width - 0.5).all()
    assert atoms["y_px"].between(-0.5, height - 0.5).all()
    assert atoms["p"].between(0, 1).all()
    assert atoms["frame"].between(0, result.image.n_frames - 1).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"pixel_size": "0.1"}, "pixel size '0.1'"),
        ({"pixel_size": -1}, "pixel size -1"),
        ({"contrast": "up"}, "contrast"),
        ({"elements": 6}, "elements 6"),
        ({"material": 6}, "material '6'"),
    ],
)
def test_wrong_arguments_in_python_get_one_line(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        atomscope.analyze(COUNTS, **wrong)
    assert "\n" not in str(caught.value)


def test_a_result_is_not_saved_onto_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("here")
    with pytest.raises(UsageError, match="expected a folder"):
        atomscope.analyze(COUNTS).save(tmp_path / "taken")


def test_training_without_torch_gets_one_line() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules.pop('atomscope', None)\n"
        "import atomscope\n"
        "from atomscope.errors import MissingExtraError\n"
        "try: atomscope.train\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'atomscope[train]'" in done.stdout
