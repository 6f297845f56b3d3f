"""Examples that a user marked: places or atoms with a label, put onto the rows of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.errors import InputError, UsageError
from atomscope.recipe import NONE

REACH = 0.6  # local spacings: a place farther from every atom marks none


def read_examples(path: str | Path) -> pd.DataFrame:
    """Read examples from CSV: label, x_px and y_px or atom, and if need be frame and image.

    Raises:
        InputError: The file cannot be read as CSV.
        UsageError: Columns or labels are missing.
    """
    try:
        table = pd.read_csv(path, dtype={"label": "string", "image": "string"}, comment="#")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"{path}: no examples can be read ({reason}); expected CSV with the columns "
            "x_px, y_px, label."
        ) from error
    return checked(table, str(path))


def checked(examples: pd.DataFrame, name: str = "examples") -> pd.DataFrame:
    """Return the examples with clean labels.

    Raises:
        UsageError: Columns or labels are missing, or there are none.
    """
    if "label" not in examples or not (
        "atom" in examples or {"x_px", "y_px"} <= set(examples.columns)
    ):
        raise UsageError(
            f"{name}: has the columns {', '.join(map(str, examples.columns))}; expected label, "
            "and x_px and y_px (or atom)."
        )
    labels = examples["label"].astype("string").fillna("").str.strip()
    if not len(labels) or (labels == "").any():
        rows = ", ".join(str(i + 1) for i in np.flatnonzero(labels == "")[:5])
        raise UsageError(
            f"{name}: "
            + (f"row {rows} has no label" if len(labels) else "holds no examples")
            + "; expected one example per row, with a word for what it is."
        )
    odd = [label for label in labels.unique() if not label.isprintable()]
    if odd:
        raise UsageError(f"{name}: label {odd[0]!r} has odd characters; expected a plain word.")
    if set(labels) == {NONE}:
        raise UsageError(f"{name}: every label is '{NONE}'; expected a structure to look for.")
    return examples.assign(label=labels.astype(object)).reset_index(drop=True)


def matched(
    examples: pd.DataFrame,
    tables: Sequence[pd.DataFrame],
    names: Sequence[str],
    spacings: Sequence[NDArray[np.float64]],
) -> list[NDArray[np.intp]]:
    """Return for each table the row that each example marks, -1 where it marks another table.

    Raises:
        UsageError: An example names no image, frame or atom that is there, lies far from every
            atom, or two examples say different things of one atom.
    """
    image = _images(examples, names)
    found = []
    for number, (table, spacing) in enumerate(zip(tables, spacings, strict=True)):
        rows = np.full(len(examples), -1, dtype=np.intp)
        for k in np.flatnonzero(image == number):
            rows[k] = _row(examples.iloc[k], int(k), table, spacing, names[number])
        _agreed(examples, rows, names[number])
        found.append(rows)
    return found


def _images(examples: pd.DataFrame, names: Sequence[str]) -> NDArray[np.intp]:
    if "image" not in examples or examples["image"].isna().all():
        if len(names) > 1:
            raise UsageError(
                f"examples without a column image, but {len(names)} images are given; name the "
                f"image of each: {', '.join(names[:4])}."
            )
        return np.zeros(len(examples), dtype=np.intp)
    known = {name: k for k, name in enumerate(names)}
    known |= {Path(name).stem: k for k, name in enumerate(names)}
    given = examples["image"].astype(str).to_list()
    for k, name in enumerate(given):
        if name not in known and Path(name).stem not in known:
            raise UsageError(
                f"example {k + 1}: image {name!r} is none of those given ({', '.join(names[:4])})."
            )
    return np.array([known.get(n, known.get(Path(n).stem, 0)) for n in given], dtype=np.intp)


def _row(
    example: pd.Series, k: int, table: pd.DataFrame, spacing: NDArray[np.float64], name: str
) -> int:
    """Row of the table that one example marks."""
    frame = int(example["frame"]) if "frame" in example and pd.notna(example["frame"]) else None
    frames = table["frame"].to_numpy() if "frame" in table else np.zeros(len(table), int)
    if frame is None and len(np.unique(frames)) > 1:
        raise UsageError(f"example {k + 1}: {name} is a movie; expected a column frame.")
    rows = np.flatnonzero(frames == frame) if frame is not None else np.arange(len(table))
    if not len(rows):
        where = "" if frame is None else f" in frame {frame}"
        raise UsageError(f"example {k + 1}: {name} has nothing to mark{where}; look at the image.")
    if "atom" in example and pd.notna(example["atom"]):
        same = rows[table["atom"].to_numpy()[rows] == int(example["atom"])]
        if not len(same):
            raise UsageError(
                f"example {k + 1}: {name} has no atom {int(example['atom'])}; "
                f"its atoms are 0 to {int(table['atom'].to_numpy()[rows].max())}."
            )
        return int(same[0])
    place = np.array([example["x_px"], example["y_px"]], dtype=float)
    if not np.isfinite(place).all():
        raise UsageError(f"example {k + 1}: no position; expected x_px and y_px, or an atom.")
    xy = np.nan_to_num(positions(table)[rows], nan=np.inf)
    rows = rows[np.isfinite(xy).all(axis=1)]
    distance, nearest = cKDTree(xy[np.isfinite(xy).all(axis=1)]).query(place)
    row = int(rows[nearest])
    if distance > REACH * spacing[row]:
        x, y = positions(table)[row]
        raise UsageError(
            f"example {k + 1} at ({place[0]:.1f}, {place[1]:.1f}): the nearest atom of {name} is "
            f"{distance:.1f} px away, at ({x:.1f}, {y:.1f}); mark the atom itself."
        )
    return row


def _agreed(examples: pd.DataFrame, rows: NDArray[np.intp], name: str) -> None:
    labels = examples["label"].to_numpy()
    said: dict[int, int] = {}
    for k in np.flatnonzero(rows >= 0):
        before = said.setdefault(int(rows[k]), int(k))
        if labels[before] != labels[k]:
            raise UsageError(
                f"examples {before + 1} and {k + 1} mark the same atom of {name} as "
                f"{labels[before]!r} and {labels[k]!r}; keep one."
            )
