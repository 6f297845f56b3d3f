"""Foreign atoms: their tails, what they hide, what they are, what they are bonded to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import uniform_filter

import atomscope
from atomscope.columns import conform
from atomscope.formula import parse
from atomscope.lattice import fit_lattice
from atomscope.refine.tails import excess, heavy_of, instead, measure_tail, tails
from atomscope.rules import name_defects
from atomscope.rules.joint import reconcile, too_dim
from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile
from atomscope.simulate.named import named_frame
from atomscope.species import study
from worlds import HONEYCOMB, Floats

SIZE, SPACING, SIGMA, HEIGHT, RATIO = 240, 13.0, 3.8, 0.14, 2.5


def honeycomb(size: int = SIZE) -> Floats:
    """Sites of a honeycomb in a frame, px."""
    cell, basis = HONEYCOMB
    xy, _ = tile(cell * SPACING, basis, size, 0.3, np.array([0.2, 0.7]))
    return xy[np.all((xy > 2) & (xy < size - 3), axis=1)]


def table(xy: Floats, peak: Floats) -> pd.DataFrame:
    """Atoms as refinement gives them."""
    light = 2 * np.pi * SIGMA**2 * peak
    return conform(
        pd.DataFrame(
            {
                "frame": 0,
                "atom": range(len(xy)),
                "x_px": xy[:, 0],
                "y_px": xy[:, 1],
                "p": 0.99,
                "width": SIGMA,
                "intensity": light,
                "intensity_err": 0.01 * light,
                "flags": "",
            }
        )
    )


def with_heavy(strength: float, tail: float = HEIGHT) -> tuple[Floats, pd.DataFrame]:
    """A noisy honeycomb with one bright column in the middle; truth as the table."""
    cell, basis = HONEYCOMB
    every, _ = tile(cell * SPACING, basis, SIZE + 80, 0.3, np.array([0.2, 0.7]))
    every = every - 40
    peak = np.ones(len(every))
    peak[np.argmin(np.hypot(*(every - SIZE / 2).T))] = strength
    shape = (SIZE, SIZE)
    clean = render(every, peak, SIGMA, shape) + render(every, tail * peak, RATIO * SIGMA, shape)
    frame = np.random.default_rng(1).poisson(50 * (clean + 0.3)).astype(float)
    inside = np.all((every > 2) & (every < SIZE - 3), axis=1)
    return frame, table(every[inside], 50 * peak[inside])


# --- tails ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [11.0, 60.0])
def test_tails_are_measured_around_heavy_atoms(strength):
    frame, atoms = with_heavy(strength)
    tail = measure_tail(frame, atoms)
    assert tail is not None
    assert tail.height == pytest.approx(HEIGHT, rel=0.15)
    assert tail.width == pytest.approx(RATIO * SIGMA, rel=0.1)


def test_there_are_no_tails_where_there_are_none():
    assert measure_tail(*with_heavy(60.0, tail=0.0)) is None
    assert measure_tail(*with_heavy(1.0)) is None


def test_tails_know_neither_unit_nor_orientation():
    frame, atoms = with_heavy(30.0)
    tail = measure_tail(frame, atoms)
    gained = atoms.assign(intensity=7 * atoms["intensity"], intensity_err=0.1)
    turned = atoms.assign(x_px=atoms["y_px"], y_px=SIZE - 1 - atoms["x_px"])
    for other in (measure_tail(7 * frame, gained), measure_tail(np.rot90(frame), turned)):
        assert tail is not None
        assert other is not None
        assert other.height == pytest.approx(tail.height, rel=0.03)
        assert other.width == pytest.approx(tail.width, rel=0.03)


def test_columns_under_an_adatom_are_no_tail():
    every, both, adatom = over_a_bond()
    peak = np.append(np.ones(len(every)), 4.0)
    xy = np.vstack([every, adatom])
    shape = (SIZE, SIZE)
    clean = render(xy, peak, SIGMA, shape) + render(xy, HEIGHT * peak, RATIO * SIGMA, shape)
    frame = 400 * (clean + 0.3)
    seen = np.setdiff1d(np.arange(len(xy)), both)
    atoms, light = table(xy[seen], 400 * peak[seen]), HEIGHT * RATIO**2
    bare, told = measure_tail(frame, atoms), measure_tail(frame, atoms, None, every[both])
    assert bare is not None
    assert told is not None
    assert bare.height * (bare.width / SIGMA) ** 2 > 1.5 * light
    assert told.height * (told.width / SIGMA) ** 2 == pytest.approx(light, rel=0.1)


def over_a_bond() -> tuple[Floats, np.ndarray, Floats]:
    """A honeycomb that goes beyond the frame, two neighbours in its middle, and their middle."""
    cell, basis = HONEYCOMB
    every = tile(cell * SPACING, basis, SIZE + 80, 0.3, np.array([0.2, 0.7]))[0] - 40
    first = every[np.argmin(np.hypot(*(every - SIZE / 2).T))]
    both = np.argsort(np.hypot(*(every - first).T))[:2]
    return every, both, every[both].mean(axis=0)


def test_without_its_tails_a_frame_is_one_of_cores():
    frame, atoms = with_heavy(60.0)
    tail = measure_tail(frame, atoms)
    assert tail is not None
    xy = atoms[["x_px", "y_px"]].to_numpy()
    peak = atoms["intensity"].to_numpy() / (2 * np.pi * SIGMA**2)
    cores = render(xy, peak, SIGMA, frame.shape)
    y, x = np.indices(frame.shape)
    heavy = xy[np.argmax(peak)]
    around = np.hypot(x - heavy[0], y - heavy[1])
    ring = (around > 2.5 * SIGMA) & (around < 2 * SPACING)

    def beyond_cores(image: Floats) -> float:
        left = uniform_filter(image - cores, 5)
        return float(left[ring].mean() - np.median(left[20:-20, 20:-20]))

    clean = frame - tails(atoms, tail, frame.shape)
    assert beyond_cores(frame) > 30
    assert abs(beyond_cores(clean)) < 0.1 * beyond_cores(frame)


def test_the_light_of_heavy_atoms_goes_and_they_stay():
    frame, atoms = with_heavy(60.0)
    heavy = heavy_of(atoms, 3.0)
    assert len(heavy) == 1
    at = tuple(np.rint(heavy[["y_px", "x_px"]].to_numpy()[0]).astype(int))
    assert excess(heavy, frame.shape)[at] == pytest.approx(57 * 50, rel=0.05)
    ghosts = heavy.assign(x_px=heavy["x_px"] + 2.0, p=0.6)
    found = instead(pd.concat([atoms.drop(heavy.index), ghosts]), heavy)
    assert len(found) == len(atoms)
    assert found["p"].min() == pytest.approx(0.99)


@pytest.mark.parametrize(("name", "element"), [("W1C4", "W"), ("Pt1C3", "Pt")])
def test_neighbours_of_heavy_atoms_are_seen(name, element):
    frame = named_frame("graphene", (name,), seed=3, dose=50.0, size_px=320)
    assert frame.image is not None
    told = f"C,{element}"
    result = atomscope.analyze(frame.image, pixel_size=frame.pixel_size, elements=told)
    assert result.defects["name"].tolist() == [name]


# --- what a bright atom hides -------------------------------------------------------------------


def on_a_bond(width: float) -> tuple[pd.DataFrame, Floats, Floats]:
    """A bright column over the middle of a bond, in place of its two atoms; these are told too."""
    xy = honeycomb()
    first = int(np.argmin(np.hypot(*(xy - SIZE / 2).T)))
    second = int(np.argsort(np.hypot(*(xy - xy[first]).T))[1])
    kept = np.delete(xy, [first, second], axis=0)
    middle = xy[[first, second]].mean(axis=0)
    atoms = table(np.vstack([kept, middle]), np.append(np.ones(len(kept)), 5.0))
    atoms.loc[len(kept), "width"] = width * SIGMA
    return atoms, xy[[first, second]], middle


def test_a_broad_bright_column_may_stand_on_others():
    atoms, hidden, _ = on_a_bond(1.15)
    lattice = fit_lattice(atoms[["x_px", "y_px"]].to_numpy(), atoms["intensity"].to_numpy())
    back = reconcile(atoms, atoms.iloc[:0], lattice, (SIZE, SIZE)).recalled
    found = back[["x_px", "y_px"]].to_numpy()
    assert len(found) == 2
    away = np.linalg.norm(found[:, None] - hidden[None], axis=-1).min(axis=1)
    assert away.max() < 0.2 * SPACING


def test_a_bright_column_of_usual_width_stands_alone():
    atoms, _, _ = on_a_bond(1.0)
    lattice = fit_lattice(atoms[["x_px", "y_px"]].to_numpy(), atoms["intensity"].to_numpy())
    assert len(reconcile(atoms, atoms.iloc[:0], lattice, (SIZE, SIZE)).recalled) == 0


def test_silicon_on_a_bond_is_no_substitute():
    frame = named_frame("graphene", ("Si1C4", "adatom Si"), seed=12, dose=50.0, size_px=320)
    assert frame.image is not None
    result = atomscope.analyze(frame.image, pixel_size=frame.pixel_size, elements="C,Si")
    assert sorted(result.defects["name"]) == ["Si1C4", "adatom Si"]


@pytest.mark.parametrize(("share", "gone"), [(0.1, True), (0.3, False), (0.7, False)])
def test_what_shows_less_than_any_element_is_none(share, gone):
    xy = honeycomb()
    peak = np.ones(len(xy))
    middle = int(np.argmin(np.hypot(*(xy - SIZE / 2).T)))
    peak[middle] = share
    atoms = table(xy, peak)
    lattice = fit_lattice(xy, atoms["intensity"].to_numpy())
    assert too_dim(atoms, lattice).tolist() == [gone and i == middle for i in range(len(xy))]


# --- species ------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [1.55, 1.64, 1.73])
@pytest.mark.parametrize("some", [("Si", "P"), ("Si", "S"), ("Al", "Si"), ("B", "N")])
def test_two_neighbours_of_the_periodic_table_are_told_by_their_order(some, exponent, rng):
    names = ["C", *some]
    known = {f.text: f.strength(exponent) for f in parse(names)}
    xy = honeycomb()
    species = np.full(len(xy), "C", dtype=object)
    inner = np.flatnonzero(np.abs(xy - SIZE / 2).max(axis=1) < SIZE / 3)
    species[rng.choice(inner, 2, replace=False)] = some
    peak = np.array([known[s] for s in species]) / known["C"]
    atoms = table(xy, peak * rng.normal(1, 0.015, len(xy)))
    found = study(atoms, elements=names, hosts=["C"], shape=(SIZE, SIZE)).atoms["species"]
    assert found.tolist() == species.tolist()


def test_one_atom_off_the_lattice_is_what_others_on_it_are(rng):
    """Five atoms alike, one of them beside the sites together with another element."""
    xy = honeycomb()
    peak, species = np.ones(len(xy)), np.full(len(xy), "C", dtype=object)
    inner = np.flatnonzero(np.abs(xy - SIZE / 2).max(axis=1) < SIZE / 3)
    chosen = inner[[3, 20, 37, 54, 71, 88]]
    xy = xy.copy()
    xy[chosen[:2]] += 0.45 * SPACING * np.array([[1.0, 0.2], [-0.3, 1.0]])
    species[chosen], species[chosen[1]] = "Si", "S"
    known = {f.text: f.strength(1.66) for f in parse("C,Si,S")}
    peak = np.array([known[s] for s in species]) / known["C"]
    atoms = table(xy, peak * rng.normal(1, 0.012, len(xy)))
    found = study(atoms, elements="C,Si,S", hosts=["C"], shape=(SIZE, SIZE)).atoms["species"]
    assert found.tolist() == species.tolist()


# --- bonds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [0.0, 0.4, 1.3])
def test_no_bond_goes_past_a_neighbour(turn):
    """Platinum 2.5 Å from its second shell: within 1.2 times the radii, and not bonded."""
    pixel = 1.42 / SPACING
    xy = honeycomb() @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    species = np.full(len(xy), "C", dtype=object)
    middle = int(np.argmin(np.hypot(*(xy - xy.mean(axis=0)).T)))
    species[middle] = "Pt"
    near = np.argsort(np.hypot(*(xy - xy[middle]).T))[1:4]
    xy = xy.copy()
    xy[near] += 0.2 * (xy[near] - xy[middle])
    atoms = table(xy, np.ones(len(xy))).assign(species=species, species_p=1.0)
    assert name_defects(atoms, pixel_size=pixel).defects["name"].tolist() == ["Pt1C3"]
