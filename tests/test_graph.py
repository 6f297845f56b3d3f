"""Bonds and rings: true ones in known sheets, the same however the sheet lies, errors stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atomscope.graph import (
    AtomGraph,
    connect,
    planar,
    rings,
)
from atomscope.simulate import boundaries, defects
from atomscope.simulate.lattices import tile
from atomscope.simulate.materials import material
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import Sheet, columns_of, supercell
from worlds import HEXAGONAL, HONEYCOMB, SQUARE, Floats

CELLS = {"honeycomb": HONEYCOMB, "square": SQUARE, "hexagonal": (HEXAGONAL, np.zeros((1, 2)))}
PERFECT = {"honeycomb": (3, 6), "square": (4, 4), "hexagonal": (6, 3)}  # bonds, ring
A = 1.42  # Å


def lattice(name: str, *, spacing: float = A, edge: float = 30.0, angle: float = 0.3) -> Floats:
    """Points of a perfect sheet in a square."""
    cell, basis = CELLS[name]
    xy, _ = tile(cell * spacing, basis, int(edge), angle, np.array([0.31, 0.17]))
    return xy[np.all((xy > 0) & (xy < edge), axis=1)]


def in_px(xy: Floats, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], **columns})


def in_angstrom(xy: Floats, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], **columns})


def graphene(edge: float = 30.0) -> Sheet:
    return supercell(material("graphene").atoms, (edge, edge))


def table_of(sheet: Sheet) -> pd.DataFrame:
    columns = columns_of(sheet)
    return in_angstrom(columns.xy, species=columns.species)


def odd_rings(graph: AtomGraph, host: int = 6) -> list[int]:
    sizes = rings(graph, 16).size
    return sorted(sizes[sizes != host].tolist())


def bond_set(graph: AtomGraph) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in graph.bonds}


def check_padding(graph: AtomGraph) -> None:
    """Every bond is there from both ends, and nothing where padded."""
    atom, slot = np.nonzero(graph.mask)
    other = graph.neighbours[atom, slot]
    assert set(zip(atom, other, strict=True)) == set(zip(other, atom, strict=True))
    assert np.all(graph.neighbours[~graph.mask] == -1)
    assert not graph.vectors[~graph.mask].any()
    assert not graph.bond_p[~graph.mask].any()
    np.testing.assert_allclose(
        graph.vectors[atom, slot], graph.positions[other] - graph.positions[atom]
    )
    assert np.array_equal(graph.coordination, np.bincount(atom, minlength=len(graph)))
    assert np.array_equal(np.sort(~graph.mask, axis=1), ~graph.mask)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("unit", ["Å", "px"])
def test_perfect_sheets(name: str, unit: str) -> None:
    xy = lattice(name)
    graph = connect(in_angstrom(xy) if unit == "Å" else in_px(xy * 10))
    bonds, ring = PERFECT[name]
    assert graph.unit == unit
    check_padding(graph)
    assert set(graph.coordination[~graph.border]) == {bonds}
    assert np.all(graph.coordination <= bonds)
    found = rings(graph)
    assert set(found.size) == {ring}
    # Farther inside as many rings close around an atom as it has bonds.
    deep = np.all((xy > 3 * A) & (xy < 30.0 - 3 * A), axis=1)
    assert np.all((found.of_atom[deep] >= 0).sum(axis=1) == bonds)
    assert not found.open[deep].any()
    np.testing.assert_allclose(graph.lengths, A * (1 if unit == "Å" else 10))
    # Euler: atoms - bonds + faces = parts, with one face outside.
    core = planar(graph).coordination > 0
    assert len(graph) - len(graph.bonds) + len(found) + 1 == 2 + np.sum(~core)


@pytest.mark.parametrize("name", CELLS)
def test_noise_and_vacancies_leave_the_first_shell(name: str) -> None:
    rng = np.random.default_rng(4)
    xy = lattice(name, edge=60.0)
    ideal = xy[rng.random(len(xy)) > 0.1]
    true = connect(in_px(ideal))
    noisy = connect(in_px(ideal + rng.normal(0, 0.04 * A, ideal.shape)))
    assert len(bond_set(true) ^ bond_set(noisy)) <= 0.005 * len(true.bonds)


def moves(rng: np.random.Generator) -> dict[str, tuple[Floats, Floats]]:
    """Linear maps and shifts that change no bond; the last one strains by 3 %."""
    turn = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return {
        "rotate": (rotation, np.zeros(2)),
        "mirror": (np.diag([-1.0, 1.0]), np.zeros(2)),
        "shift": (np.eye(2), rng.uniform(-50, 50, 2)),
        "strain": (rotation @ np.diag([1.03, 0.97]) @ rotation.T, np.zeros(2)),
    }


@pytest.fixture(scope="module")
def damaged() -> pd.DataFrame:
    """Graphene with a Stone-Wales defect, a vacancy and a silicon atom with four neighbours."""
    sheet = graphene()
    first = sheet.nearest((8.0, 8.0))
    sheet = defects.stone_wales(sheet, first, sheet.neighbours(first)[0])
    sheet = defects.vacancy(sheet, [sheet.nearest((22.0, 22.0))])
    first = sheet.nearest((8.0, 22.0))
    sheet = defects.substitute(sheet, [first, sheet.neighbours(first)[0]], "Si")
    return table_of(relax(sheet))


@pytest.mark.parametrize("move", ["rotate", "mirror", "shift", "strain", "permute", "unit"])
def test_laws(move: str, damaged: pd.DataFrame) -> None:
    rng = np.random.default_rng(7)
    order = np.arange(len(damaged))
    moved = damaged.copy()
    if move == "permute":
        order = rng.permutation(order)
        moved = damaged.iloc[order]
    elif move == "unit":
        moved = in_px(damaged[["x", "y"]].to_numpy() / 0.083, species=damaged.species)
    else:
        matrix, shift = moves(rng)[move]
        moved[["x", "y"]] = damaged[["x", "y"]].to_numpy() @ matrix.T + shift
    before, after = connect(damaged), connect(moved)
    check_padding(after)
    assert np.array_equal(after.coordination, before.coordination[order])
    assert bond_set(before) == {tuple(sorted(order[[i, j]].tolist())) for i, j in after.bonds}
    assert np.array_equal(rings(after).atom_sizes, rings(before).atom_sizes[order])
    assert np.array_equal(rings(after).open, rings(before).open[order])
    if move != "strain":
        assert np.array_equal(after.border, before.border[order])


def test_bonds_and_rings_of_defects_in_graphene() -> None:
    sheet = graphene()
    first = sheet.nearest((15.0, 15.0))
    second = sheet.neighbours(first)[0]
    sizes = {
        "55-77": (defects.stone_wales(sheet, first, second), [5, 5, 7, 7]),
        "5-8-5": (defects.divacancy(sheet, first, second), [5, 5, 8]),
        "555-777": (defects.divacancy(sheet, first, second, "555-777"), [5, 5, 5, 7, 7, 7]),
        "vacancy": (defects.vacancy(sheet, [first]), [12]),
        "open divacancy": (defects.vacancy(sheet, [first, second]), [14]),
        "SiC3": (defects.substitute(sheet, [first], "Si"), []),
        "SiC4": (defects.substitute(sheet, [first, second], "Si"), [5, 5]),
    }
    for name, (changed, expected) in sizes.items():
        settled = relax(changed)
        graph = connect(table_of(settled))
        assert odd_rings(graph) == expected, name
        inside = ~graph.border
        true = np.array([len(settled.neighbours(i)) for i in range(len(settled.atoms))])
        assert np.array_equal(graph.coordination[inside], true[inside]), name


@pytest.mark.parametrize("bonds", [3, 4])
def test_silicon_in_graphene_is_bonded_to_all_its_carbons(bonds: int) -> None:
    sheet = graphene()
    first = sheet.nearest((15.0, 15.0))
    sites = [first, sheet.neighbours(first)[0]][: bonds - 2]
    table = table_of(relax(defects.substitute(sheet, sites, "Si")))
    graph = connect(table)
    silicon = int(np.flatnonzero(table.species == "Si")[0])
    assert graph.coordination[silicon] == bonds
    around = graph.neighbours[silicon][graph.mask[silicon]]
    assert set(table.species.iloc[around]) == {"C"}


@pytest.mark.parametrize("name", ["1H-MoS2", "hBN"])
@pytest.mark.parametrize("named", [True, False])
def test_layers_of_two_kinds_are_bonded_across(name: str, named: bool) -> None:
    sheet = supercell(material(name).atoms, (30.0, 30.0))
    table = table_of(sheet)
    graph = connect(table if named else table.drop(columns="species"))
    kinds = table.species.to_numpy()[graph.bonds]
    assert np.all(kinds[:, 0] != kinds[:, 1])
    assert set(graph.coordination[~graph.border]) == {3}


def test_chalcogens_of_two_levels_can_be_kept_apart() -> None:
    sheet = supercell(material("1T-MoS2").atoms, (30.0, 30.0))
    table = table_of(sheet)
    inner = ~connect(table, "chalcogenide").border
    bonds = connect(table, "chalcogenide").coordination
    metal = (table.species == "Mo").to_numpy()
    assert set(bonds[inner & metal]) == {6}
    assert set(bonds[inner & ~metal]) == {3}


def test_grain_boundary_has_no_crossing_bonds_and_few_odd_rings() -> None:
    wall = relax(boundaries.grain_boundary(material("graphene").atoms, 21.8, (30.0, 30.0)))
    graph = planar(connect(table_of(wall)))
    check_padding(graph)
    found = rings(graph)
    assert set(found.size) <= {5, 6, 7, 8}
    assert {5, 7} <= set(found.size)


@pytest.mark.parametrize("move", ["a", "b"])
def test_of_two_crossing_bonds_the_less_probable_goes(move: str) -> None:
    # A rhombus whose diagonals are both within the window; errors tell one from the other.
    xy = np.array([[-0.75, 0.0], [0.75, 0.0], [0.0, -0.76], [0.0, 0.76]])
    error = np.full((4, 2), 0.05)
    error[:2, 0] = 0.4 if move == "a" else 0.05
    table = in_angstrom(xy, species="C", x_err=error[:, 0], y_err=error[:, 1])
    graph = connect(table)
    assert {(0, 1), (2, 3)} <= bond_set(graph)
    gone = (0, 1) if move == "a" else (2, 3)
    assert bond_set(graph) - bond_set(planar(graph)) == {gone}
    check_padding(planar(graph))
    assert rings(graph).size.tolist() == [3, 3]
