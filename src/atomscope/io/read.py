"""From a file or an array to an `Image`: the one door of this package."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from atomscope.errors import AtomscopeError, InputError, MissingExtraError, UsageError
from atomscope.io import candidate as judged
from atomscope.io import hdf, registry
from atomscope.io.candidate import Candidate
from atomscope.io.colour import without_colour
from atomscope.io.convert import from_array
from atomscope.io.frames import Frames
from atomscope.types import Image, Modality

# A single image below this is loaded at once, so that damage shows while reading.
_LOAD_BELOW_BYTES = 1 << 30
# A given pixel size that differs more from that of the file is told.
_DOUBTFUL = 0.05
_ONE_THREAD = threading.RLock()
_CHATTY_LOGGERS = ("tifffile", "rsciio", "hyperspy", "imageio", "imageio_ffmpeg", "PIL")


@dataclass(frozen=True)
class Entry:
    """One array of a file, as `list_images` tells it.

    Attributes:
        index: Number to give as `select`.
        name: Name in the file; can be given as `select`, too.
        shape: Shape of the array.
        dtype: Type of its values.
        pixel_size: Å per pixel, or None where the file does not say.
        unit: Unit of length as written in the file.
        modality: How the contrast came about, where the file says so.
        is_image: Whether `read` takes it.
        reason: What it is instead of an image; empty for an image.
        best: Whether `read` takes it where none is selected.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    pixel_size: float | None
    unit: str
    modality: Modality
    is_image: bool
    reason: str
    best: bool


def read(source: Any, *, select: int | str | None = None, pixel_size: float | None = None) -> Image:
    """Read a micrograph or a movie.

    Movies stay on file and are fetched frame by frame; memory maps are never loaded.

    Args:
        source: Path of a file, also 'file.h5::/path/in/file'; or an array of shape (y, x) or
            (t, y, x): numpy, memmap, h5py, zarr, dask, xarray, HyperSpy signal, sidpy Dataset.
        select: Number or name of one image of the file, see `list_images`; None takes the best.
        pixel_size: Å per pixel, instead of what the file says.

    Returns:
        The image with pixel size in Å; what was chosen or doubtful stands in its warnings.

    Raises:
        InputError: There is no image of atoms to be read, or it is damaged.
        MissingExtraError: The format needs a package that is not installed.
        UsageError: `select` names nothing in the file, or the pixel size is no positive number.
    """
    if not isinstance(source, str | Path):
        image = from_array(source)
        return image if pixel_size is None else image.with_pixel_size(pixel_size)
    path, found = _candidates(source)
    number = _choose(path, found, select)
    chosen = found[number]
    with _guard(path.name):
        image = _image(path, chosen, pixel_size, several=len(found) > 1)
    if len(found) > 1 and select is None:
        line = f"The file holds {len(found)} arrays; {chosen.name!r} (number {number}) was taken."
        image = replace(image, warnings=(line, *image.warnings))
    return image


def list_images(path: str | Path) -> list[Entry]:
    """List all arrays of a file, images or not, without loading them.

    Raises:
        InputError: The file is missing, damaged or of unknown kind.
        MissingExtraError: The format needs a package that is not installed.
    """
    _, found = _candidates(path)
    best = _best(found)
    return [_entry(i, candidate, best=i == best) for i, candidate in enumerate(found)]


def _candidates(source: str | Path) -> tuple[Path, list[Candidate]]:
    path, inner = registry.split_path(source)
    readers = registry.find(path)
    if inner is not None:
        if not any(r.magic == registry.HDF5 for r in readers):
            raise InputError(
                f"{source}: a path inside the file was given; expected an HDF5 file before '::'. "
                "Name only the file, and choose with select."
            )
        with _guard(path.name):
            return path, _prepared(hdf.read_hdf5(path, inner))
    first_error: AtomscopeError | None = None
    for reader in readers:
        try:
            with _guard(path.name, reader.name):
                found = _prepared(reader.candidates(path))
        except AtomscopeError as error:
            first_error = first_error or error
            continue
        if found:
            return path, found
    raise first_error or InputError(
        f"{path.name}: no arrays found by the {readers[0].name} reader; expected a micrograph. "
        "Export the image again."
    )


def _prepared(found: list[Candidate]) -> list[Candidate]:
    """Give each array a name of its own and make coloured pictures grey."""
    seen: dict[str, int] = {}
    result = []
    for candidate in found:
        count = seen[candidate.name] = seen.get(candidate.name, 0) + 1
        name = candidate.name if count == 1 else f"{candidate.name} #{count}"
        result.append(without_colour(replace(candidate, name=name)))
    return result


def _choose(path: Path, found: list[Candidate], select: int | str | None) -> int:
    names = [c.name for c in found]
    reasons = [judged.why_no_image(c) for c in found]
    if select is None:
        best = _best(found)
        if best is not None:
            return best
        told = "; ".join(f"{n}: {r}" for n, r in list(zip(names, reasons, strict=True))[:3])
        told = reasons[0] if len(found) == 1 else f"{len(found)} arrays, none an image ({told})"
        raise InputError(
            f"{path.name}: {told}. Expected an image (y, x) or a movie (t, y, x) of real numbers."
        )
    number = names.index(str(select)) if str(select) in names else _number(select)
    if not 0 <= number < len(found):
        listed = ", ".join(f"{i} {name}" for i, name in enumerate(names[:20]))
        raise UsageError(
            f"{path.name}: {select!r} selected; expected a number or name of: {listed}."
        )
    if reasons[number]:
        raise InputError(
            f"{path.name}: {names[number]!r} is selected, but it is {reasons[number]}. "
            "Select an image; list_images shows them."
        )
    return number


def _best(found: list[Candidate]) -> int | None:
    images = [i for i, candidate in enumerate(found) if not judged.why_no_image(candidate)]
    return max(images, key=lambda i: (_rank(found[i]), -i), default=None)


def _number(select: int | str) -> int:
    text = str(select)
    return int(text) if text.isdecimal() else -1


def _rank(candidate: Candidate) -> tuple[float, bool, int]:
    """Order images: preference of the reader, then known modality, then pixels of a frame."""
    height, width = candidate.shape[-2:]
    preview = any(w in candidate.name.casefold() for w in ("survey", "thumbnail", "preview"))
    return candidate.preference - 10 * preview, candidate.modality != "unknown", height * width


def _entry(index: int, candidate: Candidate, *, best: bool) -> Entry:
    reason = judged.why_no_image(candidate)
    size = None
    if not reason:
        try:
            size, _ = judged.pixel_size(candidate)
        except InputError:
            reason = "an image whose pixels are far from square"
    unit = candidate.axes[-1].unit if candidate.axes else ""
    dtype = str(np.dtype(candidate.dtype))
    return Entry(
        index,
        candidate.name,
        candidate.shape,
        dtype,
        size,
        unit,
        candidate.modality,
        not reason,
        reason,
        best and not reason,
    )


def _image(path: Path, chosen: Candidate, pixel_size: float | None, *, several: bool) -> Image:
    name = f"{path.name} [{chosen.name}]" if several else path.name
    size, lines = _calibrated(replace(chosen, name=name), pixel_size)
    data = _lazy(chosen.load(), name)
    if tuple(data.shape) != tuple(chosen.shape):
        raise InputError(
            f"{name}: the file announces shape {tuple(chosen.shape)} and holds "
            f"{tuple(data.shape)}; expected them to agree. Export it again."
        )
    return Image(
        data,
        size,
        chosen.modality,
        name,
        judged.frame_times(chosen),
        MappingProxyType(dict(chosen.metadata)),
        (*chosen.warnings, *lines),
    )


def _calibrated(chosen: Candidate, given: float | None) -> tuple[float | None, tuple[str, ...]]:
    """Return the pixel size to use, the one given first, and lines for the user."""
    if given is None:
        return judged.pixel_size(chosen)
    try:
        known, _ = judged.pixel_size(chosen)
    except InputError as error:
        return given, (str(error),)
    if known and abs(given / known - 1) > _DOUBTFUL:
        return given, (
            f"The pixel size given, {given:.4g} Å, is used; the file says {known:.4g} Å.",
        )
    return given, ()


def _lazy(data: Any, name: str) -> Any:
    """Load small single images; guard every later access to a movie on file."""
    if isinstance(data, np.ndarray):
        return data
    bytes_ = int(np.prod(data.shape)) * np.dtype(data.dtype).itemsize
    if len(data.shape) == 2:
        if bytes_ < _LOAD_BELOW_BYTES:
            return np.asarray(data[:])
        np.asarray(data[-1:, -1:])  # a truncated file shows here
        return data

    def frame(index: int) -> Any:
        with _guard(name):
            return np.asarray(data[index])

    movie = Frames(data.shape, data.dtype, frame)
    if len(movie) and not isinstance(data, Frames):
        movie[-1]  # a truncated file shows here, not in the middle of a run
    return movie


@contextmanager
def _guard(name: str, reader: str = "") -> Iterator[None]:
    """Turn whatever a foreign reader raises into one line; keep its warnings and logs quiet."""
    loggers = [logging.getLogger(each) for each in _CHATTY_LOGGERS]
    try:
        # Filters of warnings belong to the whole process: one thread at a time.
        with _ONE_THREAD, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            levels = [logger.level for logger in loggers]
            try:
                for logger in loggers:
                    logger.setLevel(logging.CRITICAL + 1)
                yield
            finally:
                for logger, level in zip(loggers, levels, strict=True):
                    logger.setLevel(level)
    except AtomscopeError:
        raise
    except Exception as error:
        if "hdf5" in str(error) and "plugin" in str(error):
            raise MissingExtraError(
                f"{name}: its compression needs hdf5plugin, which is not installed. "
                "Run: pip install hdf5plugin"
            ) from error
        raise InputError(
            f"{name}: cannot be read{f' as {reader}' if reader else ''}: damaged, cut short, or of "
            "a kind that its name does not tell; expected a whole file. Copy or export it again."
        ) from error
