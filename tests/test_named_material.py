"""A material that the user names is compared with the lattice that is seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import atomscope
from atomscope.lattice import fit_lattice
from atomscope.pipeline.material import Measured, absent, known_material, measured
from atomscope.simulate.crystals import columns_along
from atomscope.simulate.materials import material
from atomscope.simulate.named import named_frame

SIZE = 0.11  # Å per px
OWN = [
    ("graphene", "001"), ("1H-MoS2", "001"), ("SrTiO3", "001"), ("SrTiO3", "110"), ("Au", "110"),
    ("Si", "110"), ("GaAs", "110"), ("MgO", "110"), ("TiO2", "001"), ("YBa2Cu3O7", "100"),
]  # fmt: skip
FOREIGN = [
    ("graphene", "Au"), ("graphene", "GaAs"), ("graphene", "NaCl"), ("graphene", "TiO2"),
    ("graphene", "hBN"), ("graphene", "1H-MoS2"), ("graphene", "1T-MoS2"), ("graphene", "Si"),
    ("graphene", "Ti3C2"),
    ("SrTiO3", "NaCl"), ("SrTiO3", "graphene"), ("1H-MoS2", "graphene"), ("Au", "graphene"),
]  # fmt: skip


def _seen(name, zone, *, stretch=0.0, least=0.1, missing=0.0, seed=0):
    """Lattice and levels of a picture of columns, as detection would give them, in px."""
    rng = np.random.default_rng(seed)
    columns = columns_along(material(name).atoms, tuple(map(int, zone)), edge=60)
    weights = columns.weights()
    kept = (weights >= least) & (rng.random(len(weights)) >= missing)
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    bent = turn @ np.array([[1 + stretch, stretch], [0.0, 1.0]])
    xy = columns.xy[kept] @ bent / SIZE
    bright = 100 * weights[kept] * rng.normal(1, 0.03, kept.sum())
    lattice = fit_lattice(xy + rng.normal(0, 0.3, xy.shape), bright)
    assert lattice is not None
    sites = range(len(lattice.basis))
    level = np.array([np.median(bright[lattice.sublattice == k]) for k in sites])
    return {0: lattice}, {0: level}


@pytest.mark.parametrize(("name", "zone"), OWN)
def test_a_lattice_fits_its_own_material(name, zone):
    for stretch in (0.0, 0.03):
        seen = _seen(name, zone, stretch=stretch, missing=0.05)
        found = measured(known_material(name), *seen, None, "image")
        assert found.axis is not None
        assert found.axis.zone == zone
        assert found.size == pytest.approx(SIZE * (1 - stretch / 2), rel=0.01)


@pytest.mark.parametrize(("shown", "said"), FOREIGN)
def test_a_lattice_of_another_kind_gives_neither_size_nor_species(shown, said):
    zone = known_material(shown)[0].zone
    found = measured(known_material(said), *_seen(shown, zone), None, "image")
    assert found.axis is None
    assert found.size is None
    assert len(found.lines) == 1
    assert f"not that of {said} in any zone axis tried" in found.lines[0]


def test_weak_columns_need_not_be_seen():
    both = _seen("1H-MoS2", "001", least=0.9)
    found = measured(known_material("1H-MoS2"), *both, None, "image")
    assert found.size == pytest.approx(SIZE, rel=0.01)
    assert found.species == ("Mo",)


@pytest.mark.parametrize(("name", "edge"), [("Si", 5.431), ("GaAs", 5.653)])
def test_pairs_that_are_not_resolved_are_their_material(name, edge):
    a = edge / SIZE  # cells of a / sqrt(2) by a with a centre
    y, x = np.mgrid[-8:9, -8:9]
    xy = np.stack([(x + 0.5 * (y % 2)) * a / np.sqrt(2), 0.5 * a * y], axis=-1).reshape(-1, 2)
    lattice = fit_lattice(xy + np.random.default_rng(0).normal(0, 0.2, xy.shape))
    found = measured(known_material(name), {0: lattice}, {}, None, "image")
    assert found.axis is not None
    assert found.axis.zone == "110"
    assert found.size == pytest.approx(SIZE, rel=0.01)


def test_columns_that_look_alike_may_be_one_kind():
    lattices, _ = _seen("MgO", "001")  # a square of one kind, as of Sr and TiO at poor contrast
    found = measured(known_material("SrTiO3"), lattices, {}, None, "image")
    assert found.species == ("Sr", "TiO")
    assert found.size == pytest.approx(SIZE * (3.905 / np.sqrt(2)) / (4.212 / 2), rel=0.01)


def test_an_image_of_another_material_gets_one_line_and_no_species():
    frame = named_frame("graphene", ("Si1C3",), seed=21, dose=60.0)
    for other in ("Au", "hBN"):
        found = atomscope.analyze(frame.image, material=other)
        assert found.image.pixel_size is None
        assert set(found.atoms["species"]) == {""}
        assert sum(f"not that of {other}" in line for line in found.warnings) == 1


def test_a_column_of_the_material_that_no_atom_is_gets_a_line():
    found = Measured(known_material("1H-MoS2")[0], SIZE, ("Mo", "S2"))
    lines = absent(found, pd.DataFrame({"species": ["Mo", "Mo", ""]}))
    assert len(lines) == 1
    assert lines[0].startswith("No atom is S2")
    for species in (["Mo", "S2"], ["", ""]):
        assert absent(found, pd.DataFrame({"species": species})) == ()


@pytest.mark.parametrize("given", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("known", [{"elements": "C,Si"}, {"rules": "graphene"}])
def test_a_pixel_size_that_the_host_cannot_have_is_said_once(given, known):
    frame = named_frame("graphene", ("Si1C3",), seed=21, dose=60.0)
    found = atomscope.analyze(frame.image, pixel_size=given, **known)
    said = [line for line in found.warnings if "Å apart at" in line]
    assert len(said) == 1
    asked = float(said[0].split(" Å per px is likely")[0].rpartition(" ")[2])
    assert asked == pytest.approx(frame.pixel_size, rel=0.02)


@pytest.mark.parametrize("host", ["graphene", "1H-MoS2"])
def test_a_pixel_size_that_the_host_can_have_is_not_said(host):
    frame = named_frame(host, (), seed=22, dose=80.0)
    for off in (0.95, 1.0, 1.05):
        for known in ({"elements": ",".join(known_material(host)[0].elements)}, {}):
            found = atomscope.analyze(frame.image, pixel_size=off * frame.pixel_size, **known)
            assert not any("Å apart at" in line for line in found.warnings)
