"""Windows of pixels around columns: one batch of shape (N, w, w) for all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

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

    def render(self, tiles: FloatArray, peak: Floats, shape: tuple[int, int]) -> Floats:
        """Sum of the shapes (N, w, w) times their peaks (N,) in a padded image of a given shape."""
        w = 2 * self.half + 1
        step = np.arange(w, dtype=np.int32)
        start = self.pad - self.half
        corner = ((self.iy + start) * shape[1] + self.ix + start).astype(np.int32)
        index = corner[:, None] + (step[:, None] * shape[1] + step).ravel()
        ends = np.arange(0, index.size + 1, w * w, dtype=np.int32)
        # One column of a sparse matrix per window: the sum is a product with the peaks.
        size = (shape[0] * shape[1], len(tiles))
        shapes = csc_matrix((tiles.ravel(), index.ravel(), ends), shape=size)
        total = shapes @ peak.astype(tiles.dtype)
        return np.asarray(total.reshape(shape), dtype=np.float64)

    def gaussians(self, *thetas: Floats) -> FloatArray:
        """Unit-peak shapes of columns over their windows: theta (N, 6) -> (N, w, w).

        Of several sets of columns, the product. Single precision: seven digits, at half the
        traffic of memory.
        """
        down = np.zeros((len(self.ix), 2 * self.half + 1), dtype=np.float32)
        right, tilt = np.zeros_like(down), None
        for theta in thetas:
            dx = (self.offsets + (self.ix - theta[:, X])[:, None]).astype(np.float32)
            dy = (self.offsets + (self.iy - theta[:, Y])[:, None]).astype(np.float32)
            k = (-0.5 * np.exp(-2 * theta[:, LOG_WIDTH, None])).astype(np.float32)
            e1, e2 = theta[:, E1, None].astype(np.float32), theta[:, E2, None].astype(np.float32)
            down += k * (1 - e1) * dy**2
            right += k * (1 + e1) * dx**2
            if e2.any():
                mixed = np.einsum("ni,nj->nij", 2 * k * e2 * dy, dx)
                tilt = mixed if tilt is None else tilt + mixed
        shape: FloatArray = np.einsum("ni,nj->nij", np.exp(down), np.exp(right))
        return shape if tilt is None else shape * np.exp(tilt)

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
        plus, minus, mixed = 1 + theta[:, E1], 1 - theta[:, E1], theta[:, E2]
        k = scale * theta[:, PEAK] * np.exp(-2 * theta[:, LOG_WIDTH])
        result = np.zeros((len(theta), 6, 6))
        one, u, v, uu, uv, vv = np.moveaxis(result, 2, 0)
        u[:, X], v[:, X] = k * plus, k * mixed
        u[:, Y], v[:, Y] = k * mixed, k * minus
        one[:, :2] = -a[:, None] * u[:, :2] - b[:, None] * v[:, :2]
        one[:, PEAK] = 1.0
        k *= scale
        uu[:, LOG_WIDTH], uv[:, LOG_WIDTH], vv[:, LOG_WIDTH] = k * plus, 2 * k * mixed, k * minus
        uu[:, E1], vv[:, E1], uv[:, E2] = -0.5 * k, 0.5 * k, -k
        # About the column's own centre: (u - a)², (u - a) (v - b), (v - b)².
        part = result[:, LOG_WIDTH:]
        a, b = a[:, None], b[:, None]
        part[:, :, 1] = -2 * a * part[:, :, 3] - b * part[:, :, 4]
        part[:, :, 2] = -2 * b * part[:, :, 5] - a * part[:, :, 4]
        part[:, :, 0] = a * a * part[:, :, 3] + a * b * part[:, :, 4] + b * b * part[:, :, 5]
        return result[:, :count]

    def powers(self, order: int) -> Floats:
        """Powers 0 to `order` of the offsets in units of `half`, shape (w, order + 1)."""
        return np.asarray((self.offsets / self.half)[:, None] ** np.arange(order + 1))

    def _moments(self, values: FloatArray, order: int) -> Floats:
        powers = self.powers(order).astype(values.dtype)
        return np.asarray(powers.T @ (values @ powers))
