"""From an image to named defects, tracks and events; materials that measure the pixel size."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import atomscope
from atomscope.apps.cli import run
from atomscope.errors import UsageError
from atomscope.pipeline.material import known_material
from atomscope.simulate.named import NamedFrame, named_frame
from atomscope.simulate.samples import graphene_si


@pytest.fixture(scope="module")
def frame() -> NamedFrame:
    """Graphene with three defects, at a good dose."""
    return named_frame("graphene", ("Si1C3", "V1", "V2(5-8-5)"), seed=21, dose=60.0)


@pytest.fixture(scope="module")
def result(frame):
    """Its analysis."""
    return atomscope.analyze(frame.image, pixel_size=frame.pixel_size, elements="C,Si")


def test_defects_of_an_image_are_named_where_they_are(frame, result):
    found = result.defects.sort_values("name")
    assert found["name"].tolist() == sorted(frame.defects["name"])
    true = frame.defects.sort_values("name")
    apart = np.hypot(found["x"].to_numpy() - true["x"], found["y"].to_numpy() - true["y"])
    assert apart.max() < 1.0
    assert (found["p"] > 0.5).all()


def test_a_defect_of_an_image_becomes_a_cell(result):
    silicon = result.defects[result.defects["name"] == "Si1C3"]["defect"].item()
    cell = result.cell(int(silicon), repeat=4)
    assert cell.get_chemical_symbols().count("Si") == 1
    distance = cell.get_all_distances(mic=True)
    assert 1.2 < distance[distance > 0].min() < 1.5
    with pytest.raises(UsageError, match="no defect"):
        result.cell(99)


def test_atoms_know_their_defect(result):
    member = result.atoms["defect"].notna()
    for number, row in result.defects.set_index("defect").iterrows():
        own = result.atoms.loc[member & (result.atoms["defect"] == number), "atom"]
        assert set(row["atoms"].split()) >= {str(atom) for atom in own}


def test_a_material_measures_the_pixel_size(frame):
    found = atomscope.analyze(frame.image, material="graphene")
    assert found.image.pixel_size == pytest.approx(frame.pixel_size, rel=0.01)
    assert any("measured from the lattice" in line for line in found.warnings)
    assert found.atoms["x"].notna().all()


def test_a_pixel_size_that_does_not_fit_the_material_is_said(frame):
    found = atomscope.analyze(frame.image, material="graphene", pixel_size=0.15)
    assert found.image.pixel_size == 0.15
    assert any("asks for" in line for line in found.warnings)


def test_a_material_whose_lattice_is_not_there_is_said():
    rng = np.random.default_rng(3)
    y, x = np.indices((160, 160))
    places = [(i, j) for i in range(10, 160, 16) for j in range(10, 160, 20)]
    spots = sum(np.exp(-((x - j) ** 2 + (y - i) ** 2) / 18) for i, j in places)
    found = atomscope.analyze(rng.poisson(40 * spots + 4), material="graphene")
    assert found.image.pixel_size is None
    assert any("not that of graphene" in line for line in found.warnings)


def test_a_material_tells_which_columns_may_have_lost_an_atom():
    frame = named_frame("1H-MoS2", ("V_S", "V_S2"), seed=22, dose=80.0)
    found = atomscope.analyze(frame.image, pixel_size=frame.pixel_size, material="1H-MoS2")
    assert sorted(found.defects["name"]) == ["V_S", "V_S2"]


def test_materials_know_their_columns():
    assert known_material("1H-MoS2")[0].elements == ("Mo", "S2")
    assert known_material("1H-MoS2")[0].single == ("S",)
    assert known_material("SrTiO3")[0].single == ()
    assert known_material("graphene")[0].area == pytest.approx(5.24, abs=0.02)
    with pytest.raises(UsageError, match="nearest"):
        known_material("grafene")


def test_a_movie_gives_tracks_and_the_hop_of_its_silicon(tmp_path):
    movie, _ = graphene_si()
    np.save(tmp_path / "movie.npy", movie)
    out = tmp_path / "out"
    command = ["analyze", str(tmp_path / "movie.npy"), "--pixel-size", "0.11", "--elements", "C,Si"]
    assert run([*command, "-o", str(out)]) == 0
    events = pd.read_csv(out / "events.csv")
    hop = events[events["kind"] == "hop"]
    assert len(hop) == 1
    assert hop["frame"].item() == len(movie) // 2
    tracks = pd.read_csv(out / "tracks.csv")
    silicon = tracks[(tracks["kind"] == "atom") & (tracks["species"] == "Si")]
    assert silicon["track"].nunique() == 1
    assert len(silicon) == len(movie)
    card = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert card["defects"]["counts"] == {"Si1C3": len(movie)}


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--rules", "grafene", "built in"), ("--material", "grafene", "graphene")],
)
def test_a_name_that_is_not_known_gets_one_line(tmp_path, capsys, option, value, said):
    np.save(tmp_path / "a.npy", np.zeros((64, 64)))
    assert run(["analyze", str(tmp_path / "a.npy"), option, value, "-o", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
