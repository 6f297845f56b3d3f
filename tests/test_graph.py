"""Bonds and rings: true ones in known sheets, the same however the sheet lies, errors stated."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import atomscope
from atomscope.columns import empty
from atomscope.errors import UsageError
from atomscope.graph import (
    AtomGraph,
    BondRules,
    angles,
    bond_lengths,
    chordless_cycles,
    connect,
    planar,
    rings,
    strain,
    too_close,
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


def crossings(graph: AtomGraph) -> int:
    """Pairs of bonds that cross, by trying all."""
    first, second = graph.positions[graph.bonds.T]
    along = second - first
    count = 0
    for one, other in itertools.combinations(range(len(graph.bonds)), 2):
        if set(graph.bonds[one]) & set(graph.bonds[other]):
            continue
        both = np.stack([along[one], -along[other]], axis=1)
        part = np.linalg.solve(both, first[other] - first[one])
        count += bool(np.all((part > 0) & (part < 1)))
    return count


@pytest.mark.parametrize("reach", [1.2, 1.7])
def test_no_crossing_is_left_in_chaos(reach: float) -> None:
    rng = np.random.default_rng(9)
    graph = connect(in_angstrom(rng.uniform(0, 9, (60, 2)), species="C"), {"C-C": reach})
    assert crossings(graph) > 5
    assert crossings(planar(graph)) == 0
    check_padding(planar(graph))


HEXAGON = 1.4 * np.array([[np.cos(t), np.sin(t)] for t in np.arange(6) * np.pi / 3])


def test_a_ring_alone_is_one_ring_and_its_outline_none() -> None:
    found = rings(connect(in_angstrom(HEXAGON, species="C")))
    assert found.members[0, :6].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.size.tolist() == [6]
    assert found.open.all()


def test_atoms_that_dangle_or_lie_in_a_ring_leave_it_as_it_is() -> None:
    sheet = graphene()
    hole = defects.vacancy(sheet, [sheet.nearest((15.0, 15.0))])
    centre = np.array(hole.defects[0].centre)
    xy = columns_of(hole).xy
    edge = xy[np.argmin(np.hypot(*(xy - centre).T))]
    for place in (centre, centre + 0.35 * (edge - centre)):
        table = in_angstrom(np.concatenate([xy, [place]]), species=["C"] * len(xy) + ["H"])
        graph = connect(table, {"C-C": 1.75, "C-H": 1.2})
        assert graph.coordination[-1] == (0 if place is centre else 1)
        assert odd_rings(graph) == [12]
        assert rings(graph).open[-1]


def test_longest_ring() -> None:
    sheet = graphene()
    graph = connect(table_of(defects.vacancy(sheet, [sheet.nearest((15.0, 15.0))])))
    assert 12 in rings(graph, 12).size
    short = rings(graph, 11)
    assert set(short.size) == {6}
    assert short.open.sum() == rings(graph, 12).open.sum() + 12
    for longest in (2, 17):
        with pytest.raises(UsageError, match="from 3 to 16"):
            rings(graph, longest)


def test_rings_of_each_atom() -> None:
    sheet = graphene()
    first = sheet.nearest((15.0, 15.0))
    graph = connect(table_of(relax(defects.stone_wales(sheet, first, sheet.neighbours(first)[0]))))
    found = rings(graph)
    for ring, size in zip(found.members, found.size, strict=True):
        members = ring[ring >= 0]
        assert len(members) == size
        assert members[0] == members.min()
        steps = zip(members, np.roll(members, -1), strict=True)
        assert {tuple(sorted(map(int, step))) for step in steps} <= bond_set(graph)
    for atom in range(len(graph)):
        mine = np.flatnonzero((found.members == atom).any(axis=1))
        listed = found.of_atom[atom][found.of_atom[atom] >= 0]
        assert sorted(listed) == sorted(mine)
        sizes = found.atom_sizes[atom]
        assert sizes[sizes > 0].tolist() == sorted(found.size[mine])
        assert not sizes[len(mine) :].any()


def test_chordless_cycles_against_networkx() -> None:
    networkx = pytest.importorskip("networkx")
    rng = np.random.default_rng(3)
    for _ in range(5):
        xy = rng.uniform(0, 6, (28, 2))
        graph = planar(connect(in_angstrom(xy), {"C-C": 1.6}, max_neighbours=6))
        other = networkx.Graph(graph.bonds.tolist())
        expected = {frozenset(c) for c in networkx.chordless_cycles(other, 9) if len(c) >= 3}
        found = chordless_cycles(graph, range(len(graph)), 9)
        assert {frozenset(c) for c in found} == expected
        assert len(found) == len(expected) > 3


def test_chordless_cycles_hold_the_rings_and_the_outline_of_three() -> None:
    xy = lattice("honeycomb")
    graph = connect(in_angstrom(xy, species="C"))
    middle = int(np.argmin(np.hypot(*(xy - 15.0).T)))
    around = chordless_cycles(graph, [middle], 12)
    # Three hexagons at the atom, and twelve atoms near it on whose outline of hexagons it lies.
    assert [len(c) for c in around] == [6] * 3 + [12] * 12
    assert all(middle in c for c in around)
    found = rings(graph)
    sixes = {frozenset(found.members[r, :6].tolist()) for r in found.of_atom[middle]}
    assert sixes == {frozenset(c) for c in around[:3]}
    with pytest.raises(UsageError, match="expected numbers from 0"):
        chordless_cycles(graph, [len(graph)])
    with pytest.raises(UsageError, match="longest 2"):
        chordless_cycles(graph, [0], 2)


def test_border() -> None:
    """A bond of an atom that is not at the border is never cut off by the frame."""
    xy = lattice("honeycomb", spacing=14.2, edge=400.0)
    whole = connect(in_px(xy))
    shape = (200, 260)
    low = 70.0
    inside = np.all((xy >= low - 0.5) & (xy < low - 0.5 + np.array(shape[::-1])), axis=1)
    for frame in (shape, None):
        part = connect(in_px(xy[inside] - low), shape=frame)
        inner = ~part.border
        assert np.array_equal(part.coordination[inner], whole.coordination[inside][inner])
        assert 0.6 < inner.mean() < 0.9
    # The same in Å.
    in_a = connect(in_angstrom(0.1 * (xy[inside] - low)), shape=shape, pixel_size=0.1)
    table = in_px(xy[inside] - low)
    assert np.array_equal(in_a.border, connect(table, shape=shape, pixel_size=0.1).border)
    both = table.assign(x=0.1 * table.x_px, y=0.1 * table.y_px)
    assert np.array_equal(in_a.border, connect(both, shape=shape).border)


def test_bond_probability_is_the_share_of_repetitions() -> None:
    rng = np.random.default_rng(2)
    true = np.array([[0.0, 0.0], [1.55, 0.9], [-1.2, -1.2], [0.3, 1.8]])
    error = np.array([[0.04, 0.08], [0.06, 0.02], [0.05, 0.05], [0.1, 0.03]])
    table = in_angstrom(true, species="C", x_err=error[:, 0], y_err=error[:, 1])
    graph = connect(table, least_p=0.01)
    drawn = true + error * rng.normal(size=(20_000, 4, 2))
    assert len(graph.bonds) == 4
    for (i, j), p in zip(graph.bonds, graph.bond_p[graph.slots], strict=True):
        share = np.mean(np.hypot(*(drawn[:, i] - drawn[:, j]).T) < 1.75)
        assert p == pytest.approx(share, abs=0.02)
    likely = connect(table, least_p=0.5)
    assert bond_set(likely) == {
        (int(i), int(j))
        for (i, j), p in zip(graph.bonds, graph.bond_p[graph.slots], strict=True)
        if p >= 0.5
    }


def test_errors_that_are_known_save_bonds() -> None:
    """Where noise stretches bonds over the limit, knowing the noise keeps nearly all of them."""
    rng = np.random.default_rng(8)
    xy = lattice("honeycomb", edge=100.0)
    true = bond_set(connect(in_angstrom(xy, species="C")))
    noisy = xy + rng.normal(0, 0.1, xy.shape)
    strict = bond_set(connect(in_angstrom(noisy, species="C")))
    known = bond_set(connect(in_angstrom(noisy, species="C", x_err=0.1, y_err=0.1)))
    assert len(strict ^ true) > 0.005 * len(true)
    assert len(known ^ true) < 0.1 * len(strict ^ true)


@pytest.fixture(scope="module")
def spread() -> tuple[AtomGraph, list[AtomGraph]]:
    """A true sheet with errors, and repetitions of its measurement."""
    rng = np.random.default_rng(11)
    xy = lattice("honeycomb", edge=14.0)
    error = rng.uniform(0.01, 0.05, xy.shape)
    columns = {"species": "C", "x_err": error[:, 0], "y_err": error[:, 1]}
    drawn = [xy + error * rng.normal(size=xy.shape) for _ in range(250)]
    rules = {"C-C": 2.0}
    return (
        connect(in_angstrom(xy, **columns), rules),
        [connect(in_angstrom(d, **columns), rules) for d in drawn],
    )


def test_errors_of_lengths_and_angles(spread: tuple[AtomGraph, list[AtomGraph]]) -> None:
    graph, drawn = spread
    assert all(np.array_equal(d.bonds, graph.bonds) for d in drawn)
    lengths = np.std([d.lengths for d in drawn], axis=0)
    np.testing.assert_allclose(lengths / graph.length_errors, 1.0, atol=0.2)
    mean = np.std([bond_lengths(d).mean for d in drawn], axis=0)
    np.testing.assert_allclose(mean / bond_lengths(graph).error, 1.0, atol=0.2)
    # Order of bonds may begin elsewhere at ±180°: three-fold atoms without such a bond.
    vectors = np.where(graph.mask[..., None], graph.vectors, 1.0)
    steady = (graph.coordination == 3) & (
        np.abs(np.arctan2(vectors[..., 1], vectors[..., 0])) < 2.8
    ).all(axis=1)
    assert steady.sum() > 10
    turned = np.std([angles(d).value[steady] for d in drawn], axis=0)
    np.testing.assert_allclose(turned / angles(graph).error[steady], 1.0, atol=0.2)


def test_angles_and_lengths_of_perfect_sheets() -> None:
    for name, (bonds, _) in PERFECT.items():
        graph = connect(in_angstrom(lattice(name)))
        inner = ~graph.border
        found = angles(graph)
        np.testing.assert_allclose(found.value[inner], 360 / bonds, atol=1e-6)
        np.testing.assert_allclose(found.spread[inner], 0.0, atol=1e-6)
        told = np.nansum(found.value, axis=1)[graph.coordination > 1]
        np.testing.assert_allclose(told, 360.0)
        assert np.isnan(found.spread[graph.coordination < 2]).all()
        np.testing.assert_allclose(bond_lengths(graph).mean[inner], A)
        np.testing.assert_allclose(bond_lengths(graph).spread[inner], 0.0, atol=1e-9)


def test_distorted_sites_have_a_wide_spread_of_angles(damaged: pd.DataFrame) -> None:
    graph = connect(damaged)
    wide = angles(graph).spread > 15
    whole = (rings(graph).atom_sizes == 6).sum(axis=1) == 3
    near = np.unique(graph.neighbours[~whole & ~graph.border])
    assert wide[~whole & ~graph.border].any()
    assert not wide[np.setdiff1d(np.flatnonzero(whole), near)].any()


@pytest.mark.parametrize("name", CELLS)
def test_strain_is_that_which_was_put_in(name: str) -> None:
    """Half of a sheet is stretched: both halves differ from the mean by half of it."""
    xy = lattice(name, edge=50.0)
    stretch = np.array([[1.03, 0.01], [0.01, 0.98]])
    far = xy @ stretch.T + np.array([200.0, 0.0])
    graph = connect(in_angstrom(np.concatenate([xy, far])))
    found = strain(graph)
    np.testing.assert_allclose(found, np.swapaxes(found, 1, 2), atol=1e-12)
    assert np.isnan(found[graph.border]).all()
    first, second = np.nanmedian(found[: len(xy)], axis=0), np.nanmedian(found[len(xy) :], axis=0)
    np.testing.assert_allclose(second - first, stretch - np.eye(2), atol=1e-3)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    turned = strain(connect(in_angstrom(graph.positions @ turn.T)))
    told = np.isfinite(found[:, 0, 0]) & np.isfinite(turned[:, 0, 0])
    assert told.mean() > 0.5
    np.testing.assert_allclose(turned[told], (turn @ found @ turn.T)[told], atol=2e-3)


def test_pairs_that_are_too_close() -> None:
    xy = lattice("honeycomb")
    middle = int(np.argmin(np.hypot(*(xy - 15.0).T)))
    ghost = xy[middle] + [0.3, 0.4]
    table = in_angstrom(np.concatenate([xy, [ghost]]), species="C")
    graph = connect(table)
    assert too_close(graph).tolist() == [[middle, len(xy)]]
    assert (middle, len(xy)) in bond_set(graph)
    assert len(too_close(connect(in_angstrom(xy)))) == 0
    forbidden = connect(table.assign(species=["C"] * len(xy) + ["S"]), {"C-S": 0.0})
    assert forbidden.coordination[-1] == 0
    assert too_close(forbidden).tolist() == [[middle, len(xy)]]
    with pytest.raises(UsageError, match="between 0 and 1"):
        too_close(graph, 1.5)


@pytest.mark.parametrize("name", ["graphene", "chalcogenide", "radii"])
def test_rules_have_names(name: str) -> None:
    assert BondRules.named(name) == BondRules.named(name)
    assert connect(in_angstrom(HEXAGON, species="C"), name).coordination.tolist() == [2] * 6


def test_lengths_that_are_given_win() -> None:
    xy = np.array([[0.0, 0.0], [1.9, 0.0], [1.9, 1.9]])
    table = in_angstrom(xy, species=["C", "Si", "C"])
    assert bond_set(connect(table)) == {(0, 1), (1, 2)}
    assert bond_set(connect(table, {"Si-C": 1.8})) == set()
    assert bond_set(connect(table, {"C-C": 2.8})) >= {(0, 2)}
    # By radii: 0.76 + 1.11 Å, times 1.2 is 2.24 Å.
    assert bond_set(connect(table, BondRules({}, scale=1.0))) == set()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"C-Xx": 1.7}, "two chemical symbols"),
        ({"CC": 1.7}, "two chemical symbols"),
        ({"C-C": -1.0}, "0 or more"),
        ({"C-C": float("nan")}, "0 or more"),
        ({"C-C": "long"}, "0 or more"),
        ("steel", "expected one of"),
    ],
)
def test_rules_that_cannot_be(rules: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        connect(in_angstrom(HEXAGON, species="C"), rules)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match=message):
        connect(in_px(np.zeros((0, 2))), rules)


def test_tables_without_bonds() -> None:
    for table in (in_px(np.zeros((0, 2))), in_px(np.array([[3.0, 4.0]])), empty()):
        graph = connect(table)
        assert len(graph) == len(table)
        assert graph.bonds.shape == (0, 2)
        assert len(rings(graph)) == len(too_close(graph)) == len(graph.lengths) == 0
        assert angles(graph).spread.shape == bond_lengths(graph).mean.shape == (len(table),)
        assert strain(graph).shape == (len(table), 2, 2)
        assert len(planar(graph)) == len(table)
        assert chordless_cycles(graph, range(len(table))) == []


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_few_atoms_in_a_row(count: int) -> None:
    xy = np.stack([1.4 * np.arange(count), np.zeros(count)], axis=1)
    graph = connect(in_angstrom(xy))
    assert graph.bonds.tolist() == [[i, i + 1] for i in range(count - 1)]
    assert graph.border.all()
    assert len(rings(graph)) == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (in_px(np.ones((5, 2))), "one place"),
        (in_px(np.ones((50, 2))), "one place"),
        (in_px(np.array([[1.0, np.nan], [2.0, 3.0]])), "1 of 2 positions are not finite"),
        (pd.DataFrame({"x_px": [1.0, 2.0]}), "no positions"),
        (pd.DataFrame({"x_px": ["a", "b"], "y_px": [1.0, 2.0]}), "expected numbers"),
        (in_px(np.eye(2), frame=[0, 1]), "2 frames"),
        (in_px(np.eye(2), species=["C", "Qq"]), "Qq"),
        (np.eye(2), "expected a table"),
    ],
)
def test_tables_that_cannot_be(table: pd.DataFrame, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        connect(table)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"pixel_size": 0.0},
        {"pixel_size": np.nan},
        {"max_neighbours": 0},
        {"least_p": 0.0},
        {"least_p": 0.6},
    ],
)
def test_options_that_cannot_be(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        connect(in_px(HEXAGON), **options)


def test_frame_in_px_needs_a_pixel_size_for_positions_in_angstrom() -> None:
    with pytest.raises(UsageError, match="pixel_size"):
        connect(in_angstrom(HEXAGON), shape=(10, 10))


@pytest.mark.parametrize("copies", [2, 12])
def test_atoms_on_top_of_each_other_are_no_obstacle(copies: int) -> None:
    xy = lattice("honeycomb")
    again = np.concatenate([xy, *[xy[100:101]] * (copies - 1)])
    graph = connect(in_angstrom(again, species="C"))
    check_padding(graph)
    same = {tuple(pair) for pair in too_close(graph).tolist()}
    stack = [100, *range(len(xy), len(again))]
    assert same == set(itertools.combinations(stack, 2))
    rings(graph)
    angles(graph)


def test_verb() -> None:
    assert atomscope.connect is connect
