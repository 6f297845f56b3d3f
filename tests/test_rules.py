"""Names of defects: the truth of relaxed sheets, and laws of symmetry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.intervals import poisson_interval
from atomscope.rules import Book, Rule, load, name_defects, names
from atomscope.rules.book import bounds
from atomscope.rules.cell import defect_cell
from atomscope.rules.joint import reconcile
from atomscope.rules.statistics import concentrations, pair_counts
from atomscope.simulate import boundaries
from atomscope.simulate.materials import material
from atomscope.simulate.named import NamedFrame, named_frame
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import columns_of
from atomscope.species import fit_lattices

GRAPHENE = ("V1", "V2(5-8-5)", "SW(55-77)", "Si1C3", "Si1C4", "N1C3", "Si2C6", "adatom Si")
LAYER = ("V_S", "V_S2", "V_Mo", "Mo_S2", "W_Mo", "2V_S", "Se_S")


def _named(frame: NamedFrame, atoms: pd.DataFrame | None = None, **options):
    table = (frame.atoms if atoms is None else atoms).assign(p=1.0)
    given = {"shape": frame.shape, "pixel_size": frame.pixel_size} | options
    return name_defects(table, **given)


def _found(frame: NamedFrame, atoms: pd.DataFrame | None = None, **options) -> list[str]:
    return sorted(_named(frame, atoms, **options).defects["name"])


@pytest.fixture(scope="module")
def sheet() -> NamedFrame:
    """Graphene with four defects."""
    return named_frame("graphene", ("V2(5-8-5)", "SW(55-77)", "Si1C4", "N1C3"), seed=11)


@pytest.mark.parametrize("kind", GRAPHENE)
def test_defects_of_graphene_get_their_names(kind):
    frame = named_frame("graphene", (kind,), seed=3)
    assert _found(frame) == [kind]


@pytest.mark.parametrize("kind", LAYER)
def test_defects_of_a_dichalcogenide_get_their_names(kind):
    frame = named_frame("1H-MoS2", (kind,), seed=4)
    assert _found(frame) == [kind]


@pytest.mark.parametrize("kind", ["V_B", "V_N", "C_N", "C_B"])
def test_defects_of_hbn_get_their_names(kind):
    assert _found(named_frame("hBN", (kind,), seed=5)) == [kind]


def test_a_perfect_sheet_has_no_defects():
    assert _found(named_frame("graphene", (), seed=1)) == []


def test_defects_lie_where_they_are(sheet):
    found = _named(sheet).defects.sort_values("name")[["x_px", "y_px"]].to_numpy()
    true = sheet.defects.sort_values("name")[["x_px", "y_px"]].to_numpy()
    assert np.abs(found - true).max() * sheet.pixel_size < 0.7


def _moved(frame: NamedFrame, change: np.ndarray) -> pd.DataFrame:
    xy = frame.atoms[["x", "y"]].to_numpy() @ change.T
    moved = frame.atoms.assign(x=xy[:, 0], y=xy[:, 1])
    return moved.assign(x_px=moved["x"] / frame.pixel_size, y_px=moved["y"] / frame.pixel_size)


@pytest.mark.parametrize(
    "change",
    [
        np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]]),
        np.diag([-1.0, 1.0]),
        np.diag([1.03, 1.0]),
        np.array([[1.0, 0.03], [0.0, 0.97]]),
    ],
    ids=["rotated", "mirrored", "strained", "sheared"],
)
def test_names_do_not_change_under_rotation_mirror_and_strain(sheet, change):
    # no shape: a turned frame has no border of its own
    assert _found(sheet, _moved(sheet, change), shape=None) == _found(sheet, shape=None)


def test_names_do_not_depend_on_the_order_of_the_rows(sheet):
    order = np.random.default_rng(2).permutation(len(sheet.atoms))
    assert _found(sheet, sheet.atoms.iloc[order]) == _found(sheet)


def test_names_do_not_depend_on_the_unit(sheet):
    xy = sheet.atoms[["x_px", "y_px"]] * 2.5
    finer = sheet.atoms.assign(x_px=xy["x_px"], y_px=xy["y_px"])
    shape = (int(sheet.shape[0] * 2.5), int(sheet.shape[1] * 2.5))
    fine = _found(sheet, finer, shape=shape, pixel_size=sheet.pixel_size / 2.5)
    assert fine == _found(sheet)


def test_rings_have_names_without_a_pixel_size():
    frame = named_frame("graphene", ("V2(5-8-5)", "SW(55-77)"), seed=6)
    plain = frame.atoms.drop(columns=["x", "y"])
    assert _found(frame, plain, pixel_size=None) == ["SW(55-77)", "V2(5-8-5)"]


def test_small_errors_of_position_change_no_name(sheet):
    rng = np.random.default_rng(8)
    shaken = sheet.atoms.copy()
    for name in ("x", "y"):
        shift = rng.normal(0, 0.05, len(shaken))  # Å
        shaken[name] += shift
        shaken[f"{name}_px"] += shift / sheet.pixel_size
    assert _found(sheet, shaken) == _found(sheet)


BARE = """
name: bare
columns: {C: [C]}
sense: rings
rules:
  - {name: "{foreign}{shell}", foreign: {"*": "1+"}, rings: any}
"""


def test_what_no_rule_names_has_one_label_in_every_orientation(tmp_path):
    path = tmp_path / "bare.yaml"
    path.write_text(BARE, encoding="utf-8")
    labels = {}
    for kind in ("V2(5-8-5)", "SW(55-77)"):
        frames = [named_frame("graphene", (kind,), seed=seed) for seed in (1, 2, 3)]
        found = [_named(frame, host=str(path)).defects for frame in frames]
        assert not any(rows["known"].any() for rows in found)
        labels[kind] = {rows["name"].item() for rows in found}
        assert len(labels[kind]) == 1
    assert labels["V2(5-8-5)"] != labels["SW(55-77)"]


def test_every_book_loads_and_says_what_it_is():
    assert {"graphene", "hbn", "tmd", "perovskite"} <= set(names())
    for name in names():
        assert load(name).name == name


HOST = """
name: mine
columns: {A: [Mo], B: [S2]}
sense: sites
rules:
  - {name: "gone {missing}", missing: {"*": 1}}
"""


def test_a_book_of_ones_own_needs_no_code(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(HOST, encoding="utf-8")
    frame = named_frame("1H-MoS2", ("V_S2", "V_Mo"), seed=4)
    assert _found(frame, host=str(path)) == ["gone Mo", "gone S2"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[Mo]", "[Xq]", "Xq"),
        ('{"*": 1}}', '{"*": "3-2"}}', "never"),
        (', missing: {"*": 1}', "", "never fire"),
        ("sites", "smell", "sense"),
        ("rules:", "rulez:", "rule"),
        ("gone {missing}", "gone {mising}", "braces"),
    ],
)
def test_a_wrong_book_gets_one_line(tmp_path, old, new, said):
    path = tmp_path / "mine.yaml"
    path.write_text(HOST.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UsageError, match=said) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_counts_are_numbers_or_ranges():
    assert bounds(2) == (2, 2)
    assert bounds("2-4") == (2, 4)
    assert bounds("2+")[0] == 2
    with pytest.raises(ValueError, match="expected"):
        bounds("many")


def test_a_rule_covers_all_of_a_defect_or_does_not_fire():
    host = load("tmd")
    only = Book(**(host.model_dump() | {"rules": [Rule(name="one", missing={"S2": 1})]}))
    assert only.known({"Mo", "S2"})
    frame = named_frame("1H-MoS2", ("V_S2", "V_Mo"), seed=4)
    assert len(_named(frame).defects) == 2


@pytest.mark.parametrize("count", [0, 1])
def test_tables_of_no_or_one_atom_have_no_defects(count):
    table = pd.DataFrame({"x_px": [3.0] * count, "y_px": [2.0] * count, "species": ["C"] * count})
    assert len(name_defects(table, host="graphene").defects) == 0


def test_bad_tables_get_one_line():
    with pytest.raises(UsageError, match="y_px"):
        name_defects(pd.DataFrame({"x_px": [1.0]}))
    with pytest.raises(UsageError, match="finite"):
        name_defects(pd.DataFrame({"x_px": [1.0, np.nan], "y_px": [1.0, 2.0]}))


def test_a_lattice_of_unknown_columns_still_has_empty_sites():
    frame = named_frame("1H-MoS2", ("V_Mo",), seed=4)
    light = {"Mo": 1.0, "S2": 0.4}
    plain = frame.atoms.assign(intensity=frame.atoms["species"].map(light), species="")
    assert _found(frame, plain) == ["V_site-0"]


def test_where_nothing_is_known_it_is_said():
    xy = np.random.default_rng(3).uniform(0, 300, (60, 2))
    found = name_defects(pd.DataFrame(xy, columns=["x_px", "y_px"]))
    assert len(found.defects) == 0
    assert "host" in found.warnings[0]


def _lattice_of(frame: NamedFrame):
    return fit_lattices(frame.atoms.assign(intensity=1.0))[0]


def test_the_lattice_brings_back_what_was_missed_and_takes_out_what_cannot_be():
    frame = named_frame("graphene", (), seed=9)
    middle = np.array(frame.shape[::-1]) / 2
    away = np.hypot(*(frame.atoms[["x_px", "y_px"]].to_numpy() - middle).T)
    lost = int(np.argmin(away))
    full = frame.atoms.assign(p=0.9, intensity=1.0, flags="")
    weak = full.iloc[[lost]].assign(p=0.2)
    false = full.iloc[[lost]].assign(x_px=weak["x_px"] + 45.0, p=0.6, intensity=0.3)
    near = np.hypot(*(full[["x_px", "y_px"]] - false[["x_px", "y_px"]].to_numpy()).to_numpy().T)
    host = full.iloc[[int(np.argmin(near))]]
    false = false.assign(x_px=host["x_px"].to_numpy() + 3.0, y_px=host["y_px"].to_numpy())
    rows = pd.concat([full.drop(index=lost), false], ignore_index=True)
    rows = rows.assign(atom=range(len(rows)))
    joint = reconcile(rows, weak, fit_lattices(rows)[0], frame.shape)
    assert len(joint.recalled) == 1
    assert joint.recalled["p"].iloc[0] > 0.9
    assert len(joint.vetoed) == 1
    assert joint.vetoed["p"].iloc[0] == pytest.approx(0.6)
    assert len(joint.atoms) == len(full)


def test_without_a_lattice_nothing_is_changed():
    rows = pd.DataFrame({"x_px": [1.0, 2.0], "y_px": [1.0, 2.0], "p": [0.9, 0.9]})
    assert reconcile(rows, rows.iloc[:0], None, (10, 10)).atoms is rows


def test_a_defect_becomes_a_periodic_cell_with_its_handedness():
    frame = named_frame("graphene", ("Si1C3",), seed=3)
    centre = tuple(frame.defects[["x_px", "y_px"]].iloc[0])
    lattice = _lattice_of(frame)
    cell = defect_cell(frame.atoms, centre, lattice, frame.pixel_size, repeat=5)
    assert len(cell) == 50
    assert cell.get_chemical_symbols().count("Si") == 1
    distance = cell.get_all_distances(mic=True)[~np.eye(50, dtype=bool)]
    assert 1.2 < distance.min() < 1.5
    assert cell.cell.volume > 0


def test_pairs_of_atoms_in_a_column_stand_above_each_other():
    frame = named_frame("1H-MoS2", (), seed=3)
    middle = (frame.shape[1] / 2, frame.shape[0] / 2)
    lattice = _lattice_of(frame)
    cell = defect_cell(frame.atoms, middle, lattice, frame.pixel_size, repeat=4)
    assert cell.get_chemical_formula() == "Mo16S32"
    bond = cell.get_all_distances(mic=True)
    np.fill_diagonal(bond, 9)
    assert 2.2 < bond.min() < 2.6  # Mo-S 2.41 Å


def test_intervals_hold_the_true_rate_as_often_as_they_say():
    rng = np.random.default_rng(3)
    held = [
        low <= 4.0 <= high
        for low, high in (poisson_interval(int(n)) for n in rng.poisson(4.0, 800))
    ]
    assert np.mean(held) >= 0.95
    with pytest.raises(UsageError):
        poisson_interval(-1)


def test_concentrations_count_and_bound():
    table = pd.DataFrame({"name": ["V1"] * 3 + ["Si1C3"]})
    found = concentrations(table, 10.0)
    assert found["name"].tolist() == ["V1", "Si1C3"]
    assert found["density"].tolist() == [0.3, 0.1]
    assert (found["density_low"] < found["density"]).all()


def test_defects_at_random_places_do_not_know_of_each_other():
    rng = np.random.default_rng(4)
    xy = rng.uniform(0, 1, (40, 60, 2)) * [200, 100]
    table = pd.DataFrame(xy.reshape(-1, 2), columns=["x_px", "y_px"])
    table["frame"] = np.repeat(np.arange(40), 60)
    found, expected, _ = pair_counts(table, (100, 200), np.linspace(5, 60, 8))
    assert (np.abs(found - expected) / np.sqrt(np.maximum(found, 1))).max() < 4


def _table_of(sheet) -> pd.DataFrame:
    found = columns_of(sheet)
    x, y = found.xy.T
    names = {"x": x, "y": y, "x_px": x / 0.1, "y_px": y / 0.1}
    return pd.DataFrame(names | {"species": list(found.species), "p": 1.0})


@pytest.mark.parametrize("angle", [13.17, 21.787])
def test_dislocations_in_a_row_are_a_boundary_with_its_misorientation(angle):
    sheet = relax(boundaries.grain_boundary(material("graphene").atoms, angle, (50.0, 40.0)))
    found = name_defects(_table_of(sheet), pixel_size=0.1).defects
    wall = found[found["name"].str.startswith("boundary")]
    assert len(wall) == 1
    assert wall["misorientation"].item() == pytest.approx(angle, abs=1.5)
    assert wall["direction"].item() == pytest.approx(90, abs=3)
    assert wall["length_px"].item() > 200


def test_a_region_of_the_other_phase_is_one_defect():
    sheet = boundaries.phase_border(material("1H-MoS2").atoms, (50.0, 40.0), share=0.75)
    found = name_defects(_table_of(sheet), pixel_size=0.1).defects
    assert found["name"].tolist() == ["1T"]


def test_a_line_of_vacancies_has_length_and_direction():
    frame = named_frame("1H-MoS2", ("V_S line 4",), seed=7)
    line = _named(frame).defects.iloc[0]
    assert line["name"] == "V_S line 4"
    assert line["length_px"] * frame.pixel_size == pytest.approx(3 * 3.16, abs=0.4)


def test_atoms_in_one_point_get_one_line():
    table = pd.DataFrame({"x_px": [5.0] * 6, "y_px": [5.0] * 6, "species": ["C"] * 6})
    with pytest.raises(UsageError, match="one place") as caught:
        name_defects(table)
    assert "\n" not in str(caught.value)


def test_a_mirrored_region_is_a_twin():
    frame = named_frame("1H-MoS2", (), seed=3, size_px=448)
    atoms = frame.atoms.copy()
    xy = atoms[["x", "y"]].to_numpy().copy()
    sulphur = np.flatnonzero(atoms["species"] == "S2")
    metal = xy[atoms["species"] == "Mo"]
    near = metal[cKDTree(metal).query(xy[sulphur], k=3)[1]]
    bond = xy[sulphur][:, None] - near
    turn = np.arctan2(bond[..., 1], bond[..., 0])
    same = np.cos(turn - turn[len(sulphur) // 2, 0]).argmax(axis=1)  # one of the three directions
    step = np.median(bond[np.arange(len(sulphur)), same], axis=0)
    right = xy[sulphur][:, 0] > 0.7 * xy[:, 0].max()
    xy[sulphur[right]] -= 2 * step  # from one hollow of the metal lattice to the other
    atoms[["x", "y"]] = xy
    atoms[["x_px", "y_px"]] = xy / frame.pixel_size
    assert _found(frame, atoms) == ["twin"]


def hexagonal(size: int = 260, spacing: float = 12.0) -> np.ndarray:
    """Positions (N, 2) of a plain lattice that nothing is known of."""
    i, j = np.meshgrid(np.arange(-30, 60), np.arange(-30, 60))
    xy = spacing * np.stack([i + 0.5 * j, np.sqrt(0.75) * j], axis=-1).reshape(-1, 2)
    return xy[np.all((xy > 3) & (xy < size - 3), axis=1)]


def unknown_defects(xy: np.ndarray, size: int = 260) -> list[str]:
    table = pd.DataFrame(xy, columns=["x_px", "y_px"]).assign(intensity=1.0, p=0.95)
    return list(name_defects(table, shape=(size, size)).defects["name"])


def test_atoms_beside_the_sites_of_an_unknown_lattice_are_told_by_what_is_empty():
    xy = hexagonal()
    assert unknown_defects(xy) == []
    middle = int(np.argmin(np.hypot(*(xy - 130).T)))
    hollow = xy[middle] + [6.0, 6.0 / np.sqrt(3)]
    assert unknown_defects(np.vstack([xy, hollow])) == ["extra atom"]
    assert unknown_defects(np.delete(xy, middle, axis=0)) == ["V_site-0"]
    moved = xy.copy()
    moved[middle] += [5.0, 2.5]
    assert unknown_defects(moved) == ["displaced atom"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_the_lattice_is_not_kept_there_is_one_region_and_not_many_defects(seed):
    xy, rng = hexagonal(), np.random.default_rng(seed)
    near = np.hypot(*(xy - 130).T) < 32
    xy[near] += rng.normal(0, 4.0, (int(near.sum()), 2))
    found = unknown_defects(xy)
    assert "disordered region" in found
    assert len(found) <= 3
