"""How well the fitted columns describe the pixels around each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
REACH = 2.5  # column widths around each atom that are compared
LEAST_EDGE, MOST_EDGE = 2, 12  # px: smaller windows say nothing, larger ones cost too much
CHUNK = 4096  # atoms whose windows are held in memory at a time


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
    """

    told: Floats
    untold: Floats
    noise: Floats
    pixels: int
    texture: float
    left: float
    dips: float
    rivals: float

    @property
    def misfit(self) -> Floats:
        """Share of the structure that is surely not described, 0 to 1, shape (N,)."""
        chance = 2 * self.noise * np.sqrt(2 / self.pixels)
        sure = np.maximum(self.untold - chance, 0)
        return np.asarray(sure / np.maximum(sure + self.told, 1e-300))


def compare(frame: Floats, xy: Floats, peak: Floats, width: Floats) -> Local | None:
    """Compare a frame with the sum of its fitted Gaussians, around each atom.

    In a square window, a plane is taken off the Gaussians and off what they leave. The noise is
    half the mean square difference of neighbouring residuals, along x and y alike: it holds no
    structure that is much wider than a pixel.

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
    model = picture(frame.shape, xy, peak, width, edge)
    rest = frame - model
    parts = [_windows(model, rest, xy[i : i + CHUNK], edge) for i in range(0, len(xy), CHUNK)]
    told, untold, noise = np.concatenate(parts, axis=1)
    seen, left = _grain(frame, typical), _grain(rest, typical)
    low, high = np.quantile(left, [0.16, 0.84])
    # white noise keeps this part of its variance through the blur
    chance = float(np.median(noise)) / (4 * np.pi * max(typical, 0.5) ** 2)
    kept, whole = (max(float(v.var()) - chance, 0.0) for v in (left, seen))
    sign = float(np.sign(np.median(peak)))
    dips, rivals = _extremes(sign * seen, xy, int(np.ceil(2 * typical)))
    return Local(
        told=told,
        untold=untold,
        noise=noise,
        pixels=(2 * edge + 1) ** 2,
        texture=float(high - low) / 2,
        left=kept / max(kept + whole, 1e-300),
        dips=dips,
        rivals=rivals,
    )


def _grain(frame: Floats, width: float) -> Floats:
    """Structure about as wide as a column: blurred, and the slower background taken off."""
    blurred = ndimage.gaussian_filter(frame, width, truncate=3.0)
    return np.asarray(blurred - ndimage.uniform_filter(blurred, 2 * int(np.ceil(4 * width)) + 1))


def _extremes(seen: Floats, xy: Floats, reach: int) -> tuple[float, float]:
    """Depth of the deepest dips and height of the highest maxima beside the atoms.

    As many of each as there are atoms, their median in units of the atoms' median height.
    """
    size = 2 * max(reach, 1) + 1
    column, row = np.clip(np.rint(xy).astype(int), 0, np.array(seen.shape)[::-1] - 1).T
    height = float(np.median(seen[row, column]))
    if height <= 0:
        return 2.0, 2.0
    dips = -seen[seen == ndimage.minimum_filter(seen, size)]
    beside = seen == ndimage.maximum_filter(seen, size)
    for dy in range(-reach, reach + 1):  # maxima within reach of an atom are that atom
        rows = np.clip(row + dy, 0, seen.shape[0] - 1)
        for dx in range(-reach, reach + 1):
            beside[rows, np.clip(column + dx, 0, seen.shape[1] - 1)] = False
    return _top(dips, len(xy)) / height, _top(seen[beside], len(xy)) / height


def _top(values: Floats, count: int) -> float:
    """Median of the `count` highest values; missing ones count as 0."""
    highest = np.sort(values)[::-1][:count]
    filled = np.concatenate([highest, np.zeros(count - len(highest))])
    return max(float(np.median(filled)), 0.0)


def picture(shape: tuple[int, ...], xy: Floats, peak: Floats, width: Floats, edge: int) -> Floats:
    """Sum of the Gaussians, each cut beyond `edge` px, shape (y, x)."""
    step = np.arange(-edge, edge + 1)
    centre = np.rint(xy).astype(int)
    off = step - (xy - centre)[:, :, None]  # (N, 2, 2 edge + 1)
    bell = np.exp(-0.5 * (off / np.clip(width, 0.3, None)[:, None, None]) ** 2)
    padded = np.array(shape) + 2 * edge
    corner = np.clip(centre, 0, np.array(shape)[::-1] - 1)
    column, row = (corner[:, axis, None] + edge + step for axis in (0, 1))
    place = row[:, :, None] * padded[1] + column[:, None, :]
    values = (peak[:, None] * bell[:, 1])[:, :, None] * bell[:, 0][:, None, :]
    total = np.bincount(place.ravel(), values.ravel(), int(padded.prod())).reshape(padded)
    return np.asarray(total[edge:-edge, edge:-edge])


def _windows(model: Floats, rest: Floats, xy: Floats, edge: int) -> Floats:
    """Told, untold and noise variance of each window, shape (3, N)."""
    high = np.array(model.shape[::-1]) - 1 - edge
    corner = np.clip(np.rint(xy).astype(int), edge, high)  # windows lie inside the frame
    step = np.arange(-edge, edge + 1)
    rows, columns = corner[:, 1, None, None] + step[:, None], corner[:, 0, None, None] + step
    fitted, left = model[rows, columns], rest[rows, columns]
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
