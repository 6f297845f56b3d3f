"""HDF5: NSID, Nion Swift, HyperSpy (also as zarr folder) and files without a known layout."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atomscope.errors import InputError
from atomscope.io.candidate import SPECTRUM, SURVEY, Axis, Candidate, modality_of
from atomscope.io.extras import need, whole
from atomscope.io.numpy_files import nion_candidate

_NSID_IMAGES = {"IMAGE", "IMAGE_STACK"}


def _open(path: Path) -> Any:
    """Open an HDF5 file, with the compressions of hdf5plugin where that is installed."""
    import h5py

    with contextlib.suppress(ImportError):
        importlib.import_module("hdf5plugin")
    with whole(path.name, "HDF5"):
        return h5py.File(path, "r")


def read_hdf5(path: Path, inside: str = "") -> list[Candidate]:
    """Describe each dataset of numbers in an HDF5 file, or those at and below a path inside it."""
    import h5py

    file = _open(path)
    node = file.get(inside or "/")
    if node is None:
        listed = ", ".join(d.name for d in _datasets(file)) or "no datasets"
        raise InputError(
            f"{path.name}: there is no {inside!r} inside; expected one of: {listed[:300]}. "
            "Name one of these."
        )
    datasets = [node] if isinstance(node, h5py.Dataset) else list(_datasets(node))
    scales = {d.name for d in datasets if d.attrs.get("CLASS") == b"DIMENSION_SCALE"}
    found = [_dataset(d) for d in datasets if d.name not in scales]
    return [c for c in found if len(c.shape) > 0]


def read_other_emd(path: Path) -> list[Candidate]:
    """Describe the datasets of an emd file that is not from Velox, whose arrays are (y, x, t)."""
    with _open(path) as file:
        velox = "Data/Image" in file
    return [] if velox else read_hdf5(path)


def read_hspy(path: Path) -> list[Candidate]:
    """Describe each signal of a HyperSpy file; an HDF5 file of another layout gives none."""
    return list(_experiments(_open(path)))


def read_zspy(path: Path) -> list[Candidate]:
    """Describe each signal of a HyperSpy zarr folder, or the arrays of a plain one."""
    zarr = need("zarr", path.name)
    root = zarr.open(str(path), mode="r")
    if hasattr(root, "shape"):
        return [_plain_zarr(path.stem, root)]
    arrays = [_plain_zarr(name, array) for name, array in root.arrays()]
    return list(_experiments(root)) or arrays


def _plain_zarr(name: str, array: Any) -> Candidate:
    return Candidate(name, tuple(array.shape), array.dtype, lambda: array)


def _datasets(node: Any) -> Iterator[Any]:
    """Walk through an HDF5 group without following links twice."""
    import h5py

    names: list[str] = []
    node.visit(names.append)
    yield from (child for name in names if isinstance(child := node[name], h5py.Dataset))


def _dataset(dataset: Any) -> Candidate:
    properties = dataset.attrs.get("properties")
    name = str(dataset.name)
    load = partial(_itself, dataset)
    if isinstance(properties, str | bytes):
        return nion_candidate(name, dataset.shape, dataset.dtype, load, json.loads(properties))
    kind = _text(dataset.attrs.get("data_type"))
    nsid = "main_data_name" in dataset.attrs or "pyNSID_version" in dataset.attrs
    reason = (
        f"NSID data of type {kind}; {SURVEY}" if nsid and kind not in {*_NSID_IMAGES, ""} else ""
    )
    return Candidate(
        name,
        dataset.shape or (),
        dataset.dtype,
        load,
        _dimensions(dataset),
        modality_of(_text(dataset.attrs.get("modality")), _text(dataset.attrs.get("title")), name),
        preference=2.0 if nsid and not reason else 0.0,
        reason=reason,
        metadata={str(k): _text(v) for k, v in dataset.attrs.items() if np.ndim(v) == 0},
    )


def _dimensions(dataset: Any) -> tuple[Axis, ...]:
    """Return the axes from attached HDF5 dimension scales (NSID and others)."""
    axes = []
    for dimension in dataset.dims:
        scale = dimension[0] if len(dimension) else None
        if scale is None or scale.shape is None or scale.ndim != 1 or scale.size < 2:
            axes.append(Axis())
            continue
        values = np.asarray(scale[:], dtype=float)
        step = float(values[-1] - values[0]) / (len(values) - 1)
        axes.append(Axis(step, _text(scale.attrs.get("units")), float(values[0])))
    return tuple(axes)


def _experiments(root: Any) -> Iterator[Candidate]:
    """Describe the signals below 'Experiments', as HyperSpy writes them to HDF5 and zarr."""
    signals = root.get("Experiments", {})
    for name in signals:
        group = signals[name]
        if "data" in group:
            yield _experiment(str(name), group)


def _experiment(name: str, group: Any) -> Candidate:
    data = group["data"]
    raw = [dict(group[f"axis-{i}"].attrs) for i in range(len(data.shape)) if f"axis-{i}" in group]
    axes = tuple(
        Axis(float(a.get("scale") or 0), _text(a.get("units")), float(a.get("offset") or 0))
        for a in raw
    )
    general, signal = (_attributes(group, f"metadata/{part}") for part in ("General", "Signal"))
    title = _text(general.get("title")) or name.strip("_")
    kind = _text(signal.get("signal_type"))
    reason = f"a signal of type {kind}; {SURVEY}" if kind and "image" not in kind.casefold() else ""
    signal_axes = [a for a in raw if a.get("navigate") is not None and not a["navigate"]]
    if len(signal_axes) == 1:
        reason = SPECTRUM
    return Candidate(
        title,
        tuple(data.shape),
        data.dtype,
        partial(_itself, data),
        axes if len(axes) == len(data.shape) else (),
        modality_of(title, _text(signal.get("quantity"))),
        reason=reason,
        metadata={k: _text(v) for k, v in general.items() if np.ndim(v) == 0},
    )


def _attributes(group: Any, name: str) -> Mapping[str, Any]:
    return dict(group[name].attrs) if name in group else {}


def _itself(data: Any) -> Any:
    return data


def _text(value: Any) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    # HyperSpy writes this for None.
    return "" if text in ("_None_", "None", "<undefined>") else text
