"""Light of bright columns far from their centres: measured on them, and taken off the frame.

A probe has tails wider than its core (source size, aberrations, scattering). Those of a perfect
lattice add up to an even background; around a heavy atom they lie on its neighbours, which then
look heavier than they are, and feign atoms. Probe tails are taken off before columns are told
apart in Krivanek et al., Nature 464, 571 (2010) too. Here each column is a Gaussian core with a
Gaussian tail of the same relative height and width in all of the frame; both are measured around
the brightest columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.refine.windows import Floats, Ints
from atomscope.types import FloatArray

_HEAVY = 2.5  # times the peaks of the brighter columns of the lattice
_BRIGHTER = 0.75  # quantile that is such a peak
_MANY = 0.05  # share of the columns beyond which they are no strangers
_LIKE = 1.6  # times the usual width: wider ones are no single columns
_CORE = 1.7  # widths: nothing can be told apart that near to a heavy column
_HIDES = 2.5  # widths around a heavy column in which it may hide others
_SHOWN = 6  # heavy columns that are looked at
_REACH = 8.0  # widths around them
_AROUND = 1.8  # columns are fitted in a patch that many times as wide
_SAME = 0.05  # in logarithms
_LEAST_HEIGHT = 0.02
_CLEAR = 20.0  # least gain in χ² for three parameters
_START = (0.0, 0.1, float(np.log(2.3)))  # log of the width over the usual one, height, log of ratio
_LOWEST, _HIGHEST = (-0.3, 0.0, float(np.log(1.5))), (0.3, 0.6, float(np.log(4.0)))
_RATIO, _RATIO_ERROR = float(np.log(2.5)), 0.2  # what tails are like, where heavy atoms say little


@dataclass(frozen=True)
class Tail:
    """The tail of every column.

    Attributes:
        height: In units of the core's.
        width: Standard deviation in px.
    """

    height: float
    width: float

    def near(self, other: Tail | None) -> bool:
        """Whether another tail is nearly the same."""
        return other is not None and all(
            abs(np.log(a / b)) < _SAME
            for a, b in ((self.height, other.height), (self.width, other.width))
        )


@dataclass(frozen=True)
class _Patch:
    """Pixels around one heavy column.

    Attributes:
        square: Squared distance of each pixel from each column nearby, shape (M, K).
        value: Brightness, shape (M,).
        weight: One over its standard deviation, but for a factor, shape (M,).
    """

    square: Floats
    value: Floats
    weight: Floats


def measure_tail(
    frame: FloatArray,
    atoms: pd.DataFrame,
    others: Floats | None = None,
    hidden: Floats | None = None,
) -> Tail | None:
    """Measure the tails of columns around those that are far brighter than the lattice.

    Args:
        frame: Bright columns, shape (y, x).
        atoms: Refined columns of it.
        others: Places (M, 2) in px to look at where no column is that bright: the tails of a
            lattice of bright and dim columns show where one is exchanged or missing.
        hidden: Places (M, 2) in px where columns may be that a bright one outshines, as under an
            adatom over a bond; else their light passes for a tail.

    Returns:
        The tail; None where nothing shows one.
    """
    fitted = atoms[np.isfinite(atoms["intensity_err"].to_numpy(float))]
    if len(fitted) < 2 * _SHOWN:
        return None
    places = _heavy(fitted)
    if len(places) > max(2, _MANY * len(fitted)):
        return None
    places = places[:_SHOWN]
    if len(places) == 0 and others is not None:
        places, hidden = others, None
    if len(places) == 0:
        return None
    usual = float(fitted["width"].median())
    columns = _with_hidden(positions(atoms), places, hidden, usual)
    patches = [_patch(frame, columns, place, usual) for place in places]
    none = _left(np.array([0.0, 0.0, _RATIO]), patches, usual)
    from scipy.optimize import least_squares  # slow to import, and tails are rare

    fit = least_squares(_left, _START, args=(patches, usual), bounds=(_LOWEST, _HIGHEST))
    shift, height, ratio = fit.x
    noise = 2 * fit.cost / max(len(none) - fit.x.size, 1)
    if height < _LEAST_HEIGHT or (none @ none - 2 * fit.cost) < _CLEAR * noise:
        return None
    return Tail(float(height), float(usual * np.exp(shift + ratio)))


def tails(atoms: pd.DataFrame, tail: Tail, shape: tuple[int, int]) -> Floats:
    """Return the light of the tails of all columns beyond its usual value, shape (y, x).

    Beyond the border the lattice is taken to go on as a mirror image.
    """
    points = np.zeros(shape)
    xy = positions(atoms)
    peak = _peaks(atoms)
    base = np.floor(xy).astype(np.int64)
    part = xy - base
    for dy in (0, 1):
        for dx in (0, 1):
            share = np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
            at = np.clip(base + np.array([dx, dy]), 0, (shape[1] - 1, shape[0] - 1))
            np.add.at(points, (at[:, 1], at[:, 0]), share * peak)
    spread = ndimage.gaussian_filter(points, tail.width, mode="reflect")
    light = 2 * np.pi * tail.width**2 * tail.height * spread
    return np.asarray(light - np.median(light))


def heavy_of(atoms: pd.DataFrame, most: float) -> pd.DataFrame:
    """Return columns brighter than `most` times the lattice, `excess` being what is above it."""
    peak = _peaks(atoms)
    over = peak - most * float(np.nanquantile(peak, _BRIGHTER))
    return atoms.assign(excess=over)[over > 0]


def excess(heavy: pd.DataFrame, shape: tuple[int, int]) -> Floats:
    """Return the light of heavy columns above the limit of `heavy_of`, shape (y, x).

    Without it a detector that looks at relative brightness sees what stands beside them.
    """
    light = np.zeros(shape)
    for x, y, width, height in heavy[["x_px", "y_px", "width", "excess"]].to_numpy(float):
        half = int(np.ceil(6 * width))
        x0, y0 = max(round(x) - half, 0), max(round(y) - half, 0)
        down = np.arange(y0, min(round(y) + half + 1, shape[0])) - y
        right = np.arange(x0, min(round(x) + half + 1, shape[1])) - x
        core = np.exp(-0.5 * (down[:, None] ** 2 + right**2) / width**2)
        light[y0 : y0 + len(down), x0 : x0 + len(right)] += height * core
    return light


def instead(found: pd.DataFrame, heavy: pd.DataFrame) -> pd.DataFrame:
    """Put heavy columns in place of what was found where their light was taken off."""
    places = positions(heavy)
    if len(found):
        distance, nearest = cKDTree(places).query(positions(found))
        found = found[distance > _CORE * heavy["width"].to_numpy(float)[nearest]]
    kept = [name for name in found.columns if name in heavy]
    return pd.concat([found, heavy[kept]], ignore_index=True)


def _peaks(atoms: pd.DataFrame) -> Floats:
    """Heights of the columns, 0 where unknown."""
    height = atoms["intensity"].to_numpy(float) / (2 * np.pi * atoms["width"].to_numpy(float) ** 2)
    return np.asarray(np.where(np.isfinite(height), height, 0.0))


def _heavy(fitted: pd.DataFrame) -> Floats:
    """Places of columns far brighter than the lattice, the brightest first, shape (H, 2)."""
    peak = _peaks(fitted)
    usual = float(fitted["width"].median())
    strange = peak > _HEAVY * float(np.quantile(peak, _BRIGHTER))
    found = np.flatnonzero(strange & (fitted["width"].to_numpy(float) < _LIKE * usual))
    found = found[np.argsort(-peak[found], kind="stable")]
    return positions(fitted)[found]


def _with_hidden(xy: Floats, places: Floats, hidden: Floats | None, width: float) -> Floats:
    """Columns (N, 2), and those that places may hide: beside them, but not within their cores."""
    if hidden is None or len(hidden) == 0:
        return xy
    near = cKDTree(places).query(hidden)[0] < _HIDES * width
    apart = cKDTree(xy).query(hidden)[0] > width
    return np.concatenate([xy, hidden[near & apart]])


def _patch(frame: FloatArray, xy: Floats, place: Floats, width: float) -> _Patch:
    """Cut out every second pixel or so around a place; a core is well sampled even then."""
    reach = _REACH * width
    step = max(1, int(width / 1.9))
    low = np.maximum(place - reach, 0).astype(int)
    high = np.minimum(place + reach + 1, frame.shape[::-1]).astype(int)
    y, x = np.mgrid[low[1] : high[1] : step, low[0] : high[0] : step]
    value = np.asarray(frame[y, x], dtype=np.float64).ravel()
    near: Ints = np.array(cKDTree(xy).query_ball_point(place, _AROUND * reach), dtype=np.int64)
    away = np.stack([x.ravel(), y.ravel()], axis=1)[:, None] - xy[near]
    good = np.isfinite(value)
    floor = value[good].min() if good.any() else 0.0
    bright = np.where(good, value - floor, 0.0)
    weight = np.where(good, 1 / np.sqrt(np.maximum(bright, 0.25 * bright.mean() + 1e-12)), 0.0)
    return _Patch(np.sum(away**2, axis=2), np.where(good, value, 0.0), weight)


def _left(theta: Floats, patches: list[_Patch], usual: float) -> Floats:
    """What a core and a tail leave, heights and background fitted, and the prior, shape (M,)."""
    width = usual * np.exp(theta[0])
    left = []
    for patch in patches:
        shape = np.exp(-0.5 * patch.square / width**2)
        shape += theta[1] * np.exp(-0.5 * patch.square / (width * np.exp(theta[2])) ** 2)
        design = np.column_stack([shape, np.ones(len(shape))]) * patch.weight[:, None]
        wanted = patch.value * patch.weight
        square = design.T @ design
        square += 1e-9 * np.trace(square) * np.eye(len(square))
        left.append(wanted - design @ np.linalg.solve(square, design.T @ wanted))
    scale = np.sqrt(np.mean(np.concatenate(left) ** 2))
    left.append(np.array([scale * (theta[2] - _RATIO) / _RATIO_ERROR]))
    return np.concatenate(left)
