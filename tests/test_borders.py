"""Borders of domains and distorted phases: named by what stands there, in every orientation."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from atomscope import analyze
from atomscope.errors import UsageError
from atomscope.rules import name_defects
from atomscope.simulate.domains import mirror_twin
from atomscope.simulate.materials import material
from atomscope.simulate.named import NamedFrame, named_frame
from atomscope.simulate.named_borders import BORDERS, border_frame
from atomscope.simulate.sheets import columns_of, supercell

SIZE = 240  # px of 0.11 Å
LINES = [kind for kind in BORDERS if kind != "1T'"]
REGIONS = {"twin"}  # the smaller domain beside a twin boundary is named as well


@cache
def _frame(kind: str, seed: int = 1) -> NamedFrame:
    return border_frame(kind, seed, size_px=SIZE)


def _defects(frame: NamedFrame, atoms: pd.DataFrame | None = None, **options) -> pd.DataFrame:
    table = (frame.atoms if atoms is None else atoms).assign(p=1.0)
    given = {"shape": frame.shape, "pixel_size": frame.pixel_size} | options
    return name_defects(table, **given).defects


def _names(frame: NamedFrame, atoms: pd.DataFrame | None = None, **options) -> list[str]:
    names = sorted(_defects(frame, atoms, **options)["name"])
    return [name for name in names if name not in REGIONS]


def _moved(frame: NamedFrame, change: np.ndarray, noise: float = 0.0) -> pd.DataFrame:
    xy = frame.atoms[["x", "y"]].to_numpy() @ change.T
    xy = xy + np.random.default_rng(5).normal(0, noise, xy.shape) if noise else xy
    moved = frame.atoms.assign(x=xy[:, 0], y=xy[:, 1])
    return moved.assign(x_px=moved["x"] / frame.pixel_size, y_px=moved["y"] / frame.pixel_size)


def _turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("kind", BORDERS)
@pytest.mark.parametrize("seed", [2])
def test_a_border_gets_its_name_and_nothing_else_is_named(kind, seed):
    assert _names(_frame(kind, seed)) == [kind]


@pytest.mark.parametrize("kind", LINES)
def test_a_border_has_its_length_and_direction(kind):
    frame = _frame(kind)
    found = _defects(frame)
    line = found[found["name"] == kind].iloc[0]
    true = frame.defects.iloc[0]
    off = abs(line["direction"] - true["direction"]) % 180
    assert min(off, 180 - off) < 1.0
    # from one border of the frame to the other, but for what is cut off there
    assert 0.7 * SIZE < line["length_px"] < 1.45 * SIZE
    atoms = set(map(int, str(line["atoms"]).split()))
    assert len(atoms & set(map(int, str(true["atoms"]).split()))) > 0.8 * len(atoms)


@pytest.mark.parametrize("kind", BORDERS)
@pytest.mark.parametrize(
    "change",
    [_turn(0.7) @ np.diag([-1.0, 1.0]), np.array([[1.0, 0.03], [0.0, 0.97]])],
    ids=["turned and mirrored", "strained"],
)
def test_names_do_not_change_under_rotation_mirror_and_strain(kind, change):
    frame = _frame(kind)
    # a turned frame has no border of its own, where sites may then seem empty
    moved = _names(frame, _moved(frame, change), shape=None)
    assert [name for name in moved if name in BORDERS] == [kind]


@pytest.mark.parametrize("kind", BORDERS)
def test_names_do_not_depend_on_order_unit_or_small_errors(kind):
    frame = _frame(kind)
    order = np.random.default_rng(2).permutation(len(frame.atoms))
    assert _names(frame, frame.atoms.iloc[order]) == [kind]
    xy = frame.atoms[["x_px", "y_px"]] * 2.5
    finer = frame.atoms.assign(x_px=xy["x_px"], y_px=xy["y_px"])
    shape = tuple(int(n * 2.5) for n in frame.shape)
    assert _names(frame, finer, shape=shape, pixel_size=frame.pixel_size / 2.5) == [kind]
    assert _names(frame, _moved(frame, np.eye(2), noise=0.03)) == [kind]


def _crystal(name: str, noise: float, seed: int) -> pd.DataFrame:
    found = columns_of(supercell(material(name).atoms, (40.0, 40.0)))
    xy = found.xy + np.random.default_rng(seed).normal(0, noise, found.xy.shape)
    names = {"x": xy[:, 0], "y": xy[:, 1], "x_px": xy[:, 0] / 0.1, "y_px": xy[:, 1] / 0.1}
    return pd.DataFrame(names | {"species": list(found.species), "p": 1.0})


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("graphene", "graphene"),
        ("1H-MoS2", "tmd"),
        ("1T-MoS2", "tmd-1t"),
        ("1T'-WTe2", "tmd-1t-prime"),
        ("SrTiO3", "perovskite"),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_perfect_hosts_are_told_apart_and_have_no_borders(name, host, noise):
    for seed in range(2 if noise else 1):
        found = name_defects(_crystal(name, noise, seed), pixel_size=0.1)
        assert found.host == host
        assert len(found.defects) == 0


@pytest.mark.parametrize(
    ("host", "kinds"),
    [
        ("graphene", ("V2(5-8-5)", "V2(555-777)", "SW(55-77)", "5-7")),
        ("1H-MoS2", ("V_S line 5", "V_Mo", "Mo_S2", "V_S2")),
        ("1H-MoS2", ("2V_S", "S2_Mo", "W_Mo", "O_S")),
    ],
)
def test_other_defects_are_no_borders(host, kinds):
    frame = named_frame(host, kinds, seed=6, size_px=448)
    assert not set(_names(frame)) & set(BORDERS)


def test_antisites_are_no_antiphase_domains():
    table = _crystal("SrTiO3", 0.0, 0)
    inner = (np.abs(table[["x", "y"]] - 20.0) < 12.0).all(axis=1)
    metal = np.flatnonzero((table["species"] != "O") & inner)
    wrong = np.random.default_rng(4).choice(metal, 3, replace=False)
    other = {"Sr": "TiO", "TiO": "Sr"}
    table.loc[wrong, "species"] = table.loc[wrong, "species"].map(other)
    names = name_defects(table, pixel_size=0.1).defects["name"]
    assert set(names) <= {"Sr_TiO", "TiO_Sr"}
    assert len(names) == 3


def test_atoms_between_the_sites_are_no_antiphase_boundary():
    """Two strontium columns beside an oxygen column, on the line between two of their kind."""
    table = _crystal("SrTiO3", 0.02, 0)
    titanium = table[table["species"] == "TiO"][["x", "y"]].to_numpy()
    middle = titanium[np.argmin(np.hypot(*(titanium - 20.0).T))]
    strontium = table[table["species"] == "Sr"][["x", "y"]].to_numpy()
    corner = strontium[np.argsort(np.hypot(*(strontium - middle).T))[:2]]
    side = corner.mean(axis=0)  # of the cell, or its middle where the two lie opposite
    if np.hypot(*(side - middle)) < 0.1:
        corner = strontium[np.argsort(np.hypot(*(strontium - middle).T))[[0, 2]]]
        side = corner.mean(axis=0)
    pair = side + np.array([[0.25], [-0.25]]) * (corner[1] - corner[0])
    more = pd.DataFrame(pair, columns=["x", "y"]).assign(species="Sr", p=1.0)
    more = more.assign(x_px=more["x"] / 0.1, y_px=more["y"] / 0.1)
    names = set(name_defects(pd.concat([table, more]), pixel_size=0.1).defects["name"])
    assert names
    assert "antiphase boundary" not in names


def test_a_defect_beside_a_border_keeps_its_name():
    frame = _frame("antiphase boundary")
    away = np.hypot(*(frame.atoms[["x_px", "y_px"]] - [190, 60]).to_numpy().T)
    titanium = (frame.atoms["species"] == "TiO").to_numpy()
    lost = frame.atoms.drop(index=int(np.argmin(np.where(titanium, away, np.inf))))
    assert _names(frame, lost) == ["V_TiO", "antiphase boundary"]


def test_a_closed_domain_has_three_straight_borders():
    """A triangle of the mirror twin, its metal atoms where they were."""
    frame = named_frame("1H-MoS2", (), seed=3, size_px=448)
    xy, species = frame.atoms[["x", "y"]].to_numpy(), frame.atoms["species"].to_numpy()
    metal, pairs = xy[species == "Mo"], xy[species == "S2"]
    middle = metal[np.argmin(np.hypot(*(metal - xy.mean(axis=0)).T))]
    bonds = pairs[np.argsort(np.hypot(*(pairs - middle).T))[:3]] - middle
    across = bonds / np.hypot(*bonds.T)[:, None]

    def inside(places: np.ndarray, reach: float) -> np.ndarray:
        return ((places - middle) @ across.T < reach).all(axis=1)

    hollow = pairs + bonds[0]  # the other hollows of the metal lattice
    xy = np.concatenate([metal, pairs[~inside(pairs, 8.5)], hollow[inside(hollow, 8.5)]])
    words = ["Mo"] * len(metal) + ["S2"] * (len(xy) - len(metal))
    px = xy / frame.pixel_size
    atoms = pd.DataFrame({"x_px": px[:, 0], "y_px": px[:, 1], "species": words})
    found = _defects(frame, atoms)
    walls = found[found["name"].str.startswith("mirror twin boundary")]
    assert (found["name"] == "twin").sum() == 1
    assert len(walls) == 3
    apart = np.sort(np.diff(np.sort(walls["direction"])))
    assert np.allclose(apart, 60, atol=8)


def test_what_cannot_be_made_is_refused_in_one_line():
    with pytest.raises(UsageError, match="expected one of 4"):
        mirror_twin(material("1H-MoS2").atoms, kind="5|7")
    with pytest.raises(UsageError, match="1H"):
        mirror_twin(material("graphene").atoms)
    with pytest.raises(UsageError, match="expected one of"):
        border_frame("wall", 1)


TOLD = {"graphene": "C", "1H-MoS2": "Mo,S2,S", "SrTiO3": "Sr,TiO"}


@pytest.mark.parametrize(
    "kind", ["line 5-8-5", "mirror twin boundary 4|4P", "antiphase boundary", "1T'"]
)
def test_borders_are_named_from_images(kind):
    frame = border_frame(kind, 3, size_px=288, dose=50.0)
    found = analyze(frame.image, pixel_size=frame.pixel_size, elements=TOLD[frame.host]).defects
    assert [name for name in found["name"] if name not in REGIONS] == [kind]
