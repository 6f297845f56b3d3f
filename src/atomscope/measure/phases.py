"""Phases by area, and the borders between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from atomscope.intervals import share_interval
from atomscope.measure.borders import Borders, border_rows, find_borders
from atomscope.measure.field import Field
from atomscope.measure.vacancies import is_phase
from atomscope.rules.findings import Floats

_UNEVEN = 1.28  # mean square of the areas of Voronoi cells, over the square of their mean
_ENOUGH = 0.5  # share of the neighbours with a phase, by which an atom without one is given theirs


@dataclass(frozen=True, eq=False)
class Phases:
    """Phases of the atoms of one frame.

    Attributes:
        field: Of the frame.
        names: Of the phases, sorted.
        share: How much of each atom's cell is of each phase, shape (N, P); rows of 0 for none.
    """

    field: Field
    names: list[str]
    share: Floats

    @cached_property
    def borders(self) -> Borders:
        """Borders between phases."""
        region = np.where(self.share.sum(axis=1) > 0, self.share.argmax(axis=1), -1)
        return find_borders(self.field.cells, self.field.xy, region)


def phases_of(
    field: Field,
    column: str = "structure",
    phases: Collection[str] | None = None,
    vacancies: Collection[str] | None = None,
) -> Phases | None:
    """Read the phases of atoms from a column of words.

    Atoms without a phase (sites of vacancies and dopants, or chalcogens where only metal atoms
    were classified) share the phases of the neighbours they are bonded to, where at least half
    of these have one.

    Args:
        field: Of the frame.
        column: With the names of phases.
        phases: Words that are phases; all that do not read like a defect by default.
        vacancies: Words of vacancies, by default those that read so.

    Returns:
        The phases, None where no atom has one.
    """
    words = field.atoms[column].astype(object).fillna("").astype(str).to_numpy(object)
    names = sorted({str(w) for w in words} - {""})
    names = [n for n in names if (n in phases if phases else is_phase(n, vacancies))]
    if not names:
        return None
    share = np.stack([words == name for name in names], axis=1).astype(float)
    if field.graph is not None and field.graph.neighbours.shape[1]:
        graph, bare = field.graph, np.flatnonzero(share.sum(axis=1) == 0)
        near = share[graph.neighbours[bare]] * graph.mask[bare][..., None]
        count = near.sum(axis=(1, 2))
        enough = (count > 0) & (count >= _ENOUGH * graph.coordination[bare])
        share[bare[enough]] = near.sum(axis=1)[enough] / count[enough, None]
    return Phases(field, names, share)


def phase_fractions(found: Phases, level: float = 0.95) -> Iterator[dict[str, Any]]:
    """Yield the share of the classified area that each phase takes.

    The interval is that of the share p in a larger specimen of which this field is a part. Domains
    that grew from random seeds (Voronoi cells) of mean area a have 4 p (1 - p) / √a of border
    between the phase and others per area (Meijering, Philips Res. Rep. 8, 270 (1953)), so the
    border that is seen tells a; and the field tells as much of p as its area over 1.28 a
    independent places, since cells differ in size (Gilbert, Ann. Math. Stat. 33, 958 (1962)). Where
    there is one border, or none, a field tells next to nothing of others. Very uneven domains
    scatter more; errors of the classification are not in it.

    Yields:
        Rows of `tables.NUMBERS`: quantity 'phase fraction' with the phase as group, n the number
        of its atoms.
    """
    area = found.share * found.field.cells.area[:, None]
    every = float(area.sum())
    if not every > 0:
        return
    for number, (name, part) in enumerate(zip(found.names, area.T, strict=True)):
        share = min(float(part.sum()) / every, 1.0)
        length = float(found.borders.length[(found.borders.pair == number).any(axis=1)].sum())
        border = 4 * share * (1 - share) * every
        places = every * (length / border) ** 2 / _UNEVEN if border > 0 else 0.0
        low, high = share_interval(share, places, level)
        n = int((part > 0).sum())
        yield {
            "quantity": "phase fraction", "group": name, "value": share,
            "low": low, "high": high, "n": n, "unit": "",
        }  # fmt: skip


def phase_borders(found: Phases) -> list[dict[str, Any]]:
    """Return the rows of `tables.BORDERS` of one frame."""
    rows = border_rows(found.field, found.borders, found.names)
    return [{**row, "border": number} for number, row in enumerate(rows)]
