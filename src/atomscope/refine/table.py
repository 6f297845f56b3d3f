"""From a table of detected columns to a table of measured ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.columns import conform, is_placed, need_positions, positions, with_flags
from atomscope.errors import UsageError
from atomscope.recipe.stages import RefineOptions
from atomscope.refine.joined import WIDTH, from_joined, join, to_joined
from atomscope.refine.phases import Fit, fit_frame
from atomscope.refine.pixels import Pixels
from atomscope.refine.start import Start, find_start
from atomscope.refine.windows import E1, E2, LOG_WIDTH, PEAK, Floats, X, Y
from atomscope.types import FloatArray

_DEFAULT = RefineOptions()
_CHUNK = 1 << 20  # pixels worked on at a time
_BAND = 1024  # rows


def refine(
    frame: FloatArray,
    atoms: pd.DataFrame,
    *,
    options: RefineOptions = _DEFAULT,
    mask: NDArray[np.bool_] | None = None,
    dark: bool = False,
) -> pd.DataFrame:
    """Measure positions, widths and intensities of columns, with errors, down to the noise.

    All columns are fitted together as Gaussians on a smooth background, by maximum
    likelihood (iteratively re-weighted Gauss-Newton); the errors are those of the
    covariance, with neighbours, widths and background left free, and grow where the
    Gaussians do not describe the image. A column that does not converge, leaves its
    bounds or does not stand out of the noise keeps the detector's position and gets
    the flag 'unrefined' and no errors.

    Args:
        frame: Image, shape (y, x), of integers or floats; pixels that are not finite are left
            out.
        atoms: Detected columns of this frame, with `x_px` and `y_px`.
        options: See `RefineOptions`.
        mask: True where a pixel may be used, shape (y, x); None for all.
        dark: Columns are darker than the background; intensities come out negative.

    Returns:
        The table, same rows and order, with x_px, y_px, x_err_px, y_err_px, intensity,
        intensity_err, width, background and flags filled.

    Raises:
        UsageError: The frame is not two-dimensional or not of real numbers, the mask has another
            shape, or the table has no positions.
    """
    image, usable = checked(frame, atoms, mask)
    table = conform(atoms)
    done = measure(image, usable, table, options, dark=dark)
    if done is None:
        return table.assign(flags=with_flags(table, _unfitted(len(table))))
    with np.errstate(all="ignore"):
        return _fill(table, done, usable)


@dataclass(frozen=True)
class Measured:
    """A fit, and what leads back from its units to those of the frame.

    Attributes:
        fit: Of the columns with known positions.
        start: Where it began.
        known: Rows of the table that have positions.
        unit: Brightness of the frame per unit of the fit; negative for dark columns.
        level: Brightness of the frame at zero of the fit.
    """

    fit: Fit
    start: Start
    known: NDArray[np.bool_]
    unit: float
    level: float


def checked(
    frame: FloatArray, atoms: pd.DataFrame, mask: NDArray[np.bool_] | None
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the frame and its usable pixels; raises as `refine` does."""
    image = np.asarray(frame)
    if image.dtype.kind not in "buif":
        raise UsageError(f"the frame has values of type {image.dtype}; expected real numbers.")
    if image.ndim != 2:
        raise UsageError(f"the frame has shape {image.shape}; expected (y, x): give one frame.")
    need_positions(atoms)
    if mask is not None and np.shape(mask) != image.shape:
        raise UsageError(
            f"the mask has shape {np.shape(mask)}; expected that of the frame, {image.shape}."
        )
    # float32 holds 16-bit counts exactly; floats of 4 bytes and more stay as they are
    wide = image.dtype.itemsize > (4 if image.dtype.kind == "f" else 2)
    image = image.astype(np.float64 if wide else np.float32, copy=False)
    usable = np.isfinite(image)
    if mask is not None:
        usable &= np.asarray(mask, dtype=bool)
    return image, usable


def measure(
    image: FloatArray,
    usable: NDArray[np.bool_],
    table: pd.DataFrame,
    options: RefineOptions,
    *,
    dark: bool,
) -> Measured | None:
    """Fit the columns of a table; None where there is none, or no contrast."""
    seen = positions(table)
    known = is_placed(table)
    with np.errstate(all="ignore"):
        level, scale = _typical(image, usable)
    if not known.any() or scale == 0.0:
        return None
    sign = -1.0 if dark else 1.0
    if options.weights == "poisson":
        scale, level = 1.0, 0.0
    # Numbers near one, whatever the unit of the detector.
    pixels = Pixels(image, usable, level, sign / scale)
    # Frames of a few pixels or of wild numbers overflow on the way; what is not finite in
    # the end is flagged.
    with np.errstate(all="ignore"):
        start = find_start(pixels, seen[known], options.max_shift)
        fit = _fitted(pixels, start, options)
    return Measured(fit, start, known, sign * scale, level)


def _fitted(pixels: Pixels, start: Start, options: RefineOptions) -> Fit:
    """Fit all columns, wide ones on joined pixels."""
    step = int(start.width / WIDTH)
    if step < 2:
        return fit_frame(pixels, start, options)
    counts = options.weights == "poisson"
    joined = join(pixels, step, counts=counts)
    begin = find_start(joined, to_joined(start.xy, step), options.max_shift)
    fit = fit_frame(joined, begin, options)
    return from_joined(fit, step, pixels.shape, counts=counts)


def _typical(image: FloatArray, usable: NDArray[np.bool_]) -> tuple[float, float]:
    """Median and spread of the usable pixels; 0, 0 where there is no contrast."""
    values = image.ravel() if usable.all() else image[usable]
    if not values.size:
        return 0.0, 0.0
    parts = [values[i : i + _CHUNK] for i in range(0, values.size, _CHUNK)]
    middle = sum(float(part.astype(np.float64).sum()) for part in parts) / values.size
    squares = (float(np.sum((part.astype(np.float64) - middle) ** 2)) for part in parts)
    spread = np.sqrt(sum(squares) / values.size)
    # Rounding of a constant image is not contrast.
    largest = max(abs(float(values.max())), abs(float(values.min())))
    if not spread > 1e-12 * largest:
        return 0.0, 0.0
    middles = [(values.size - 1) // 2, values.size // 2]
    if values.base is not None:  # the image itself, which stays as it is
        values = values.copy()
    values.partition(middles)
    return 0.5 * sum(float(values[k]) for k in middles), float(spread)


def _fill(table: pd.DataFrame, done: Measured, usable: NDArray[np.bool_]) -> pd.DataFrame:
    fit, start, known = done.fit, done.start, done.known
    unit, level = done.unit, done.level
    covariance = fit.covariance
    covariance *= fit.misfit[:, None, None]  # in place: of a million atoms it is 128 MB
    width, volume, gradient = _volume(fit.theta, covariance.shape[1])
    error = np.sqrt(np.einsum("nii->ni", covariance)[:, :2])
    volume_error = np.sqrt(np.einsum("na,nab,nb->n", gradient, covariance, gradient))
    good = fit.good & np.isfinite(error).all(axis=1) & (error.max(axis=1) < width)
    rows = np.flatnonzero(known)
    filled = {
        "x_px": fit.theta[:, X],
        "y_px": fit.theta[:, Y],
        "x_err_px": error[:, 0],
        "y_err_px": error[:, 1],
        "intensity_err": np.abs(unit) * volume_error,
    }
    for name, values in filled.items():
        column = table[name].to_numpy(copy=True)
        column[rows] = np.where(good, values, column[rows] if name in ("x_px", "y_px") else np.nan)
        table[name] = column
    for name, values in (
        ("intensity", unit * volume),
        ("width", width),
        ("background", unit * fit.ground + level),
    ):
        column = np.full(len(table), np.nan)
        column[rows] = values
        table[name] = column
    marks = _unfitted(len(table))
    marks["unrefined"][rows] = ~good
    shape = usable.shape
    x, y = fit.theta[:, X], fit.theta[:, Y]
    inset = np.minimum(np.minimum(x, shape[1] - 1 - x), np.minimum(y, shape[0] - 1 - y))
    marks["edge"][rows] = inset < width
    marks["overlap"][rows] = start.nearest < 2 * width
    marks["masked"][rows] = _touches(x, y, width, ~usable)
    table["flags"] = with_flags(table, marks)
    return table


def _unfitted(count: int) -> dict[str, NDArray[np.bool_]]:
    """Marks of columns that were not fitted."""
    none = {name: np.zeros(count, dtype=bool) for name in ("edge", "masked", "overlap")}
    return none | {"unrefined": np.ones(count, dtype=bool)}


def _volume(theta: Floats, p: int) -> tuple[Floats, Floats, Floats]:
    """Width, volume 2 pi A s² / sqrt(1 - e²) and its gradient by the parameters, (N, p)."""
    peak, square = theta[:, PEAK], np.exp(2 * theta[:, LOG_WIDTH])
    tilt = 1 - theta[:, E1] ** 2 - theta[:, E2] ** 2
    volume = 2 * np.pi * peak * square / np.sqrt(tilt)
    gradient = np.zeros((len(theta), 6))
    gradient[:, PEAK] = volume / np.maximum(peak, 1e-300)
    gradient[:, LOG_WIDTH] = 2 * volume
    gradient[:, E1] = volume * theta[:, E1] / tilt
    gradient[:, E2] = volume * theta[:, E2] / tilt
    return np.sqrt(square / np.sqrt(tilt)), volume, gradient[:, :p]


def _touches(x: Floats, y: Floats, width: Floats, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Columns with an unusable pixel within two widths."""
    if not bad.any():
        return np.zeros(len(x), dtype=bool)
    from scipy.ndimage import distance_transform_edt

    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    reach = int(np.ceil(2 * width.max())) + 1
    near = np.zeros(len(x), dtype=bool)
    for first in range(0, len(bad), _BAND):
        top = max(first - reach, 0)
        part = bad[top : first + _BAND + reach]
        here = np.flatnonzero((row >= first) & (row < first + _BAND))
        if len(here) and part.any():
            distance = distance_transform_edt(~part)
            near[here] = distance[row[here] - top, column[here]] < 2 * width[here]
    return near
