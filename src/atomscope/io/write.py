"""Writing: every output file appears whole or not at all.

CSV and Parquet tables, extended XYZ for ASE and OVITO, JSON.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.errors import UsageError
from atomscope.io.extras import need

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 65_536  # rows formatted at a time, so that memory stays flat
_MUST_QUOTE = (",", '"', "\n", "\r")
# Per-atom columns of the extended XYZ file beside species and position, where the table has them.
_XYZ_COLUMNS = (
    "column", "p", "intensity", "species_p", "defect", "structure", "structure_p", "track",
)  # fmt: skip


def write_whole(path: str | Path, writer: Callable[[Path], object]) -> Path:
    """Let `writer` fill a temporary file beside `path`, then put it in place in one step.

    Readers see the old file or the whole new one, never a part. Missing folders are made.

    Args:
        path: The file to write.
        writer: Called with the temporary path, which has the same suffix.

    Returns:
        The path that was written.

    Raises:
        UsageError: The file cannot be written there.
    """
    path = Path(path)
    draft = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(draft)
        _flush_to_disk(draft)
        draft.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "give an output folder that can be written and has space left."
        ) from error
    finally:
        if path.parent.is_dir():
            draft.unlink(missing_ok=True)
    return path


def write_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table as CSV or Parquet, by the suffix of the path.

    CSV: header row, decimal points, empty for unknown, `true` and `false`, UTF-8. Positions
    (px and Å) and probabilities have 4 decimals, standard errors 4 significant digits, other
    numbers 7. Parquet keeps every digit.

    Returns:
        The path that was written.

    Raises:
        UsageError: The suffix is neither .csv nor .parquet, or the file cannot be written.
        MissingExtraError: Parquet was asked for and pyarrow is not installed.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(Path(path).suffix.lower())
    if write is None:
        raise UsageError(
            f"{path}: tables are written as .csv or .parquet; give one of these endings."
        )
    return write_whole(path, lambda draft: write(table, draft))


def write_json(data: Mapping[str, Any], path: str | Path) -> Path:
    """Write plain values as strict JSON (UTF-8): what is not a number becomes null.

    numpy scalars and arrays, tuples, sets, mappings and paths are turned into their plain kin.

    Returns:
        The path that was written.

    Raises:
        UsageError: The file cannot be written.
    """
    text = json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    # Lists of numbers on one line: `[` before a line break never stands inside a string.
    text = re.sub(r"\[\n([^\[\]{}\"]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text)
    return write_whole(path, lambda draft: draft.write_text(text + "\n", encoding="utf-8"))


def plain(value: Any) -> Any:
    """Return the value as JSON knows it: dict, list, str, int, float, bool or None."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def write_extxyz(
    atoms: pd.DataFrame,
    frame_shape: tuple[int, int],
    pixel_size: float | None,
    path: str | Path,
    *,
    n_frames: int | None = None,
    first_frame: int = 0,
) -> Path:
    """Write one extended-XYZ frame per movie frame, for `ase.io.read(path, index=":")` and OVITO.

    The y axis of the image points down, that of the file up: y_out = (H - 1) * pixel_size - y,
    so that handedness is kept. z = 0. Species is 'X' where it is unknown, and the element of a
    column of several atoms of one kind ('S' for 'S2'); then `column` has the formula. `Lattice` and
    `Origin` are the box of the frame, edge to edge of its border pixels. Without a pixel size
    all lengths are in pixels and each info line says `unit=px`.

    Args:
        atoms: Atoms table (`columns.ATOMS`); later columns such as `defect` become per-atom values.
        frame_shape: Shape (y, x) of a frame.
        pixel_size: Å per pixel, or None.
        path: The file to write.
        n_frames: Frames of the movie; without it, up to the last frame that has an atom.
        first_frame: Number of the first of them.

    Returns:
        The path that was written.

    Raises:
        UsageError: The file cannot be written.
    """
    from atomscope.columns import by_frame

    if "species" in atoms and not set(atoms["species"]) <= {"", *_symbols(atoms)}:
        atoms = atoms.assign(column=atoms["species"])
    frames = dict(by_frame(atoms))
    names = [name for name in _XYZ_COLUMNS if name in atoms and not atoms[name].isna().all()]
    end = max([first_frame + (n_frames or 1), *(frame + 1 for frame in frames)])

    def fill(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            for index in range(first_frame, end):
                rows = frames.get(index, atoms.iloc[:0])
                file.writelines(_xyz_frame(rows, names, index, frame_shape, pixel_size))

    return write_whole(path, fill)


def _flush_to_disk(path: Path) -> None:
    # Without it a power cut may leave the new name with nothing behind it.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    need("pyarrow", path.name, "'atomscope[parquet]'")
    table.to_parquet(path, engine="pyarrow", index=False)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    names = [str(name) for name in table.columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(_quoted(names)) + "\n")
        for start in range(0, len(table), _CHUNK):
            part = table.iloc[start : start + _CHUNK]
            columns = [_csv_column(name, part.iloc[:, i]) for i, name in enumerate(names)]
            file.write("".join(_rows(columns, ",")))


def _rows(columns: Sequence[tuple[str, Iterable[Any]]], separator: str) -> list[str]:
    """Lines of text from (template, values) of each column."""
    template = separator.join(template for template, _ in columns) + "\n"
    # One `%` per row is several times faster than pandas or numpy writers at the same digits.
    return [template % row for row in zip(*(values for _, values in columns), strict=True)]


def _csv_column(name: str, values: pd.Series) -> tuple[str, list[Any]]:
    """Template and values of one CSV column, unknown values as empty text."""
    unknown = values.isna().to_numpy()
    kind = getattr(values.dtype, "kind", "O")
    if unknown.all():
        return "%s", [""] * len(values)
    if kind in "iuf" and not unknown.any():
        return ("%d" if kind in "iu" else number_template(name)), values.tolist()
    if kind in "iuf":
        known = values.to_numpy(dtype=object)
        template = "%d" if kind in "iu" else number_template(name)
        texts = ["" if u else template % v for u, v in zip(unknown, known, strict=True)]
        return "%s", texts
    words = {True: "true", False: "false"} if kind == "b" else {}
    texts = [
        "" if u else words.get(v, str(v)) for u, v in zip(unknown, values.tolist(), strict=True)
    ]
    return "%s", _quoted(texts)


def number_template(name: str) -> str:
    """Return the `%` template for the real numbers of a column, by its name."""
    if "_err" in name:
        return "%.4g"  # an error that rounds to zero would give infinite weight
    if name in {"x", "y", "x_px", "y_px", "p", "ood"} or name.endswith("_p"):
        return "%.4f"
    return "%.7g"


def _quoted(texts: list[str]) -> list[str]:
    return [
        '"' + text.replace('"', '""') + '"' if any(c in text for c in _MUST_QUOTE) else text
        for text in texts
    ]


def _xyz_frame(
    rows: pd.DataFrame,
    names: Sequence[str],
    index: int,
    frame_shape: tuple[int, int],
    pixel_size: float | None,
) -> Iterator[str]:
    """Two lines about a frame, then its atoms, some at a time."""
    height, width = frame_shape
    scale = 1.0 if pixel_size is None else pixel_size
    letters = {name: _xyz_letter(rows[name]) for name in names}
    properties = "species:S:1:pos:R:3:id:I:1" + "".join(f":{n}:{k}:1" for n, k in letters.items())
    edge = -0.5 * scale  # the first pixel's centre is the origin, its corner half a pixel away
    unit = "px" if pixel_size is None else f"angstrom pixel_size={pixel_size:.9g}"
    info = (
        f'Lattice="{width * scale:.9g} 0 0 0 {height * scale:.9g} 0 0 0 1" '
        f'Origin="{edge:.9g} {edge:.9g} 0" Properties={properties} '
        f'frame={index} unit={unit} pbc="F F F"'
    )
    yield f"{len(rows)}\n{info}\n"
    for start in range(0, len(rows), _CHUNK):
        part = rows.iloc[start : start + _CHUNK]
        columns: list[tuple[str, Iterable[Any]]] = [
            ("%s", _symbols(part)),
            ("%.6f", (part["x_px"].to_numpy(float) * scale).tolist()),
            ("%.6f", ((height - 1 - part["y_px"].to_numpy(float)) * scale).tolist()),
            ("%s", ["0"] * len(part)),
            ("%d", part["atom"].tolist()),
            *(_xyz_column(name, letter, part[name]) for name, letter in letters.items()),
        ]
        yield "".join(_rows(columns, " "))


def _symbols(rows: pd.DataFrame) -> list[str]:
    from ase.data import atomic_numbers

    if "species" not in rows:
        return ["X"] * len(rows)
    names = [str(name).rstrip("0123456789") for name in rows["species"].tolist()]
    return [name if name in atomic_numbers else "X" for name in names]


def _xyz_letter(values: pd.Series) -> str:
    """Type of a per-atom property: integer, real or string."""
    kind = getattr(values.dtype, "kind", "O")
    if kind in "iu" and not values.isna().any():
        return "I"
    return "R" if kind in "iuf" else "S"


def _xyz_column(name: str, letter: str, values: pd.Series) -> tuple[str, list[Any]]:
    """Template and values of one per-atom property."""
    if letter == "I":
        return "%d", values.tolist()
    if letter == "R":
        return number_template(name), values.to_numpy(dtype=float, na_value=np.nan).tolist()
    # The format splits at blanks and knows no quotes.
    texts = ["" if v is None or v != v else str(v) for v in values.tolist()]  # noqa: PLR0124
    return "%s", ["_".join(text.split()) or "-" for text in texts]
