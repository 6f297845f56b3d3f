"""NumPy files and the Nion Swift ndata archive, which holds one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from atomscope.errors import InputError
from atomscope.io.candidate import SPECTRUM, SURVEY, Axis, Candidate, modality_of


def read_npy(path: Path) -> list[Candidate]:
    """Describe the array of an npy file; it is memory-mapped."""
    with path.open("rb") as stream:
        shape, dtype = _header(stream)
    return [_candidate(path.stem, shape, dtype, lambda: np.load(path, mmap_mode="r"))]


def read_npz(path: Path) -> list[Candidate]:
    """Describe each array of an npz file; each is loaded when asked for."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as stream:
                    shape, dtype = _header(stream)
                name = member.removesuffix(".npy")
                found.append(_candidate(name, shape, dtype, lambda m=member: _member(path, m)))
    return found


def read_ndata(path: Path) -> list[Candidate]:
    """Describe the array of a Nion Swift ndata file: a zip of data.npy and metadata.json."""
    with zipfile.ZipFile(path) as archive:
        member = next((n for n in archive.namelist() if n.endswith(".npy")), None)
        if member is None:
            raise InputError(
                f"{path.name}: the archive holds no data.npy; expected a Nion Swift data item. "
                "Export it again from Swift."
            )
        with archive.open(member) as stream:
            shape, dtype = _header(stream)
        notes = next((n for n in archive.namelist() if n.endswith(".json")), None)
        properties = json.loads(archive.read(notes)) if notes else {}
    return [nion_candidate(path.stem, shape, dtype, lambda: _member(path, member), properties)]


def nion_candidate(
    name: str, shape: tuple[int, ...], dtype: Any, load: Any, properties: dict[str, Any]
) -> Candidate:
    """Describe a Nion Swift array by its JSON properties."""
    steps = _look_up(properties, "dimensional_calibrations", "spatial_calibrations") or []
    axes = tuple(
        Axis(float(s.get("scale") or 0), str(s.get("units") or ""), float(s.get("offset") or 0))
        for s in steps
    )
    title = _look_up(properties, "title") or name
    channel = _look_up(properties, "channel_name", "hardware_source_name")
    reason = ""
    if _look_up(properties, "datum_dimension_count") == 1:
        reason = SPECTRUM
    elif _look_up(properties, "collection_dimension_count"):
        reason = f"a collection of patterns (4D-STEM); {SURVEY}"
    return Candidate(
        str(title),
        shape,
        dtype,
        load,
        axes if len(axes) == len(shape) else (),
        modality_of(channel, title),
        reason=reason,
        metadata={"title": str(title)},
    )


def _look_up(tree: Any, *keys: str) -> Any:
    """Return the first value under one of the keys, however deep (layouts differ by version)."""
    if isinstance(tree, dict):
        for key in keys:
            if tree.get(key) is not None:
                return tree[key]
    branches = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    values = (_look_up(b, *keys) for b in branches if isinstance(b, dict | list))
    return next((v for v in values if v is not None), None)


def _candidate(name: str, shape: tuple[int, ...], dtype: Any, load: Any) -> Candidate:
    reason = "an array of Python objects; save plain numbers" if dtype.hasobject else ""
    return Candidate(name, shape, dtype, load, reason=reason)


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    # Version 3 differs from 2 only in the encoding of field names.
    shape, _, dtype = read.get(version, np.lib.format.read_array_header_2_0)(stream)
    return shape, dtype


def _member(path: Path, name: str) -> np.ndarray[Any, Any]:
    with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array
