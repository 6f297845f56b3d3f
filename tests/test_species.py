"""Species from brightness: right on known truth, blind to gain and place, honest in doubt."""

from __future__ import annotations

import json
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

import atomscope
from atomscope.apps.cli import run
from atomscope.columns import conform
from atomscope.errors import UsageError
from atomscope.formula import parse
from atomscope.recipe import Recipe, load
from atomscope.simulate.imaging import detector_noise, render
from atomscope.simulate.lattices import tile
from atomscope.species import identify, study
from atomscope.species.gain import gain_field
from atomscope.species.mixture import Data, fit_mixture
from atomscope.types import Image
from worlds import HONEYCOMB, Floats

Defects = tuple[tuple[int, str, float], ...]
GRAPHENE = (("C", "C"), ((0, "Si", 0.03), (1, "Si", 0.03)), "C,Si")
MOS2 = (("Mo", "S2"), ((1, "S", 0.08),), "Mo,S2,S")
WSE2 = (("W", "Se2"), ((0, "V", 0.08), (1, "Se", 0.06)), "W,Se2,Se,V")
MATERIALS = pytest.mark.parametrize(
    ("hosts", "defects", "elements"), [GRAPHENE, MOS2, WSE2], ids=["graphene", "MoS2", "WSe2"]
)


def columns(
    hosts: tuple[str, str], defects: Defects, rng: np.random.Generator, size: int, spacing: float
) -> tuple[Floats, np.ndarray]:
    """Positions and formulas of a honeycomb with defects."""
    cell, basis = HONEYCOMB
    xy, site = tile(cell * spacing, basis, size, 0.3, rng.uniform(0, 1, 2))
    inside = np.all((xy > -0.4) & (xy < size - 0.6), axis=1)
    xy, site = xy[inside], site[inside]
    names = np.array(hosts, dtype=object)[site]
    for place, formula, share in defects:
        names[(site == place) & (rng.random(len(xy)) < share)] = formula
    return xy, names


def strengths(names: np.ndarray, exponent: float) -> Floats:
    known = {f.text: f.strength(exponent) for f in parse(sorted(set(names)))}
    values = np.array([known[name] for name in names])
    return values / values.max()


def layer(
    hosts: tuple[str, str],
    defects: Defects = (),
    *,
    seed: int = 0,
    size: int = 220,
    exponent: float = 1.6,
    electrons: float = 500.0,
    slope: float = 0.0,
) -> tuple[pd.DataFrame, np.ndarray]:
    """A table of measured atoms, as refinement would give it, and what they are.

    `electrons` are counted in the brightest column; a fifth of it lies under each as background.
    """
    rng = np.random.default_rng(seed)
    xy, names = columns(hosts, defects, rng, size, 10.0)
    gain = np.exp(slope * (xy @ [0.8, 0.6]) / size)
    mean = strengths(names, exponent) * electrons * rng.normal(1, 0.02, len(names))
    error = np.sqrt(mean + 0.2 * electrons)
    return (
        conform(
            pd.DataFrame(
                {
                    "frame": 0,
                    "atom": range(len(xy)),
                    "x_px": xy[:, 0] + rng.normal(0, 0.2, len(xy)),
                    "y_px": xy[:, 1] + rng.normal(0, 0.2, len(xy)),
                    "p": 0.99,
                    "intensity": gain * rng.normal(mean, error),
                    "intensity_err": gain * error,
                    "flags": "",
                }
            )
        ),
        names,
    )


def photograph(
    hosts: tuple[str, str], defects: Defects, *, seed: int, size: int = 192, **day: float
) -> tuple[Floats, Floats, np.ndarray]:
    """A frame with noise, the columns in it, and what they are."""
    settings = {"spacing": 12.0, "width": 0.27, "noise": 0.06, "background": 0.2, "exponent": 1.6}
    settings |= day
    rng = np.random.default_rng(seed)
    xy, names = columns(hosts, defects, rng, size, settings["spacing"])
    weight = strengths(names, settings["exponent"])
    sigma = settings["width"] * settings["spacing"]
    clean = render(xy, weight, sigma, (size, size)) + settings["background"]
    frame = detector_noise(rng, clean, settings["noise"], shot=1.0)
    return np.asarray(frame, dtype=np.float64), xy, names


def right_share(atoms: pd.DataFrame, names: np.ndarray) -> dict[str, float]:
    """Share of each true class that is named so."""
    species = atoms["species"].to_numpy()
    return {str(n): float(np.mean(species[names == n] == n)) for n in np.unique(names)}


# --- known truth ------------------------------------------------------------------------------

DAYS = {
    "one day": {},
    "another day": {
        "spacing": 9.0, "width": 0.31, "noise": 0.09, "background": 0.6, "exponent": 1.75,
    },
}  # fmt: skip


@MATERIALS
@pytest.mark.parametrize("day", DAYS)
def test_species_of_simulated_frames_on_any_day(hosts, defects, elements, day):
    frame, xy, names = photograph(hosts, defects, seed=4, **DAYS[day])
    result = atomscope.analyze(frame, elements=elements)
    found = result.atoms
    distance, row = cKDTree(found[["x_px", "y_px"]]).query(xy)
    deep = np.all((xy > 8) & (xy < 184), axis=1)
    assert (distance[deep] < 3).mean() > 0.98
    seen = deep & (distance < 3)
    rows = found.iloc[row[seen]]
    right = rows["species"].to_numpy() == names[seen]
    assert right.mean() >= 0.98
    assert min(right_share(rows, names[seen]).values()) >= 0.85  # classes of down to 8 atoms
    assert (
        abs(result.card["species"]["exponent"] - {**{"exponent": 1.6}, **DAYS[day]}["exponent"])
        < 0.12
    )


@MATERIALS
@pytest.mark.parametrize("exponent", [1.4, 1.6, 1.8])
def test_species_do_not_hang_on_the_exponent(hosts, defects, elements, exponent):
    atoms, names = layer(hosts, defects, size=300, exponent=exponent, electrons=800)
    shares = right_share(identify(atoms, elements=elements), names)
    assert min(shares.values()) > 0.95


def test_probabilities_are_those_of_the_truth():
    # carbon and nitrogen at a dose at which they overlap
    parts = [layer(("C", "C"), ((0, "N", 0.4),), electrons=250, seed=s, size=400) for s in range(3)]
    stated, correct = [], []
    for atoms, names in parts:
        found = identify(atoms, elements="C,N")
        named = (found["species"] != "").to_numpy()
        assert named.mean() > 0.9
        stated.append(found["species_p"].to_numpy()[named])
        correct.append((found["species"].to_numpy() == names)[named])
    p, right = np.concatenate(stated), np.concatenate(correct)
    assert 0.9 < right.mean() < 0.99  # there is something to state
    for low, high in ((0.5, 0.8), (0.8, 0.95), (0.95, 1.0)):
        some = (p > low) & (p <= high)
        assert abs(p[some].mean() - right[some].mean()) < 0.06


# --- laws -------------------------------------------------------------------------------------


def _same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    assert (one["species"].to_numpy() == two["species"].to_numpy()).mean() > 0.995
    close = np.isclose(one["species_p"].to_numpy(), two["species_p"].to_numpy(), atol=0.02)
    assert close.mean() > 0.99


@pytest.mark.parametrize("gain", [1e-6, 0.3, 4e5])
def test_gain_does_not_matter(gain):
    atoms, _ = layer(*MOS2[:2])
    other = atoms.assign(
        intensity=gain * atoms["intensity"], intensity_err=gain * atoms["intensity_err"]
    )
    _same(identify(atoms, elements=MOS2[2]), identify(other, elements=MOS2[2]))


@pytest.mark.parametrize("slope", [0.3, -0.7])
def test_a_slope_of_the_gain_does_not_matter(slope):
    flat, names = layer(*WSE2[:2])
    sloped, _ = layer(*WSE2[:2], slope=slope)
    assert min(right_share(identify(sloped, elements=WSE2[2]), names).values()) > 0.95
    one, two = (identify(t, elements=WSE2[2])["species"] for t in (flat, sloped))
    assert (one == two).mean() > 0.98


def test_offset_does_not_matter():
    frame, *_ = photograph(*MOS2[:2], seed=2, size=128)
    one, two = (atomscope.analyze(f, elements=MOS2[2]).atoms for f in (frame, frame - 40.0))
    assert len(one) == len(two)
    _same(one, two)


def test_order_of_rows_does_not_matter(rng):
    atoms, _ = layer(*WSE2[:2])
    mixed = rng.permutation(len(atoms))
    one = identify(atoms, elements=WSE2[2])
    two = identify(atoms.iloc[mixed].reset_index(drop=True), elements=WSE2[2])
    for name in ("species", "species_p", "sublattice", "intensity_class"):
        pd.testing.assert_series_equal(
            one[name].iloc[mixed].reset_index(drop=True), two[name], rtol=1e-6
        )


@pytest.mark.parametrize("turn", [0.4, 2.9])
def test_turning_mirroring_and_scaling_do_not_matter(turn):
    atoms, _ = layer(*MOS2[:2])
    c, s = np.cos(turn), np.sin(turn)
    xy = atoms[["x_px", "y_px"]].to_numpy()
    moved = 2.3 * xy * [-1.0, 1.0] @ np.array([[c, s], [-s, c]]) + 77.0
    other = atoms.assign(x_px=moved[:, 0], y_px=moved[:, 1])
    _same(identify(atoms, elements=MOS2[2]), identify(other, elements=MOS2[2]))


def test_the_order_of_the_elements_does_not_matter():
    atoms, _ = layer(*WSE2[:2])
    one, two = (identify(atoms, elements=e) for e in ("W,Se2,Se,V", ["V", "Se", "W", "Se2"]))
    _same(one, two)


# --- what is there, and what is not -----------------------------------------------------------


def test_frames_of_a_movie_share_their_classes():
    # one silicon atom in some frames: too few to be a class in any of them
    frames, names = [], []
    for k in range(6):
        atoms, true = layer(("C", "C"), ((0, "Si", 0.01),), seed=k, size=120, electrons=800)
        frames.append(atoms.assign(frame=k))
        names.append(true)
    table, true = pd.concat(frames, ignore_index=True), np.concatenate(names)
    assert (true == "Si").sum() >= 3
    found = study(table, elements="C,Si")
    assert right_share(found.atoms, true) == {"C": 1.0, "Si": 1.0}
    assert len(found.facts["classes"]) == 2


def test_a_single_dopant_is_named():
    atoms, names = layer(("C", "C"))
    row = len(atoms) // 2
    atoms.loc[row, "intensity"] *= (14 / 6) ** 1.64
    atoms.loc[row, "intensity_err"] *= 2
    found = identify(atoms, elements="C,Si")
    assert found["species"][row] == "Si"
    assert (found["species"].drop(row) == "C").all()
    # three times as bright as silicon: nothing that was named
    atoms.loc[row, "intensity"] *= 3
    assert identify(atoms, elements="C,Si")["species"][row] == ""
    assert identify(atoms, elements="C")["species"][row] == ""
    assert names[row] == "C"


def test_faint_spots_that_may_be_no_atoms_name_nothing(rng):
    atoms, names = layer(*GRAPHENE[:2], exponent=1.75, size=300)
    carbon = float(atoms.loc[names == "C", "intensity"].median())
    spots = pd.DataFrame(rng.uniform(30, 270, (3, 2)), columns=["x_px", "y_px"]).assign(
        frame=0, atom=0, p=0.6, flags="", intensity_err=0.14 * carbon
    )
    spots["intensity"] = carbon * np.array([0.23, 0.26, 0.32])  # to these as C would be to Si
    both = conform(pd.concat([atoms, spots], ignore_index=True))
    found = identify(both, elements="C,Si")[: len(atoms)]
    assert right_share(found, names) == {"C": 1.0, "Si": 1.0}


def test_one_class_and_two_elements_stay_unknown():
    atoms, _ = layer(("C", "C"))
    found = study(atoms, elements="C,Si")
    assert (found.atoms["species"] == "").all()
    assert (found.atoms["species_p"] < 0.6).all()
    assert any("more than one way" in line for line in found.warnings)
    alone = study(atoms, elements="C")
    assert (alone.atoms["species"] == "C").mean() > 0.99
    assert alone.warnings == ()


def test_a_class_that_nothing_named_explains_stays_unknown():
    atoms, names = layer(*MOS2[:2], size=300)
    found = study(atoms, elements="Mo,S")
    named = found.atoms["species"].to_numpy()
    assert (named[names == "Mo"] == "Mo").all()
    assert (named[names == "S2"] == "").mean() > 0.98  # not S, which is half as bright
    assert any("S2 would fit" in line for line in found.warnings)


def test_without_elements_only_classes_and_sublattices_are_told():
    atoms, names = layer(*MOS2[:2], size=300)
    found = identify(atoms)
    assert (found["species"] == "").all()
    assert found["species_p"].isna().all()
    rank = {"S": 0, "S2": 1, "Mo": 2}  # weakest first
    expected = np.array([rank[n] for n in names])
    assert (found["intensity_class"].to_numpy(float) == expected).mean() > 0.97
    site = np.where(names == "Mo", 0, 1)  # the brightest first
    assert (found["sublattice"].to_numpy(float) == site).mean() > 0.98


def test_two_halves_of_other_metals_are_no_slope():
    atoms, names = layer(("Mo", "S2"), size=300)
    right = ((atoms["x_px"] > 150) & (names == "Mo")).to_numpy()
    factor = np.where(right, (74 / 42) ** 1.6, 1.0)
    atoms["intensity"] *= factor
    atoms["intensity_err"] *= np.sqrt(factor)
    expected = np.where(right, "W", names)
    found = identify(atoms, elements="Mo,W,S2")
    assert min(right_share(found, expected).values()) > 0.98


def test_atoms_without_a_lattice_have_species_too():
    atoms, names = layer(("W", "W"), ((0, "Mo", 0.6),), electrons=900, size=300)
    rng = np.random.default_rng(5)
    scattered = atoms.assign(
        x_px=rng.uniform(0, 300, len(atoms)), y_px=rng.uniform(0, 300, len(atoms))
    )
    found = identify(scattered, elements="W,Mo")
    assert found["sublattice"].isna().all()
    assert min(right_share(found, names).values()) > 0.97


def test_what_was_not_refined_stays_unknown():
    atoms, _ = layer(*MOS2[:2])
    atoms.loc[:20, "intensity_err"] = np.nan
    found = identify(atoms, elements=MOS2[2])
    assert (found["species"][:20] == "").all()
    assert found["species_p"][:20].isna().all()
    assert (found["species"][21:] != "").mean() > 0.98
    nothing = identify(atoms.assign(intensity_err=np.nan), elements=MOS2[2])
    assert (nothing["species"] == "").all()
    assert len(identify(atoms.iloc[:0], elements="C")) == 0


def test_dark_atoms_stay_unknown_and_it_is_said():
    atoms, _ = layer(*MOS2[:2])
    found = study(atoms.assign(intensity=-atoms["intensity"]), elements=MOS2[2])
    assert (found.atoms["species"] == "").all()
    assert "dark" in found.warnings[0]
    frame, *_ = photograph(*MOS2[:2], seed=2, size=128)
    for modality in ("bf", "abf", "tem", "stm"):
        result = atomscope.analyze(Image(frame, modality=modality), elements=MOS2[2])
        assert (result.atoms["species"] == "").all()
        assert any(modality.upper() in line for line in result.warnings)


# --- parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("means", [(1.0,), (1.0, 2.0), (1.0, 1.5, 4.0), (0.5, 1.0, 2.0, 4.0)])
@pytest.mark.parametrize("error", [0.02, 0.08])
def test_as_many_classes_as_there_are(means, error, rng):
    true = np.array(means)[rng.integers(0, len(means), 800)]
    own = error * rng.uniform(0.5, 1.5, len(true)) * np.sqrt(true)
    y = true * rng.normal(1, 0.03, len(true)) + rng.normal(0, own)
    found = fit_mixture(Data(y, own, np.zeros(len(y), dtype=np.int64), 1, 1 / 6))
    np.testing.assert_allclose(found.mean, means, rtol=0.03)
    assert 0.01 < found.spread[0] < 0.06


def test_large_errors_are_no_classes(rng):
    own = rng.choice([0.02, 0.3], 1000)
    y = 1 + rng.normal(0, own)
    found = fit_mixture(Data(y, own, np.zeros(1000, dtype=np.int64), 1, 1 / 3))
    np.testing.assert_allclose(found.mean, [1.0], atol=0.01)
    assert found.spread[0] < 0.03


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_slow_fields_are_found_under_a_minority_of_odd_values(degree, rng):
    xy = rng.uniform(0, 500, (900, 2))
    u = (xy - 250) / 250
    true = 0.4 * u[:, 0] ** degree + (0.2 * u[:, 1] if degree else 0)
    values = true + rng.normal(0, 0.05, 900) + np.where(rng.random(900) < 0.15, 1.5, 0)
    field = gain_field(xy, values, np.full(900, 0.05), xy)
    np.testing.assert_allclose(field, true, atol=0.04)


# --- formulas ---------------------------------------------------------------------------------


def test_formulas_are_read_and_weighed():
    silicon, pair, oxide = parse("Si, S2,TiO")
    assert [f.text for f in (silicon, pair, oxide)] == ["Si", "S2", "TiO"]
    assert pair.strength(1.6) == pytest.approx(2 * 16**1.6)
    assert oxide.strength(1.6) == pytest.approx(22**1.6 + 8**1.6)
    assert oxide.elements == {22, 8}
    assert parse("SSe")[0].atoms == parse("SeS")[0].atoms
    assert parse(["C", "Si"]) == parse("C,Si")
    assert parse(()) == ()


@given(st.sampled_from(["C", "S2", "TiO", "MoS2", "Se"]), st.floats(1.2, 2.1))
def test_the_slope_is_the_derivative_of_the_strength(text, exponent):
    formula, step = parse(text)[0], 1e-5
    ratio = formula.strength(exponent + step) / formula.strength(exponent - step)
    assert formula.slope(exponent) == pytest.approx(np.log(ratio) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("words", ["Xx", "c", "S-2", "C,,Si", "", "2S", "C0", "C Si", "C,C", "é"])
def test_unknown_elements_are_told(words, tmp_path, capsys):
    with pytest.raises(UsageError, match="element"):
        parse(words)
    np.save(tmp_path / "a.npy", np.ones((32, 32)))
    out = tmp_path / "out"
    assert run(["analyze", str(tmp_path / "a.npy"), f"--elements={words}", "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "element" in said
    assert not out.exists()


def test_a_table_without_positions_is_told():
    with pytest.raises(UsageError, match="x_px"):
        identify(pd.DataFrame({"intensity": [1.0]}), elements="C")


# --- the whole way ----------------------------------------------------------------------------


def test_the_command_writes_species_everywhere(tmp_path: Path):
    frame, _, _ = photograph(*MOS2[:2], seed=3)
    np.save(tmp_path / "a.npy", frame)
    out = tmp_path / "out"
    command = ["analyze", str(tmp_path / "a.npy"), "--elements", MOS2[2], "-o", str(out)]
    assert run([*command, "--pixel-size", "0.15"]) == 0
    atoms = pd.read_csv(out / "atoms.csv", keep_default_na=False)
    counts = atoms["species"].value_counts()
    assert set(counts.index) >= {"Mo", "S2", "S"}
    card = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert {k: v["atoms"] for k, v in card["species"]["composition"].items()} == {
        k: counts[k] for k in ("Mo", "S2", "S")
    }
    assert {"stage": "identify", "elements": ["Mo", "S2", "S"]} in card["recipe"]["stages"]
    assert card["seconds"]["identify"] > 0
    structure = ase.io.read(out / "structures.extxyz")
    symbols = np.array(structure.get_chemical_symbols())
    assert (symbols == "Mo").sum() == counts["Mo"]
    assert (symbols == "S").sum() == counts["S"] + counts["S2"]
    assert (structure.arrays["column"] == "S2").sum() == counts["S2"]
    page = (out / "report.html").read_text(encoding="utf-8")
    table = page[page.index("<h2>Composition</h2>") :].split("</table>")[0]
    assert f"<td>S2</td><td>{counts['S2']:,}</td>" in table


def test_a_recipe_names_the_elements(tmp_path: Path):
    path = tmp_path / "r.yaml"
    path.write_text("stages:\n  - stage: detect\n  - stage: identify\n    elements: [Mo, S2]\n")
    assert load(path).identify.elements == ("Mo", "S2")
    path.write_text("stages:\n  - stage: detect\n  - stage: identify\n    elements: [Mo, Q]\n")
    with pytest.raises(UsageError, match="'Q'"):
        load(path)
    path.write_text("stages:\n  - stage: identify\n  - stage: detect\n")
    with pytest.raises(UsageError, match="identify"):
        load(path)
    assert Recipe().with_elements("C,Si").identify.elements == ("C", "Si")


def test_without_the_stage_nothing_is_identified():
    frame, *_ = photograph(*MOS2[:2], seed=3, size=96)
    plan = load("columns")
    bare = plan.model_copy(update={"stages": plan.stages[:2]})
    assert atomscope.analyze(frame, recipe=bare).atoms["sublattice"].isna().all()
    # without a fit there is no brightness, but still a lattice
    unfitted = plan.model_copy(update={"stages": (plan.stages[0], plan.stages[2])})
    atoms = atomscope.analyze(frame, recipe=unfitted, elements="Mo,S2").atoms
    assert atoms["sublattice"].notna().mean() > 0.8
    assert (atoms["species"] == "").all()
