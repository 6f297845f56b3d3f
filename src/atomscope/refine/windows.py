"""Windows of pixels around columns: one batch of shape (N, w, w) for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from atomscope.types import FloatArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Parameters of a column, in this order: x, y (px), peak, log of the width, ellipticity e1, e2.
# Its shape is exp(-q/2), q = exp(-2 s) [(1 + e1) dx² + 2 e2 dx dy + (1 - e1) dy²].
X, Y, PEAK, LOG_WIDTH, E1, E2 = range(6)

# Powers of (v, u) in the six monomials 1, u, v, u², uv, v² that span all derivatives.
V_POWER = np.array([0, 0, 1, 0, 1, 2])
U_POWER = np.array([0, 1, 0, 2, 1, 0])


@dataclass(frozen=True)
class Windows:
    """Square windows of edge 2 `half` + 1 centred on the pixels (`ix`, `iy`) of a padded image."""

    ix: Ints
    iy: Ints
    half: int
    pad: int

    @classmethod
    def around(cls, theta: Floats, half: int, pad: int, shape: tuple[int, int]) -> Windows:
        """Windows around columns (N, 6), centred on the nearest pixel of a frame (y, x)."""
        ix = np.clip(np.rint(theta[:, X]), 0, shape[1] - 1).astype(np.int64)
        iy = np.clip(np.rint(theta[:, Y]), 0, shape[0] - 1).astype(np.int64)
        return cls(ix, iy, half, pad)

    def take(self, rows: Any) -> Windows:
        """Return the windows of some columns."""
        return Windows(self.ix[rows], self.iy[rows], self.half, self.pad)

    @property
    def offsets(self) -> Floats:
        """Pixel coordinates along a window, relative to its centre, shape (w,)."""
        return np.arange(-self.half, self.half + 1, dtype=np.float64)

    def gather(self, padded: FloatArray) -> FloatArray:
        """Cut the windows out of a padded image: (Y, X) -> (N, w, w)."""
        w = 2 * self.half + 1
        start = self.pad - self.half
        view = sliding_window_view(padded, (w, w))
        return np.asarray(view[self.iy + start, self.ix + start])

    def scatter(self, tiles: FloatArray, shape: tuple[int, int]) -> Floats:
        """Add all windows up in a padded image of the given shape."""
        step = np.arange(2 * self.half + 1)
        start = self.pad - self.half
        rows = ((self.iy + start)[:, None] + step) * shape[1]
        index = rows[:, :, None] + ((self.ix + start)[:, None] + step)[:, None, :]
        total = np.bincount(index.ravel(), tiles.ravel(), minlength=shape[0] * shape[1])
        return np.asarray(total.reshape(shape), dtype=np.float64)

    def gaussians(self, theta: Floats) -> FloatArray:
        """Unit-peak shapes of columns over their windows: theta (N, 6) -> (N, w, w).

        Single precision: seven digits, at half the traffic of memory.
        """
        dx = self.offsets + (self.ix - theta[:, X])[:, None]
        dy = self.offsets + (self.iy - theta[:, Y])[:, None]
        k = 0.5 * np.exp(-2 * theta[:, LOG_WIDTH])[:, None]
        gx = np.exp(-k * (1 + theta[:, E1, None]) * dx**2).astype(np.float32)
        gy = np.exp(-k * (1 - theta[:, E1, None]) * dy**2).astype(np.float32)
        shape: FloatArray = gy[:, :, None] * gx[:, None, :]
        if np.any(theta[:, E2]):
            tilt = (-2 * k * theta[:, E2, None] * dy).astype(np.float32)
            shape *= np.exp(tilt[:, :, None] * dx.astype(np.float32)[:, None, :])
        return shape

    def first_moments(self, values: FloatArray) -> Floats:
        """Sums of values times the six monomials over windows: (N, w, w) -> (N, 6)."""
        return self._moments(values, 2)[:, V_POWER, U_POWER]

    def second_moments(self, values: FloatArray) -> Floats:
        """Sums of values times products of two monomials: (N, w, w) -> (N, 6, 6)."""
        v = V_POWER[:, None] + V_POWER
        u = U_POWER[:, None] + U_POWER
        return self._moments(values, 4)[:, v, u]

    def derivatives(self, theta: Floats, count: int) -> Floats:
        """Derivatives of columns over windows, divided by the shape, in the six monomials.

        Gives (N, count, 6): the derivative by parameter a is the sum over c of
        result[:, a, c] * monomial c, times `gaussians`; monomials in units of `half`.
        """
        scale = float(self.half)
        a = (theta[:, X] - self.ix) / scale
        b = (theta[:, Y] - self.iy) / scale
        peak, e1, e2 = theta[:, PEAK], theta[:, E1], theta[:, E2]
        k = np.exp(-2 * theta[:, LOG_WIDTH])
        zero, one = np.zeros_like(a), np.ones_like(a)
        x = np.stack([-a, one, zero, zero, zero, zero], axis=1)
        y = np.stack([-b, zero, one, zero, zero, zero], axis=1)
        xx = np.stack([a * a, -2 * a, zero, one, zero, zero], axis=1)
        yy = np.stack([b * b, zero, -2 * b, zero, zero, one], axis=1)
        xy = np.stack([a * b, -b, -a, zero, one, zero], axis=1)
        kp = (k * peak * scale)[:, None]
        e1, e2 = e1[:, None], e2[:, None]
        rows = [
            kp * ((1 + e1) * x + e2 * y),
            kp * (e2 * x + (1 - e1) * y),
            np.stack([one, zero, zero, zero, zero, zero], axis=1),
            kp * scale * ((1 + e1) * xx + 2 * e2 * xy + (1 - e1) * yy),
            -0.5 * kp * scale * (xx - yy),
            -kp * scale * xy,
        ]
        return np.stack(rows[:count], axis=1)

    def powers(self, order: int) -> Floats:
        """Powers 0 to `order` of the offsets in units of `half`, shape (w, order + 1)."""
        return np.asarray((self.offsets / self.half)[:, None] ** np.arange(order + 1))

    def _moments(self, values: FloatArray, order: int) -> Floats:
        powers = self.powers(order).astype(values.dtype)
        return np.asarray(powers.T @ (values @ powers))
