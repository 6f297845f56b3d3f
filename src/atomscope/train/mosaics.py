"""Layers of several grains and phases with dopants and vacancies, of which every atom is known.

Two grains meet in the middle of a field; its right part may be 1T. Point defects lie at random
sites. What each column is, step by step of a task chain, stands in the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.formula import EXPONENT, parse
from atomscope.recipe import NONE
from atomscope.simulate import defects
from atomscope.simulate.bonds import bonds_of
from atomscope.simulate.boundaries import grain_boundary
from atomscope.simulate.crystals import formula, merged
from atomscope.simulate.materials import material
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import Defect, Sheet

Floats = NDArray[np.float64]
Words = NDArray[np.object_]
Bools = NDArray[np.bool_]
Rng = np.random.Generator

APART = 8.0  # Å between point defects, and from them to borders
RIM = 6.0  # Å from the rim of the field
HERE = 0.9  # Å: a column stands on a site
BESIDE = 4.0  # Å from the atoms bonded across a boundary
BENT = 9.0  # degrees: in a pentagon angles are 12° off, in a heptagon 9°
REACH = 1.3  # bonds in projection
LARGEST = 12  # atoms of a ring
HOLE = 3.0  # Å: the twelve atoms around a vacancy of graphene
TRIES = 100
WIDE = ("line", "Stone-Wales", "divacancy")
SETTLED = 5.0  # Å around a defect
STEPS = ("dopant", "phase", "boundary", "vacancy")


@dataclass(frozen=True)
class Plan:
    """What a mosaic of a layer holds.

    Attributes:
        host: Name of the layer.
        edges: Width and height of the field in Å.
        misorientation: Between the grains in degrees; 0 for one crystal.
        turn: Of the mean crystal in degrees.
        phase: Share of the width from which on a 1H layer is 1T; 1 for none.
        points: Kinds of point defects, as often as they shall occur: 'Nb@Mo', 'S@Se',
            'vacancy Se', 'vacancy Se2' (a whole column), 'line 4 Se', 'Stone-Wales', 'divacancy'.
    """

    host: str
    edges: tuple[float, float] = (70.0, 50.0)
    misorientation: float = 0.0
    turn: float = 0.0
    phase: float = 1.0
    points: tuple[str, ...] = ()


def mosaic(plan: Plan, rng: Rng) -> pd.DataFrame:
    """Build a mosaic and return its columns.

    Returns:
        x, y (Å), species (formula), and what each column is in every step of a chain: the words
        dopant, phase, boundary and vacancy, 'none' for none.
    """
    unit = material(plan.host).atoms
    sheet = grain_boundary(unit, plan.misorientation, plan.edges, inclination=plan.turn)
    wall = sheet.atoms.positions[list(sheet.defects[0].atoms), :2]
    if plan.misorientation == 0:
        sheet, wall = replace(sheet, defects=()), np.zeros((0, 2))
    first = len(sheet.defects)
    sheet = _with_points(sheet, plan, wall, rng)
    if sheet.defects:
        wall_atoms = list(sheet.defects[0].atoms) if first else []
        sheet = relax(sheet, radius=SETTLED)
        wall = sheet.atoms.positions[wall_atoms, :2]
    glided, beside = sheet, np.zeros((0, 2))
    if plan.phase < 1:
        glided, beside = _glide(sheet, plan.phase * plan.edges[0])
    return _table(glided, plan, wall, beside, first)


def _with_points(sheet: Sheet, plan: Plan, wall: Floats, rng: Rng) -> Sheet:
    """Put point defects on random sites; those for which there is no room are left out."""
    taken, border = wall, plan.phase * plan.edges[0]
    for kind in sorted(plan.points, key=lambda kind: not kind.startswith(WIDE)):
        wide = 3.0 * kind.startswith(WIDE)
        for _ in range(TRIES):
            x, y = (rng.uniform(RIM + wide, edge - RIM - wide) for edge in plan.edges)
            near = np.linalg.norm(taken - [x, y], axis=1).min(initial=np.inf)
            whole = kind.startswith(("line", "vacancy")) and not kind.endswith("one")
            if near < APART + wide or abs(x - border) < APART + wide or (whole and x > border):
                continue
            try:
                sheet = _point(sheet, kind.removesuffix(" one"), (x, y), rng)
            except UsageError:
                continue  # a row that leaves the grain
            last = sheet.defects[-1]
            places = [sheet.atoms.positions[list(last.atoms), :2], last.empty[:, :2]]
            taken = np.concatenate([taken, *places])
            break
    return sheet


def _point(sheet: Sheet, kind: str, xy: tuple[float, float], rng: Rng) -> Sheet:
    if "@" in kind:
        symbol, host = kind.split("@")
        return defects.substitute(sheet, [sheet.nearest(xy, host)], symbol)
    if kind == "Stone-Wales":
        atom = sheet.nearest(xy)
        return defects.stone_wales(sheet, atom, int(rng.choice(sheet.neighbours(atom))))
    if kind == "divacancy":
        atom = sheet.nearest(xy)
        return defects.divacancy(sheet, atom, int(rng.choice(sheet.neighbours(atom))))
    words = kind.split()
    symbol = words[-1]
    atom = sheet.nearest(xy, symbol.rstrip("2"))
    if words[0] == "line":
        return defects.vacancy_line(
            sheet, atom, _next(sheet, atom, rng), int(words[1]), closure=0.03, pairs=False
        )
    return defects.vacancy(sheet, sheet.column(atom) if symbol.endswith("2") else [atom])


def _next(sheet: Sheet, atom: int, rng: Rng) -> int:
    """One of the nearest atoms of the same element and height."""
    away = sheet.away(atom)
    like = (sheet.atoms.numbers == sheet.atoms.numbers[atom]) & (np.abs(away[:, 2]) < 0.3)
    distance = np.where(like, np.linalg.norm(away, axis=1), np.inf)
    distance[atom] = np.inf
    return int(rng.choice(np.flatnonzero(distance < 1.1 * distance.min())))


def _glide(sheet: Sheet, border: float) -> tuple[Sheet, Floats]:
    """Turn 1H into 1T right of a line: the lower chalcogens glide to the free sites.

    Returns:
        The sheet, and the places (K, 2) of atoms at the line that have not their usual bonds.
    """
    atoms = sheet.atoms.copy()
    z, x = atoms.positions[:, 2], atoms.positions[:, 0]
    middle = (z.max() + z.min()) / 2
    lower, right = z < middle - 0.6, x > border
    inner = np.array([x.max() - 8.0, atoms.positions[:, 1].mean(), middle])
    flat = np.abs(z - middle) < 0.6  # metal
    metal = np.flatnonzero(flat)[np.argmin(np.linalg.norm(atoms.positions[flat] - inner, axis=1))]
    away = sheet.away(int(metal))[sheet.neighbours(int(metal))]
    step = max((v for v in away if v[2] < 0), key=lambda v: float(v[0]))
    usual = np.bincount(sheet.bonds.ravel(), minlength=len(atoms))
    atoms.positions[right & lower] += [step[0], step[1], 0.0]
    atoms.set_array("1T", right)
    glided = replace(sheet, atoms=atoms, bonds=bonds_of(atoms, sheet.rule))
    now = np.bincount(glided.bonds.ravel(), minlength=len(atoms))
    odd = (now != usual) & (np.abs(x - border) < 3 * sheet.rule.longest)
    return glided, atoms.positions[odd, :2]


def _table(sheet: Sheet, plan: Plan, wall: Floats, beside: Floats, first: int) -> pd.DataFrame:
    """Columns in projection, with what each of them is."""
    xy, groups = merged(sheet.atoms.positions[:, :2], sheet.atoms.numbers)
    numbers = [tuple(sorted(int(z) for z in sheet.atoms.numbers[g])) for g in groups]
    layer = plan.host.startswith("1H")
    in_1t = xy[:, 0] > plan.phase * plan.edges[0]
    words = {step: np.full(len(xy), NONE, dtype=object) for step in STEPS}
    symbols = np.array(sheet.atoms.get_chemical_symbols())
    host = sheet.atoms.arrays["host"]
    metal = max(sheet.rule.bonds, key=lambda e: sheet.rule.bonds[e])
    for row, group in enumerate(groups):
        if (symbols[group] != host[group]).any():
            site = ("metal " if host[group[0]] == metal else "chalcogen ") if layer else ""
            words["dopant"][row] = f"{site}dopant"
    if layer:
        words["phase"][:] = np.where(in_1t, "1T", "1H")
    if len(wall):
        near = cKDTree(wall).query(xy)[0] < BESIDE
        odd = _bent(xy, plan.host) if layer else _in_odd_rings(sheet, near, groups)
        words["boundary"][near & odd] = "grain boundary"
    if len(beside):
        words["boundary"][cKDTree(beside).query(xy)[0] < HERE / 2] = "phase border"
    column_of = {int(i): c for c, group in enumerate(groups) for i in group}
    for defect in sheet.defects[first:]:
        of_pair = {c for c, group in enumerate(groups) if layer and host[group[0]] != metal}
        for row, word in _of_vacancy(defect, xy, in_1t, column_of, of_pair).items():
            words["vacancy"][row] = word
    inside = np.flatnonzero((xy >= 0).all(axis=1) & (xy < plan.edges).all(axis=1))
    species = np.array([formula(n) for n in numbers], dtype=object)
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "species": species, **words})
    return table.iloc[inside].reset_index(drop=True)


def _bent(xy: Floats, host: str) -> Bools:
    """Columns (N,) that have not three neighbours at 120°, within `BENT`, in the projection."""
    unit = material(host).atoms
    bond = float(np.linalg.norm(unit.cell[0])) / np.sqrt(3)
    distance, index = cKDTree(xy).query(xy, k=5)
    near = distance[:, 1:] < REACH * bond
    step = xy[index[:, 1:4]] - xy[:, None]
    angle = np.sort(np.arctan2(step[..., 1], step[..., 0]), axis=1)
    between = np.diff(np.concatenate([angle, angle[:, :1] + 2 * np.pi], axis=1), axis=1)
    bent = np.abs(np.rad2deg(between) - 120).max(axis=1) > BENT
    return np.asarray(bent | (near.sum(axis=1) != 3))


def _in_odd_rings(sheet: Sheet, near: Bools, groups: list[NDArray[np.intp]]) -> Bools:
    """Columns (N,) of one atom each that are in a ring of another size than six."""
    odd = np.zeros(len(sheet.atoms), dtype=bool)
    for atom in (int(groups[row][0]) for row in np.flatnonzero(near)):
        for other in sheet.neighbours(atom):
            ring = sheet.ring(atom, other)
            if len(ring) != 6 and len(ring) <= LARGEST:
                odd[ring] = True
    return odd[[int(group[0]) for group in groups]]


def _of_vacancy(
    defect: Defect, xy: Floats, in_1t: Bools, column_of: dict[int, int], of_pair: set[int]
) -> dict[int, str]:
    """Columns that belong to a vacancy, and what they are; `of_pair` are those of chalcogens."""
    rows = {column_of[i] for i in defect.atoms if i in column_of}
    if defect.name.startswith(("Stone-Wales", "divacancy")):
        return dict.fromkeys(rows, "Stone-Wales" if "Wales" in defect.name else "vacancy")
    if not len(defect.empty):
        return {}
    distance, nearest = cKDTree(xy).query(defect.empty[:, :2])
    if (distance < HERE).all() and not in_1t[nearest].any():
        word = "vacancy line" if "line" in defect.name else "vacancy"
        return dict.fromkeys((int(i) for i in nearest), word)
    if not of_pair:
        return dict.fromkeys(
            np.flatnonzero(cKDTree(defect.empty[:, :2]).query(xy)[0] < HOLE), "vacancy"
        )
    # an empty site: those bonded to it, not the other atom of a pair that has parted
    return dict.fromkeys(rows - of_pair or rows, "beside empty")


def imaged(
    table: pd.DataFrame,
    rng: Rng,
    *,
    pixel: float = 0.11,
    jitter: float = 0.04,
    noise: float = 0.08,
    exponent: float = EXPONENT,
) -> pd.DataFrame:
    """Return the table as it is measured: frame, atom, x_px, y_px, intensity beside the truth.

    Args:
        table: From `mosaic`.
        rng: Of everything random.
        pixel: Å per px.
        jitter: Error of positions in Å.
        noise: Of log brightness.
        exponent: Brightness goes as Z to this.
    """
    xy = table[["x", "y"]].to_numpy() + rng.normal(0, jitter, (len(table), 2))
    light = strength(table["species"].to_numpy(object), exponent)
    return table.assign(
        frame=0,
        atom=np.arange(len(table)),
        x_px=xy[:, 0] / pixel,
        y_px=xy[:, 1] / pixel,
        intensity=light * np.exp(rng.normal(0, noise, len(table))),
    )


def strength(species: Words, exponent: float = EXPONENT) -> Floats:
    """Brightness (N,) of columns by their formula."""
    known = {word: parse([word])[0].strength(exponent) for word in set(species)}
    return np.array([known[word] for word in species])
