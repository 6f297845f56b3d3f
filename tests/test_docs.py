"""README and docs tell the truth: snippets run, links lead somewhere, lists are whole."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from atomscope.apps.cli import run
from atomscope.columns import ATOMS, DEFECTS, EVENTS, FLAGS, TRACKS
from atomscope.recipe import Recipe, load
from io_files import Dm, write_velox
from worlds import lattice_frame

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {
    "atoms.csv",
    "defects.csv",
    "tracks.csv",
    "events.csv",
    "structures.extxyz",
    "report.html",
    "overlay.png",
    "run.json",
}

pytestmark = pytest.mark.skipif(not PAGES[0].is_file(), reason="no README beside the tests")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages speak of; commands leave their output there."""
    folder = tmp_path_factory.mktemp("desk")
    frame, _ = lattice_frame(size=96, dose=100.0)
    image = frame.astype("f4")
    np.save(folder / "frame.npy", frame)
    Dm(4).write(folder / "scan.dm4", image, [0.01, 0.01], ["nm", "nm"], "HAADF")
    counts = frame.astype("u2")
    write_velox(folder / "scan.emd", {"HAADF": counts, "BF": counts, "DF": counts}, 1e-11)
    with h5py.File(folder / "data.h5", "w") as file:
        file["group/image"] = image
    return folder


def _blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def _commands(text: str) -> list[str]:
    """Commands of atomscope in a shell snippet; those that install or train for long are left."""
    parts = [part.strip() for line in text.splitlines() for part in line.split("&&")]
    ours = [p.removeprefix("$ ") for p in parts if p.removeprefix("$ ").startswith("atomscope ")]
    return [command for command in ours if not command.startswith("atomscope train ")]


_DONE: set[str] = set()


def _shell(text: str) -> None:
    for command in _commands(text):
        if command not in _DONE:
            assert run(shlex.split(command)[1:]) == 0, command
            _DONE.add(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_snippets_run(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    names: dict[str, object] = {"__name__": "snippet"}
    for kind, text in _blocks(page):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, page.name, "exec"), names)
        elif kind in ("sh", "console"):
            _shell(text)


def test_first_command_of_the_readme_writes_every_file(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    text = PAGES[0].read_text(encoding="utf-8")
    first = next(t for kind, t in _blocks(PAGES[0]) if kind == "sh")
    _shell(first)
    assert {path.name for path in (desk / "out").iterdir()} == FILES
    assert all(f"`{name}`" in text for name in FILES)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    if not script.is_file():
        pytest.skip("no CI script beside the tests")
    second = [t for kind, t in _blocks(PAGES[0]) if kind == "sh"][1].strip()
    assert script.read_text(encoding="utf-8").rstrip().endswith(second)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8"))
    # The source distribution leaves the benchmarks out.
    left_out = () if (ROOT / "benchmarks").is_dir() else ("benchmarks/", "../benchmarks/")
    targets = [page.parent / link for link in links if not link.startswith(left_out)]
    assert [target for target in targets if not target.exists()] == []


def test_columns_and_flags_are_listed_as_declared() -> None:
    outputs = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    for column in (*ATOMS, *DEFECTS, *TRACKS, *EVENTS):
        assert f"| `{column.name}` | {column.unit} | {column.meaning} |" in outputs
    conventions = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    for flag, meaning in FLAGS.items():
        assert f"| `{flag}` | {meaning} |" in conventions


def test_recipe_shown_is_the_built_in_one() -> None:
    shown = next(t for kind, t in _blocks(ROOT / "docs" / "outputs.md") if kind == "yaml")
    assert Recipe.model_validate(yaml.safe_load(shown)) == load("columns")


def test_architecture_shows_the_layers_that_are_checked() -> None:
    project = ROOT / "pyproject.toml"
    if not project.is_file():
        pytest.skip("no pyproject.toml beside the tests")
    settings = tomllib.loads(project.read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = text[text.index("apps    ") :].split("```")[0].splitlines()
    shown = " ".join(line[:40] for line in lines)
    assert re.findall(r"\w+", shown) == re.findall(r"\w+", " ".join(layers))
