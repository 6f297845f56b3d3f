"""How well the fitted columns describe the pixels around each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.knowing.elongation import Elongation
from atomscope.types import FloatArray

Floats = NDArray[np.float64]
REACH = 2.5  # column widths around each atom that are compared
LEAST_EDGE, MOST_EDGE = 2, 12  # px: smaller windows say nothing, larger ones cost too much
CHUNK = 4096  # atoms whose windows are held in memory at a time
BAND = 512  # rows of the frame that are worked on at a time
SAMPLE = 4_200_000  # pixels that are enough to tell the spread of what is left


class Filled:
    """Rows of a frame in which bad pixels have the median of the good ones, made when asked for.

    Attributes:
        shape: (y, x).
    """

    def __init__(self, frame: FloatArray, good: NDArray[np.bool_]) -> None:
        """Find the median; `good` is False for bad pixels, shape (y, x)."""
        self.shape = frame.shape
        self._frame, self._good = frame, good
        self._middle = np.median(frame[good], overwrite_input=True)

    def __getitem__(self, rows: slice) -> FloatArray:
        """Return some rows, shape (n, x)."""
        return np.where(self._good[rows], self._frame[rows], self._middle)


@dataclass(frozen=True)
class Local:
    """Variance of the pixels around each atom, in three parts; gain squared as unit.

    Attributes:
        told: That of the fitted columns, shape (N,).
        untold: What they leave or wrongly add, less the noise; below 0 by chance, shape (N,).
        noise: Variance of the noise, shape (N,).
        pixels: Pixels in a window.
        texture: Spread of what is left of the frame once the columns are taken away, blurred
            to the width of a column.
        left: Share of the whole frame's structure, seen with that blur, that is left.
        dips: How deep the deepest dips of the frame are, in heights of its atoms: as deep as
            these are high in noise and in speckle, which know no sign.
        rivals: How high the highest maxima that are no atoms are, in the same unit.
        long: How much longer than wide the atoms are in common, see `Elongation`.
    """

    told: Floats
    untold: Floats
    noise: Floats
    pixels: int
    texture: float
    left: float
    dips: float
    rivals: float
    long: float

    @property
    def misfit(self) -> Floats:
        """Share of the structure that is surely not described, 0 to 1, shape (N,)."""
        chance = 2 * self.noise * np.sqrt(2 / self.pixels)
        sure = np.maximum(self.untold - chance, 0)
        return np.asarray(sure / np.maximum(sure + self.told, 1e-300))


def compare(frame: FloatArray | Filled, xy: Floats, peak: Floats, width: Floats) -> Local | None:
    """Compare a frame with the sum of its fitted Gaussians, around each atom.

    In a square window, a plane is taken off the Gaussians and off what they leave. The noise is
    half the mean square difference of neighbouring residuals, along x and y alike: it holds no
    structure much wider than a pixel. A large frame is worked on band by band.

    Args:
        frame: Finite pixels, shape (y, x).
        xy: Positions in px, shape (N, 2).
        peak: Height of each Gaussian, shape (N,).
        width: Standard deviation of each in px, shape (N,).

    Returns:
        The variances, or None where there are no atoms or the frame is smaller than a window.
    """
    if not len(xy):
        return None
    typical = float(np.median(width))
    edge = int(np.clip(np.ceil(REACH * typical), LEAST_EDGE, MOST_EDGE))
    if min(frame.shape) < 2 * edge + 2:
        return None
    sign = float(np.sign(np.median(peak)))
    parts = np.empty((3, len(xy)))
    whole = Whole(sign, int(np.ceil(2 * typical)), len(xy))
    long = Elongation(typical, float(np.median(peak)), len(xy))
    for band in _bands(frame, xy, peak, width, typical, edge):
        parts[:, band.own] = band.windows(xy[band.own], edge)
        whole.add(band, xy, typical)
        long.add(band.frame, band.model, xy[band.own] - [0, band.top], edge)
    told, untold, noise = parts
    texture, kept, seen = whole.spread(float(np.median(noise)), typical)
    left = kept / max(kept + seen, 1e-300)
    dips, rivals = whole.extremes()
    pixels = (2 * edge + 1) ** 2
    return Local(told, untold, noise, pixels, texture, left, dips, rivals, long.value())


@dataclass(frozen=True)
class Band:
    """Rows of a frame, the Gaussians in them, and what these leave.

    Attributes:
        frame: Pixels of the band with its rims, shape (y, x).
        model: Sum of the Gaussians there.
        rows: First row and end of the band without its rims, in the frame.
        top: First row of the frame that is in the arrays.
        height: Rows of the whole frame.
        own: Atoms whose centre is in the band.
    """

    frame: Floats
    model: Floats
    rows: tuple[int, int]
    top: int
    height: int
    own: NDArray[np.intp]

    @property
    def core(self) -> slice:
        """Rows of the arrays without the rims."""
        return slice(self.rows[0] - self.top, self.rows[1] - self.top)

    def windows(self, xy: Floats, edge: int) -> Floats:
        """Variances around the band's own atoms, shape (3, N)."""
        high = np.array([self.model.shape[1], self.height]) - 1 - edge
        corner = np.clip(np.rint(xy).astype(int), edge, high)  # windows lie inside the frame
        corner[:, 1] -= self.top
        rest = self.frame - self.model
        chunks = [corner[i : i + CHUNK] for i in range(0, len(xy), CHUNK)]
        found = [_windows(self.model, rest, chunk, edge) for chunk in chunks]
        return np.concatenate([np.empty((3, 0)), *found], axis=1)


def _bands(
    frame: FloatArray | Filled,
    xy: Floats,
    peak: Floats,
    width: Floats,
    typical: float,
    edge: int,
) -> Iterator[Band]:
    # as far as blur, background and the search for maxima see together
    halo = int(3 * typical + 0.5) + int(np.ceil(4 * typical)) + int(np.ceil(2 * typical)) + 2 * edge
    height = frame.shape[0]
    row = np.clip(np.rint(xy[:, 1]).astype(int), 0, height - 1)
    for first in range(0, height, BAND):
        end = min(first + BAND, height)
        top, bottom = max(first - halo, 0), min(end + halo, height)
        near = np.flatnonzero((row >= top - edge) & (row < bottom + edge))
        own = np.flatnonzero((row >= first) & (row < end))
        model = picture(frame.shape, xy[near], peak[near], width[near], edge, (top, bottom))
        part = np.asarray(frame[top:bottom], dtype=np.float64)
        yield Band(part, model, (first, end), top, height, own)


class Whole:
    """What is said of the whole frame, gathered band by band."""

    def __init__(self, sign: float, reach: int, count: int) -> None:
        """Begin; `sign` is that of the atoms, `reach` their radius in px, `count` their number."""
        self.sign, self.reach, self.count = sign, reach, count
        self.sums = np.zeros((3, 2))  # number, sum, squares, of what is left and what was seen
        self.left: list[Floats] = []
        self.heights = np.empty(0)
        self.dips, self.rivals = np.empty(0), np.empty(0)

    def add(self, band: Band, xy: Floats, typical: float) -> None:
        """Take a band in."""
        seen = _grain(band.frame, typical)
        left = _grain(band.frame - band.model, typical)[band.core]
        for k, values in enumerate((left, seen[band.core])):
            self.sums[:, k] += values.size, values.sum(), np.square(values).sum()
        step = int(np.ceil(np.sqrt(band.height * left.shape[1] / SAMPLE)))
        self.left.append(left[-band.rows[0] % step :: step, ::step].ravel())
        self._add_extremes(self.sign * seen, band, xy)

    def spread(self, noise: float, typical: float) -> tuple[float, float, float]:
        """Spread of what is left, and variances beyond the noise of that and of the frame."""
        low, high = np.quantile(np.concatenate(self.left), [0.16, 0.84])
        # white noise keeps this part of its variance through the blur
        chance = noise / (4 * np.pi * max(typical, 0.5) ** 2)
        number, total, squares = self.sums
        variance = squares / number - (total / number) ** 2
        kept, seen = np.maximum(variance - chance, 0.0)
        return float(high - low) / 2, float(kept), float(seen)

    def extremes(self) -> tuple[float, float]:
        """Depth of the deepest dips and height of the highest maxima beside the atoms.

        As many of each as there are atoms, their median in units of the atoms' median height.
        """
        height = float(np.median(self.heights))
        if height <= 0:
            return 2.0, 2.0
        return self._top(self.dips) / height, self._top(self.rivals) / height

    def _add_extremes(self, seen: Floats, band: Band, xy: Floats) -> None:
        size = 2 * max(self.reach, 1) + 1
        right, core = seen.shape[1] - 1, band.core
        column = np.clip(np.rint(xy[:, 0]).astype(int), 0, right)
        row = np.clip(np.rint(xy[:, 1]).astype(int), 0, band.height - 1) - band.top
        self.heights = np.append(self.heights, seen[row[band.own], column[band.own]])
        lowest = (seen == ndimage.minimum_filter(seen, size))[core]
        beside = seen == ndimage.maximum_filter(seen, size)
        near = (row >= -self.reach) & (row < len(seen) + self.reach)
        row, column = row[near], column[near]
        # The border of the frame is one; that of a band is not.
        low, high = -band.top, band.height - 1 - band.top
        for dy in range(-self.reach, self.reach + 1):  # maxima within reach of an atom are it
            rows = np.clip(row + dy, low, high)
            here = (rows >= 0) & (rows < len(seen))
            for dx in range(-self.reach, self.reach + 1):
                beside[rows[here], np.clip(column[here] + dx, 0, right)] = False
        self.dips = self._highest(self.dips, -seen[core][lowest])
        self.rivals = self._highest(self.rivals, seen[core][beside[core]])

    def _highest(self, before: Floats, more: Floats) -> Floats:
        both = np.concatenate([before, more])
        if len(both) <= self.count:
            return both
        return np.partition(both, len(both) - self.count)[-self.count :]

    def _top(self, highest: Floats) -> float:
        """Median of the highest values; missing ones count as 0."""
        filled = np.concatenate([highest, np.zeros(self.count - len(highest))])
        return max(float(np.median(filled)), 0.0)


def _grain(frame: Floats, width: float) -> Floats:
    """Structure about as wide as a column: blurred, and the slower background taken off."""
    blurred = ndimage.gaussian_filter(frame, width, truncate=3.0)
    return np.asarray(blurred - ndimage.uniform_filter(blurred, 2 * int(np.ceil(4 * width)) + 1))


def picture(
    shape: tuple[int, ...],
    xy: Floats,
    peak: Floats,
    width: Floats,
    edge: int,
    rows: tuple[int, int] | None = None,
) -> Floats:
    """Sum of the Gaussians, each cut beyond `edge` px, shape (y, x), or of some rows of it."""
    first, end = rows or (0, shape[0])
    step = np.arange(-edge, edge + 1)
    centre = np.rint(xy).astype(int)
    off = step - (xy - centre)[:, :, None]  # (N, 2, 2 edge + 1)
    bell = np.exp(-0.5 * (off / np.clip(width, 0.3, None)[:, None, None]) ** 2)
    padded = (end - first + 4 * edge, shape[1] + 2 * edge)
    corner = np.clip(centre, 0, np.array(shape)[::-1] - 1) + np.array([edge, 2 * edge - first])
    column, row = (corner[:, axis, None] + step for axis in (0, 1))
    place = row[:, :, None] * padded[1] + column[:, None, :]
    values = (peak[:, None] * bell[:, 1])[:, :, None] * bell[:, 0][:, None, :]
    total = np.bincount(place.ravel(), values.ravel(), padded[0] * padded[1]).reshape(padded)
    return np.asarray(total[2 * edge : -2 * edge, edge:-edge])


def _windows(model: Floats, rest: Floats, corner: NDArray[np.int_], edge: int) -> Floats:
    """Told, untold and noise variance of each window, shape (3, N); `corner` are their middles."""
    step = np.arange(-edge, edge + 1)
    where = corner[:, 1, None, None] + step[:, None], corner[:, 0, None, None] + step
    fitted, left = model[where], rest[where]
    across, down = np.diff(left, axis=2), np.diff(left, axis=1)
    noise = ((across**2).mean((1, 2)) + (down**2).mean((1, 2))) / 4
    count = (2 * edge + 1) ** 2
    told = (_flat(fitted, step) ** 2).sum((1, 2)) / count
    # a plane of three numbers is taken off each window
    untold = (_flat(left, step) ** 2).sum((1, 2)) / count - noise * (1 - 3 / count)
    return np.stack([told, untold, noise])


def _flat(window: Floats, step: NDArray[np.int_]) -> Floats:
    """Take the plane of least squares off each window, shape (N, y, x)."""
    square = float((step**2).sum()) * len(step)
    slope_x = (window * step).sum((1, 2)) / square
    slope_y = (window * step[:, None]).sum((1, 2)) / square
    plane = slope_x[:, None, None] * step + slope_y[:, None, None] * step[:, None]
    return np.asarray(window - window.mean((1, 2))[:, None, None] - plane)
