"""Writers: whole or not at all, read back what was written, handedness kept."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atomscope.columns import ATOMS, conform, empty
from atomscope.errors import MissingExtraError, UsageError
from atomscope.io.write import plain, write_extxyz, write_json, write_table, write_whole


def make_atoms(n: int, *, frames: int = 1, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "frame": np.sort(rng.integers(0, frames, n)),
            "atom": np.arange(n),
            "x_px": rng.uniform(-1, 4000, n),
            "y_px": rng.uniform(-1, 4000, n),
            "x_err_px": 10 ** rng.uniform(-9, 0, n),
            "y_err_px": np.where(rng.random(n) < 0.3, np.nan, 0.05),
            "p": rng.random(n),
            "species": rng.choice(["C", "Si", ""], n),
            "intensity": 10 ** rng.uniform(-12, 9, n),
        }
    )
    return conform(table)


# --- whole files ------------------------------------------------------------------------------


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", lambda draft: draft.write_text("old"))

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", lambda draft: draft.write_text("old"))
    seen = []

    def write_and_look(draft: Path) -> None:
        draft.write_text("new")
        seen.append((path.read_text(), draft.parent, draft.suffix))

    write_whole(path, write_and_look)
    assert seen == [("old", tmp_path, ".txt")]
    assert path.read_text() == "new"


def test_missing_folders_are_made_and_impossible_ones_are_a_user_error(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a" / "b" / "c.txt", lambda draft: draft.write_text("x"))
    with pytest.raises(UsageError, match="output folder"):
        write_whole(path / "below-a-file.txt", lambda draft: draft.write_text("x"))


# --- tables -----------------------------------------------------------------------------------


def test_csv_reads_back_to_its_digits(tmp_path: Path) -> None:
    atoms = make_atoms(2000, frames=3)
    back = pd.read_csv(write_table(atoms, tmp_path / "atoms.csv"), keep_default_na=True)
    assert list(back.columns) == [column.name for column in ATOMS]
    assert back["atom"].dtype == back["frame"].dtype == np.int64
    for name in ("x_px", "y_px", "p"):
        np.testing.assert_allclose(back[name], atoms[name], rtol=0, atol=5.001e-5)
    for name in ("x_err_px", "y_err_px"):
        np.testing.assert_allclose(back[name], atoms[name], rtol=5.1e-4)
    np.testing.assert_allclose(back["intensity"], atoms["intensity"], rtol=5.1e-7)
    np.testing.assert_array_equal(back["species"].fillna(""), atoms["species"])


def test_no_positive_error_is_written_as_zero(tmp_path: Path) -> None:
    atoms = make_atoms(500)
    back = pd.read_csv(write_table(atoms, tmp_path / "atoms.csv"))
    assert (back["x_err_px"] > 0).all()


def test_unknown_is_empty_and_words_are_words(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "number": [1.5, np.nan],
            "count": pd.array([3, None], dtype="Int64"),
            "word": ['say "a, b"\nor c', None],
            "known": [True, False],
        }
    )
    with write_table(table, tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["number", "count", "word", "known"],
        ["1.5", "3", 'say "a, b"\nor c', "true"],
        ["", "", "", "false"],
    ]


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6),
    number=st.floats(allow_nan=False, allow_infinity=False, width=32),
)
def test_any_words_and_numbers_survive_csv(
    words: list[str], number: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write_table(pd.DataFrame({"word": words, "number": number}), path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == words
    assert float(rows[0][1]) == pytest.approx(number, rel=1e-6)


def test_a_table_longer_than_a_chunk_is_whole(tmp_path: Path) -> None:
    atoms = make_atoms(70_000)
    back = pd.read_csv(write_table(atoms, tmp_path / "atoms.csv"), usecols=["atom"])
    np.testing.assert_array_equal(back["atom"], np.arange(70_000))


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    text = write_table(empty(), tmp_path / "atoms.csv").read_text()
    assert text == ",".join(column.name for column in ATOMS) + "\n"


def test_parquet_keeps_every_digit(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    atoms = make_atoms(200)
    back = pd.read_parquet(write_table(atoms, tmp_path / "atoms.parquet"))
    pd.testing.assert_frame_equal(back, atoms, check_dtype=False)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"atomscope\[parquet\]"):
        write_table(empty(), tmp_path / "atoms.parquet")
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        write_table(empty(), tmp_path / "atoms.xlsx")


# --- JSON -------------------------------------------------------------------------------------


def test_json_is_strict(tmp_path: Path) -> None:
    data = {
        "nan": np.nan,
        "inf": [np.inf, np.float32(0.5)],
        "array": np.arange(3),
        "path": Path("a"),
        "set": {2, 1},
        "flag": np.bool_(True),
        "name": "Å",
        3: (None, "x"),
    }

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = write_json(data, tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {
        "nan": None,
        "inf": [None, 0.5],
        "array": [0, 1, 2],
        "path": "a",
        "set": [1, 2],
        "flag": True,
        "name": "Å",
        "3": [None, "x"],
    }


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(value=_PLAIN)
def test_plain_values_stay_as_they_are(
    value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert plain(value) == value
    path = write_json({"value": value}, tmp_path_factory.getbasetemp() / "plain.json")
    assert json.loads(path.read_text(encoding="utf-8")) == {"value": value}


# --- extended XYZ -----------------------------------------------------------------------------


@pytest.mark.parametrize("pixel_size", [None, 0.13])
def test_ase_reads_back_every_frame(tmp_path: Path, pixel_size: float | None) -> None:
    from ase.io import read

    atoms = make_atoms(300, frames=3)
    atoms["defect"] = np.where(atoms["p"] > 0.5, "V Si", "")
    path = write_extxyz(atoms, (64, 128), pixel_size, tmp_path / "s.extxyz", n_frames=5)
    frames = read(path, index=":")
    assert [len(frame) for frame in frames] == [
        int((atoms["frame"] == i).sum()) for i in range(5)
    ]  # the last two are empty
    scale = pixel_size or 1.0
    for i, frame in enumerate(frames[:3]):
        rows = atoms[atoms["frame"] == i]
        expected = np.column_stack(
            [rows["x_px"] * scale, (63 - rows["y_px"]) * scale, np.zeros(len(rows))]
        )
        np.testing.assert_allclose(frame.positions, expected, atol=1e-6)
        np.testing.assert_allclose(frame.arrays["p"], rows["p"], atol=5.001e-5)
        np.testing.assert_allclose(frame.arrays["intensity"], rows["intensity"], rtol=1e-6)
        np.testing.assert_array_equal(frame.arrays["id"], rows["atom"])
        np.testing.assert_array_equal(
            frame.arrays["defect"] == "V_Si", (rows["defect"] == "V Si").to_numpy()
        )
        symbols = ["X" if s == "" else s for s in rows["species"]]
        assert frame.get_chemical_symbols() == symbols
        assert not frame.pbc.any()
        np.testing.assert_allclose(frame.cell.lengths()[:2], [128 * scale, 64 * scale])
        assert frame.info["frame"] == i
        assert frame.info["unit"] == ("px" if pixel_size is None else "angstrom")


@settings(max_examples=25, deadline=None)
@given(xy=st.lists(st.tuples(*2 * [st.floats(0, 99)]), min_size=3, max_size=3))
def test_a_chiral_motif_keeps_its_hand(
    xy: list[tuple[float, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Seen on the screen (y down) and in ASE (y up), C to N to O turn the same way."""
    from ase.io import read

    image = np.array(xy)
    atoms = conform(
        pd.DataFrame(
            {"frame": 0, "atom": range(3), "x_px": image[:, 0], "y_px": image[:, 1]}
        ).assign(species=["C", "N", "O"])
    )
    path = tmp_path_factory.getbasetemp() / "chiral.extxyz"
    model = read(write_extxyz(atoms, (100, 100), 0.1, path)).positions[:, :2]

    def turn(points: np.ndarray) -> float:
        (ax, ay), (bx, by) = points[1] - points[0], points[2] - points[0]
        return float(ax * by - ay * bx)

    assert turn(model) == pytest.approx(turn(image * [1, -1]) * 0.01, abs=1e-3)
    assert model.min() >= -1e-9  # the whole frame lies at positive coordinates


def test_symbols_that_are_none_and_unknown_numbers_do_not_break_the_file(tmp_path: Path) -> None:
    from ase.io import read

    atoms = make_atoms(4)
    atoms["species"] = ["C", "not an element", "", "Pt"]
    atoms["intensity"] = [1.0, np.nan, 2.0, 3.0]
    frame = read(write_extxyz(atoms, (10, 10), 0.1, tmp_path / "s.extxyz"))
    assert frame.get_chemical_symbols() == ["C", "X", "X", "Pt"]
    np.testing.assert_array_equal(np.isnan(frame.arrays["intensity"]), [False, True, False, False])


def test_no_atoms_are_one_empty_frame(tmp_path: Path) -> None:
    from ase.io import read

    frames = read(write_extxyz(empty(), (10, 20), None, tmp_path / "s.extxyz"), index=":")
    assert [len(frame) for frame in frames] == [0]
