"""Segments of grain boundaries: misorientation, dislocations, and what Frank's formula expects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from atomscope.graph import rings
from atomscope.intervals import ratio_interval
from atomscope.measure.borders import Borders, border_density, border_rows
from atomscope.measure.grains import Grains, beside
from atomscope.measure.lines import row_steps
from atomscope.rules.findings import Floats, joined

_CORE = 2.5  # spacings from a boundary: its dislocations
_RINGS_TOUCH, _ATOMS_TOUCH = 2.0, 1.4  # spacings between disclinations of one core
_LARGEST = 30.0  # degrees, beyond which another turn of the lattice is smaller
_RINGS = 12  # atoms of the largest ring that is looked at


def segment_rows(found: Grains) -> list[dict[str, Any]]:
    """Return the rows of `tables.SEGMENTS` of one frame.

    The misorientation is that of the atoms 2 to 12 spacings from the segment on both sides. A
    boundary of misorientation θ needs a dislocation every b / (2 sin(θ/2)), b the shortest
    lattice vector (Frank's formula: Read, Shockley, Phys. Rev. 78, 275 (1950)), which can be
    compared with length over dislocations that are seen (`dislocations`). Above about 25° their
    cores touch, and fewer are counted. In other lattices, and in twins, both stay empty.
    """
    field, places = found.field, dislocations(found)
    names = [str(grain) for grain in range(found.count)]
    lengths = np.bincount(found.borders.part, found.borders.length)
    order = np.argsort(-lengths, kind="stable")
    rows: list[dict[str, Any]] = []
    for part, row in zip(order, border_rows(field, found.borders, names), strict=True):
        here = found.borders.part == part
        middle, (first, second) = found.borders.middle[here], found.borders.pair[here][0]
        sides = [beside(field, found.unit * (found.grain == g), middle) for g in (first, second)]
        turn, error = np.nan, np.nan
        if all(count > 0 for _, count in sides):
            turn = float(found.orientation.between(sides[0][0], sides[1][0]))
            error = found.scatter * float(np.sqrt(sum(1 / count for _, count in sides)))
        cores = _cores(places, middle, field.spacing)
        rows.append(
            row
            | {
                "border": len(rows),
                "misorientation": turn,
                "misorientation_err": error,
                "cores": cores,
                "core_spacing": row["length"] / cores if cores > 0 else np.nan,
                "frank_spacing": _frank(found, turn) * field.scale,
            }
        )
    return rows


def dislocations(found: Grains) -> Floats | None:
    """Places (C, 2) in px of dislocation cores; None in lattices where they cannot be told.

    A core is a cluster of disclinations that touch: rings of other than 6 atoms in honeycombs,
    atoms with other than 6 neighbours (cells) in hexagonal lattices.
    """
    field, graph = found.field, found.field.graph
    if graph is None or found.orientation.fold not in (3, 6):
        return None
    if np.median(graph.coordination) == 3:
        cycles = rings(graph, _RINGS)
        inside = (cycles.members >= 0)[..., None]
        places = (field.xy[cycles.members] * inside).sum(axis=1) / cycles.size[:, None]
        places, reach = places[cycles.size != 6], _RINGS_TOUCH * field.spacing
    else:
        count = np.bincount(field.cells.pair.ravel(), minlength=len(field.xy))
        odd = (field.cells.area > 0) & ~graph.border & (count != 6)
        places, reach = field.xy[odd], _ATOMS_TOUCH * field.spacing
    if not len(places):
        return np.empty((0, 2))
    pairs = cKDTree(places).query_pairs(reach)
    clusters = [c for c in joined(len(places), pairs) if len(c) > 1]
    return np.array([places[c].mean(axis=0) for c in clusters]).reshape(-1, 2)


def _cores(places: Floats | None, border: Floats, spacing: float) -> float:
    """Number of dislocations in a segment, NaN where they cannot be told."""
    if places is None or not len(places):
        return np.nan if places is None else 0.0
    return float((cKDTree(border).query(places)[0] < _CORE * spacing).sum())


def _frank(found: Grains, turn: float) -> float:
    """Expected distance of dislocations in px."""
    lattice = found.field.lattice
    if lattice is None or not 0 < turn <= _LARGEST or found.orientation.fold == 2:
        return np.nan
    burgers = float(np.linalg.norm(row_steps(lattice), axis=1).min())
    return burgers / (2 * float(np.sin(np.deg2rad(turn) / 2)))


def boundary_numbers(found: Grains, level: float = 0.95) -> list[dict[str, Any]]:
    """Rows of `tables.NUMBERS` on the grains of one frame.

    The mean area of the grains (those cut by the frame among them) has the interval of Student's t
    over grains, the length of boundary per area that of a ratio over 4 x 4 tiles.
    """
    field = found.field
    area = np.bincount(found.grain, field.cells.area) * field.scale**2
    low, high = ratio_interval(area, np.ones(len(area)), level)
    mean = {"value": area.mean(), "low": low, "high": high, "n": len(area)}
    names = [""] * found.count
    walls = border_density(field, _as_one(found), names, "grain boundary length", level)
    return [{"quantity": "grain area", "unit": f"{field.unit}²", **mean}, *walls]


def _as_one(found: Grains) -> Borders:
    """All boundaries, whichever grains they part."""
    return replace(found.borders, pair=np.zeros_like(found.borders.pair))
