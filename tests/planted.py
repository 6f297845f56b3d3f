"""Crystals with defects at known places, and tables of them, for the tests of `measure`."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import DEFECTS, conform
from atomscope.measure import measure
from atomscope.simulate import boundaries
from atomscope.simulate.lattices import tile
from atomscope.simulate.materials import material
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import columns_of
from worlds import HEXAGONAL, HONEYCOMB, SQUARE

Floats = NDArray[np.float64]
SIZE, A = 240, 20.0
TURN = np.array([[np.cos(0.7), -np.sin(0.7)], [np.sin(0.7), np.cos(0.7)]])
MIRROR = np.diag([1.0, -1.0])


def crystal(kind: str = "hexagonal", angle: float = 0.2, size: int = SIZE) -> tuple[Floats, Floats]:
    """Sites of a lattice in a square frame, and its vectors; the spacing is A."""
    cell = {"hexagonal": (HEXAGONAL, np.zeros((1, 2))), "square": SQUARE, "honeycomb": HONEYCOMB}
    vectors, basis = cell[kind]
    scale = A / (np.sqrt(3) if kind == "honeycomb" else 1.0)
    xy, _ = tile(vectors * scale, basis, size, angle, np.array([0.31, 0.57]))
    c, s = np.cos(angle), np.sin(angle)
    return inside(xy, size), vectors * scale @ np.array([[c, s], [-s, c]])


@cache
def wall(host: str, angle: float) -> tuple[Floats, tuple[str, ...]]:
    """Relaxed grain boundary along y in the middle of 60 x 40 Å: places in Å, and species."""
    sheet = columns_of(relax(boundaries.grain_boundary(material(host).atoms, angle, (60.0, 40.0))))
    return sheet.xy, tuple(sheet.species)


def inside(xy: Floats, size: float) -> Floats:
    return xy[np.all((xy > -0.5) & (xy < size - 0.5), axis=1)]


def atoms_of(xy: Floats, **more: object) -> pd.DataFrame:
    return pd.DataFrame(
        {"frame": 0, "atom": np.arange(len(xy)), "x_px": xy[:, 0], "y_px": xy[:, 1]} | more
    )


def gone(xy: Floats, frame: int = 0) -> pd.DataFrame:
    table = pd.DataFrame({"frame": frame, "name": "V_S", "x_px": xy[:, 0], "y_px": xy[:, 1]})
    return conform(table, DEFECTS)


def middle_of(xy: Floats) -> int:
    return int(np.argmin(np.hypot(*(xy - (SIZE - 1) / 2).T)))


def row(
    xy: Floats, step: Floats, numbers: range | list[int], start: Floats | None = None
) -> list[int]:
    """Sites along a lattice vector through the middle of the field."""
    first = xy[middle_of(xy)] if start is None else start
    found = [cKDTree(xy).query(first + n * step) for n in numbers]
    assert max(away for away, _ in found) < 1e-6
    return [int(site) for _, site in found]


def numbers(found: dict[str, pd.DataFrame], quantity: str) -> pd.DataFrame:
    table = found["numbers"]
    return table[table["quantity"] == quantity]


def measured_lines(
    xy: Floats, sites: list[int], shape: tuple[int, int] | None = (SIZE, SIZE)
) -> pd.DataFrame:
    left = np.delete(xy, sites, axis=0)
    return measure(atoms_of(left), gone(xy[sites]), shape=shape, pixel_size=0.1)["lines"]
