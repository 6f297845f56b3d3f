"""Where a fit starts: distances, a first width, and how far a column may move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.refine.pixels import Pixels
from atomscope.refine.windows import Floats, Windows, X, Y
from atomscope.spacing import nearest

_SAMPLE = 2000  # columns that are enough to tell the typical width
_LONE = 16.0  # px; stands for the distance to a neighbour where there is none


@dataclass(frozen=True)
class Start:
    """What is known before the fit.

    Attributes:
        xy: Positions of the detector inside the frame, shape (N, 2).
        nearest: Distance to the nearest other column in px, shape (N,).
        width: Typical standard deviation of a column in px.
        reach: Farthest that each column may move, shape (N,).
    """

    xy: Floats
    nearest: Floats
    width: float
    reach: Floats


def find_start(pixels: Pixels, xy: Floats, max_shift: float) -> Start:
    """Measure distances and the typical width of columns at positions xy (N, 2)."""
    limit = np.array([pixels.shape[1] - 1, pixels.shape[0] - 1], dtype=np.float64)
    xy = np.clip(xy, 0.0, limit)
    apart = nearest(xy) if len(xy) > 1 else np.full(len(xy), _LONE)
    typical = float(np.clip(np.median(apart), 2.0, 60.0))
    width = _typical_width(pixels, xy, typical)
    # Where columns are far apart their own width limits the shift; a pixel is always allowed.
    reach = np.maximum(2 * max_shift * np.minimum(0.5 * apart, 2.5 * width), 1.0)
    return Start(xy, apart, width, reach)


def _typical_width(pixels: Pixels, xy: Floats, spacing: float) -> float:
    """Width of the Gaussian on a constant that fits the mean picture of a column best."""
    chosen = xy[:: max(1, len(xy) // _SAMPLE)]
    half = int(np.clip(np.ceil(0.6 * spacing), 2, 24))
    theta = np.zeros((len(chosen), 6))
    theta[:, [X, Y]] = chosen
    windows = Windows.around(theta, half, half, pixels.shape)
    step = np.arange(-half, half + 1)
    rows = windows.iy[:, None, None] + step[:, None] + 0 * step
    columns = windows.ix[:, None, None] + step + 0 * step[:, None]
    values, weights = pixels.windows(rows, columns)
    seen = weights.sum(axis=0)
    mean = values.sum(axis=0) / np.maximum(seen, 1e-9)
    d2 = windows.offsets[:, None] ** 2 + windows.offsets**2
    weight = np.where(d2 <= max(0.55 * spacing, 2.0) ** 2, seen, 0.0)
    candidates = np.geomspace(0.7, max(0.5 * spacing, 2.0), 40)
    shapes = np.exp(-0.5 * d2 / candidates[:, None, None] ** 2).reshape(len(candidates), -1)
    w, m = weight.ravel() / max(float(weight.sum()), 1e-300), mean.ravel()
    shapes = shapes - (shapes @ w)[:, None]
    m = m - m @ w
    gain = np.maximum(shapes @ (w * m), 0.0) ** 2 / np.maximum((shapes**2) @ w, 1e-300)
    best = float(candidates[int(np.argmax(gain))])
    # Starting errors of about half a pixel and whole-pixel windows have blurred the mean.
    return float(np.sqrt(max(best**2 - 0.3, 0.45 * best**2)))
