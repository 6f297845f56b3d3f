"""Species of atoms from their brightness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.columns import conform
from atomscope.errors import UsageError
from atomscope.formula import Formula, parse
from atomscope.lattice import Lattice, fit_lattice
from atomscope.species.contrast import Naming, decided, name_classes
from atomscope.species.gain import gain_field
from atomscope.species.mixture import Data, Floats, Ints, Mixture, fit_mixture

_FEWEST = 5  # atoms with an intensity, without which nothing is said
_SURE = 0.5  # least probability of a species or class that is written
_ALIKE = 0.03  # sublattices whose typical intensities differ by less count as one kind

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
) -> Study:
    """Do what `identify` does, and tell how it came about."""
    formulas = parse(elements)
    missing = [name for name in ("x_px", "y_px") if name not in atoms]
    if missing:
        raise UsageError(f"the table has no column {missing[0]}; expected x_px and y_px in px.")
    table = conform(atoms)
    if lattices is None:
        lattices = fit_lattices(table)
    table["sublattice"] = _sublattices(table, lattices)
    intensity = table["intensity"].to_numpy(float)
    error = table["intensity_err"].to_numpy(float)
    known = np.isfinite(intensity) & (error > 0)
    if known.sum() < _FEWEST:
        return Study(table)
    if np.median(intensity[known]) <= 0:
        return Study(table, warnings=_dark(formulas))
    group = _kinds(table, known)
    gain = _gain(table, known, group)
    typical = float(np.median(intensity[known] / gain[known]))
    y, e = intensity / gain / typical, error / gain / typical
    data = Data(y, e, group, int(group.max()) + 1, 1 / float(1.5 * y[known].max()))
    free = fit_mixture(data.take(known))
    table["intensity_class"] = _classes(data, known, free)
    facts: dict[str, Any] = {"intensity": (free.mean * typical).tolist(), "spread": free.spread}
    if not formulas:
        return Study(table, facts)
    naming = name_classes(data.take(known), free, formulas)
    return _named(table, known, naming, formulas, facts, typical)


def fit_lattices(atoms: pd.DataFrame) -> dict[int, Lattice | None]:
    """Fit the lattice of each frame of a table."""
    found = {}
    for frame, rows in atoms.groupby("frame"):
        xy = rows[["x_px", "y_px"]].to_numpy(float)
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
    """Integers, empty where below 0."""
    return pd.array(numbers, dtype="Int64").copy() if (numbers >= 0).all() else _masked(numbers)


def _masked(numbers: Ints) -> Any:
    return pd.arrays.IntegerArray(numbers.astype(np.int64), numbers < 0)


def _kinds(table: pd.DataFrame, known: NDArray[np.bool_]) -> Ints:
    """Number sublattices of about the same brightness alike; atoms of none come last."""
    site = table["sublattice"].fillna(-1).to_numpy(np.int64)
    intensity = table["intensity"].to_numpy(float)
    sites = np.unique(site[(site >= 0) & known])
    level = np.array([np.median(intensity[known & (site == s)]) for s in sites])
    order = np.argsort(level)
    kind = np.zeros(len(sites), dtype=np.int64)
    for before, after in pairwise(order):
        kind[after] = kind[before] + (level[after] > (1 + _ALIKE) * level[before])
    last = int(kind.max(initial=-1)) + 1
    lookup = np.full(int(site.max(initial=-1)) + 2, last)
    lookup[sites] = kind
    return np.asarray(lookup[site])


def _gain(table: pd.DataFrame, known: NDArray[np.bool_], group: Ints) -> Floats:
    """Local gain of each atom, about 1."""
    intensity = table["intensity"].to_numpy(float)
    usable = known & (intensity > 0)
    log = np.log(np.where(usable, intensity, 1.0))
    error = table["intensity_err"].to_numpy(float) / np.where(usable, intensity, 1.0)
    xy, frame = table[["x_px", "y_px"]].to_numpy(float), table["frame"].to_numpy()
    field_ = np.zeros(len(table))
    level = np.zeros(int(group.max()) + 1)
    for _ in range(4):
        left = log - field_
        for g in range(len(level)):
            if (usable & (group == g)).any():
                level[g] = np.median(left[usable & (group == g)])
        for f in np.unique(frame):
            here = frame == f
            some = here & usable
            field_[here] = gain_field(xy[some], (log - level[group])[some], error[some], xy[here])
    return np.exp(field_)


def _classes(data: Data, known: NDArray[np.bool_], free: Mixture) -> Any:
    result = np.full(len(known), -1)
    result[known] = decided(free.posterior(data.take(known))[:, :-1], _SURE)
    return _nullable(result)


def _named(
    table: pd.DataFrame,
    known: NDArray[np.bool_],
    naming: Naming,
    formulas: Sequence[Formula],
    facts: dict[str, Any],
    typical: float,
) -> Study:
    texts = np.array([f.text for f in formulas] + [""], dtype=object)
    species = np.full(len(table), "", dtype=object)
    species[known] = texts[decided(naming.p, _SURE)]
    probability = np.full(len(table), np.nan)
    probability[known] = naming.p.max(axis=1)
    table = table.assign(species=species, species_p=probability)
    facts |= {
        "exponent": naming.exponent,
        "elements": {
            f.text: {"intensity": m * typical, "atoms": int((species == f.text).sum())}
            for f, m in zip(formulas, naming.mean, strict=True)
        },
        "namings": list(naming.rivals),
    }
    return Study(table, facts)


def _dark(formulas: Sequence[Formula]) -> tuple[str, ...]:
    if not formulas:
        return ()
    return (
        "Species are left unknown: atoms are dark here, and dark contrast does not rise "
        "with the atomic number in a known way. Use the dark-field image of the same scan.",
    )
