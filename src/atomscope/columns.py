"""Every column of every table, declared once: name, dtype, unit, meaning, writing stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.errors import UsageError


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `dtype` is a numpy name, 'string' for words, or 'Int64' for integers that may be unknown.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    stage: str


ATOMS: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", "detect"),
    Column("atom", "int64", "", "number of the atom in its frame, from 0", "detect"),
    Column("x_px", "float64", "px", "position to the right, 0 = centre of first pixel", "detect"),
    Column("y_px", "float64", "px", "position downwards, 0 = centre of first pixel", "detect"),
    Column("x_err_px", "float64", "px", "standard error of x_px", "refine"),
    Column("y_err_px", "float64", "px", "standard error of y_px", "refine"),
    Column("x", "float64", "Å", "x_px times the pixel size", "pipeline"),
    Column("y", "float64", "Å", "y_px times the pixel size", "pipeline"),
    Column("x_err", "float64", "Å", "standard error of x", "pipeline"),
    Column("y_err", "float64", "Å", "standard error of y", "pipeline"),
    Column("p", "float64", "", "calibrated probability that this is an atom", "detect"),
    Column("species", "string", "", "chemical symbol, empty while unknown", "species"),
    Column("species_p", "float64", "", "probability of the species", "species"),
    Column("intensity", "float64", "counts px", "volume under the fitted column", "refine"),
    Column("width", "float64", "px", "standard deviation of the fitted Gaussian", "refine"),
    Column("background", "float64", "counts", "fitted background under the column", "refine"),
    Column("ood", "float64", "", "how unlike the training world, empty while unknown", "knowing"),
    Column("flags", "string", "", "words joined by a space, see FLAGS", "refine"),
    Column("intensity_err", "float64", "counts px", "standard error of intensity", "refine"),
    Column("sublattice", "Int64", "", "site of the cell, from 0, the brightest first", "species"),
    Column("intensity_class", "Int64", "", "class of brightness, from 0, weakest first", "species"),
    Column("label", "string", "", "class that a model of the zoo gives", "label"),
    Column("label_p", "float64", "", "its probability", "label"),
    Column("coordination", "Int64", "", "number of bonds, empty at the border", "name"),
    Column("defect", "Int64", "", "number of the defect that it belongs to", "name"),
    Column("track", "Int64", "", "number of the track that it belongs to", "track"),
    Column("structure", "string", "", "taught structure, empty for none of them", "classify"),
    Column("structure_p", "float64", "", "its probability, or that of none", "classify"),
)

DEFECTS: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", "label"),
    Column("defect", "int64", "", "number of the defect in its frame, from 0", "label"),
    Column("name", "string", "", "what it is called", "label"),
    Column("formula", "string", "", "what is missing or added, empty while unknown", "label"),
    Column("x_px", "float64", "px", "position to the right, 0 = centre of first pixel", "label"),
    Column("y_px", "float64", "px", "position downwards, 0 = centre of first pixel", "label"),
    Column("x", "float64", "Å", "x_px times the pixel size", "pipeline"),
    Column("y", "float64", "Å", "y_px times the pixel size", "pipeline"),
    Column("n_atoms", "int64", "", "number of atoms that belong to it", "label"),
    Column("atoms", "string", "", "their numbers, joined by a space", "label"),
    Column("p", "float64", "", "calibrated probability", "label"),
    Column("rule", "string", "", "what found it", "label"),
    Column("known", "bool", "", "whether it has a name of its own", "label"),
    Column("length_px", "float64", "px", "of a line or boundary, end to end", "name"),
    Column("direction", "float64", "°", "of a line, from x towards -y (up), 0 to 180", "name"),
    Column("misorientation", "float64", "°", "between the grains at a boundary", "name"),
)

TRACKS: tuple[Column, ...] = (
    Column("track", "int64", "", "number of the track, from 0", "track"),
    Column("frame", "int64", "", "frame of the movie, from 0", "track"),
    Column("atom", "Int64", "", "number of the atom or defect, empty where bridged", "track"),
    Column("x_px", "float64", "px", "position in this frame, to the right", "track"),
    Column("y_px", "float64", "px", "position in this frame, downwards", "track"),
    Column("kind", "string", "", "atom, vacancy or defect", "track"),
    Column("x_ref_px", "float64", "px", "x_px with the drift taken off", "track"),
    Column("y_ref_px", "float64", "px", "y_px with the drift taken off", "track"),
    Column("site", "string", "", "site of the lattice: cell and sublattice, as 'i j s'", "track"),
    Column("species", "string", "", "chemical symbol, or name of the defect", "track"),
    Column("p", "float64", "", "probability of the assignment", "track"),
    Column("same", "float64", "", "probability that no dopant traded places with it", "track"),
)

EVENTS: tuple[Column, ...] = (
    Column("event", "int64", "", "number of the event, from 0", "track"),
    Column("frame", "int64", "", "first frame that shows what it led to", "track"),
    Column("kind", "string", "", "switch, hop, rotation, creation, healing, ...", "track"),
    Column("track", "Int64", "", "track that it happened to", "track"),
    Column("from", "string", "", "state or site before", "track"),
    Column("to", "string", "", "state or site after", "track"),
    Column("p", "float64", "", "probability", "track"),
    Column("x_px", "float64", "px", "place in that frame, to the right", "track"),
    Column("y_px", "float64", "px", "place in that frame, downwards", "track"),
    Column("time", "float64", "s", "time of the frame, empty while unknown", "track"),
    Column("frames", "string", "", "frames that show it, joined by a space", "track"),
)

STEPS: tuple[Column, ...] = (
    Column("frame", "int64", "", "frame of the movie, from 0", "classify"),
    Column("atom", "int64", "", "number of the atom in its frame", "classify"),
    Column("step", "string", "", "name of the step of the chain", "classify"),
    Column("label", "string", "", "likeliest answer, none for none, empty at the rim", "classify"),
    Column("p", "float64", "", "its probability, doubts of earlier steps included", "classify"),
)

DISCOVERIES: tuple[Column, ...] = (
    Column("discovery", "int64", "", "number of the configuration, from 0, by rank", "discover"),
    Column("n", "int64", "", "how often it occurs", "discover"),
    Column("p", "float64", "", "how surely it is of its own kind", "discover"),
    Column("chance", "float64", "", "probability that noise or chance made so many", "discover"),
    Column("novelty", "float64", "", "how far its strangest atom is from the host", "discover"),
    Column("n_atoms", "int64", "", "number of its strange atoms", "discover"),
    Column("formula", "string", "", "their species, empty while unknown", "discover"),
    Column("parts", "string", "", "named defects that it is made of", "discover"),
    Column("spread_px", "float64", "px", "scatter of its atoms about their mean", "discover"),
    Column("spread", "float64", "Å", "spread_px times the pixel size", "discover"),
    Column("frame", "int64", "", "frame of its clearest occurrence", "discover"),
    Column("x_px", "float64", "px", "place of that occurrence, to the right", "discover"),
    Column("y_px", "float64", "px", "place of that occurrence, downwards", "discover"),
    Column("x", "float64", "Å", "x_px times the pixel size", "discover"),
    Column("y", "float64", "Å", "y_px times the pixel size", "discover"),
    Column("atoms", "string", "", "of each occurrence, 'frame: numbers', joined by |", "discover"),
)

FLAGS: dict[str, str] = {
    "unrefined": "the fit did not converge; the detector's position and no errors are given",
    "edge": "nearer to the border of the frame than one column width",
    "masked": "touches pixels that were not finite or dead in the input",
    "overlap": "closer to a neighbour than two standard deviations of the column",
    "split": "one of two isolated atoms that were found as one and told apart by a fit of two",
    "recalled": "weak in the picture, brought back because it stands on an empty site",
}


def need_positions(table: pd.DataFrame) -> None:
    """Raise a `UsageError` where a table has no x_px or no y_px."""
    missing = [name for name in ("x_px", "y_px") if name not in table]
    if missing:
        raise UsageError(f"the table has no column {missing[0]}; expected x_px and y_px in px.")


def positions(table: pd.DataFrame) -> NDArray[np.float64]:
    """Return x_px and y_px of a table, shape (N, 2), in px.

    Raises:
        UsageError: The table has not both.
    """
    need_positions(table)
    return table[["x_px", "y_px"]].to_numpy(float)


def is_placed(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows of a table have a finite position, shape (N,)."""
    return np.asarray(np.isfinite(positions(table)).all(axis=1))


def has_flag(table: pd.DataFrame, word: str) -> NDArray[np.bool_]:
    """Return which rows of a table carry a word of `FLAGS`, shape (N,)."""
    number, texts = pd.factorize(table["flags"])  # few texts, many rows
    return np.array([*(word in str(text).split() for text in texts), False])[number]


def with_flags(table: pd.DataFrame, marks: dict[str, NDArray[np.bool_]]) -> NDArray[np.object_]:
    """Return the flags (N,) of a table with words of `FLAGS` in the marked rows and no others.

    Args:
        table: With flags; words that are not in `marks` stay.
        marks: For each word the rows that carry it, shape (N,).
    """
    bits = np.zeros(len(table), dtype=np.int64)
    for k, marked in enumerate(marks.values()):
        bits += marked.astype(np.int64) << k
    number, texts = pd.factorize(table["flags"])  # few texts, many rows
    keys, inverse = np.unique((number << len(marks)) + bits, return_inverse=True)
    words = []
    for key in keys.tolist():
        before = set(str(texts[key >> len(marks)]).split()) - set(marks)
        words.append(" ".join(sorted(before | {m for k, m in enumerate(marks) if key >> k & 1})))
    return np.array([*words, ""], dtype=object)[:-1][inverse]


def empty(columns: tuple[Column, ...] = ATOMS, rows: int = 0) -> pd.DataFrame:
    """Return a table with the given columns: unknown numbers are NaN, words are empty."""
    return pd.DataFrame({c.name: _blank(c.dtype, rows) for c in columns}, copy=False)


def conform(table: pd.DataFrame, columns: tuple[Column, ...] = ATOMS) -> pd.DataFrame:
    """Return the table with all declared columns first, in order and dtype, then any others."""
    rows = len(table)
    data = {
        c.name: _as_declared(table[c.name], c.dtype) if c.name in table else _blank(c.dtype, rows)
        for c in columns
    }
    data |= {name: table[name].array.copy() for name in table.columns if name not in data}
    # Arrays of its own: pandas would copy all of them once more into blocks.
    return pd.DataFrame(data, copy=False)


def _as_declared(values: pd.Series, dtype: str) -> Any:
    if dtype == "Int64":
        return values.astype("Int64").array
    return values.to_numpy().astype(object if dtype == "string" else dtype)


def _blank(dtype: str, rows: int) -> Any:
    if dtype == "string":
        return np.full(rows, "", dtype=object)
    if dtype == "Int64":
        return pd.arrays.IntegerArray(np.ones(rows, dtype=np.int64), np.ones(rows, dtype=bool))
    if dtype == "bool":
        return np.zeros(rows, dtype=bool)
    fill = np.nan if np.dtype(dtype).kind == "f" else 0
    return np.full(rows, fill, dtype=dtype)


def by_frame(table: pd.DataFrame) -> list[tuple[int, pd.DataFrame]]:
    """Return numbers and rows of all frames, in order; a single frame is not copied."""
    frames = table["frame"].unique()
    if len(frames) == 1:
        return [(int(frames[0]), table)]
    return [(int(str(frame)), rows) for frame, rows in table.groupby("frame", sort=True)]


def of_frame(table: pd.DataFrame, frame: int) -> pd.DataFrame:
    """Return the rows of one frame; where all are, they are not copied."""
    here = table["frame"].to_numpy() == frame
    return table if here.all() else table[here]


def joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return tables one below the other; a single one is not copied."""
    return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
