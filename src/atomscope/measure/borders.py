"""Borders between regions of atoms (phases, grains): length, course, roughness."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from atomscope.intervals import ratio_interval
from atomscope.measure.cells import Cells
from atomscope.measure.field import Field
from atomscope.rules.findings import Floats, Ints, joined

_SMOOTH = 1.5  # mean distances between atoms: over which the course of a border is averaged
_REACH = 3.0  # of that
TILES = 4  # along each edge of the field


@dataclass(frozen=True, eq=False)
class Borders:
    """Edges of cells between different regions.

    Attributes:
        pair: Regions on both sides of each edge, the smaller first, shape (E, 2).
        length: What each edge adds to the border, px, shape (E,).
        middle: Of each edge, px, shape (E, 2).
        part: Number of the connected border that each belongs to, shape (E,).
        atoms: On both sides of each edge, shape (E, 2).
    """

    pair: Ints
    length: Floats
    middle: Floats
    part: Ints
    atoms: Ints


def find_borders(cells: Cells, xy: Floats, region: Ints) -> Borders:
    """Find where regions meet, and how long their borders are.

    The edges of cells follow a border in steps, which are too long, by up to 40 %. Each edge counts
    by its projection onto the local course of the border, across the sum of the edges' normals
    with Gaussian weights of 1.5 distances between atoms. If these were wide, a straight border
    would be as long as its chord, since the normals of a closed polygon sum up to 0; they are
    narrow, so that narrow domains are seen.

    Args:
        cells: Of N atoms.
        xy: Their positions, px, shape (N, 2).
        region: Of each atom, -1 for none, shape (N,).
    """
    sides = region[cells.pair]
    apart = (sides[:, 0] != sides[:, 1]) & (sides >= 0).all(axis=1) & (cells.length > 0)
    order = np.argsort(sides[apart], axis=1, kind="stable")
    pair = np.take_along_axis(sides[apart], order, axis=1)
    atoms = np.take_along_axis(cells.pair[apart], order, axis=1)
    across = xy[atoms[:, 1]] - xy[atoms[:, 0]]
    normal = across * (cells.length[apart] / np.hypot(*across.T))[:, None]
    middle, code = cells.middle[apart], _codes(pair)
    whole = cells.area[cells.area > 0]
    apart_px = (
        float(np.sqrt(np.median(whole))) if len(whole) else float(cells.length.max(initial=1))
    )
    length = _projected(normal, middle, code, _SMOOTH * apart_px)
    return Borders(pair, length, middle, _connected(code, cells.corner[apart]), atoms)


def _projected(normal: Floats, middle: Floats, code: Ints, width: float) -> Floats:
    """Length of each edge along the local course of its border."""
    if not len(code):
        return np.zeros(0)
    i, j = cKDTree(middle).query_pairs(_REACH * width, output_type="ndarray").reshape(-1, 2).T
    i, j = i[code[i] == code[j]], j[code[i] == code[j]]
    weight = np.exp(-0.5 * (np.hypot(*(middle[i] - middle[j]).T) / width) ** 2)[:, None]
    course = normal.copy()
    np.add.at(course, i, weight * normal[j])
    np.add.at(course, j, weight * normal[i])
    size = np.hypot(*course.T)
    along = (normal * course).sum(axis=1) / np.where(size > 0, size, np.inf)
    return np.asarray(np.maximum(along, 0.0))


def _codes(pair: Ints) -> Ints:
    """Number the pairs of regions."""
    return np.asarray(np.unique(pair, axis=0, return_inverse=True)[1].reshape(-1))


def _connected(code: Ints, corner: Ints) -> Ints:
    """Number the connected borders: edges between the same regions that share a corner."""
    key = np.column_stack([np.tile(code, 2), corner.T.ravel()])
    edge = np.tile(np.arange(len(code)), 2)
    order = np.lexsort(key.T)
    same = (key[order][1:] == key[order][:-1]).all(axis=1)
    links = zip(edge[order][:-1][same].tolist(), edge[order][1:][same].tolist(), strict=True)
    part = np.zeros(len(code), dtype=np.intp)
    for number, members in enumerate(joined(len(code), links)):
        part[members] = number
    return part


def border_rows(field: Field, borders: Borders, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of `tables.BORDERS` of one frame, the longest first, all but `border`.

    A straight line of least squares (weighted by length) gives direction, chord and roughness.

    Args:
        field: Of the frame.
        borders: Between its regions.
        names: Of the regions.
    """
    lengths = np.bincount(borders.part, borders.length)
    for part in np.argsort(-lengths, kind="stable"):
        here = borders.part == part
        weight = borders.length[here] + 1e-12 * borders.length.max(initial=1.0)
        middle = np.average(borders.middle[here], axis=0, weights=weight)
        away = borders.middle[here] - middle
        along = np.linalg.eigh((away * weight[:, None]).T @ away)[1][:, 1]
        across = away @ np.array([-along[1], along[0]])
        first, second = borders.pair[here][0]
        yield {
            "frame": field.frame,
            "first": names[first],
            "second": names[second],
            "x_px": middle[0],
            "y_px": middle[1],
            "length": lengths[part] * field.scale,
            "chord": float(np.ptp(away @ along)) * field.scale,
            "direction": float(np.degrees(np.arctan2(-along[1], along[0])) % 180),
            "roughness": float(np.sqrt(np.average(across**2, weights=weight))) * field.scale,
            "unit": field.unit,
        }


def border_density(
    field: Field, borders: Borders, names: list[str], quantity: str, level: float
) -> Iterator[dict[str, Any]]:
    """Yield the length of border of each pair of regions' names, and per area of the field.

    The interval is that of a ratio over 4 x 4 tiles of the field.

    Yields:
        Rows of `tables.NUMBERS`: the quantity given, in the unit of the frame and per its area.
    """
    tile = tiles(field.xy, field.shape)
    below = np.bincount(tile, field.cells.area, TILES**2)
    if not below.sum() > 0:
        return
    pairs = np.unique(borders.pair, axis=0)
    for first, second in pairs:
        here = (borders.pair == (first, second)).all(axis=1)
        length = borders.length[here]
        above = np.bincount(tile[borders.atoms[here, 0]], length, TILES**2)
        low, high = ratio_interval(above, below, level)
        group = "|".join(dict.fromkeys((names[first], names[second])))
        n = len(np.unique(borders.part[here]))
        total, density = float(length.sum()), float(length.sum() / below.sum())
        row = {"group": group, "n": n}
        yield {**row, "quantity": quantity, "value": total * field.scale, "unit": field.unit}
        yield {
            **row, "quantity": f"{quantity} per area", "value": density / field.scale,
            "low": low / field.scale, "high": high / field.scale, "unit": f"1/{field.unit}",
        }  # fmt: skip


def tiles(xy: Floats, shape: tuple[int, int] | None) -> Ints:
    """Number of the tile of the field that each place lies in, 0 to 15."""
    low = np.zeros(2) if shape is not None else xy.min(axis=0)
    high = np.array(shape[::-1]) - 1.0 if shape is not None else xy.max(axis=0)
    size = np.where(high > low, high - low, 1.0)
    column = np.clip(((xy - low) / size * TILES).astype(int), 0, TILES - 1)
    return np.asarray(column[:, 1] * TILES + column[:, 0])
