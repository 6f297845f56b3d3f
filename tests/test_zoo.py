"""The zoo: which model is chosen for a lattice, and what becomes of its answer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atomscope.lattice import fit_lattice
from atomscope.models.store import ZOO
from atomscope.pipeline.zoo import choose_model
from atomscope.simulate.crystals import columns_along
from atomscope.simulate.materials import material

PIXEL = 0.13


def seen(name: str, zone=(0, 0, 1), *, angle: float = 0.3, seed: int = 0):
    """Columns of a material as a table of atoms, and their lattice."""
    columns = columns_along(material(name).atoms, zone, edge=50)
    weight = columns.weights()
    shown = weight > 0.15
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    rng = np.random.default_rng(seed)
    xy = columns.xy[shown] @ turn / PIXEL + 300 + rng.normal(0, 0.2, (shown.sum(), 2))
    intensity = weight[shown] * rng.normal(1, 0.05, shown.sum())
    kept = rng.random(len(xy)) > 0.03
    atoms = pd.DataFrame({"x_px": xy[kept, 0], "y_px": xy[kept, 1], "intensity": intensity[kept]})
    return fit_lattice(xy[kept], intensity[kept]), atoms


@pytest.mark.parametrize(
    ("name", "zone", "model"),
    [
        ("graphene", (0, 0, 1), "graphene"),
        ("1H-MoS2", (0, 0, 1), "tmd"),
        ("1H-WSe2", (0, 0, 1), "tmd"),
        ("SrTiO3", (0, 0, 1), "perovskite"),
        ("Si", (1, 1, 0), "dumbbell"),
        ("GaAs", (1, 1, 0), "dumbbell"),
        ("hBN", (0, 0, 1), None),
        ("Au", (1, 1, 0), None),
        ("Al", (0, 0, 1), None),
        ("TiO2", (0, 0, 1), None),
    ],
)
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_the_lattice_decides(name, zone, model, angle):
    lattice, atoms = seen(name, zone, angle=angle)
    assert choose_model(lattice, atoms, PIXEL).name == model


def test_another_size_of_pixel_is_another_lattice():
    lattice, atoms = seen("graphene")
    assert choose_model(lattice, atoms, PIXEL * 1.3).name is None


def test_without_a_pixel_size_nothing_is_chosen_and_the_remedy_is_said():
    lattice, atoms = seen("graphene")
    choice = choose_model(lattice, atoms, None)
    assert choice.name is None
    assert "--pixel-size" in choice.why


def test_random_points_have_no_model(rng):
    xy = rng.uniform(0, 300, (200, 2))
    atoms = pd.DataFrame({"x_px": xy[:, 0], "y_px": xy[:, 1], "intensity": 1.0})
    assert choose_model(fit_lattice(xy), atoms, PIXEL).name is None


def test_weights_name_no_folder_of_the_machine_that_made_them():
    weights = sorted(ZOO.glob("*/weights.onnx"))
    assert len(weights) >= 6
    for path in weights:
        assert b"site-packages" not in path.read_bytes(), path.parent.name
