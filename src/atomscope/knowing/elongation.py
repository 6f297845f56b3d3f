"""How long the atoms of a frame are in one direction, as pairs that are not resolved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SAMPLE = 4096  # atoms that are enough for a mean


class Elongation:
    """Common elongation of fitted columns, gathered part by part of a frame.

    A column that is wider than its round Gaussian along one direction and narrower across, by
    the shares +e and -e, leaves e (u² - v²) G, with u and v along and across in units of the
    width and G the Gaussian. Each atom gives e along the axes of the frame and along its
    diagonals by least squares. What is round, or noise, has no direction in the mean.
    """

    def __init__(self, width: float, peak: float, count: int) -> None:
        """Begin; typical width in px and height of the columns, and their number."""
        self.width, self.peak = max(width, 0.5), peak
        self.step = -(-count // SAMPLE)
        self.found: list[Floats] = [np.empty((2, 0))]

    def add(self, frame: Floats, model: Floats, xy: Floats, edge: int) -> None:
        """Take in columns at `xy` (N, 2) px, with windows of `edge` px about each.

        Args:
            frame: Pixels, shape (y, x).
            model: Sum of the round Gaussians there.
            xy: Positions in both.
            edge: Half an edge of the windows; columns nearer to a border are left out.
        """
        xy = xy[:: self.step]
        middle = np.rint(xy).astype(int)
        high = np.array(frame.shape[::-1]) - edge
        inside = ((middle >= edge) & (middle < high)).all(axis=1)
        xy, middle = xy[inside], middle[inside]
        span = np.arange(-edge, edge + 1)
        rows, columns = middle[:, 1, None, None] + span[:, None], middle[:, 0, None, None] + span
        left = frame[rows, columns] - model[rows, columns]
        off = (span - (xy - middle)[:, :, None]) / self.width  # (N, 2, 2 edge + 1)
        u, v = off[:, 0, None, :], off[:, 1, :, None]
        bell = self.peak * np.exp(-0.5 * (u**2 + v**2))
        self.found.append(
            np.stack([_share(left, shape * bell) for shape in (u**2 - v**2, 2 * u * v)])
        )

    def value(self) -> float:
        """Return the length of the mean of (e, e of the diagonals), less twice its error."""
        each = np.concatenate(self.found, axis=1)
        count = each.shape[1]
        if count < 2 or self.peak == 0:
            return 0.0
        error = float(np.sqrt(each.var(axis=1).sum() / count))
        return max(float(np.hypot(*each.mean(axis=1))) - 2 * error, 0.0)


def _share(left: Floats, shape: Floats) -> Floats:
    """How much of a shape is in what is left, by least squares beside a constant, (N,)."""
    shape = shape - shape.mean((1, 2), keepdims=True)
    power = np.maximum((shape**2).sum((1, 2)), 1e-300)
    return np.asarray((left * shape).sum((1, 2)) / power)
