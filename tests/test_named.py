"""Laws of frames with named defects: the truth agrees with itself and with the image."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.simulate.named import APART, named_frame
from atomscope.simulate.named_kinds import HOSTS, NAMES

EVERY = [(host, kind.name) for host, kinds in HOSTS.items() for kind in kinds]
CARBON = [kind.name for kind in HOSTS["graphene"]]
FOREIGN = [name for name in CARBON if re.fullmatch(r"[A-Z][a-z]?\dC\d", name)]
RINGS = {  # what each kind makes of the hexagons
    "V1": {12: 1},
    "V1(5-9)": {5: 1, 9: 1},
    "V2(5-8-5)": {5: 2, 8: 1},
    "V2(555-777)": {5: 3, 7: 3},
    "SW(55-77)": {5: 2, 7: 2},
    "5-7": {5: 2, 7: 2},
    "ad-dimer C2": {5: 2, 7: 2},
}


SIZE = 320  # px of 0.11 Å


@cache
def _table_of(host, kinds, seed):
    return named_frame(host, kinds, seed, size_px=SIZE)


def _frame(host, kinds, seed=5, **options):
    if options:
        return named_frame(host, kinds, seed, **{"size_px": SIZE, **options})
    return _table_of(host, kinds, seed)


def _xy(table):
    return table[["x", "y"]].to_numpy()


def _columns_gained(host, name):
    """How many columns more than the perfect host a defect of this name has."""
    if host == "graphene":
        known = {"V1": -1, "V1(5-9)": -1, "ad-dimer C2": 2, "adatom Si": 1}
        known |= {"V2(5-8-5)": -2, "V2(555-777)": -2, "SW(55-77)": 0, "5-7": 0}
        # foreign atoms on two sites have four carbon neighbours each, less those that they share
        known |= {"Si2C5": -1, "Si2C6": -2, "Si3C6": -1, "Si4C6": 0, "N2C4": 0, "B2C4": 0}
        return known[name] if name in known else {"1C3": 0, "1C4": -1, "2C4": 0}[name[-3:]]
    pair = "V_BN" if host == "hBN" else ""
    atom = {"hBN": ("V_B", "V_N"), "1H-MoS2": ("V_S2", "V_Mo"), "1H-WSe2": ("V_Se2", "V_W")}[host]
    return -2 if name == pair else -int(name in atom)


def _faces(xy):
    """Sizes of the faces of the network of bonds below 1.75 Å, those at the border left out."""
    around = [[] for _ in xy]
    for i, j in cKDTree(xy).query_pairs(1.75):
        around[i].append(j)
        around[j].append(i)
    for i, them in enumerate(around):
        away = xy[them] - xy[i]
        around[i] = [them[k] for k in np.argsort(np.arctan2(away[:, 1], away[:, 0]))]
    ways, sizes = {(i, j) for i, them in enumerate(around) for j in them}, Counter()
    while ways:
        way, size, area = ways.pop(), 1, 0.0
        first, (i, j) = way, way
        while True:
            area += xy[i, 0] * xy[j, 1] - xy[j, 0] * xy[i, 1]
            them = around[j]
            i, j = j, them[(them.index(i) - 1) % len(them)]
            if (i, j) == first:
                break
            ways.discard((i, j))
            size += 1
        if area > 0:  # the outer face goes round the other way
            sizes[size] += 1
    return sizes


@pytest.mark.parametrize("host", HOSTS)
def test_every_name_stands_for_one_kind(host):
    assert len(NAMES[host]) == len(set(NAMES[host].values())) == len(HOSTS[host])
    assert host != "graphene" or len(HOSTS[host]) >= 25


@pytest.mark.parametrize(("host", "name"), EVERY)
def test_truth_holds_what_was_asked_for(host, name):
    frame, perfect = _frame(host, (name,)), _frame(host, ())
    assert set(frame.defects["name"]) == {name}  # what the sheet calls it has this name
    assert len(frame.defects) == (2 if name == "5-7" else 1)
    assert len(frame.atoms) - len(perfect.atoms) == _columns_gained(host, name)
    assert len(perfect.defects) == 0
    # far from the defects nothing has changed
    far = cKDTree(_xy(frame.defects)).query(_xy(perfect.atoms))[0] > 20
    distance, index = cKDTree(_xy(frame.atoms)).query(_xy(perfect.atoms)[far])
    assert distance.max() < 1e-9
    species = frame.atoms["species"].to_numpy()[index]
    assert (species == perfect.atoms["species"].to_numpy()[far]).all()
    for defect in frame.defects.itertuples():
        members = _xy(frame.atoms)[[int(i) for i in defect.atoms.split()]]
        assert np.linalg.norm(members - [defect.x, defect.y], axis=1).max() < 12
        assert np.linalg.norm(members.mean(axis=0) - [defect.x, defect.y]) < 0.3
    for table in (frame.atoms, frame.defects):
        px = table[["x_px", "y_px"]].to_numpy() * frame.pixel_size
        assert np.allclose(px, _xy(table), atol=1e-12)


@pytest.mark.parametrize("name", CARBON)
def test_bonds_of_carbon_are_bonds(name):
    for seed in (1, 5):
        frame = _frame("graphene", (name,), seed)
        carbon = _xy(frame.atoms[frame.atoms["species"] == "C"])
        inner = np.all((carbon > 2) & (carbon < SIZE * 0.11 - 2), axis=1)
        nearest = cKDTree(carbon).query(carbon[inner], k=2)[0][:, 1]
        assert nearest.min() > 1.2
        assert nearest.max() < 1.75
        assert cKDTree(_xy(frame.atoms)).query(_xy(frame.atoms), k=2)[0][:, 1].min() > 0.6


@pytest.mark.parametrize("name", RINGS)
def test_rings_are_those_of_the_name(name):
    frame = _frame("graphene", (name,))
    sizes = _faces(_xy(frame.atoms))
    assert sizes.pop(6) > 150
    assert sizes == RINGS[name]


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_atoms_have_as_many_carbon_neighbours_as_they_are_named_by(name):
    element, count, around = re.fullmatch(r"([A-Z][a-z]?)(\d)C(\d)", name).groups()
    frame = _frame("graphene", (name,))
    foreign = frame.atoms["species"] == element
    assert foreign.sum() == int(count)
    assert (frame.atoms["species"][~foreign] == "C").all()
    xy, others = _xy(frame.atoms[foreign]), _xy(frame.atoms[~foreign])
    distance = np.sort(cKDTree(xy).query(others)[0])
    bonded, free = distance[: int(around)], distance[int(around) :]
    assert bonded.max() < 2.1  # Å, the longest bond to silicon
    assert free.min() > max(2.1, bonded.max() + 0.3)
    links = cKDTree(xy).query(xy, k=min(2, len(xy)))[0]
    assert links.max() < 2.5  # bonded to each other


def test_species_are_those_of_the_columns():
    frame = _frame("1H-MoS2", ("V_S", "W_Mo", "O_S", "S2_Mo"))
    found = frame.atoms["species"].value_counts()
    assert set(found.index) == {"Mo", "S2", "S", "W", "OS"}
    assert found["S"] == found["W"] == found["OS"] == 1
    line = _frame("1H-MoS2", ("V_S line 4",)).atoms["species"].value_counts()
    assert line["S"] == 4
    assert set(_frame("1H-WSe2", ("V(W)",)).atoms["species"]) == {"V", "W", "Se2"}


def test_defects_are_apart_and_clear_of_the_border():
    kinds = ("V1", "V1", "Si1C3", "Si1C4")
    for seed in range(5):
        frame = _frame("graphene", kinds, seed)
        xy = _xy(frame.defects)
        assert cKDTree(xy).query(xy, k=2)[0][:, 1].min() >= APART - 0.5  # those of one may settle
        assert xy.min() > 5
        assert xy.max() < SIZE * 0.11 - 5
        assert sorted(frame.defects["name"]) == sorted(kinds)
        owned = " ".join(frame.defects["atoms"]).split()
        assert len(owned) == len(set(owned))


def test_same_seed_same_bytes():
    first, again, other = (
        _frame("graphene", ("Si2C6", "V1"), seed, dose=14.0) for seed in (3, 3, 4)
    )
    assert first.image.tobytes() == again.image.tobytes()
    pd.testing.assert_frame_equal(first.atoms, again.atoms)
    pd.testing.assert_frame_equal(first.defects, again.defects)
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("host", ["graphene", "1H-WSe2"])
@pytest.mark.parametrize("way", [{}, {"drift": (1.5, -1.0)}, {"strain": 0.02}])
def test_the_image_has_its_peaks_at_the_truth(host, way):
    kinds = ("SW(55-77)", "N1C3") if host == "graphene" else ("V_Se", "Mo_W")
    frame = _frame(host, kinds, dose=400.0, jitter=0.0, **way)
    px = frame.atoms[["x_px", "y_px"]].to_numpy()
    px = px[np.all((px > 8) & (px < SIZE - 9), axis=1)]
    smooth = np.array(frame.image, dtype=float)
    peaks = np.argwhere(smooth == maximum_filter(smooth, 9))[:, ::-1]
    brightest = np.percentile(smooth, 30)
    peaks = peaks[smooth[peaks[:, 1], peaks[:, 0]] > brightest]
    assert cKDTree(peaks).query(px)[0].max() < 3.0  # 0.3 Å: flat tops, Poisson noise
    assert np.abs(_mean_offset(peaks, px)).max() < 0.1


def _mean_offset(peaks, px):
    return (peaks[cKDTree(peaks).query(px)[1]] - px).mean(axis=0)


def test_counts_go_with_the_dose():
    low, high = (_frame("hBN", ("V_B",), dose=dose).image for dose in (10.0, 30.0))
    assert high.mean() / low.mean() == pytest.approx(3, rel=0.01)
    assert _frame("hBN", ("V_B",)).image is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tin", ()), "graphene"),
        (("hBN", ("V1",)), "V_BN"),
        (("graphene", ("V1",) * 60), "room"),
        (("graphene", ("V2",)), "V2\\(5-8-5\\)"),
    ],
)
def test_what_cannot_be_is_said(arguments, told):
    with pytest.raises(UsageError, match=told):
        _frame(*arguments)
    with pytest.raises(UsageError, match="pixel_size"):
        _frame("graphene", (), pixel_size=0.0)
