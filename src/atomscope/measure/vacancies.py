"""The sites of vacancies, one row each, from defects, from words of atoms, or from the lattice."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.lattice import empty_sites
from atomscope.measure.field import Field
from atomscope.rules.findings import Bools, Floats

_READS_SO = re.compile(r"(\d*V_|V\d|(.*\W)?vacanc|empty)", re.IGNORECASE)
_DEFECTIVE = re.compile(r"vacanc|boundar|border|dopant|beside|edge|empty|adatom|Stone-Wales|^none$")
_GONE = re.compile(r"-([\w-]+?)(?:x(\d+))?$")  # '-S2x3' or '-site-0x3' in a formula
_LESS = re.compile(r"(\w+)@\w+?(?:x(\d+))?$")  # 'S@S2x4'
_SAME = 0.4  # spacings: nearer, two are one


def is_vacancy(name: str, names: Collection[str] | None = None) -> bool:
    """Whether a name is that of a vacancy: one of those given, or one that reads so."""
    return name in names if names is not None else bool(_READS_SO.match(name))


def is_phase(name: str, vacancies: Collection[str] | None = None) -> bool:
    """Whether a structure is a phase: neither a vacancy nor another defect by its name."""
    return not is_vacancy(name, vacancies) and not _DEFECTIVE.search(name)


def vacancies(
    field: Field,
    defects: pd.DataFrame | None,
    *,
    columns: Collection[str] = ("structure",),
    names: Collection[str] | None = None,
) -> pd.DataFrame:
    """List the vacancies of a frame, each site once.

    A defect of several vacancies ('V_S line 4', formula 'S@S2x4') is taken apart: into its columns
    that lost an atom, and the empty sites of the lattice nearest to its middle; or, where these
    cannot be told, into sites spread evenly over its length.

    Args:
        field: Of the frame.
        defects: Of this frame; None takes all empty sites of the lattice.
        columns: Of the atoms, whose words may say that a site is a vacancy.
        names: Those of vacancies; by default what reads so.

    Returns:
        Table with frame, vacancy, x_px, y_px and name.
    """
    spacing = field.spacing
    found = [place for column in columns for place in _of_atoms(field, column, names)]
    empty = _empty(field)
    if defects is None:
        found += [("vacancy", place) for place in empty]
    else:
        for row in defects.to_dict("records"):
            if is_vacancy(str(row["name"]), names):
                places = _taken_apart(row, field, empty)
                found += [(str(row["name"]), place) for place in places]
    places = np.array([place for _, place in found]).reshape(-1, 2)
    kept: Bools = np.asarray(np.isfinite(places).all(axis=1))
    if np.isfinite(spacing) and kept.any():
        rows = np.flatnonzero(kept)
        for i, j in sorted(cKDTree(places[kept]).query_pairs(_SAME * spacing)):
            kept[rows[j]] = kept[rows[j]] and not kept[rows[i]]
    return pd.DataFrame(
        {
            "frame": field.frame,
            "vacancy": np.arange(int(kept.sum())),
            "x_px": places[kept, 0],
            "y_px": places[kept, 1],
            "name": [found[i][0] for i in np.flatnonzero(kept)],
        }
    )


def _of_atoms(
    field: Field, column: str, names: Collection[str] | None
) -> Iterator[tuple[str, Floats]]:
    words = field.atoms[column].astype(str).to_numpy(object)
    meant = {word for word in set(words) if is_vacancy(word, names)}
    for row in np.flatnonzero(np.isin(words, list(meant))):
        yield words[row], field.xy[row]


def _empty(field: Field) -> Floats:
    if field.lattice is None:
        return np.empty((0, 2))
    return empty_sites(field.lattice, field.xy, field.frame_shape)


def _taken_apart(row: Mapping[Hashable, Any], field: Field, empty: Floats) -> Floats:
    """Sites (V, 2) of one defect; its middle where they cannot be told."""
    middle = np.array([row["x_px"], row["y_px"]], dtype=float)
    gone, less, words = 0, 0, set[str]()
    for part in str(row["formula"]).split():
        if match := _GONE.match(part):
            gone += int(match[2] or 1)
        elif match := _LESS.match(part):
            less += int(match[2] or 1)
            words.add(match[1])
    if gone + less < 2:
        return middle[None]
    sites = np.concatenate(
        [_nearest(_members(row, field, words, less), middle, less), _nearest(empty, middle, gone)]
    )
    return sites if len(sites) == gone + less else _in_line(row, middle, gone + less)


def _in_line(row: Mapping[Hashable, Any], middle: Floats, count: int) -> Floats:
    """Sites spread evenly over the length of a line, or the middle where it has none."""
    length, angle = float(row["length_px"]), np.deg2rad(float(row["direction"]))
    if not (np.isfinite(length) and np.isfinite(angle)):
        return middle[None]
    along = np.array([np.cos(angle), -np.sin(angle)])
    return np.asarray(middle + np.linspace(-0.5, 0.5, count)[:, None] * length * along)


def _members(row: Mapping[Hashable, Any], field: Field, words: set[str], count: int) -> Floats:
    """Columns of a defect that lost an atom: by their species, else by a label they share."""
    numbers = [int(number) for number in str(row["atoms"]).split()]
    rows = field.atoms[field.atoms["atom"].isin(numbers)]
    chosen = rows[rows["species"].isin(words)]
    if len(chosen) != count:
        alike = [same for label, same in rows.groupby("label") if label and len(same) == count]
        chosen = alike[0] if len(alike) == 1 else chosen
    return positions(chosen)


def _nearest(places: Floats, middle: Floats, count: int) -> Floats:
    away = np.hypot(*(places - middle).T)
    return np.asarray(places[np.argsort(away, kind="stable")[:count]])
