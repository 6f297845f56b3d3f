"""TIFF with the calibrations that microscopists meet, through tifffile."""

from __future__ import annotations

import contextlib
import math
import re
import weakref
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import MissingExtraError
from atomscope.io import units
from atomscope.io.candidate import DETECTOR_PREFERENCE, Axis, Candidate, modality_of
from atomscope.io.colour import is_colour
from atomscope.io.frames import Frames
from atomscope.io.pictures import any_size

# Plain resolution tags speak of printing unless the pixels are this small (Å).
_PRINT_ABOVE = 100.0
_PRINT_UNITS = ("in", "inch", "cm")
_SLICES = (
    "The frames are slices (axis Z) and are read as a movie; if they are depths or foci of one "
    "place, events between them mean nothing: take one with frames (A:B)."
)
_DM_UNIT, _DM_SCALE = (65004, 65003), (65010, 65009)  # y, x as Gatan writes them


@dataclass(frozen=True)
class _Calibration:
    """Steps along (y, x) and, where known, between frames."""

    axes: tuple[Axis, Axis]
    interval: Axis


def read_tiff(path: Path) -> list[Candidate]:
    """Describe each series of a TIFF file; uncompressed data are memory-mapped, pages else lazy."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        calibration = _calibration(file)
        text = str(file.pages.first.description)[:200] if len(file.pages) else ""
        found: list[Candidate] = []
        for number, series in enumerate(file.series):
            if "C" in series.axes and not series.axes.endswith("S"):
                labels = _channel_names(file, number)
                found += _channels(path, number, series, calibration, labels)
            else:
                found.append(_series(path, number, series, calibration, text))
        return found


def _channels(
    path: Path, number: int, series: Any, calibration: _Calibration, labels: list[str]
) -> list[Candidate]:
    """Describe each channel: detectors that saw the same field at once are no frames of a movie."""
    place = series.axes.index("C")
    lengths = [int(n) for n in series.shape]
    count, axes = lengths.pop(place), series.axes.replace("C", "")
    shape, dtype = tuple(lengths), series.dtype
    stack = _stack(path, number, shape, axes, dtype, calibration)
    found = []
    for index in range(count):
        label = (labels[index] if index < len(labels) else "") or f"channel {index}"
        modality = modality_of(label)
        found.append(
            replace(
                stack,
                name=label,
                load=partial(_planes, path, number, shape, dtype, (place, index)),
                modality=modality,
                preference=DETECTOR_PREFERENCE.get(modality, 0.0),
                metadata={"title": label},
            )
        )
    return found


def _stack(
    path: Path,
    number: int,
    shape: tuple[int, ...],
    axes: str,
    dtype: Any,
    calibration: _Calibration,
) -> Candidate:
    """Describe an image or a stack of grey planes."""
    first = (calibration.interval if axes[0] in "TIQ" else Axis(),) if len(shape) == 3 else ()
    return Candidate(
        "",
        shape,
        dtype,
        partial(_planes, path, number, shape, dtype),
        axes=(*first, *calibration.axes) if len(shape) in (2, 3) else (),
        warnings=(_SLICES,) if first and axes[0] == "Z" else (),
    )


def _series(
    path: Path, number: int, series: Any, calibration: _Calibration, text: str
) -> Candidate:
    shape, dtype = tuple(int(n) for n in series.shape), series.dtype
    name = str(series.name or "") or f"series {number}"
    stack = _stack(path, number, shape, series.axes, dtype, calibration)
    known = replace(stack, name=name, modality=modality_of(name, text), metadata={"title": name})
    spatial = calibration.axes
    if len(shape) == 3 and series.axes.startswith("S"):
        if not is_colour((*shape[1:], shape[0]), dtype):
            # No camera writes colours so: three or four frames, saved by a program that guessed.
            return replace(
                known, axes=(Axis(), *spatial), load=lambda: _mapped(path, number, dtype)
            )
        turned = (*shape[1:], shape[0])
        return replace(
            known,
            shape=turned,
            axes=spatial,
            load=lambda: np.moveaxis(_values(path, number), 0, -1),
        )
    if series.axes.endswith("S"):
        reason = "" if len(shape) == 3 else "a stack of coloured pictures; convert it to grey first"
        return replace(known, axes=spatial, reason=reason, load=lambda: _values(path, number))
    return known


def _mapped(path: Path, number: int, dtype: Any) -> NDArray[Any]:
    import tifffile

    # memmap refuses compressed and scattered data with a ValueError.
    with contextlib.suppress(ValueError):
        mapped: NDArray[Any] = tifffile.memmap(path, series=number, mode="r")
        return mapped
    return _values(path, number).astype(dtype, copy=False)


def _planes(
    path: Path,
    number: int,
    shape: tuple[int, ...],
    dtype: Any,
    channel: tuple[int, int] | None = None,
) -> Any:
    """Return a series, or one channel (its axis, its number): mapped, else page by page."""
    import tifffile

    with contextlib.suppress(ValueError):
        return _of_channel(tifffile.memmap(path, series=number, mode="r"), channel)
    if len(shape) > 3 or (len(shape) == 2 and channel is None):
        return _values(path, number).astype(dtype, copy=False)
    file = tifffile.TiffFile(path)
    pages, stacked = file.series[number].pages, file.series[number].shape[:-2]
    numbers = _of_channel(np.arange(math.prod(stacked)).reshape(stacked), channel)

    def frame(index: int | tuple[()]) -> NDArray[Any]:
        page = pages[int(numbers[index])]
        return _decoded(path, page, page).astype(dtype, copy=False)

    if len(shape) == 2:
        with file:
            return frame(())
    movie = Frames(shape, dtype, frame)
    weakref.finalize(movie, file.close)
    movie[-1]  # a truncated file shows here
    return movie


def _of_channel(values: Any, channel: tuple[int, int] | None) -> Any:
    """Return the part of one channel, given as its axis and number, as a view."""
    return values if channel is None else np.moveaxis(values, channel[0], 0)[channel[1]]


def _channel_names(file: Any, number: int) -> list[str]:
    """Return the names of the channels of a series, as far as OME-XML or ImageJ tells them."""
    if file.is_ome:
        images = [e for e in ET.fromstring(file.ome_metadata).iter() if e.tag.endswith("}Image")]
        channels = [e for e in images[number].iter() if e.tag.endswith("}Channel")]
        return [str(e.get("Name") or "") for e in channels]
    # ImageJ names planes, channels first.
    return [str(label) for label in (file.imagej_metadata or {}).get("Labels", ())]


def _values(path: Path, number: int) -> NDArray[Any]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[number]
        return _decoded(path, series, series.pages[0])


def _decoded(path: Path, part: Any, page: Any) -> NDArray[Any]:
    """Return the values of a series or page; compressions that tifffile lacks come from Pillow."""
    try:
        return np.asarray(part.asarray())
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
    from PIL import Image, UnidentifiedImageError

    try:
        with any_size(), Image.open(path) as picture:
            picture.seek(page.index)
            return np.asarray(picture)
    except (OSError, UnidentifiedImageError) as error:
        raise MissingExtraError(
            f"{path.name}: its compression needs the package imagecodecs, which is not installed. "
            "Run: pip install imagecodecs"
        ) from error


def _calibration(file: Any) -> _Calibration:
    if file.is_ome:
        return _ome(file.ome_metadata)
    tags = file.pages.first.tags
    imagej = file.imagej_metadata or {}
    unit = str(imagej.get("unit") or "").replace("\\u00B5", "µ").replace("\\u00C5", "Å")
    interval = Axis(_number(imagej.get("finterval")), "s")
    known = units.angstroms(unit) or units.is_reciprocal(unit)
    if known and units.plain(unit) not in _PRINT_UNITS:
        axes = (Axis(_step(tags, "YResolution"), unit), Axis(_step(tags, "XResolution"), unit))
        return _Calibration(axes, interval)
    for vendor in (_gatan(tags), _thermo(file), _zeiss(file)):
        if vendor is not None:
            return _Calibration(vendor, interval)
    return _Calibration(_plain(tags), interval)


def _ome(text: str) -> _Calibration:
    pixels = next((e for e in ET.fromstring(text).iter() if e.tag.endswith("}Pixels")), None)
    known = {} if pixels is None else pixels.attrib

    def axis(key: str, default: str) -> Axis:
        return Axis(_number(known.get(key)), known.get(f"{key}Unit", default))

    # The unit may be left out of OME-XML; the schema then means µm and s.
    axes = (axis("PhysicalSizeY", "µm"), axis("PhysicalSizeX", "µm"))
    return _Calibration(axes, axis("TimeIncrement", "s"))


def _gatan(tags: Any) -> tuple[Axis, Axis] | None:
    if not all(code in tags for code in (*_DM_UNIT, *_DM_SCALE)):
        return None
    y, x = (
        Axis(_number(tags[scale].value), str(tags[unit].value))
        for unit, scale in zip(_DM_UNIT, _DM_SCALE, strict=True)
    )
    return (y, x)


def _thermo(file: Any) -> tuple[Axis, Axis] | None:
    scan = (file.fei_metadata or {}).get("Scan", {}) if file.is_fei else {}
    if "PixelWidth" not in scan:
        return None
    return Axis(_number(scan.get("PixelHeight")), "m"), Axis(_number(scan["PixelWidth"]), "m")


def _zeiss(file: Any) -> tuple[Axis, Axis] | None:
    known = (file.sem_metadata or {}) if file.is_sem else {}
    entry = known.get("ap_image_pixel_size") or known.get("ap_pixel_size")
    if not isinstance(entry, tuple) or len(entry) != 3:
        return None
    axis = Axis(_number(entry[1]), str(entry[2]))
    return axis, axis


def _plain(tags: Any) -> tuple[Axis, Axis]:
    unit = {2: "in", 3: "cm"}.get(
        int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 0
    )
    y, x = _step(tags, "YResolution"), _step(tags, "XResolution")
    factor = units.angstroms(unit)
    if factor is None or x is None or x * factor > _PRINT_ABOVE:
        return Axis(), Axis()
    return Axis(y, str(unit)), Axis(x, str(unit))


def _step(tags: Any, name: str) -> float | None:
    """Return the length of a pixel from a resolution tag (pixels per unit, a fraction)."""
    if name not in tags:
        return None
    value = tags[name].value
    pixels, length = value if isinstance(value, tuple) else (value, 1)
    return length / pixels if pixels and length else None


def _number(value: object) -> float | None:
    match = re.match(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?", str(value))
    return float(match.group()) if match else None
