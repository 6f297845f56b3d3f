"""Chemistry: what the lattice vetoes and brings back, and what the defects are called."""

from __future__ import annotations

from typing import Any

import pandas as pd

from atomscope.columns import DEFECTS, by_frame, conform, has_flag, joined, positions
from atomscope.detect.prepare import usable
from atomscope.detect.view import View
from atomscope.errors import UsageError
from atomscope.lattice import Lattice
from atomscope.pipeline.frames import first_columns, fitted_around, numbered
from atomscope.pipeline.tails import without_tails
from atomscope.recipe import Recipe
from atomscope.rules import load, name_defects
from atomscope.rules.joint import reconcile, too_dim
from atomscope.species import Lattices, fit_lattices
from atomscope.types import Image


def _places(rows: pd.DataFrame) -> list[dict[str, float]]:
    names = ("frame", "x_px", "y_px", "p")
    values = rows[list(names)].to_numpy(float)
    return [dict(zip(names, row.tolist(), strict=True)) for row in values]


def reconciled(
    image: Image,
    atoms: pd.DataFrame,
    weak: pd.DataFrame,
    lattices: Lattices,
    plan: Recipe,
    view: View,
) -> tuple[pd.DataFrame, Lattices, dict[str, Any]]:
    """Let the lattice veto and recall atoms; frames that changed are fitted again.

    Returns:
        The atoms, the lattices, and the places that came and went, with their p, for the run card.
    """
    vetoed: list[dict[str, float]] = []
    recalled: list[dict[str, float]] = []
    evidence = {"vetoed": vetoed, "recalled": recalled}
    if plan.naming is None or not plan.naming.joint or not view.lattice or view.faint:
        return atoms, lattices, evidence
    weak_of = dict(by_frame(weak))
    tables: list[pd.DataFrame] = []
    fitted: dict[int, Lattice | None] = dict(lattices)
    for index, rows in by_frame(atoms):
        candidates = weak_of.get(index, weak.iloc[:0])
        joint = reconcile(rows, candidates, lattices.get(index), image.frame_shape)
        table, lattice = first_columns(joint.atoms), lattices.get(index)
        changed = pd.concat([joint.vetoed, joint.recalled])
        if lattice is not None and len(changed):
            table = _again(image, index, table, changed, lattice.spacing, plan, view)
            fitted |= fit_lattices(table)
        dim = too_dim(table, fitted.get(index))
        gone = pd.concat([joint.vetoed, table[dim]])
        if dim.any():
            table, out = numbered(table[~dim]), table[dim]
            # Others were fitted beside what had been brought back.
            if lattice is not None and has_flag(out, "recalled").any():
                table = _again(image, index, table, out, lattice.spacing, plan, view)
            fitted |= fit_lattices(table)
        vetoed += _places(gone[~has_flag(gone, "recalled")])
        recalled += _places(table[has_flag(table, "recalled")])
        tables.append(table)
    if not tables:
        return atoms, lattices, evidence
    return joined(tables), fitted, evidence


def _again(
    image: Image,
    index: int,
    table: pd.DataFrame,
    changed: pd.DataFrame,
    spacing: float,
    plan: Recipe,
    view: View,
) -> pd.DataFrame:
    """Fit the atoms around those that came or went again, and number all anew."""
    frame = image.frame(index)
    places = positions(changed)
    clean = without_tails(frame, table, plan, view)
    fitted = fitted_around(clean, table, places, spacing, plan, view)
    return fitted.assign(frame=index)


def named(
    image: Image,
    atoms: pd.DataFrame,
    empty: pd.DataFrame,
    lattices: Lattices,
    plan: Recipe,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any], tuple[str, ...]]:
    """Name the defects.

    Empty sites that only a model saw are kept where no host was recognised: elsewhere rings or
    sites have said what is missing.

    Returns:
        Atoms, defects, facts for the run card, lines to warn with.

    Raises:
        UsageError: There is no such rule book, or it is wrong.
    """
    if plan.naming is None:
        return atoms, empty, {}, ()
    if plan.naming.rules:
        load(plan.naming.rules)  # a wrong book is an error, an odd table is a warning
    if len(atoms) == 0:  # another line says so: there is no host to be recognised
        return atoms, empty, {"host": "", "counts": _counts(empty)}, ()
    try:
        found = name_defects(
            atoms,
            host=plan.naming.rules,
            lattices=lattices,
            shape=image.frame_shape,
            pixel_size=image.pixel_size,
            good=lambda frame: usable(image.frame(frame)),
        )
    except UsageError as error:
        return atoms, empty, {}, (f"{image.name}: no defects were named: {error}",)
    defects = found.defects if found.host else empty
    facts = {"host": found.host, "counts": _counts(defects)}
    warnings = found.warnings if found.host or plan.naming.rules else ()
    return found.atoms, conform(defects, DEFECTS), facts, warnings


def _counts(defects: pd.DataFrame) -> dict[str, int]:
    return {str(name): int(n) for name, n in defects["name"].value_counts().items()}
