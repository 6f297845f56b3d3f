"""Species of atoms from their brightness."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import conform, need_positions, positions
from atomscope.formula import Formula, parse
from atomscope.lattice import Lattice, fit_lattice
from atomscope.species.contrast import Naming, decided, name_classes
from atomscope.species.doubts import dark_lines, doubt_lines
from atomscope.species.levels import Levels, find_levels
from atomscope.species.mixture import Floats, Ints

_FEWEST = 5  # atoms with an intensity, without which nothing is said
_RIM, _INNER = 1.2, 2.2  # spacings from the border of the frame
_RIM_ERROR = 0.12  # of the intensity: what they lose within the first, none beyond the second
_HEAVY = 10.0  # times the median: atoms whose tails reach
_FAR = 6.5  # spacings, with
_HALO = 0.003  # of their intensity; of W and Pt in simulated graphene
_SURE = 0.55  # least probability of a species or class that is written

Lattices = Mapping[int, Lattice | None]


@dataclass(frozen=True)
class Study:
    """What `identify` found, beside the table.

    Attributes:
        atoms: The table with sublattice, intensity_class, species and species_p filled.
        facts: Numbers for the run card: classes, exponent, composition.
        warnings: One line for each thing that could not be told, and why.
    """

    atoms: pd.DataFrame
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def identify(
    atoms: pd.DataFrame,
    *,
    elements: str | Sequence[str] = (),
    lattices: Lattices | None = None,
) -> pd.DataFrame:
    """Tell species apart by brightness, and name them where elements are given.

    Args:
        atoms: Refined atoms of one or more frames taken with the same settings.
        elements: What columns may be: 'C,Si' or ('Mo', 'S2', 'S').
        lattices: Lattice of each frame, fitted here by default.

    Returns:
        The table with `sublattice`, `intensity_class`, `species` and `species_p` filled; what
        is not known stays empty.

    Raises:
        UsageError: An element is unknown, or the table has no positions.
    """
    return study(atoms, elements=elements, lattices=lattices).atoms


def study(
    atoms: pd.DataFrame,
    *,
    elements: str | Sequence[str] = (),
    lattices: Lattices | None = None,
    hosts: Collection[str] = (),
    shape: tuple[int, int] | None = None,
) -> Study:
    """Do what `identify` does, and tell how it came about.

    `hosts` are those of the elements that the undisturbed columns are, where this is known. With
    the shape (y, x) of the frame, atoms at its border speak less: see `_doubted`.
    """
    formulas = parse(elements)
    need_positions(atoms)
    table = conform(atoms)
    if lattices is None:
        lattices = fit_lattices(table)
    table["sublattice"] = _sublattices(table, lattices)
    intensity = table["intensity"].to_numpy(float)
    known = np.isfinite(intensity) & (table["intensity_err"].to_numpy(float) > 0)
    if known.sum() < _FEWEST:
        return Study(table)
    if np.median(intensity[known]) <= 0:
        return Study(table, warnings=dark_lines(formulas))
    levels = find_levels(table.assign(intensity_err=_doubted(table, lattices, shape)), known)
    classes = np.full(len(table), -1)
    classes[known] = decided(levels.free.judged_by_others(levels.data)[:, :-1], _SURE)
    table["intensity_class"] = _nullable(classes)
    facts: dict[str, Any] = {
        "classes": (levels.free.mean * levels.unit).tolist(),
        "spread": float(levels.free.spread.max()),
        "slope": levels.slope,
    }
    if not formulas:
        return Study(table, facts)
    of_host = [k for k, formula in enumerate(formulas) if formula.text in hosts]
    naming = name_classes(levels.data, levels.free, formulas, of_host)
    table = _named(table, levels, naming, formulas)
    level = {f.text: float(m * levels.unit) for f, m in zip(formulas, naming.mean, strict=True)}
    facts |= {"exponent": naming.exponent, "namings": list(naming.rivals)}
    facts |= composition(table, level)
    return Study(table, facts, doubt_lines(levels, naming, formulas))


def _doubted(table: pd.DataFrame, lattices: Lattices, shape: tuple[int, int] | None) -> Floats:
    """Standard errors of the intensity, larger at the border of the frame and beside bright atoms.

    The fit does not know the neighbours beyond the border, and takes some of the light of the
    outermost atoms for background; and the tails of a very bright atom lie on those around it.
    """
    error = table["intensity_err"].to_numpy(float).copy()
    if shape is None:
        return error
    bright = table["intensity"].to_numpy(float)
    xy = positions(table)
    frames = table["frame"].to_numpy()
    inside = np.minimum(xy, np.array(shape[::-1]) - 1 - xy).min(axis=1)
    for frame, lattice in lattices.items():
        if lattice is None:
            continue
        away = (_INNER - inside / lattice.spacing) / (_INNER - _RIM)
        rim = np.where(frames == frame, np.clip(away, 0.0, 1.0), 0.0)
        error = np.hypot(error, _RIM_ERROR * rim * bright)
        here = np.flatnonzero(frames == frame)
        heavy = here[bright[here] > _HEAVY * np.nanmedian(bright[here])]
        if len(heavy):
            distance, nearest = cKDTree(xy[heavy]).query(xy[here])
            near = (distance > 0) & (distance < _FAR * lattice.spacing)
            halo = _HALO * bright[heavy[nearest[near]]]
            error[here[near]] = np.hypot(error[here[near]], halo)
    return error


def fit_lattices(atoms: pd.DataFrame) -> dict[int, Lattice | None]:
    """Fit the lattice of each frame of a table."""
    found = {}
    for frame, rows in atoms.groupby("frame"):
        xy = positions(rows)
        found[int(str(frame))] = fit_lattice(xy, rows["intensity"].to_numpy(float))
    return found


def _sublattices(table: pd.DataFrame, lattices: Lattices) -> Any:
    result = np.full(len(table), -1)
    frames = table["frame"].to_numpy()
    for frame, lattice in lattices.items():
        if lattice is not None:
            result[frames == frame] = lattice.sublattice
    return _nullable(result)


def _nullable(numbers: Ints) -> Any:
    """Integers, unknown where below 0."""
    return pd.arrays.IntegerArray(numbers.astype(np.int64), numbers < 0)


def _named(
    table: pd.DataFrame, levels: Levels, naming: Naming, formulas: Sequence[Formula]
) -> pd.DataFrame:
    texts = np.array([*(f.text for f in formulas), ""], dtype=object)
    species = np.full(len(table), "", dtype=object)
    species[levels.known] = texts[decided(naming.p, _SURE)]
    probability = np.full(len(table), np.nan)
    probability[levels.known] = naming.p.max(axis=1)
    return table.assign(species=species, species_p=probability)


def composition(atoms: pd.DataFrame, level: Mapping[str, float]) -> dict[str, Any]:
    """Return the composition of a table for the run card, and how many atoms have no species.

    Args:
        atoms: With species, species_p and intensity.
        level: Brightness of the species that were asked for, which come first, in this order;
            of others it is the median of their atoms.
    """
    species, p = atoms["species"].astype(str), atoms["species_p"]
    others = sorted(set(species) - {"", *level})
    rows = {
        name: {
            "atoms": int((species == name).sum()),
            "mean_p": float(p[species == name].mean()),
            "intensity": float(level.get(name, atoms["intensity"][species == name].median())),
        }
        for name in (*level, *others)
    }
    return {"composition": rows, "unknown": int((species == "").sum())} if rows else {}
