"""The whole way: files out, run card, recipes, units."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

import atomscope
from atomscope import recipe as recipes
from atomscope.apps.cli import run
from atomscope.columns import ATOMS
from atomscope.errors import InputError, UsageError
from atomscope.evaluate import score
from atomscope.simulate.imaging import render
from atomscope.types import Image
from worlds import inner, lattice_frame

FILES = {"atoms.csv", "defects.csv", "structures.extxyz", "overlay.png", "report.html", "run.json"}


def test_sample_gives_all_files_and_the_true_atoms(tmp_path, capsys):
    from atomscope.simulate.samples import graphene_si

    assert run(["analyze", "--sample", "graphene-si", "-o", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES | {"tracks.csv", "events.csv"}
    assert "report.html" in capsys.readouterr().out
    atoms = pd.read_csv(tmp_path / "out" / "atoms.csv")
    _, truth = graphene_si()
    radius = 0.25 * 1.42 / 0.11
    scores = []
    for index, true in enumerate(truth):
        found = atoms[atoms["frame"] == index][["x_px", "y_px"]].to_numpy()
        scores.append(score(inner(true, (160, 160), 5), found, radius).recall)
    assert np.mean(scores) > 0.95
    np.testing.assert_allclose(atoms["x"], atoms["x_px"] * 0.11, atol=2e-4)


def test_the_sample_says_what_the_readme_does():
    from importlib.resources import files

    path = files("atomscope") / "samples" / "graphene-si.tif"
    result = atomscope.analyze(str(path), elements="C,Si")
    assert (result.atoms["species"] == "Si").groupby(result.atoms["frame"]).sum().tolist() == [
        1
    ] * 12
    assert result.defects["name"].tolist() == ["Si1C3"] * 12
    assert result.events["kind"].tolist() == ["hop"]
    assert result.warnings == ()


def test_run_card_says_what_was_done(tmp_path):
    frame, _ = lattice_frame(size=128)
    np.save(tmp_path / "a.npy", frame)
    result = atomscope.analyze(tmp_path / "a.npy", pixel_size=0.12)
    card = json.loads((result.save(tmp_path / "out") / "run.json").read_text())
    assert card["input"]["sha256"].startswith("sha256:")
    assert len(card["model"]["sha256"]) == 64
    assert card["versions"]["atomscope"] == atomscope.__version__
    stages = {"read", "scale", "detect", "refine", "lattice", "identify", "name", "track", "know"}
    assert set(card["seconds"]) == stages | {"discover"}
    assert set(card["seeds"]) == {"discover"}
    assert recipes.Recipe.model_validate(card["recipe"]) == recipes.load("columns")


def test_run_card_names_every_network_and_seed(sample):
    from atomscope.classify.embedding import embedder
    from atomscope.models.store import load

    plain = atomscope.analyze(lattice_frame(size=96)[0], recipe=_without("discover")).card
    assert [model["use"] for model in plain["models"]] == ["detect"]
    assert plain["seeds"] == {}
    chain = {"recipe": "graphene-chain", "pixel_size": 0.11, "frames": (0, 2)}
    card = atomscope.analyze(sample, **chain).card
    used = {model["use"]: model for model in card["models"]}
    assert used["detect"]["sha256"] == card["model"]["sha256"] == load("universal").sha256
    assert used["label"]["sha256"] == load(card["zoo"]["model"]).sha256
    assert used["structures"]["sha256"] == embedder().sha256
    assert all(model["version"] for model in card["models"])
    assert ("discover" in used) == ("discover" in card["seeds"]) == ("discoveries" in card)
    assert {"ase", "h5py", "rosettasciio", "tifffile"} <= set(card["versions"])


def _without(*stages):
    return recipes.load("columns").without(*stages)


def test_table_has_the_declared_columns_and_order():
    frame, _ = lattice_frame(size=128)
    result = atomscope.analyze(frame)
    assert list(result.atoms.columns[: len(ATOMS)]) == [c.name for c in ATOMS]
    assert result.atoms["x"].isna().all()  # no pixel size: no Å
    sized = atomscope.analyze(Image(frame, pixel_size=0.1))
    np.testing.assert_allclose(sized.atoms["y_err"], 0.1 * sized.atoms["y_err_px"])


def test_threads_give_the_same_table():
    frame, _ = lattice_frame(size=96)
    movie = np.stack([frame, frame[::-1], frame[:, ::-1], frame])
    one, two = (atomscope.analyze(movie, jobs=n).atoms for n in (1, 2))
    pd.testing.assert_frame_equal(one, two, atol=1e-3)


def test_frames_are_cut_lazily():
    class Movie:
        shape, dtype, asked = (10**6, 64, 64), np.dtype("float32"), []

        def __getitem__(self, index):
            self.asked.append(index)
            return lattice_frame(size=64, seed=index)[0].astype(np.float32)

    movie = Movie()
    result = atomscope.analyze(Image(movie), frames=(5, 8))
    assert sorted(set(movie.asked)) == [5, 6, 7]
    assert set(result.atoms["frame"]) == {5, 6, 7}


@pytest.fixture(scope="module")
def sample():
    from atomscope.simulate.samples import graphene_si

    return graphene_si()[0]


def _named(result):
    tables = {"atoms": result.atoms, "defects": result.defects, "tracks": result.tracks}
    return tables | {"events": result.events}


def test_frames_keep_their_numbers(sample, tmp_path):
    import ase.io

    movie = Image(sample, pixel_size=0.11, times=tuple(0.5 * i for i in range(12)))
    alone = replace(movie, data=sample[3:9], times=movie.times[3:9])
    whole = atomscope.analyze(movie, elements="C,Si", frames=(3, 9))
    part = atomscope.analyze(alone, elements="C,Si")
    for name, table in _named(part).items():
        moved = table.assign(frame=table["frame"] + 3)
        if "frames" in table:
            words = [" ".join(str(int(n) + 3) for n in row.split()) for row in table["frames"]]
            moved = moved.assign(frames=np.array(words, dtype=object))
        pd.testing.assert_frame_equal(_named(whole)[name], moved, obj=name)
    assert min(len(part.tracks), len(part.events)) > 0
    out = whole.save(tmp_path)
    cells = ase.io.read(out / "structures.extxyz", ":")
    assert [cell.info["frame"] for cell in cells] == [3, 4, 5, 6, 7, 8]
    assert json.loads((out / "run.json").read_text())["input"]["frames"] == [3, 8]
    assert run(["track", str(out), "-o", str(out / "tracked"), "--frame-time", "0.5"]) == 0
    again = pd.read_csv(out / "tracked" / "events.csv")
    assert again["frame"].tolist() == whole.events["frame"].tolist()
    np.testing.assert_allclose(again["time"], whole.events["time"])
    page = (out / "report.html").read_text()
    assert '"frames",[3,4,5,6,7,8]' in page.replace(" ", "")
    assert "6 frames, 3 to 8" in page
    assert atomscope.analyze(whole.image, frames=(6, 7)).atoms["frame"].unique().tolist() == [6]


def test_a_part_of_a_movie_goes_through_all_stages(sample):
    movie = Image(sample, pixel_size=0.11, times=tuple(0.5 * i for i in range(12)))
    result = atomscope.analyze(movie, recipe="graphene-chain", frames=(9, 12))
    assert set(result.steps["frame"]) == {9, 10, 11}
    numbers = result.measures["numbers"].dropna(subset="time")
    assert set(numbers["frame"]) == {9, 10, 11}
    np.testing.assert_allclose(numbers["time"], 0.5 * numbers["frame"])


def test_run_card_says_what_was_asked_for(tmp_path):
    frame, _ = lattice_frame(size=96)
    np.savez(tmp_path / "a.npz", one=frame, two=frame[::-1])
    arguments = ["analyze", str(tmp_path / "a.npz"), "--select", "two", "--pixel-size", "0.12"]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 0
    told = json.loads((tmp_path / "out" / "run.json").read_text())["input"]
    expected = {"frames": [0, 0], "select": "two", "pixel_size_given": 0.12, "material": None}
    assert {name: told[name] for name in expected} == expected


@pytest.mark.parametrize("empty", [[0], [0, 2, 3, 4], [1, 3]])
def test_frames_without_data_are_named(empty, tmp_path):
    import imageio.v3 as imageio

    movie = np.stack([lattice_frame(size=96, seed=i)[0] for i in range(5)]).astype(float)
    movie[empty] = np.nan
    result = atomscope.analyze(movie)
    filled = [i for i in range(5) if i not in empty]
    assert result.atoms["frame"].unique().tolist() == filled
    said = {"0": [0], "0, 2 to 4": [0, 2, 3, 4], "1, 3": [1, 3]}
    (line,) = [line for line in result.warnings if "no finite value" in line]
    assert said[line.partition(" ")[2].partition(":")[0]] == empty
    result.save(tmp_path)
    assert np.median(imageio.imread(tmp_path / "overlay.png")[..., 0]) > 10  # an empty one is black
    assert json.loads((tmp_path / "run.json").read_text())["input"]["blank_frames"] == empty


def test_nothing_of_an_earlier_run_is_left(sample, tmp_path):
    frame, _ = lattice_frame(size=96)
    np.save(tmp_path / "a.npy", frame)
    out, own = tmp_path / "out", {"notes.txt", "measures-mine.csv", "discoveries"}
    plan = recipes.load("graphene-chain")
    atomscope.analyze(sample, recipe=plan, pixel_size=0.11, frames=(0, 2)).save(out)
    (out / "discoveries").mkdir(exist_ok=True)
    for name in ("discoveries/00.extxyz", "discoveries/mine.extxyz", *own - {"discoveries"}):
        (out / name).write_text("x")
    assert {"tracks.csv", "steps.csv", "measures.csv", "measures-lines.csv"} <= _names(out)
    assert run(["analyze", str(tmp_path / "a.npy"), "-o", str(out)]) == 0
    assert _names(out) == FILES | own
    assert _names(out / "discoveries") == {"mine.extxyz"}


def test_a_run_that_was_stopped_does_not_look_finished(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "a.npy", lattice_frame(size=96)[0])
    arguments = ["analyze", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out")]
    assert run(arguments) == 0

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("atomscope.pipeline.judge", stopped)
    assert run(arguments) == 130
    assert _names(tmp_path / "out") == {"atoms.csv"}
    line = capsys.readouterr().err
    assert line.startswith("atomscope: stopped")
    assert line.count("\n") == 1


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "events.json").write_text("mine")
    atomscope.analyze(lattice_frame(size=96)[0]).save(tmp_path)
    assert (tmp_path / "events.json").read_text() == "mine"


def test_an_interrupt_in_disguise_is_one(tmp_path, capsys, monkeypatch):
    np.save(tmp_path / "a.npy", lattice_frame(size=96)[0])

    def stopped(*_, **__):
        try:
            raise ImportError("initialization failed") from KeyboardInterrupt()
        except ImportError as error:  # as a reader of another package would tell it
            raise InputError("a.npy: cannot be read") from error

    monkeypatch.setattr("atomscope.io.read", stopped)
    both = [str(tmp_path / "a.npy")] * 2
    assert run(["analyze", *both, "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interrupt_ends_in_one_line(tmp_path):
    np.save(tmp_path / "a.npy", np.stack([lattice_frame(size=96)[0]] * 100))
    arguments = ["analyze", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out")]
    code = f"from atomscope.apps.cli import main; main({arguments!r})"
    program = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out").exists():  # made after all imports, before any work
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    told = program.communicate(timeout=60)[1]
    assert program.returncode == 130, told
    assert told.startswith("atomscope: stopped; ")
    assert told.count("\n") == 1


def _names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_wrong_unit_is_noticed_and_said(factor):
    frame, _ = lattice_frame(size=160, spacing=14)  # 0.1 Å per px would give 1.4 Å
    assert not atomscope.analyze(frame, pixel_size=0.1).warnings
    warnings = atomscope.analyze(frame, pixel_size=0.1 * factor).warnings
    assert any("0.1 Å per px is likely" in line for line in warnings)
    assert sum("no crystal has" in line for line in warnings) == 1


@pytest.mark.parametrize("factor", [0.1, 1.0, 10.0])
def test_a_wrong_unit_is_said_of_isolated_atoms(factor, rng):
    frame = render(rng.uniform(20, 300, (30, 2)), np.ones(30), 3.0, (320, 320))  # 0.6 Å wide
    result = atomscope.analyze(rng.poisson(60 * frame + 20), pixel_size=0.2 * factor)
    assert len(result.atoms) > 20
    said = any("0.2 Å per px is likely" in line for line in result.warnings)
    assert said == (factor != 1.0)


def test_advice_where_nothing_is_found_depends_on_what_was_given(rng):
    noise = {n: rng.poisson(50, (n, n)) for n in (40, 160)}
    unsized, sized, small = (
        next(x for x in atomscope.analyze(noise[n], pixel_size=size).warnings if "No atoms" in x)
        for n, size in ((160, None), (160, 0.1), (40, 0.1))
    )
    assert unsized.endswith("try --contrast dark or give --pixel-size.")
    assert sized.endswith("try --contrast dark.")
    assert "larger part" in small


def test_contrast_and_slips_of_the_keyboard_are_told(tmp_path, capsys):
    frame, _ = lattice_frame(size=160, dose=200.0)
    np.save(tmp_path / "dark.npy", frame.max() - frame)
    dark = ["analyze", str(tmp_path / "dark.npy"), "--contrast", "dark", "-o", str(tmp_path / "o")]
    assert run(dark) == 0
    assert "dark on bright ground" in capsys.readouterr().out
    assert run([*dark, "--elements", "c,si"]) == 2
    assert "for example C." in capsys.readouterr().err


def test_no_atoms_is_said(rng):
    result = atomscope.analyze(np.zeros((80, 80)))
    assert len(result.atoms) == 0
    assert any("No atoms found" in line for line in result.warnings)


def test_several_inputs_get_a_folder_each(tmp_path, capsys):
    frame, _ = lattice_frame(size=96)
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, frame)
    (tmp_path / "bad.npy").write_bytes(b"")
    inputs = [str(tmp_path / n) for n in ("a.npy", "bad.npy", "b.npy")]
    assert run(["analyze", *inputs, "-o", str(tmp_path / "out"), "--json"]) == 4
    said = capsys.readouterr()
    assert [("error" in s) for s in json.loads(said.out)] == [False, True, False]
    assert said.err.count("\n") == 1
    assert {p.name for p in (tmp_path / "out" / "b").iterdir()} == FILES


def test_folders_are_named_after_the_file_not_the_path_inside_it(tmp_path, capsys):
    frame, _ = lattice_frame(size=96)
    for name in ("a.h5", "b.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file["data/movie"] = frame
    inputs = [f"{tmp_path / name}::/data/movie" for name in ("a.h5", "b.h5")]
    assert run(["analyze", *inputs, "-o", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a", "b"}


def test_recipes_refuse_what_they_do_not_know(tmp_path):
    bad = tmp_path / "r.yaml"
    bad.write_text("stages:\n  - stage: detect\n    min_pp: 0.3\n")
    with pytest.raises(UsageError, match="min_pp"):
        recipes.load(bad)
    bad.write_text("stages:\n  - stage: refine\n")
    with pytest.raises(UsageError, match="detect"):
        recipes.load(bad)


def test_root_is_light_and_verbs_stay_verbs():
    code = (
        "import sys, atomscope\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'scipy', 'onnxruntime', 'bokeh'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "import atomscope.detect.tiles\n"
        "assert callable(atomscope.detect) and callable(atomscope.refine)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom atomscope.apps.cli import run\nrun(['--help'])\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'scipy', 'numpy', 'onnxruntime', 'bokeh'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((32, 32)))
    code = f"from atomscope.apps.cli import main; main(['info', {str(tmp_path / 'a.npy')!r}])"
    read, write = os.pipe()
    os.close(read)  # like head that has seen enough
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=write, stderr=-1)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_nor_does_it_stop_an_analysis_with_an_error(tmp_path):
    np.save(tmp_path / "a.npy", lattice_frame(size=64)[0])
    arguments = ["analyze", str(tmp_path / "a.npy"), "-o", str(tmp_path / "out")]
    code = f"from atomscope.apps.cli import main; main({arguments!r})"
    read, write = os.pipe()
    os.close(read)
    started = [sys.executable, "-u", "-c", code]  # each line is written at once
    done = subprocess.run(started, check=False, stdout=write, stderr=-1)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
    assert _names(tmp_path / "out") == FILES


def test_atoms_on_a_support_are_not_named_unless_someone_asks(rng):
    xy = rng.uniform(8, 248, (25, 2))
    frame = rng.poisson(30 + 60 * render(xy, np.ones(25), 2.2, (256, 256))).astype(float)
    silent = atomscope.analyze(frame, pixel_size=0.3)
    assert len(silent.atoms) > 10
    assert not silent.card["view"]["lattice"]
    assert not any("host" in line for line in silent.warnings)
    asked = atomscope.analyze(frame, pixel_size=0.3, elements="Pt")
    assert "host" in asked.card["defects"]


@pytest.mark.parametrize("elements", [[], ["--elements", "C,Si"]])
def test_one_composition_is_told_everywhere(tmp_path, capsys, elements):
    assert run(["analyze", "--sample", "graphene-si", *elements, "-o", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    atoms = pd.read_csv(tmp_path / "atoms.csv", keep_default_na=False)
    card = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["species"]
    counts = atoms["species"].value_counts().to_dict()
    assert card["unknown"] == counts.pop("", 0)
    assert {name: row["atoms"] for name, row in card["composition"].items()} == counts
    assert ", ".join(f"{name} {count:,}" for name, count in counts.items()) in said


def test_python_runs_the_package_as_the_program():
    command = [sys.executable, "-m", "atomscope", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert atomscope.__version__ in done.stdout


@pytest.mark.parametrize("name", ["simulate.samples", "refine.pixels", "measure.vacancies"])
def test_modules_in_packages_named_like_verbs_are_imported_under_another_name(name):
    verb = name.partition(".")[0]
    code = (
        f"import atomscope.{name} as inner, atomscope\n"
        f"assert inner.__name__ == 'atomscope.{name}'\n"
        f"assert callable(atomscope.{verb})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
