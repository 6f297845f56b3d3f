"""Structure statistics: planted lines, phases, grains and alloys come back; laws; bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

import atomscope
from atomscope.columns import conform
from atomscope.errors import UsageError
from atomscope.lattice import fit_lattice
from atomscope.measure import TABLES, measure
from atomscope.measure.cells import voronoi_cells
from atomscope.quality import quality
from atomscope.report import write_report
from atomscope.report.measures import statistics
from atomscope.rules import name_defects
from atomscope.simulate.movies import Setting, movie
from atomscope.simulate.named import named_frame
from atomscope.types import Image
from planted import (
    MIRROR,
    SIZE,
    TURN,
    A,
    Floats,
    atoms_of,
    crystal,
    gone,
    measured_lines,
    middle_of,
    numbers,
    row,
    wall,
)

# --- lines -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 8])
@pytest.mark.parametrize("kind", ["hexagonal", "square", "honeycomb"])
def test_a_planted_line_comes_back_exactly(kind: str, count: int) -> None:
    xy, vectors = crystal(kind)
    lines = measured_lines(xy, row(xy, vectors[0], range(-3, count - 3)))
    assert lines["n_sites"].tolist() == [count]
    line = lines.iloc[0]
    assert line["length"] == pytest.approx((count - 1) * A * 0.1)
    planted = np.degrees(np.arctan2(-vectors[0, 1], vectors[0, 0])) % 180
    assert (line["direction"] - planted + 90) % 180 == pytest.approx(90, abs=1e-6)
    assert line["row_angle"] == pytest.approx(0, abs=0.1)  # the lattice is a fit
    assert line["unit"] == "Å"
    assert np.isnan(line["spacing"])


def test_a_zigzag_row_of_both_sublattices_is_one_line() -> None:
    xy, vectors = crystal("honeycomb")
    first = xy[middle_of(xy)]
    beside = cKDTree(xy).query(first, k=4)[1][1:]
    unit = vectors[0] / A
    other = max((xy[b] for b in beside), key=lambda p: abs((p - first) @ unit))
    sites = row(xy, vectors[0], range(3)) + row(xy, vectors[0], range(3), other)
    lines = measured_lines(xy, sites)
    assert lines["n_sites"].tolist() == [6]
    assert lines["length"].item() == pytest.approx(2.5 * A * 0.1, abs=1e-6)
    assert lines["row_angle"].item() == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("matrix", [TURN, MIRROR, TURN @ MIRROR, 0.45 * np.eye(2)])
def test_lines_turn_and_grow_with_the_image(matrix: Floats) -> None:
    xy, (a, b) = crystal()
    sites = row(xy, a, range(4)) + row(xy, b, [-3, -4, -5])
    base = measured_lines(xy, sites, None)
    order = np.random.default_rng(3).permutation(len(xy))
    moved = (xy @ matrix.T)[order]
    lines = measured_lines(moved, [int(np.flatnonzero(order == s)[0]) for s in sites], None)
    scale = np.sqrt(abs(np.linalg.det(matrix)))
    assert lines["n_sites"].tolist() == base["n_sites"].tolist()
    np.testing.assert_allclose(lines["length"], base["length"] * scale)
    np.testing.assert_allclose(lines["row_angle"], base["row_angle"], atol=1e-3)
    place = base[["x_px", "y_px"]].to_numpy() @ matrix.T
    np.testing.assert_allclose(lines[["x_px", "y_px"]], place)


def test_parallel_lines_know_their_distance() -> None:
    xy, (a, b) = crystal()
    start = xy[middle_of(xy)]
    lines = measured_lines(xy, row(xy, a, range(4)) + row(xy, a, range(4), start + 2 * b))
    np.testing.assert_allclose(lines["spacing"], 2 * A * np.sqrt(0.75) * 0.1)


def test_short_rows_across_a_band_are_no_lines() -> None:
    xy, (a, b) = crystal()
    start = xy[middle_of(xy)] - 3 * a
    sites = [site for k in range(3) for site in row(xy, a, range(7), start + k * b)]
    assert measured_lines(xy, sites)["n_sites"].tolist() == [7, 7, 7]


def test_crossing_lines_share_a_site() -> None:
    xy, (a, b) = crystal()
    sites = sorted({*row(xy, a, range(-2, 3)), *row(xy, b, range(-2, 3))})
    assert measured_lines(xy, sites)["n_sites"].tolist() == [5, 5]


def test_names_of_lines_are_taken_apart() -> None:
    frame = named_frame("1H-MoS2", ("V_S line 5", "V_S", "V_Mo"), seed=7, size_px=448)
    named = name_defects(frame.atoms, pixel_size=frame.pixel_size, shape=frame.shape)
    found = measure(named.atoms, named.defects, shape=frame.shape)
    assert len(found["vacancies"]) == 7
    assert found["lines"]["n_sites"].tolist() == [5]
    assert found["lines"]["length"].item() == pytest.approx(4 * 3.16, abs=0.1)
    share = numbers(found, "share in lines").set_index("at")["value"]
    assert share[5.0] == pytest.approx(5 / 7)
    assert share[6.0] == 0


@pytest.mark.parametrize("label", ["chalcogen single", ""])
def test_lines_without_species_are_taken_apart_too(label: str) -> None:
    frame = named_frame("1H-MoS2", ("V_S line 4",), seed=7, size_px=384)
    named = name_defects(frame.atoms, pixel_size=frame.pixel_size, shape=frame.shape)
    lost = named.atoms["species"] == "S"
    atoms = named.atoms.assign(species="", label=np.where(lost, label, "metal"))
    defects = named.defects.assign(name="V_X line 4", formula="X@S2x4")
    found = measure(atoms, defects, shape=frame.shape)
    truth = named.atoms.loc[lost, ["x_px", "y_px"]].to_numpy()
    away = cKDTree(truth).query(found["vacancies"][["x_px", "y_px"]].to_numpy())[0]
    assert len(away) == 4
    assert away.max() * frame.pixel_size < 0.3
    assert found["lines"]["n_sites"].tolist() == [4]


def test_lines_follow_the_rows_of_their_own_grain() -> None:
    xy, _ = wall("graphene", 21.787)
    tree, sites = cKDTree(xy), list[int]()
    for x in (15, 45):
        start = tree.query((x, 20))[1]
        away = xy - xy[start]
        step = away[np.argmin(np.abs(np.hypot(*away.T) - 2.46))]
        sites += [int(tree.query(xy[start] + k * step)[1]) for k in range(4)]
    left = np.delete(xy, sites, axis=0) / 0.1
    found = measure(atoms_of(left), gone(xy[sites] / 0.1), pixel_size=0.1, shape=(400, 600))
    assert found["lines"]["n_sites"].tolist() == [4, 4]
    turn = abs(np.subtract(*found["lines"]["direction"])) % 60
    assert min(turn, 60 - turn) == pytest.approx(21.787, abs=0.3)


# --- growth ----------------------------------------------------------------------------------


def story(*frames: list[list[int]]) -> dict[str, pd.DataFrame]:
    """Vacancies along one row in each frame; the frame drifts."""
    xy, (a, _) = crystal()
    tables, defects = [], []
    for number, runs in enumerate(frames):
        sites = row(xy, a, [n for run in runs for n in run])
        shift = np.array([3.0, -2.0]) * number
        tables.append(atoms_of(np.delete(xy, sites, axis=0) + shift).assign(frame=number))
        defects.append(gone(xy[sites] + shift, number))
    return measure(pd.concat(tables), pd.concat(defects), shape=(SIZE, SIZE))


def test_growth_merging_and_splitting_are_told() -> None:
    left, right = [-4, -3, -2], [1, 2, 3]
    found = story(
        [left], [left, right], [[*left, -1], right], [[*left, -1, 0, *right]],
        [left, [0, *right]], [left], [[-4, -3]],
    )  # fmt: skip
    events = found["line_events"]
    assert events[["frame", "kind"]].to_numpy().tolist() == [
        [1, "appear"], [2, "grow"], [3, "merge"], [4, "split"], [5, "vanish"], [6, "vanish"],
    ]  # fmt: skip
    assert events["sites_from"].tolist() == [0, 3, 7, 8, 4, 3]
    assert events["sites_to"].tolist() == [3, 4, 8, 7, 0, 0]
    lives = found["lines"].groupby("frame")["life"].apply(list)
    assert lives[0] == [0]
    assert sorted(lives[2]) == [0, 1]
    assert lives[3] == [0]  # the longer one lives on
    assert len(set(found["lines"]["life"])) == 3  # what splits off is new


def test_nothing_happens_in_a_line_that_stays() -> None:
    found = story([[0, 1, 2]], [[0, 1, 2]], [[0, 1, 2]])
    assert found["line_events"].empty
    assert found["lines"]["life"].tolist() == [0, 0, 0]


def test_a_growing_line_in_a_movie_of_graphene() -> None:
    clean = Setting(frames=14, size=120, rate=0.7, miss=0.0, false=0.0, misread=0.0, jitter=0.02)
    made = movie("line", 3, clean)
    found = measure(made.atoms, shape=made.shape, times=range(14), dose=2.0)
    created = (made.events["kind"] == "creation").sum()
    last = found["lines"].iloc[-1]
    assert last["n_sites"] == created
    assert set(found["line_events"]["kind"]) == {"appear", "grow"}
    assert found["lines"]["life"].unique().tolist() == [0]
    share = numbers(found, "share in lines")
    assert share["time"].tolist() == share["frame"].tolist()
    assert share["dose"].tolist() == (2.0 * (share["frame"] + 1)).tolist()


def test_drift_of_tracks_is_used() -> None:
    xy, (a, _) = crystal()
    sites = row(xy, a, range(3))
    left = np.delete(xy, sites, axis=0)
    jump = 3.0 * a  # a whole number of cells looks like none
    atoms = pd.concat([atoms_of(left), atoms_of(left + jump).assign(frame=1)])
    defects = pd.concat([gone(xy[sites]), gone(xy[sites] + jump, 1)])
    tracks = atoms.assign(x_ref_px=np.tile(left[:, 0], 2), y_ref_px=np.tile(left[:, 1], 2))
    found = measure(atoms, defects, tracks=tracks, shape=(SIZE, SIZE))
    assert found["lines"]["life"].tolist() == [0, 0]


# --- phases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.2, 0.45])
@pytest.mark.parametrize("kind", ["hexagonal", "square", "honeycomb"])
def test_two_half_planes(kind: str, angle: float) -> None:
    xy, _ = crystal(kind, angle, 2 * SIZE)
    structure = np.where(xy[:, 0] < SIZE - 0.5, "1H", "1T")
    found = measure(atoms_of(xy, structure=structure), shape=(2 * SIZE, 2 * SIZE), pixel_size=0.1)
    fraction = numbers(found, "phase fraction").set_index("group")["value"]
    assert fraction["1H"] + fraction["1T"] == pytest.approx(1)
    assert fraction["1H"] == pytest.approx(0.5, abs=A / 2 / (2 * SIZE))
    border = found["borders"].iloc[0]
    assert len(found["borders"]) == 1
    assert border["length"] == pytest.approx(2 * SIZE * 0.1, rel=0.03)
    assert border["direction"] == pytest.approx(90, abs=2)
    assert border["roughness"] < 0.5 * A * 0.1


def test_a_round_island_has_the_border_of_a_circle() -> None:
    xy, _ = crystal("honeycomb", 0.3, 3 * SIZE)
    away = np.hypot(*(xy - 1.5 * SIZE).T)
    structure = np.where(away < 200, "1T", "1H")
    found = measure(atoms_of(xy, structure=structure), shape=(3 * SIZE, 3 * SIZE))
    length = found["borders"]["length"].item() * A / np.sqrt(3)
    assert length == pytest.approx(2 * np.pi * 200, rel=0.02)
    total = numbers(found, "border length")["value"].item()
    assert total == pytest.approx(found["borders"]["length"].item())


def test_atoms_without_a_phase_share_that_of_their_neighbours() -> None:
    xy, _ = crystal("honeycomb", 0.2)
    metal = np.zeros(len(xy), dtype=bool)
    metal[np.flatnonzero(fit_lattice(xy).sublattice == 0)] = True
    words = np.where(xy[:, 0] < SIZE / 2, "1H", "1T")
    structure = np.where(metal, words, "").astype(object)
    structure[middle_of(xy)] = "V_S"
    found = measure(atoms_of(xy, structure=structure), shape=(SIZE, SIZE))
    fraction = numbers(found, "phase fraction").set_index("group")["value"]
    assert set(fraction.index) == {"1H", "1T"}
    assert fraction["1H"] == pytest.approx(0.5, abs=0.05)
    structure[0] = "grain boundary"  # no phase, by its name
    again = measure(atoms_of(xy, structure=structure), shape=(SIZE, SIZE))
    assert set(numbers(again, "phase fraction")["group"]) == {"1H", "1T"}
    chosen = measure(atoms_of(xy, structure=structure), shape=(SIZE, SIZE), phases=("1T",))
    assert numbers(chosen, "phase fraction")["value"].tolist() == [1.0]


def test_cells_fill_the_frame() -> None:
    rng = np.random.default_rng(2)
    xy = rng.uniform(0, [199, 99], (150, 2))
    cells = voronoi_cells(xy, (100, 200))
    assert cells.area.max() < 3.01 * np.median(cells.area)
    lattice, _ = crystal("square", 0.3)
    assert voronoi_cells(lattice, (SIZE, SIZE)).area.sum() == pytest.approx(SIZE**2)
    free = voronoi_cells(lattice).area
    np.testing.assert_allclose(free[free > 0], A**2)


@pytest.mark.parametrize("matrix", [TURN, MIRROR, 2.5 * np.eye(2)])
def test_borders_and_fractions_turn_with_the_image(matrix: Floats) -> None:
    xy, _ = crystal()
    structure = np.where(np.hypot(*(xy - SIZE / 2).T) < 60, "1T", "1H")
    base = measure(atoms_of(xy, structure=structure))
    order = np.random.default_rng(1).permutation(len(xy))
    moved = measure(atoms_of((xy @ matrix.T)[order], structure=structure[order]))
    np.testing.assert_allclose(moved["borders"]["length"], base["borders"]["length"], rtol=1e-6)
    np.testing.assert_allclose(
        numbers(moved, "phase fraction")["value"], numbers(base, "phase fraction")["value"]
    )


# --- grains ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "angle"), [("graphene", 13.17), ("graphene", 21.787), ("1H-MoS2", 27.8)]
)
def test_a_planted_misorientation_comes_back(host: str, angle: float) -> None:
    xy, species = wall(host, angle)
    noisy = xy + np.random.default_rng(1).normal(0, 0.05, xy.shape)
    found = measure(atoms_of(noisy / 0.1, species=list(species)), pixel_size=0.1, shape=(400, 600))
    assert len(found["grains"]) == 2
    segment = found["segments"].iloc[0]
    assert segment["misorientation"] == pytest.approx(angle, abs=0.5)
    assert segment["length"] == pytest.approx(40, rel=0.08)
    assert segment["direction"] == pytest.approx(90, abs=4)
    assert found["grains"]["area"].sum() == pytest.approx(60 * 40, rel=1e-6)
    if host == "graphene":
        assert segment["core_spacing"] == pytest.approx(segment["frank_spacing"], rel=0.25)


def test_grains_turn_with_the_image() -> None:
    xy, _ = wall("graphene", 21.787)
    table = atoms_of(xy / 0.1)
    base = measure(table, pixel_size=0.1)
    for matrix, sign in ((TURN, 1), (MIRROR, -1)):
        moved = measure(atoms_of(xy / 0.1 @ matrix.T), pixel_size=0.1)
        assert moved["grains"]["n_atoms"].tolist() == base["grains"]["n_atoms"].tolist()
        turned = 0 if sign < 0 else -np.degrees(0.7)
        off = moved["grains"]["orientation"] - (sign * base["grains"]["orientation"] + turned)
        np.testing.assert_allclose((off + 30) % 60, 30, atol=1e-6)
        for name in ("misorientation", "length"):
            np.testing.assert_allclose(moved["segments"][name], base["segments"][name], rtol=1e-6)


def test_a_twin_of_a_compound_is_a_grain_of_its_own() -> None:
    xy, _ = crystal("honeycomb")
    species = np.where(fit_lattice(xy).sublattice == 0, "Mo", "S2")
    right = xy[:, 0] > SIZE / 2
    other = np.where(species == "Mo", "S2", "Mo")  # mirrored: the sublattices change places
    table = atoms_of(xy, species=np.where(right, other, species))
    found = measure(table, shape=(SIZE, SIZE))
    assert len(found["grains"]) == 2
    assert found["segments"]["misorientation"].item() == pytest.approx(60, abs=1e-6)
    same = measure(table.assign(species="C"), shape=(SIZE, SIZE))
    assert len(same["grains"]) == 1


def test_a_bent_crystal_is_one_grain() -> None:
    xy, _ = crystal("hexagonal", 0.2, 800)
    bend = np.deg2rad(12) * (xy[:, 0] / 800 - 0.5)
    bent = xy + np.stack([-bend * (xy[:, 1] - 400), np.zeros(len(xy))], axis=1) * 0.5
    assert len(measure(atoms_of(bent))["grains"]) == 1


# --- units and bad input ---------------------------------------------------------------------


def test_lengths_follow_the_pixel_size() -> None:
    xy, (a, _) = crystal()
    sites = row(xy, a, range(4))
    left, defects = atoms_of(np.delete(xy, sites, axis=0)), gone(xy[sites])
    bare = measure(left, defects, shape=(SIZE, SIZE))
    assert bare["lines"]["length"].item() == pytest.approx(3, rel=1e-3)
    assert bare["lines"]["unit"].item() == "spacing"
    known = measure(left, defects, shape=(SIZE, SIZE), pixel_size=0.1)
    told = measure(
        left.assign(x=left["x_px"] * 0.1, y=left["y_px"] * 0.1), defects, shape=(SIZE, SIZE)
    )
    for name in TABLES:
        pd.testing.assert_frame_equal(known[name], told[name])


def test_tables_have_the_declared_columns() -> None:
    found = atomscope.measure(atoms_of(crystal()[0]))
    assert {name: list(table) for name, table in found.items()} == {
        name: [column.name for column in columns] for name, columns in TABLES.items()
    }


POOR = {
    "empty": np.empty((0, 2)),
    "one": np.array([[5.0, 5.0]]),
    "two": np.array([[5.0, 5.0], [9.0, 5.0]]),
    "on a line": np.column_stack([np.arange(30.0) * 9, np.full(30, 7.0)]),
    "in one place": np.full((30, 2), 7.0),
    "not finite": np.full((20, 2), np.nan),
}


@pytest.mark.parametrize("name", POOR)
@pytest.mark.parametrize("shape", [None, (300, 300)])
def test_poor_tables_give_empty_results(name: str, shape: tuple[int, int] | None) -> None:
    table = atoms_of(POOR[name], species="C", structure="1H")
    for defects in (None, gone(POOR[name]), gone(np.empty((0, 2)))):
        found = measure(table, defects, shape=shape)
        assert found["lines"].empty
        assert found["segments"].empty
        assert found["borders"].empty


def test_a_handful_of_scattered_atoms_is_no_harm() -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        xy = rng.uniform(0, 100, (int(rng.integers(4, 12)), 2))
        table = atoms_of(xy, structure=rng.choice(["1H", "1T"], len(xy)), species="C")
        found = measure(table)
        assert found["grains"].empty
        assert np.isfinite(found["borders"]["length"]).all()


def test_atoms_without_a_position_are_left_out() -> None:
    xy, (a, _) = crystal()
    sites = row(xy, a, range(4))
    left = atoms_of(np.delete(xy, sites, axis=0), species="C")
    more = pd.concat([left, left.head(3).assign(x_px=np.nan)], ignore_index=True)
    base = measure(left, gone(xy[sites]), shape=(SIZE, SIZE))
    again = measure(more, gone(xy[sites]), shape=(SIZE, SIZE))
    for name in TABLES:
        pd.testing.assert_frame_equal(again[name], base[name])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"phase": "nothing"}, "nothing"),
        ({"least": 1}, "least 1"),
        ({"level": 1.5}, "level 1.5"),
        ({"dose": -1.0}, "dose -1.0"),
        ({"pixel_size": 0.0}, "pixel_size 0.0"),
        ({"times": [0.0]}, "times"),
    ],
)
def test_options_that_cannot_be_are_named(options: dict[str, object], word: str) -> None:
    table = pd.concat([atoms_of(crystal()[0]), atoms_of(crystal()[0]).assign(frame=1)])
    with pytest.raises(UsageError, match=word) as caught:
        measure(table, **options)
    assert "\n" not in str(caught.value)


def test_a_table_without_positions_is_named() -> None:
    with pytest.raises(UsageError, match="no positions"):
        measure(pd.DataFrame({"species": ["C"]}))
    with pytest.raises(UsageError, match="expected a table"):
        measure([1, 2, 3])


# --- report ----------------------------------------------------------------------------------


def test_the_report_shows_numbers_lines_and_boundaries() -> None:
    xy, (a, _) = crystal()
    sites = row(xy, a, range(5))
    structure = np.where(xy[:, 0] < SIZE / 2, "1H", "1T")
    left = atoms_of(np.delete(xy, sites, axis=0), structure=np.delete(structure, sites))
    found = measure(left, gone(xy[sites]), shape=(SIZE, SIZE), pixel_size=0.1)
    shown = statistics(found)
    assert shown is not None
    texts = {(n.quantity, n.group): n for n in shown.numbers}
    fraction = numbers(found, "phase fraction").set_index("group").loc["1H"]
    assert texts["phase fraction", "1H"].value == f"{fraction['value']:.3g}"
    assert texts["share in lines", "of 3 and more"].value == "1"
    assert shown.lines == (("5", "8 Å", f"{found['lines']['direction'][0]:.1f}°", ""),)
    assert shown.segments == ()
    assert not any(n.quantity == "pair correlation" for n in shown.numbers)


def test_the_page_holds_the_statistics(tmp_path: Path) -> None:
    xy, _ = crystal()
    table = conform(atoms_of(xy, structure=np.where(xy[:, 0] < SIZE / 2, "1H", "1T")))
    image = Image(np.random.default_rng(1).poisson(20, (SIZE, SIZE)).astype("f4"), pixel_size=0.1)
    about = {"quality": quality(table, (SIZE, SIZE), 1, 0.1), "card": {}}
    tables = measure(table, pixel_size=0.1, shape=(SIZE, SIZE))
    page = write_report(tmp_path / "with.html", image, table, measures=tables, **about)
    text = page.read_text(encoding="utf-8")
    assert "Structure statistics" in text
    assert "border length per area" in text
    bare = write_report(tmp_path / "without.html", image, table, **about)
    assert "Structure statistics" not in bare.read_text(encoding="utf-8")


def test_without_statistics_the_report_shows_none() -> None:
    assert statistics(None) is None
    assert statistics({}) is None
    assert statistics(measure(atoms_of(np.empty((0, 2))))) is None


def test_lines_of_sites_without_species_are_taken_apart() -> None:
    """They are not named like elements either: V_B would read as boron."""
    frame = named_frame("1H-MoS2", ("V_S line 4", "V_Mo"), seed=7, size_px=384)
    table = frame.atoms[frame.atoms["species"] != "S"]  # what lost one atom lost both
    light = table["species"].map({"Mo": 1.0, "S2": 0.4})
    plain = table.assign(intensity=light, species="", p=1.0)
    named = name_defects(plain, shape=frame.shape)
    assert sorted(named.defects["name"]) == ["V_site-0", "V_site-1 line 4"]
    assert "-site-1x4" in set(named.defects["formula"])
    found = measure(named.atoms, named.defects, shape=frame.shape)
    assert len(found["vacancies"]) == 5
    assert found["lines"]["n_sites"].tolist() == [4]
