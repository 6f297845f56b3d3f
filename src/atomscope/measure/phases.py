"""Phases by area, and the borders between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from atomscope.intervals import ratio_interval
from atomscope.measure.borders import TILES, Borders, border_rows, find_borders, tiles
from atomscope.measure.field import Field
from atomscope.measure.vacancies import is_vacancy
from atomscope.rules.findings import Floats

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
        phases: Words that are phases; all but those of vacancies by default.
        vacancies: Words of vacancies, by default those that read so.

    Returns:
        The phases, None where no atom has one.
    """
    words = field.atoms[column].astype(object).fillna("").astype(str).to_numpy(object)
    names = sorted({str(w) for w in words} - {""})
    names = [n for n in names if (n in phases if phases else not is_vacancy(n, vacancies))]
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

    The interval is that of the share in a larger specimen of which this field is a part: of a
    ratio over 4 x 4 tiles of the field (`ratio_interval`). Tiles that lie in one domain know of
    each other, so it is too narrow where domains are as large as a quarter of the field.

    Yields:
        Rows of `tables.NUMBERS`: quantity 'phase fraction' with the phase as group, n the number
        of its atoms.
    """
    area = found.share * found.field.cells.area[:, None]
    every = area.sum(axis=1)
    if not every.sum() > 0:
        return
    tile = tiles(found.field.xy, found.field.shape)
    below = np.bincount(tile, every, TILES**2)
    for name, part in zip(found.names, area.T, strict=True):
        low, high = ratio_interval(np.bincount(tile, part, TILES**2), below, level)
        n = int((part > 0).sum())
        yield {
            "quantity": "phase fraction", "group": name, "value": part.sum() / every.sum(),
            "low": low, "high": min(high, 1.0), "n": n, "unit": "",
        }  # fmt: skip


def phase_borders(found: Phases) -> list[dict[str, Any]]:
    """Return the rows of `tables.BORDERS` of one frame."""
    rows = border_rows(found.field, found.borders, found.names)
    return [{**row, "border": number} for number, row in enumerate(rows)]
