"""Arrays and the containers of other packages, to and from `Image`."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from atomscope.errors import InputError, UsageError
from atomscope.io import candidate as judged
from atomscope.io.candidate import Axis, Candidate, modality_of
from atomscope.io.colour import without_colour
from atomscope.io.extras import need
from atomscope.types import Image


def from_array(source: Any) -> Image:
    """Return an image of an array: numpy, memmap, h5py, zarr, dask, xarray, HyperSpy or sidpy.

    Args:
        source: Shape (y, x) or (t, y, x); calibrations of the containers are taken over. A lazy
            array stays lazy.

    Raises:
        InputError: It is no image or movie of real numbers.
        UsageError: It is no array at all.
    """
    if isinstance(source, Image):
        return source
    # Known by the name of the module, so that none of these packages is imported.
    makers = {"xarray": from_xarray, "hyperspy": from_hyperspy, "sidpy": from_sidpy}
    for kind in type(source).__mro__:
        maker = makers.get(kind.__module__.partition(".")[0])
        if maker is not None:
            return maker(source)
    if isinstance(source, list | tuple):
        source = _rectangular(source)
    if isinstance(source, np.ma.MaskedArray):
        source = np.ma.filled(source.astype(np.result_type(source.dtype, np.float32)), np.nan)
    if not all(hasattr(source, name) for name in ("shape", "dtype", "__getitem__")):
        raise UsageError(
            f"{type(source).__name__} given; expected the path of a file or an array (y, x) or "
            "(t, y, x). Convert it to a numpy array first."
        )
    shape = tuple(source.shape)
    return _image(without_colour(Candidate("array", shape, source.dtype, lambda: source)))


def from_xarray(source: Any) -> Image:
    """Return an image of an `xarray.DataArray`; steps and units come from its coordinates."""
    axes = tuple(
        _steps(source.coords[d].values, source.coords[d].attrs.get("units"))
        if d in source.coords
        else Axis()
        for d in source.dims
    )
    name = str(source.name or "array")
    modality = modality_of(source.attrs.get("modality"), name)
    # .variable.data keeps dask arrays lazy; a lazily opened file is kept by the DataArray itself.
    return _image(
        Candidate(
            name, tuple(source.shape), source.dtype, lambda: source.data, axes, modality,
            metadata=dict(source.attrs),
        )
    )  # fmt: skip


def to_xarray(image: Image) -> Any:
    """Return an `xarray.DataArray` with dimensions (t,) y, x and coordinates in Å (px if unknown).

    Raises:
        MissingExtraError: xarray is not installed.
    """
    xarray = need("xarray", "to_xarray", "xarray")
    step, unit = (image.pixel_size, "Å") if image.pixel_size else (1.0, "px")
    height, width = image.frame_shape
    coords = {
        "y": ("y", np.arange(height) * step, {"units": unit}),
        "x": ("x", np.arange(width) * step, {"units": unit}),
    }
    if image.n_frames > 1 and image.times is not None:
        coords["t"] = ("t", np.asarray(image.times), {"units": "s"})
    dims = ("t", "y", "x")[-len(image.data.shape) :]
    attrs = {"modality": image.modality, **image.metadata}
    return xarray.DataArray(_array(image), coords, dims, name=image.name, attrs=attrs)


def from_hyperspy(signal: Any) -> Image:
    """Return an image of a HyperSpy signal; its axes give the pixel size, a lazy one stays lazy."""
    axes = tuple(
        Axis(float(a.scale), _word(a.units), float(a.offset)) if hasattr(a, "scale") else Axis()
        for a in signal.axes_manager._axes  # in the order of the array; there is no public way
    )
    general = signal.metadata.get_item("General.title", "")
    one_dimensional = getattr(signal.axes_manager, "signal_dimension", 2) == 1
    reason = "a spectrum or a spectrum image" if one_dimensional else ""
    data = signal.data
    return _image(
        Candidate(
            str(general or "signal"), tuple(data.shape), data.dtype, lambda: data, axes,
            modality_of(general), reason=reason,
        )
    )  # fmt: skip


def to_hyperspy(image: Image) -> Any:
    """Return a HyperSpy `Signal2D` with axes in Å (in px where the pixel size is unknown).

    Raises:
        MissingExtraError: HyperSpy is not installed.
    """
    signals = need("hyperspy.signals", "to_hyperspy", "'atomscope[hyperspy]'")
    signal = signals.Signal2D(_array(image))
    for axis, name in zip(signal.axes_manager.signal_axes, ("x", "y"), strict=True):
        axis.name = name
        axis.units = "Å" if image.pixel_size else "px"
        axis.scale = image.pixel_size or 1.0
    for axis in signal.axes_manager.navigation_axes if _interval(image) else ():
        axis.name, axis.units, axis.scale = "t", "s", _interval(image)
    signal.metadata.set_item("General.title", image.name)
    return signal


def from_sidpy(dataset: Any) -> Image:
    """Return an image of a `sidpy.Dataset`; its dimensions give the pixel size."""
    found = [getattr(dataset, "_axes", {}).get(i) for i in range(dataset.ndim)]
    axes = tuple(
        Axis() if d is None else _steps(getattr(d, "values", d), getattr(d, "units", ""))
        for d in found
    )
    kind = str(getattr(getattr(dataset, "data_type", None), "name", "") or "")
    reason = f"sidpy data of type {kind}" if kind.startswith(("SPECTR", "IMAGE_4D")) else ""
    title = str(getattr(dataset, "title", "") or "dataset")
    modality = modality_of(getattr(dataset, "modality", ""), title)
    return _image(
        Candidate(
            title, tuple(dataset.shape), dataset.dtype, lambda: dataset, axes, modality,
            reason=reason,
        )
    )  # fmt: skip


def to_sidpy(image: Image) -> Any:
    """Return a `sidpy.Dataset` with dimensions in Å (in px where the pixel size is unknown).

    Raises:
        MissingExtraError: sidpy is not installed.
    """
    sidpy = need("sidpy", "to_sidpy", "sidpy")
    dataset = sidpy.Dataset.from_array(_array(image), title=image.name)
    dataset.data_type = "IMAGE_STACK" if len(image.data.shape) == 3 else "IMAGE"
    if len(image.data.shape) == 3 and image.times is not None:
        times = sidpy.Dimension(image.times, "t", units="s", dimension_type="temporal")
        dataset.set_dimension(0, times)
    step, unit = (image.pixel_size, "Å") if image.pixel_size else (1.0, "px")
    for axis, name in zip((-2, -1), ("y", "x"), strict=True):
        number = len(image.data.shape) + axis
        values = np.arange(image.data.shape[axis]) * step
        dataset.set_dimension(
            number, sidpy.Dimension(values, name, units=unit, dimension_type="spatial")
        )
    return dataset


def _interval(image: Image) -> float:
    """Return the mean time between frames in s, 0 where unknown."""
    if image.times is None or image.n_frames < 2:
        return 0.0
    return (image.times[-1] - image.times[0]) / (image.n_frames - 1)


def _image(candidate: Candidate) -> Image:
    reason = judged.why_no_image(candidate)
    # A bare array may be of any size.
    if reason and not (reason.startswith(judged.PROFILE) and not candidate.axes):
        raise InputError(
            f"{candidate.name}: {reason}. Expected an image (y, x) or a movie (t, y, x) of real "
            "numbers."
        )
    size, lines = judged.pixel_size(candidate)
    return Image(
        candidate.load(),
        size,
        candidate.modality,
        candidate.name,
        judged.frame_times(candidate),
        MappingProxyType(dict(candidate.metadata)),
        (*candidate.warnings, *lines),
    )


def _rectangular(values: Sequence[Any]) -> Any:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            "array: the rows differ in length; expected (y, x) or (t, y, x). Pad or cut them."
        ) from error


def _steps(values: Any, unit: object) -> Axis:
    """Return the axis of evenly spaced coordinates."""
    numbers = np.asarray(values)
    if numbers.ndim != 1 or len(numbers) < 2 or numbers.dtype.kind not in "fiu":
        return Axis()
    step = float(numbers[-1] - numbers[0]) / (len(numbers) - 1)
    return Axis(step, _word(unit), float(numbers[0]))


def _word(unit: object) -> str:
    text = str(unit or "")
    return "" if text.startswith("<") or text in ("None", "generic") else text


def _array(image: Image) -> Any:
    """Return the data as numpy, unless it is an array that other packages take as it is."""
    kept = type(image.data).__module__.partition(".")[0] in ("numpy", "dask")
    return image.data if kept else np.asarray(image.data)
