"""Periodicity, enforced: what lies on the lattice stays, what does not goes, what lacks is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from atomscope.columns import ATOMS, DEFECTS, conform
from atomscope.errors import UsageError
from atomscope.lattice import fit_lattice
from atomscope.lattice.enforce import enforce
from atomscope.simulate.lattices import tile
from worlds import HONEYCOMB, SQUARE, Floats

A = 11.0  # px between neighbours
SIZE = 190
SHAPE = (SIZE, SIZE)
CELLS = {"honeycomb": HONEYCOMB, "square": SQUARE}


def atoms_of(xy: Floats, **columns: object) -> pd.DataFrame:
    table = pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], "p": 0.9, "intensity": 1.0})
    return conform(table.assign(atom=range(len(xy)), **columns), ATOMS)


def points(name: str, rng: np.random.Generator, angle: float = 0.3) -> Floats:
    vectors, basis = CELLS[name]
    xy, _ = tile(A * vectors, basis, SIZE, angle, rng.uniform(0, 1, 2))
    xy = xy[np.all((xy > 0) & (xy < SIZE - 1), axis=1)]
    return np.asarray(xy + rng.normal(0, 0.02 * A, xy.shape))


def middle_of(xy: Floats, where: tuple[float, float] = (SIZE / 2, SIZE / 2)) -> int:
    return int(np.hypot(*(xy - where).T).argmin())


def enforced(atoms: pd.DataFrame, **options: float):
    xy = atoms[["x_px", "y_px"]].to_numpy(float)
    return enforce(atoms, fit_lattice(xy, atoms["intensity"].to_numpy(float)), SHAPE, **options)


def places(table: pd.DataFrame) -> Floats:
    return table[["x_px", "y_px"]].to_numpy(float)


@pytest.mark.parametrize("name", CELLS)
def test_a_whole_crystal_is_untouched(name, rng):
    atoms = atoms_of(points(name, rng))
    left, empty = enforced(atoms)
    pd.testing.assert_frame_equal(left, atoms)
    assert len(empty) == 0
    assert list(empty.columns) == [c.name for c in DEFECTS]


@pytest.mark.parametrize("name", CELLS)
def test_a_planted_vacancy_is_found_where_it_is(name, rng):
    xy = points(name, rng)
    gone = middle_of(xy)
    left, empty = enforced(atoms_of(np.delete(xy, gone, axis=0)))
    assert len(left) == len(xy) - 1
    assert len(empty) == 1
    assert np.hypot(*(places(empty)[0] - xy[gone])) < 0.1 * A
    assert empty["p"].iloc[0] == pytest.approx(0.9)


def test_an_atom_between_the_sites_is_removed(rng):
    xy = points("honeycomb", rng)
    middle = xy[middle_of(xy)]
    others = cKDTree(xy).query(middle, k=4)[1][1:]
    hollow = middle - (xy[others[0]] - middle)  # of a hexagon
    assert cKDTree(xy).query(hollow)[0] > 0.8 * A
    left, empty = enforced(atoms_of(np.concatenate([xy, [hollow]])))
    np.testing.assert_array_equal(places(left), xy)
    assert len(empty) == 0


def test_of_two_atoms_on_a_site_the_more_probable_stays(rng):
    xy = points("square", rng)
    chosen = middle_of(xy)
    twin = xy[chosen] + [0.3 * A, 0.0]
    for p_twin, winner in ((0.6, xy[chosen]), (0.99, twin)):
        atoms = atoms_of(np.concatenate([xy, [twin]]))
        atoms.loc[len(xy), "p"] = p_twin
        left, empty = enforced(atoms)
        assert len(left) == len(xy)
        assert cKDTree(places(left)).query(winner)[0] == 0
        assert len(empty) == 0


def test_a_smaller_reach_makes_a_vacancy_of_a_displaced_atom(rng):
    xy = points("square", rng)
    chosen = middle_of(xy)
    site = xy[chosen].copy()
    xy[chosen] += [0.38 * A, 0.0]
    left, empty = enforced(atoms_of(xy))
    assert len(left) == len(xy)
    assert len(empty) == 0
    left, empty = enforced(atoms_of(xy), reach=0.25)
    assert len(left) == len(xy) - 1
    assert np.hypot(*(places(empty)[0] - site)) < 0.1 * A


def test_an_atom_without_brightness_is_a_vacancy_and_a_faint_dopant_is_not(rng):
    xy = points("honeycomb", rng)
    ghost, dopant = middle_of(xy), middle_of(xy, (50.0, 50.0))
    bright = rng.normal(1, 0.05, len(xy))
    bright[[ghost, dopant]] = 0.02, 0.15
    for gain in (1.0, -300.0):  # dark atoms have intensities below 0
        left, empty = enforced(atoms_of(xy, intensity=gain * bright))
        assert ghost not in set(left["atom"])
        assert dopant in set(left["atom"])
        assert np.hypot(*(places(empty)[0] - xy[ghost])) < 0.1 * A
        assert len(empty) == 1
    left, _ = enforced(atoms_of(xy, intensity=np.nan))  # not refined: nothing to go by
    assert len(left) == len(xy)


@pytest.mark.parametrize("name", CELLS)
def test_enforcing_twice_is_enforcing_once(name, rng):
    xy = np.concatenate([points(name, rng), rng.uniform(0, SIZE, (25, 2))])
    xy = xy[rng.random(len(xy)) > 0.05]
    once, empty = enforced(atoms_of(xy, p=rng.uniform(0.5, 1, len(xy))))
    assert len(once) < len(xy)
    twice, again = enforced(once)
    pd.testing.assert_frame_equal(once, twice)
    assert len(again) == len(empty) > 5
    np.testing.assert_allclose(cKDTree(places(again)).query(places(empty))[0], 0, atol=0.02 * A)


def test_the_order_of_the_rows_does_not_matter(rng):
    xy = np.concatenate([points("honeycomb", rng), rng.uniform(0, SIZE, (20, 2))])
    xy = xy[rng.random(len(xy)) > 0.05]
    atoms = atoms_of(xy, p=rng.uniform(0.5, 1, len(xy)))
    mixed = atoms.sample(frac=1, random_state=1).reset_index(drop=True)
    (one, empty), (two, other) = enforced(atoms), enforced(mixed)
    assert set(one["atom"]) == set(two["atom"])
    assert len(empty) == len(other) > 5
    far = cKDTree(places(empty)).query(places(other))[0]
    np.testing.assert_allclose(far, 0, atol=0.01 * A)


def test_turning_the_frame_turns_the_result(rng):
    xy = np.concatenate([points("honeycomb", rng), rng.uniform(0, SIZE, (20, 2))])
    xy = xy[rng.random(len(xy)) > 0.05]
    turned = np.column_stack([SIZE - 1 - xy[:, 1], xy[:, 0]])
    (one, empty), (two, other) = enforced(atoms_of(xy)), enforced(atoms_of(turned))
    assert list(one["atom"]) == list(two["atom"])
    back = np.column_stack([places(other)[:, 1], SIZE - 1 - places(other)[:, 0]])
    assert len(back) == len(empty) > 5
    np.testing.assert_allclose(cKDTree(places(empty)).query(back)[0], 0, atol=0.01 * A)


def test_another_grain_keeps_its_atoms(rng):
    left, right = points("square", rng), points("square", rng, angle=0.75)
    left, right = left[left[:, 0] < 116], right[right[:, 0] > 124]
    atoms = atoms_of(np.concatenate([left, right]))
    kept, empty = enforced(atoms)
    assert np.isin(np.arange(len(left)), kept["atom"]).all()
    deep = len(left) + np.flatnonzero(right[:, 0] > 145)
    assert np.isin(deep, kept["atom"]).all()
    assert (empty["x_px"] < 132).all()


def test_a_vacancy_is_named_after_its_sublattice(rng):
    xy, kind = tile(A * HONEYCOMB[0], HONEYCOMB[1], SIZE, 0.3, rng.uniform(0, 1, 2))
    inside = np.all((xy > 0) & (xy < SIZE - 1), axis=1)
    xy, kind = xy[inside], kind[inside]
    metal = int(np.flatnonzero(kind == 0)[middle_of(xy[kind == 0])])
    chalcogen = int(np.flatnonzero(kind == 1)[middle_of(xy[kind == 1], (50.0, 50.0))])
    atoms = atoms_of(xy, species=np.array(["Mo", "S2"], object)[kind], intensity=2.0 - kind)
    _, empty = enforced(atoms.drop([metal, chalcogen]).reset_index(drop=True))
    found = dict(zip(empty["name"], places(empty), strict=True))
    assert set(found) == {"V_Mo", "V_S2"}
    assert np.hypot(*(found["V_Mo"] - xy[metal])) < 0.1 * A
    assert np.hypot(*(found["V_S2"] - xy[chalcogen])) < 0.1 * A
    _, unnamed = enforced(atoms.assign(species="").drop(metal).reset_index(drop=True))
    assert list(unnamed["name"]) == ["V_site-0"]  # the brighter sublattice is the first


def test_wrong_input_is_told_in_one_line(rng):
    atoms = atoms_of(points("square", rng))
    lattice = fit_lattice(places(atoms))
    broken = atoms.assign(x_px=atoms["x_px"].where(atoms["atom"] != 3))
    for table, options, word in (
        (atoms[:-1], {}, "fitted to them"),
        (atoms, {"reach": 0.0}, "between 0 and 1"),
        (atoms, {"least": 1.0}, "below 1"),
        (broken, {}, "not finite"),
        (atoms.drop(columns="y_px"), {}, "y_px"),
    ):
        with pytest.raises(UsageError, match=word):
            enforce(table, lattice, SHAPE, **options)


def test_a_recipe_asks_for_it_and_gets_vacancies_and_no_strays(tmp_path, rng):
    import atomscope
    from atomscope.pipeline.periodic import on_sites
    from atomscope.recipe import DetectStage, Recipe, RefineStage
    from atomscope.simulate.imaging import render
    from atomscope.species import fit_lattices

    xy = points("square", rng)
    gone = middle_of(xy)
    frame = render(np.delete(xy, gone, axis=0), np.ones(len(xy) - 1), 0.27 * A, SHAPE) + 0.2
    image = rng.poisson(200 * frame).astype(float)
    recipe = Recipe(stages=(DetectStage(periodic=True), RefineStage()))
    result = atomscope.analyze(image, pixel_size=0.2, recipe=recipe)
    assert len(result.defects) == 1
    found = result.defects.iloc[0]
    assert np.hypot(*(found[["x_px", "y_px"]].to_numpy(float) - xy[gone])) < 0.1 * A
    assert found["x"] == pytest.approx(0.2 * found["x_px"])
    assert (result.save(tmp_path / "out") / "defects.csv").is_file()
    plain = atomscope.analyze(
        image, pixel_size=0.2, recipe=Recipe(stages=(DetectStage(), RefineStage()))
    )
    assert len(plain.defects) == 0
    # frames of a movie are enforced each by itself, and numbered each from 0
    stray = atoms_of(np.concatenate([xy, [xy[gone] + [0.5 * A, 0.5 * A]]]))
    movie = pd.concat([stray.assign(frame=0), stray.assign(frame=1)], ignore_index=True)
    left = on_sites(movie, fit_lattices(movie), SHAPE)
    assert list(left["atom"]) == 2 * list(range(len(xy)))
