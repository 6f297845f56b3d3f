"""Laws of the named materials and of their projections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from atomscope.errors import InputError, UsageError
from atomscope.simulate.crystals import columns_along, project
from atomscope.simulate.materials import check, material, names, structure


def _nearest(xy, count):
    middle = xy[np.linalg.norm(xy, axis=1) < 10]
    return cKDTree(xy).query(middle, k=count + 1)[0][:, 1:]


@pytest.mark.parametrize("name", names())
def test_every_material_projects_along_its_zones(name):
    found = material(name)
    check(found.atoms, name)
    assert found.source
    for zone in found.zones:
        columns = columns_along(found.atoms, zone, edge=50)
        assert columns.weights().max() == 1.0
        assert len(columns.xy) == len(columns.site) == len(columns.species) == len(columns.counts)
        # The area of the primitive cells is the area of the field, but for the border.
        area = abs(np.linalg.det(columns.cell2d)) / len(columns.basis.sites)
        assert len(columns.xy) * area == pytest.approx(50**2, rel=0.2)


@pytest.mark.parametrize("name", names())
def test_zone_axes_of_a_material_show_different_pictures(name):
    found = material(name)
    seen = {
        (project(found.atoms, z).species, str(project(found.atoms, z).cell.round(2)))
        for z in found.zones
    }
    assert len(seen) == len(found.zones)


@pytest.mark.parametrize("name", ["SrTiO3", "Al2O3", "MgAl2O4", "GaN", "Bi2Se3", "RuO2"])
def test_columns_hold_the_stoichiometry_of_the_crystal(name):
    found = material(name)
    whole = np.bincount(found.atoms.numbers) / len(found.atoms)
    for zone in found.zones:
        held = np.concatenate(project(found.atoms, zone).numbers)
        np.testing.assert_allclose(np.bincount(held) / len(held), whole)


def test_layers_and_dumbbells_have_their_bonds():
    np.testing.assert_allclose(
        _nearest(columns_along(material("graphene").atoms, edge=30).xy, 3), 2.46 / np.sqrt(3)
    )
    silicon = columns_along(material("Si").atoms, (1, 1, 0), edge=30)
    np.testing.assert_allclose(_nearest(silicon.xy, 1), 5.4307 / 4)
    assert len(set(silicon.site)) == 2
    assert np.ptp(silicon.weights()) == 0


def test_species_are_formulas_of_one_period():
    def species(name, zone=(0, 0, 1)):
        return project(material(name).atoms, zone).species

    assert species("1H-MoS2") == ("Mo", "S2")
    assert species("SrTiO3") == ("Sr", "TiO", "O", "O")
    assert species("SrTiO3", (1, 1, 0)) == ("SrO", "Ti", "O2")
    assert species("Au", (1, 1, 0)) == ("Au",)
    assert species("CeO2") == ("Ce", "O2")


def test_a_larger_cell_and_a_multiple_of_the_zone_give_the_same_columns():
    for name, zone in [("Au", (1, 1, 0)), ("SrTiO3", (0, 0, 1)), ("1H-WSe2", (0, 0, 1))]:
        atoms = material(name).atoms
        one = columns_along(atoms, zone, edge=20)
        large = atoms.repeat((3, 2, 2 if atoms.pbc[2] else 1))
        # The direction of [110] in another cell is another triple of integers.
        other = (2, 3, 0) if zone == (1, 1, 0) else zone
        two = columns_along(large, other, edge=20)
        three = columns_along(atoms, tuple(2 * z for z in zone), edge=20)
        for again in (two, three):
            assert again.species == one.species
            np.testing.assert_allclose(again.xy, one.xy, atol=1e-6)
            np.testing.assert_array_equal(again.site, one.site)


def test_columns_turn_with_the_crystal(rng):
    from scipy.spatial.transform import Rotation

    atoms = material("TiO2").atoms
    turned = atoms.copy()
    turned.set_cell(atoms.cell[:] @ Rotation.random(random_state=3).as_matrix().T, scale_atoms=True)
    one, two = columns_along(atoms, edge=20), columns_along(turned, edge=20)
    np.testing.assert_allclose(one.xy, two.xy, atol=1e-6)
    assert one.species == two.species


def test_a_translation_of_the_projection_keeps_the_site():
    columns = columns_along(material("PbTiO3").atoms, (1, 0, 0), edge=30)
    tree = cKDTree(columns.xy)
    for vector in columns.cell2d:
        distance, index = tree.query(columns.xy + vector, distance_upper_bound=1e-6)
        hit = np.isfinite(distance)
        assert hit.mean() > 0.7
        np.testing.assert_array_equal(columns.site[hit], columns.site[index[hit]])


def test_atoms_per_column_grow_with_thickness():
    gold = material("Au").atoms
    period = 4.0783 / np.sqrt(2)
    for count in (1, 5, 20):
        found = columns_along(gold, (1, 1, 0), edge=10, thickness=count * period)
        assert set(found.counts) == {count}
    layer = columns_along(material("1H-MoS2").atoms, edge=10, thickness=50.0)
    assert dict(zip(layer.species, layer.counts, strict=True)) == {"Mo": 1, "S2": 2}


def test_weights_follow_the_exponent():
    found = project(material("1H-MoS2").atoms)
    for exponent in (1.4, 1.6, 2.0):
        expected = 2 * 16.0**exponent / 42.0**exponent
        assert found.weights(exponent)[1] == pytest.approx(expected)


def test_a_chiral_pattern_keeps_its_hand():
    from ase import Atoms

    # Heavy at the origin, light ones at +x near and at +y far: seen along +z with y down.
    atoms = Atoms("AuCO", [[0, 0, 0], [1, 0, 0], [0, 2, 0]], cell=[5, 6, 4], pbc=True)
    found = project(atoms)
    carbon, oxygen = (found.sites[found.species.index(s)] @ found.cell for s in "CO")
    gold = found.sites[0] @ found.cell
    assert np.linalg.det([carbon - gold, oxygen - gold]) > 0


def test_directions_that_cannot_be():
    with pytest.raises(UsageError, match="zone axis"):
        columns_along(material("Au").atoms, (0, 0, 0))
    with pytest.raises(UsageError, match="layer"):
        columns_along(material("graphene").atoms, (1, 1, 0))
    with pytest.raises(UsageError, match="thickness"):
        columns_along(material("Au").atoms, thickness=0.0)


def test_unknown_names_get_the_nearest():
    with pytest.raises(UsageError, match="1H-MoS2"):
        material("MoS2")
    with pytest.raises(UsageError, match="graphene"):
        structure("grafene")
    assert material("GRAPHENE").name == "graphene"


def test_materials_cannot_be_changed_by_their_users():
    material("Si").atoms.positions[:] = 0
    check(material("Si").atoms, "Si")


def test_silicon_7x7_has_its_atoms():
    atoms = material("Si(111)-7x7").atoms
    top = atoms.positions[:, 2].max()
    adatoms = atoms[atoms.positions[:, 2] > top - 0.1]
    assert len(atoms) == 200
    assert len(adatoms) == 12
    levels = np.unique(atoms.positions[:, 2].round(2), return_counts=True)[1]
    np.testing.assert_array_equal(levels, [49, 49, 48, 42, 12])
    apart = adatoms.get_all_distances(mic=True) + 99 * np.eye(12)
    assert apart.min() == pytest.approx(5.4307 * np.sqrt(3 / 2))  # two across a row of dimers


def test_files_give_what_was_written(tmp_path):
    atoms = material("SrTiO3").atoms
    for name in ("a.cif", "POSCAR", "b.xyz"):
        atoms.write(tmp_path / name)
        again = structure(tmp_path / name)
        assert project(again).species == project(atoms).species
        np.testing.assert_allclose(project(again).cell, project(atoms).cell, atol=1e-4)


def test_a_material_of_ones_own_in_yaml(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(
        "materials:\n  ThO2: {prototype: fluorite, elements: [Th, O], a: 5.597, source: own}\n"
    )
    assert project(structure(path)).species == ("Th", "O2")
    for text, words in [
        ("materials: {}", "one material"),
        ("materials: {A: {prototype: fluorite, elements: [Th, O], source: own}}", "'a'"),
        ("materials: {A: {prototype: cake, elements: [Th, O], source: own}}", "'kind'|'zones'"),
        ("materials: {A: {prototype: fluorite, elements: [Qq, O], a: 5, source: own}}", "Qq"),
        ("[", "expected one material"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=words) as caught:
            structure(path)
        assert "\n" not in str(caught.value)


def _row(name):
    found = material(name)
    count = 3 if found.kind == "bulk" else 2
    edges = dict.fromkeys(f"{x:.5g}" for x in found.atoms.cell.lengths()[:count])
    zones = " ".join("".join(map(str, zone)) for zone in found.zones)
    formula = found.atoms.get_chemical_formula("metal", empirical=True)
    return f"| {name} | {formula} | {found.kind} | {', '.join(edges)} | {zones} | {found.source} |"


def test_the_page_lists_all_materials():
    page = Path(__file__).parents[1] / "docs" / "structures.md"
    if not page.is_file():
        pytest.skip("no docs beside the tests")
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert [row for row in rows if row.split(" | ")[0][2:] in names()] == [_row(n) for n in names()]


def test_bad_files_get_one_clear_line(tmp_path):
    from ase import Atoms

    (tmp_path / "junk.cif").write_text("nothing")
    Atoms("AuAu", [[0, 0, 0], [0, 0, 0.3]], cell=[4, 4, 4], pbc=True).write(tmp_path / "o.cif")
    Atoms("X", [[0, 0, 0]], cell=[4, 4, 4], pbc=True).write(tmp_path / "x.xyz")
    (tmp_path / "u.xyz").write_text('1\nLattice="4 0 0 0 4 0 0 0 4"\nQq 0 0 0\n')
    (tmp_path / "c.xyz").write_text("1\nplain\nAu 0 0 0\n")
    expected = {
        "junk.cif": "cannot be read",
        "o.cif": "0.30 Å",
        "x.xyz": "unknown element 'X'",
        "u.xyz": "unknown element 'Qq'",
        "c.xyz": "no cell",
    }
    for name, words in expected.items():
        with pytest.raises(InputError, match=words) as caught:
            structure(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no such file"):
        structure(tmp_path / "none.cif")
