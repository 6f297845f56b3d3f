"""Electron microscopy formats through RosettaSciIO."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from atomscope.errors import InputError, MissingExtraError
from atomscope.io.candidate import (
    DETECTOR_PREFERENCE,
    DIFFRACTION,
    SPECTRUM,
    SURVEY,
    Axis,
    Candidate,
    modality_of,
)
from atomscope.types import Modality

OTHER_SUFFIXES = (
    ".blo",
    ".mib",
    ".app5",
    ".prz",
    ".mrcz",
    ".tvips",
    ".unf",
    ".rpl",
    ".de5",
    ".bcf",
    ".elid",
    ".sur",
    ".dens",
    ".img",
)


# Spectrum images in Velox files are big and of no use here.
_OPTIONS: dict[str, dict[str, str]] = {"emd": {"select_type": "images"}}


def read_rosetta(path: Path, kind: str = "") -> list[Candidate]:
    """Describe each signal of a file lazily; the kind is its suffix unless another is given."""
    from rsciio import IO_PLUGINS

    suffix = kind or path.suffix[1:].casefold()
    plugins = [p for p in IO_PLUGINS if suffix in map(str.casefold, p["file_extensions"])]
    known = {e.casefold() for plugin in plugins for e in plugin["file_extensions"]}
    if path.suffix[1:].casefold() not in known:
        raise InputError(
            f"{path.name}: a {suffix} file under another suffix; expected .{suffix}. Rename it."
        )
    failure: Exception | None = None
    for plugin in plugins:
        try:
            reader = importlib.import_module(plugin["api"])
            signals = reader.file_reader(str(path), lazy=True, **_OPTIONS.get(suffix, {}))
        except ImportError as error:
            raise MissingExtraError(
                f"{path.name}: reading it needs the package {error.name}, which is not installed. "
                "Run: pip install 'atomscope[io]'"
            ) from error
        except MemoryError:
            raise
        except Exception as error:  # any plugin may raise anything on foreign bytes
            failure = failure or error
            continue
        return [_signal(path, signal) for signal in signals]
    raise InputError(
        f"{path.name}: damaged, cut short or of an unknown variant; expected a whole file of type "
        f"{suffix}. Copy it again, or export it as TIFF."
    ) from failure


def _signal(path: Path, signal: Mapping[str, Any]) -> Candidate:
    data, metadata = signal["data"], dict(_leaves(signal.get("metadata", {})))
    title = str(metadata.get("General.title") or "") or path.stem
    axes = tuple(_axis(axis) for axis in signal["axes"])
    modality = _modality(title, metadata)
    return Candidate(
        name=title,
        shape=tuple(int(n) for n in data.shape),
        dtype=data.dtype,
        load=lambda: data,
        axes=axes if len(axes) == data.ndim else (),
        modality=modality,
        preference=DETECTOR_PREFERENCE.get(modality, 0.0),
        reason=_reason(metadata, signal["axes"]),
        metadata=metadata,
    )


def _axis(axis: Mapping[str, Any]) -> Axis:
    return Axis(float(axis.get("scale") or 0), str(axis.get("units") or ""), _offset(axis))


def _offset(axis: Mapping[str, Any]) -> float:
    return float(axis.get("offset") or 0)


def _reason(metadata: Mapping[str, Any], axes: list[Mapping[str, Any]]) -> str:
    kind = str(metadata.get("Signal.signal_type") or "")
    if "diffraction" in kind:
        return DIFFRACTION
    if kind.startswith(("EELS", "EDS", "CL", "Luminescence")):
        return f"a spectrum or a spectrum image ({kind}); {SURVEY}"
    signal_axes = [axis for axis in axes if axis.get("navigate") is False]
    return SPECTRUM if len(signal_axes) == 1 else ""


def _modality(title: str, metadata: Mapping[str, Any]) -> Modality:
    mode = str(metadata.get("Acquisition_instrument.TEM.acquisition_mode") or "")
    found = modality_of(title)
    if found == "unknown" and mode == "TEM":
        return "tem"
    return found


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested metadata to dotted names with plain values."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif isinstance(value, str | int | float | bool):
            yield f"{prefix}{key}", value
        elif hasattr(value, "item") and getattr(value, "size", 0) == 1:
            yield f"{prefix}{key}", value.item()
