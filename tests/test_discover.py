"""Discovery: planted configurations are found and counted, whatever turn, gain and scale."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.io import read
from numpy.typing import NDArray

import atomscope
from atomscope.columns import DISCOVERIES, conform
from atomscope.discover import Discoveries, discover, write_discoveries
from atomscope.discover.clusters import clustered, dissimilarity
from atomscope.discover.noise import scatter_in
from atomscope.errors import UsageError

Floats = NDArray[np.float64]
PX = 10.0  # between neighbours
JITTER, NOISE = 0.2, 0.05
N, FLOWERS = 38, 5


def square(seed: int, defects: bool = True) -> tuple[pd.DataFrame, Floats]:
    """A checkerboard of A and B with crosses of four vacancies around a foreign atom.

    Returns:
        The table, and the middles of the planted configurations.
    """
    rng = np.random.default_rng(seed)
    cell = np.stack(np.meshgrid(np.arange(N), np.arange(N)), -1).reshape(-1, 2)
    light = np.where(cell.sum(axis=1) % 2, 1.0, 2.5)
    species = np.where(cell.sum(axis=1) % 2, "O", "Mg").astype(object)
    gone = np.zeros(len(cell), bool)
    middles = np.zeros((0, 2))
    if defects:
        grid = np.array([(8, 8), (9, 28), (20, 19), (29, 8), (29, 29)])
        grid = grid + (grid.sum(axis=1) % 2)[:, None] * [1, 0]
        for middle in grid:
            at = np.abs(cell - middle).sum(axis=1)
            gone |= at == 1
            light[at == 0], species[at == 0] = 5.0, "Ca"
        middles = grid * PX
    xy = cell * PX + rng.normal(0, JITTER, cell.shape)
    light = light * np.exp(rng.normal(0, NOISE, len(light)))
    table = pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": light})
    table = table.assign(frame=0, atom=np.arange(len(cell)), species=species)[~gone]
    return table.reset_index(drop=True), middles


@cache
def planted() -> tuple[pd.DataFrame, Floats, Discoveries]:
    table, middles = square(1)
    return table, middles, discover(table, pixel_size=0.2)


def sets(found: Discoveries, row: int = 0) -> set[frozenset[int]]:
    """Atoms of each occurrence of a configuration."""
    parts = found.table["atoms"].iloc[row].split(" | ")
    return {frozenset(int(a) for a in part.split(": ")[1].split()) for part in parts}


def test_planted_configuration_is_found_and_counted() -> None:
    table, middles, found = planted()
    assert len(found) == 1
    row = found.table.iloc[0]
    assert row["n"] == FLOWERS
    assert row["p"] > 0.5
    assert row["chance"] < 1e-6
    xy = table.set_index("atom")[["x_px", "y_px"]]
    places = np.array([xy.loc[list(atoms)].mean().to_numpy() for atoms in sets(found)])
    apart = np.linalg.norm(places[:, None] - middles, axis=2)
    assert sorted(apart.argmin(axis=1)) == list(range(FLOWERS))
    assert apart.min(axis=1).max() < PX
    place = row[["x_px", "y_px"]].to_numpy(float)
    assert np.linalg.norm(middles - place, axis=1).min() < 0.3 * PX


def test_mean_structure_is_as_sharp_as_the_jitter() -> None:
    _, _, found = planted()
    assert found.table["spread_px"].iloc[0] == pytest.approx(JITTER * np.sqrt(2), rel=0.2)
    assert found.table["spread"].iloc[0] == pytest.approx(0.2 * found.table["spread_px"].iloc[0])
    one = found.averages[0]
    middle = int(np.argmin(np.linalg.norm(one.points - one.centre, axis=1)))
    assert one.species[middle] == "Ca"
    assert len(one.poses) == FLOWERS
    assert max(pose.misfit for pose in one.poses) < 2 * JITTER


def changed(table: pd.DataFrame, what: str) -> pd.DataFrame:
    xy = table[["x_px", "y_px"]].to_numpy()
    if what == "rotate":
        xy = xy @ np.array([[0.0, -1.0], [1.0, 0.0]])  # a right angle: the rim stays a square
    if what == "mirror":
        xy = xy * [-1, 1]
    if what == "scale":
        xy = xy * 3.7
    if what == "shift":
        xy = xy + np.array([100.0, -30.0])
    table = table.assign(x_px=xy[:, 0], y_px=xy[:, 1])
    if what == "gain":
        table["intensity"] *= 41.0
    if what == "permute":
        table = table.sample(frac=1, random_state=3)
    return table


@pytest.mark.parametrize("what", ["rotate", "mirror", "scale", "shift", "gain", "permute"])
def test_same_clusters_under(what: str) -> None:
    table, _, found = planted()
    other = discover(changed(table, what))
    assert len(other) == len(found)
    ours, theirs = sets(found), sets(other)
    assert len(theirs) == len(ours)
    for atoms in ours:  # rounding may move an atom at the rim over the threshold
        assert max(len(atoms & a) / len(atoms | a) for a in theirs) > 0.8


@pytest.mark.parametrize("seed", range(2))
def test_perfect_crystal_with_noise_holds_no_discoveries(seed: int) -> None:
    table, _ = square(seed, defects=False)
    assert len(discover(table)) == 0


def test_exact_crystal_holds_no_discoveries() -> None:
    table, _ = square(0, defects=False)
    exact = table.assign(x_px=table["x_px"].round(-1), y_px=table["y_px"].round(-1), intensity=1.0)
    assert len(discover(exact)) == 0


def test_what_a_rule_names_is_known() -> None:
    table, middles, _ = planted()
    rows = []
    for k, (x, y) in enumerate(middles):
        near = np.hypot(table["x_px"] - x, table["y_px"] - y) < 1.6 * PX
        atoms = " ".join(map(str, table["atom"][near]))
        place = {"frame": 0, "defect": k, "x_px": x, "y_px": y}
        rows.append({**place, "name": "cross", "known": True, "atoms": atoms})
    assert len(discover(table, pd.DataFrame(rows))) == 0
    unnamed = pd.DataFrame(rows).assign(known=False)
    assert len(discover(table, unnamed)) == 1


def test_what_was_taught_is_known() -> None:
    table, _, found = planted()
    taken = {a for atoms in sets(found) for a in atoms}
    taught = table.assign(structure=np.where(table["atom"].isin(taken), "cross", ""))
    assert len(discover(taught)) == 0


def test_frames_count_together() -> None:
    table, _, _ = planted()
    both = pd.concat([table, square(2)[0].assign(frame=1)], ignore_index=True)
    found = discover(both)
    assert found.table["n"].iloc[0] == 2 * FLOWERS
    assert {pose.frame for pose in found.averages[0].poses} == {0, 1}


@pytest.mark.parametrize("rows", [0, 1, 2, 10, 80])
def test_small_tables_give_nothing(rows: int) -> None:
    found = discover(square(1)[0].iloc[:rows])
    assert len(found) == 0
    assert list(found.table.columns) == [c.name for c in DISCOVERIES]


def test_positions_that_are_missing_are_left_out() -> None:
    table, _, found = planted()
    holes = table.copy()
    holes.loc[[3, 5], "x_px"] = np.nan
    lone = pd.DataFrame({"x_px": [np.nan, 1.0], "y_px": [2.0, np.nan]})
    assert len(discover(lone)) == 0
    assert discover(holes).table["n"].tolist() == found.table["n"].tolist()
    assert len(discover(table.assign(intensity=np.nan))) == 1
    with pytest.raises(UsageError, match="x_px"):
        discover(table.drop(columns="x_px"))


def test_scatter_is_measured() -> None:
    table, _ = square(5, defects=False)
    xy, log = table[["x_px", "y_px"]].to_numpy(), np.log(table["intensity"].to_numpy())
    kind = (table["species"] == "O").to_numpy().astype(np.intp)
    bent = xy + 3 * np.sin(xy[:, ::-1] / 90)
    position, brightness = scatter_in(bent, log, kind, PX)
    assert position == pytest.approx(JITTER, rel=0.15)
    assert brightness == pytest.approx(NOISE, rel=0.15)


def test_dissimilarity_is_zero_for_the_same_and_pays_for_what_is_left_over() -> None:
    rng = np.random.default_rng(0)
    a, host = rng.normal(0, 5, (6, 4)), np.full(6, 90.0)
    order = rng.permutation(6)
    assert dissimilarity(a, a[order], host, host) == pytest.approx(0, abs=1e-9)
    count = 11 * 90 / (90 + 2 * 4)
    assert dissimilarity(a, a[:5], host, host[:5]) == pytest.approx(90 / (4 * count))
    b, other = rng.normal(3, 5, (3, 4)), np.full(3, 40.0)
    assert dissimilarity(a, b, host, other) == pytest.approx(dissimilarity(b, a, other, host))


def test_many_objects_are_clustered_by_a_sample() -> None:
    rng = np.random.default_rng(1)
    centres = rng.normal(0, 30, (3, 24))
    values = np.concatenate([c + rng.normal(0, 1, (250, 24)) for c in centres])
    objects = [np.array([i]) for i in range(len(values))]
    label, _, chosen = clustered(values, np.full(len(values), 1e4), objects, rng)
    assert len(chosen) < len(objects)
    assert [len(set(part)) for part in np.split(label, 3)] == [1, 1, 1]
    assert len(set(label)) == 3


def test_files_hold_the_table_and_a_cell_of_the_mean_structure(tmp_path: Path) -> None:
    table, _, found = planted()
    written = write_discoveries(found, table, tmp_path, pixel_size=0.2)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "discoveries.csv",
        "discoveries/00.extxyz",
    ]
    again = conform(pd.read_csv(tmp_path / "discoveries.csv"), DISCOVERIES)
    assert again["n"].tolist() == [FLOWERS]
    cell = read(written[1])
    assert cell.pbc.tolist() == [True, True, False]
    assert cell.get_chemical_symbols().count("Ca") == 1
    near = cell.get_all_distances(mic=True)[cell.get_chemical_symbols().index("Ca")]
    assert np.sort(near)[1] == pytest.approx(np.sqrt(2) * PX * 0.2, abs=0.06)


def test_unknown_species_give_no_cell(tmp_path: Path) -> None:
    table, _, _ = planted()
    plain = table.assign(species="")
    found = discover(plain)
    written = write_discoveries(found, plain, tmp_path, pixel_size=0.2)
    assert [path.name for path in written] == ["discoveries.csv"]
    assert found.table["formula"].tolist() == [""]


def test_the_root_has_the_verb() -> None:
    assert atomscope.discover is discover
