"""Laws of sheets with defects: what stays, what goes, how bonds settle."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from atomscope.errors import UsageError
from atomscope.simulate import boundaries, defects
from atomscope.simulate.bonds import wrapped
from atomscope.simulate.materials import material, names
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import Sheet, columns_of, noted, supercell
from atomscope.simulate.springs import springs_of


def strain_energy(sheet: Sheet) -> float:
    """Energy of all springs; 0 in a perfect crystal."""
    springs = springs_of(sheet, np.ones(len(sheet.atoms), dtype=bool))
    return springs.energy(sheet.atoms.positions)[0]


@pytest.fixture(scope="module")
def graphene():
    return supercell(material("graphene").atoms, (25.0, 25.0))


@pytest.fixture(scope="module")
def mos2():
    return supercell(material("1H-MoS2").atoms, (25.0, 25.0))


def _pair(sheet):
    """Two bonded atoms near the middle."""
    first = sheet.nearest(tuple(sheet.atoms.cell[:2, :2].sum(0) / 2))
    return first, sheet.neighbours(first)[0]


def _strains(sheet):
    """Lengths of bonds in units of the ideal."""
    first, second = sheet.bonds.T
    away = wrapped(sheet.atoms, sheet.atoms.positions[second] - sheet.atoms.positions[first])
    return np.linalg.norm(away, axis=1) / sheet.rule.lengths_of(sheet.atoms, sheet.bonds)


def _degrees(sheet):
    return Counter(np.bincount(sheet.bonds.ravel(), minlength=len(sheet.atoms)).tolist())


def _faces(sheet):
    """Sizes of the faces of a flat network, by the order of the bonds around each atom."""
    around = {i: sheet.neighbours(i) for i in range(len(sheet.atoms))}
    order = {}
    for i, them in around.items():
        away = wrapped(sheet.atoms, sheet.atoms.positions[them] - sheet.atoms.positions[i])
        order[i] = [them[k] for k in np.argsort(np.arctan2(away[:, 1], away[:, 0]))]
    ways, sizes = {(i, j) for i in around for j in around[i]}, Counter()
    while ways:
        start = way = next(iter(ways))
        size = 0
        while True:
            ways.discard(way)
            size += 1
            i, j = way
            way = (j, order[j][order[j].index(i) - 1])
            if way == start:
                break
        sizes[size] += 1
    return sizes


def test_a_perfect_sheet_has_no_strain(graphene, mos2):
    for sheet in (graphene, mos2):
        assert strain_energy(sheet) < 1e-9
        assert relax(sheet) is sheet
    assert _degrees(graphene) == {3: len(graphene.atoms)}
    assert set(_degrees(mos2)) == {3, 6}
    assert set(_faces(graphene)) == {6}


@pytest.mark.parametrize("name", [n for n in names() if material(n).kind == "layer"])
def test_every_layer_makes_a_sheet_with_right_angles(name):
    unit = material(name).atoms
    sheet = supercell(unit, (14.0, 14.0))
    assert abs(sheet.atoms.cell[0] @ sheet.atoms.cell[1]) < 1e-6
    assert min(sheet.atoms.cell.lengths()[:2]) >= 14.0
    share = np.bincount(sheet.atoms.numbers) / len(sheet.atoms)
    np.testing.assert_allclose(share, np.bincount(unit.numbers) / len(unit))
    assert strain_energy(sheet) < 1e-9


def test_a_vacancy_takes_exactly_one_atom(graphene):
    first, _ = _pair(graphene)
    found = defects.vacancy(graphene, [first])
    assert len(found.atoms) == len(graphene.atoms) - 1
    assert len(found.bonds) == len(graphene.bonds) - 3
    assert found.defects[0].name == "vacancy C"
    np.testing.assert_allclose(found.defects[0].empty, graphene.atoms.positions[[first]])
    assert sum(found.atoms.arrays["label"] == "vacancy C") == 3
    assert _degrees(found)[2] == 3


def test_chalcogens_go_single_or_as_a_pair(mos2):
    sulfur = mos2.nearest((12.0, 12.0), "S")
    pair = mos2.column(sulfur)
    assert len(pair) == 2
    single, double = defects.vacancy(mos2, [sulfur]), defects.vacancy(mos2, pair)
    assert (single.defects[0].name, double.defects[0].name) == ("vacancy S", "vacancy S2")
    before, after = Counter(columns_of(mos2).species), Counter(columns_of(single).species)
    assert after - before == {"S": 1}
    assert before - Counter(columns_of(double).species) == {"S2": 1}
    assert "vacancy S" in columns_of(single).label


def test_divacancies_and_stone_wales_have_their_rings(graphene):
    first, second = _pair(graphene)
    hexagons = len(graphene.atoms) // 2
    rings = {
        "5-8-5": ({5: 2, 8: 1, 6: hexagons - 4}, 14, 2),
        "555-777": ({5: 3, 7: 3, 6: hexagons - 7}, 22, 2),
    }
    for kind, (expected, members, lost) in rings.items():
        found = defects.divacancy(graphene, first, second, kind)
        assert len(found.atoms) == len(graphene.atoms) - lost
        assert _faces(relax(found)) == expected
        assert _degrees(found) == {3: len(found.atoms)}
        assert len(found.defects[0].atoms) == members
        assert len(found.defects[0].empty) == 2
    turned = defects.stone_wales(graphene, first, second)
    assert len(turned.atoms) == len(graphene.atoms)
    assert _degrees(turned) == {3: len(turned.atoms)}
    assert _faces(relax(turned)) == {5: 2, 7: 2, 6: hexagons - 4}
    assert sum(turned.atoms.arrays["label"] == "Stone-Wales 55-77") == 16


def test_a_bond_turned_twice_is_as_it_was(graphene):
    first, second = _pair(graphene)
    once = defects.stone_wales(graphene, first, second)
    twice = defects.stone_wales(once, first, second)
    as_pairs = lambda s: {tuple(sorted(b)) for b in s.bonds.tolist()}  # noqa: E731
    # After 180° the two atoms have changed places.
    swap = {first: second, second: first}
    expected = {tuple(sorted(swap.get(i, i) for i in b)) for b in as_pairs(graphene)}
    assert as_pairs(twice) == expected
    np.testing.assert_allclose(
        twice.atoms.positions[first], graphene.atoms.positions[second], atol=1e-9
    )


@pytest.mark.parametrize("symbol", ["Si", "N", "B", "Cr", "Fe", "W"])
def test_dopants_in_graphene(graphene, symbol):
    first, second = _pair(graphene)
    three = relax(defects.substitute(graphene, [first], symbol))
    four = relax(defects.substitute(graphene, [first, second], symbol))
    assert three.defects[0].name == f"{symbol}C3"
    assert four.defects[0].name == f"{symbol}C4"
    assert len(graphene.atoms) == len(three.atoms) == len(four.atoms) + 1
    for sheet in (three, four):
        here = sheet.defects[0].atoms[0]
        assert sheet.atoms.symbols[here] == symbol
        assert sheet.atoms.arrays["label"][here] == sheet.defects[0].name
        assert Counter(sheet.atoms.get_chemical_symbols())[symbol] == 1


def test_dimers_are_one_defect(graphene):
    first, second = _pair(graphene)
    once = defects.substitute(graphene, [first], "Si")
    twice = relax(defects.substitute(once, [second], "Si"))
    assert [d.name for d in twice.defects] == ["Si2C4"]
    assert len(twice.defects[0].atoms) == 2
    # Two that take two sites each: a zigzag chain of four atoms goes for two.
    before = next(i for i in graphene.neighbours(first) if i != second)
    distance = np.linalg.norm(graphene.away(before), axis=1)
    after = max((i for i in graphene.neighbours(second) if i != first), key=lambda i: distance[i])
    large = defects.substitute(graphene, [before, first], "Si")
    shift = int(first < second), int(first < after)
    large = defects.substitute(large, [second - shift[0], after - shift[1]], "Si")
    assert [d.name for d in large.defects] == ["Si2C6"]
    far = defects.substitute(twice, [twice.nearest((2.0, 2.0))], "N")
    assert sorted(d.name for d in far.defects) == ["NC3", "Si2C4"]


@pytest.mark.parametrize("symbol", ["Se", "W", "V", "Re", "O"])
def test_dopants_in_a_dichalcogenide(mos2, symbol):
    site = mos2.nearest((12.0, 12.0), "S" if symbol in ("Se", "O") else "Mo")
    host = mos2.atoms.symbols[site]
    found = relax(defects.substitute(mos2, [site], symbol))
    assert found.defects[0].name == f"{symbol}@{host}"
    assert Counter(columns_of(found).label)[f"{symbol}@{host}"] == 1
    assert len(found.bonds) == len(mos2.bonds)


def test_antisites_are_named_by_what_they_replace(mos2):
    sulfur, metal = mos2.nearest((12.0, 12.0), "S"), mos2.nearest((12.0, 12.0), "Mo")
    assert defects.substitute(mos2, [sulfur], "Mo").defects[0].name == "Mo@S"
    assert defects.substitute(mos2, mos2.column(sulfur), "Mo").defects[0].name == "Mo@S2"
    assert defects.substitute(mos2, [metal], "S").defects[0].name == "S@Mo"


def test_an_adatom_touches_and_does_not_move_the_sheet(graphene):
    found = defects.adatom(graphene, (10.0, 11.0), "Au")
    away = np.linalg.norm(found.away(len(found.atoms) - 1)[:-1], axis=1)
    assert away.min() == pytest.approx(1.05 * found.rule.length("Au", "C"))
    np.testing.assert_array_equal(found.atoms.positions[:-1], graphene.atoms.positions)
    np.testing.assert_allclose(relax(found).atoms.positions, found.atoms.positions, atol=1e-9)


@pytest.mark.parametrize("closure", [0.0, 0.2, 0.4])
def test_a_line_of_vacancies_closes_by_the_stated_share(mos2, closure):
    sulfur = mos2.nearest((12.0, 12.0), "S")
    after = mos2.nearest(tuple(mos2.atoms.positions[sulfur, :2] + [3.16, 0.0]), "S")
    found = relax(defects.vacancy_line(mos2, sulfur, after, 5, closure=closure))
    line = found.defects[-1]
    assert line.name == "vacancy line S"
    assert len(line.empty) == 10
    assert len(found.atoms) == len(mos2.atoms) - 10
    across = found.atoms.positions[list(line.atoms), 1] - line.centre[1]
    rows = 3.16 * np.sqrt(3) / 6 * np.array([1, 2])  # distances of the rows of metal
    near = np.abs(across)[:, None] - rows * (1 - closure)
    assert np.abs(near).min(axis=1).max() < 1e-6


def _examples(graphene, mos2):
    first, second = _pair(graphene)
    sulfur, metal = mos2.nearest((12.0, 12.0), "S"), mos2.nearest((12.0, 12.0), "Mo")
    after = mos2.nearest(tuple(mos2.atoms.positions[sulfur, :2] + [3.16, 0.0]), "S")
    return [
        defects.divacancy(graphene, first, second),
        defects.divacancy(graphene, first, second, "555-777"),
        defects.stone_wales(graphene, first, second),
        *(defects.substitute(graphene, [first], s) for s in ("Si", "W", "B")),
        *(defects.substitute(graphene, [first, second], s) for s in ("Si", "W", "N")),
        defects.substitute(mos2, [metal], "W"),
        defects.substitute(mos2, [sulfur], "O"),
        defects.substitute(mos2, mos2.column(sulfur), "Mo"),
        defects.vacancy_line(mos2, sulfur, after, 5),
    ]


def test_relaxation_lowers_strain_near_the_defect_and_leaves_the_rest(graphene, mos2):
    for sheet in _examples(graphene, mos2):
        settled = relax(sheet, radius=6.0)
        assert strain_energy(settled) < strain_energy(sheet)
        moved = np.linalg.norm(settled.atoms.positions - sheet.atoms.positions, axis=1)
        places = [sheet.atoms.positions[list(sheet.defects[0].atoms)], sheet.defects[0].empty]
        away = [
            np.linalg.norm(wrapped(sheet.atoms, sheet.atoms.positions - p), axis=1)
            for p in np.concatenate(places)
        ]
        assert moved[np.min(away, axis=0) > 6.0].max() == 0.0
        assert moved.max() > 0.01
        assert _strains(settled).min() > 0.85
        assert _strains(settled).max() < 1.2


def test_the_force_is_the_slope_of_the_energy(mos2, rng):
    for sheet in (defects.substitute(mos2, [0], "Re"), supercell(material("graphene").atoms)):
        springs = springs_of(sheet, np.ones(len(sheet.atoms), dtype=bool))
        place = sheet.atoms.positions + rng.normal(0, 0.05, sheet.atoms.positions.shape)
        way = rng.normal(size=place.shape)
        up, down = (springs.energy(place + s * 1e-5 * way)[0] for s in (1, -1))
        slope = np.sum(springs.energy(place)[1] * way)
        assert (up - down) / 2e-5 == pytest.approx(slope, rel=1e-5)


def test_springs_have_the_elasticity_of_graphene():
    sheet = supercell(material("graphene").atoms, (12.0, 12.0))
    area = sheet.atoms.cell[0, 0] * sheet.atoms.cell[1, 1]

    def energy(strain):
        atoms = sheet.atoms.copy()
        atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
        marked = noted(Sheet(atoms, sheet.bonds, sheet.rule), "all", [0], np.zeros(3))
        return strain_energy(relax(marked, radius=99.0)) / area

    size = 1e-2
    swell, shear = np.diag([size, size, 0]), np.diag([size, -size, 0])
    ratio = energy(shear) / energy(swell)  # shear modulus over area modulus
    assert (1 - ratio) / (1 + ratio) == pytest.approx(0.17, abs=0.05)  # Poisson's ratio


def test_defects_do_not_depend_on_the_order_of_atoms(graphene, rng):
    first, second = _pair(graphene)
    order = rng.permutation(len(graphene.atoms))
    place = np.argsort(order)
    mixed = replace(graphene, atoms=graphene.atoms[order], bonds=place[graphene.bonds])  # unsorted
    for kind in ("5-8-5", "555-777"):
        one = defects.divacancy(graphene, first, second, kind)
        two = defects.divacancy(mixed, int(place[first]), int(place[second]), kind)
        assert one.defects[0].centre == pytest.approx(two.defects[0].centre)
        assert len(one.defects[0].atoms) == len(two.defects[0].atoms)
    one = relax(defects.substitute(graphene, [first, second], "Si"))
    two = relax(defects.substitute(mixed, [int(place[first]), int(place[second])], "Si"))
    table = [
        sorted(zip(s.atoms.positions.round(3).tolist(), s.atoms.arrays["label"], strict=True))
        for s in (one, two)
    ]
    for a, b in zip(*table, strict=True):
        np.testing.assert_allclose(a[0], b[0], atol=2e-3)
        assert a[1] == b[1]


def test_indices_of_earlier_defects_follow_their_atoms(graphene):
    found = defects.substitute(graphene, [graphene.nearest((20.0, 20.0))], "Si")
    found = defects.vacancy(found, [found.nearest((5.0, 5.0))])
    silicon = next(d for d in found.defects if d.name == "SiC3")
    assert [found.atoms.symbols[i] for i in silicon.atoms] == ["Si"]


def test_an_ase_calculator_can_take_the_place_of_the_springs(graphene):
    from ase.calculators.lj import LennardJones

    first, _ = _pair(graphene)
    sheet = defects.vacancy(graphene, [first])
    calculator = LennardJones(sigma=1.3, epsilon=0.1, rc=2.0)
    settled = relax(sheet, radius=4.0, calculator=calculator)
    moved = np.linalg.norm(settled.atoms.positions - sheet.atoms.positions, axis=1)
    assert moved.max() > 1e-3
    assert 0 < (moved > 0).sum() < 40
    assert settled.atoms.calc is None


def test_a_boundary_of_21_8_degrees_is_pentagons_and_heptagons():
    sheet = relax(boundaries.grain_boundary(material("graphene").atoms, 21.787, (30.0, 30.0)))
    wall = sheet.defects[0]
    middle = [i for i in wall.atoms if 5 < sheet.atoms.positions[i, 1] < 25]
    assert {len(sheet.neighbours(i)) for i in middle} == {3}
    rings = Counter(len(sheet.ring(i, j)) for i in middle for j in sheet.neighbours(i))
    assert set(rings) == {5, 6, 7}
    assert set(sheet.atoms.arrays["grain"]) == {0, 1}
    assert _strains(sheet).min() > 0.85
    assert _strains(sheet).max() < 1.2


def test_grains_without_misorientation_are_one_crystal():
    sheet = boundaries.grain_boundary(material("graphene").atoms, 0.0, (20.0, 20.0), shift=(0, 0))
    inner = [i for i, (x, y, _) in enumerate(sheet.atoms.positions) if 3 < x < 17 and 3 < y < 17]
    assert {len(sheet.neighbours(i)) for i in inner} == {3}
    np.testing.assert_allclose(_strains(sheet), 1.0, atol=1e-6)


@pytest.mark.parametrize("angle", [5.0, 32.2, 60.0])
def test_grain_boundaries_hold_no_clash(angle):
    from ase.neighborlist import neighbor_list

    unit = material("1H-MoS2").atoms
    sheet = relax(boundaries.grain_boundary(unit, angle, (30.0, 30.0), shift=(0.6, 0.3)))
    assert neighbor_list("d", sheet.atoms, 3.0).min() > 0.75 * 2.417
    assert _strains(sheet).min() > 0.85
    assert _strains(sheet).max() < 1.2
    x = sheet.atoms.positions[list(sheet.defects[0].atoms), 0]
    assert np.abs(x - 15.0).max() < 8.0


def test_phases_share_the_metal_lattice():
    sheet = boundaries.phase_border(material("1H-MoS2").atoms, (40.0, 30.0))
    found = columns_of(sheet)
    far = np.abs(found.xy[:, 0] - 20.0) > 4
    left = found.xy[:, 0] < 20
    assert set(np.array(found.species)[far & left]) == {"Mo", "S2"}
    inner = far & ~left & (found.xy[:, 0] < 36) & np.all((found.xy > 4) & (found.xy < 36), axis=1)
    assert set(np.array(found.species)[inner]) == {"Mo", "S"}
    np.testing.assert_allclose(_strains(sheet), 1.0, atol=1e-6)
    with pytest.raises(UsageError, match="1H"):
        boundaries.phase_border(material("1T-TaS2").atoms)


def test_stacks_and_steps():
    unit = material("graphene").atoms
    pair = boundaries.stack(unit, unit, 3.348, (30.0, 30.0), twist=5.0)
    layer, z = pair.atoms.arrays["layer"], pair.atoms.positions[:, 2]
    np.testing.assert_allclose(z[layer == 1] - z[layer == 0].mean(), 3.348)
    assert np.all(layer[pair.bonds[:, 0]] == layer[pair.bonds[:, 1]])
    step = boundaries.cut(pair, (15.0, 15.0), 0.0, layer=1)
    left = step.atoms.arrays["layer"]
    assert step.atoms.positions[left == 1, 0].max() <= 15.0
    assert (left == 0).sum() == (layer == 0).sum()
    assert step.defects[0].name == "step"
    aligned = boundaries.stack(unit, unit, 3.348, (20.0, 20.0))
    assert set(columns_of(aligned).species) == {"C2"}


def test_an_edge_is_made_of_atoms_that_lost_bonds(mos2):
    edge = boundaries.cut(mos2, (12.0, 12.0), 30.0)
    degrees = np.bincount(edge.bonds.ravel(), minlength=len(edge.atoms))
    usual = np.array([edge.rule.bonds[s] for s in edge.atoms.get_chemical_symbols()])
    assert set(np.flatnonzero(degrees < usual)) == set(edge.defects[0].atoms)


def test_what_cannot_be_is_refused_in_one_line(graphene, mos2):
    first, second = _pair(graphene)
    far = graphene.nearest((1.0, 1.0))
    cases = [
        (lambda: defects.divacancy(graphene, first, far), "bonded"),
        (lambda: defects.divacancy(graphene, first, second, "5-5-5"), "5-8-5"),
        (lambda: defects.stone_wales(mos2, 0, mos2.neighbours(0)[0]), "three bonds"),
        (lambda: defects.substitute(graphene, [first], "Xx"), "chemical symbol"),
        (lambda: defects.vacancy(graphene, [len(graphene.atoms)]), "indices"),
        (lambda: defects.vacancy(graphene, []), "indices"),
        (lambda: defects.vacancy_line(graphene, first, far, 3, closure=0.9), "share"),
        (lambda: graphene.nearest((0.0, 0.0), "Au"), "none"),
        (lambda: supercell(material("graphene").atoms, (5.0, 30.0)), "12 Å"),
        (lambda: boundaries.cut(mos2, (500.0, 0.0), 0.0), "line"),
    ]
    for call, words in cases:
        with pytest.raises(UsageError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
