"""The Cramér-Rao bound: how well columns can be measured at best."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix
from scipy.sparse.linalg import splu
from scipy.special import erf

from atomscope.errors import UsageError

Floats = NDArray[np.float64]


def cramer_rao(
    xy: Floats,
    amplitude: float | Floats,
    sigma: float | Floats,
    background: float,
    shape: tuple[int, int],
    *,
    width: Literal["own", "shared", "known"] = "own",
    readout_variance: float = 0.0,
    integrated: bool = False,
) -> tuple[Floats, Floats]:
    """Smallest possible standard errors of column positions in one image of counts.

    The image is a sum of round Gaussians on a constant background; positions, peaks,
    widths and the background are all unknown and estimated together, so a column
    pays for its neighbours. The Fisher information of independent pixels with
    variance = mean + readout_variance is inverted (Ober, Ram & Ward, Biophys. J. 86
    (2004) 1185, there for one emitter).

    Args:
        xy: Positions in px, shape (N, 2), x right and y down, 0 = centre of the first pixel.
        amplitude: Peak above the background in counts, one number or shape (N,).
        sigma: Standard deviation in px, one number or shape (N,).
        background: Counts per pixel.
        shape: Shape (y, x) of the image.
        width: 'own' if every column's width is unknown, 'shared' if there is one unknown
            width for all, 'known' if the widths are given.
        readout_variance: Variance of signal-independent noise, in counts squared.
        integrated: Pixels average the Gaussian over their area instead of sampling
            it at their centre.

    Returns:
        Standard errors of x and of y in px, each of shape (N,).

    Raises:
        UsageError: The shapes do not fit, or no pixel can tell (no counts at all).
    """
    xy = np.atleast_2d(np.asarray(xy, dtype=np.float64))
    if xy.shape[-1] != 2:
        raise UsageError(f"xy has shape {xy.shape}; expected (N, 2).")
    count = len(xy)
    peak = np.broadcast_to(np.asarray(amplitude, dtype=np.float64), (count,))
    wide = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (count,))
    if count == 0:
        return np.zeros(0), np.zeros(0)
    jacobian, mean = _jacobian(xy, peak, wide, shape, integrated)
    variance = mean + background + readout_variance
    if not (variance > 0).all():
        raise UsageError("the image has pixels without any counts; give a background above 0.")
    jacobian = _merge_widths(jacobian, count, width)
    fisher = csc_matrix(jacobian.T @ jacobian.multiply(1 / variance[:, None]).tocsr())
    scale = 1 / np.sqrt(np.maximum(fisher.diagonal(), 1e-300))
    normalised = csc_matrix(fisher.multiply(scale[:, None]).multiply(scale[None, :]))
    solve = splu(normalised).solve
    variances = np.empty(2 * count)
    for start in range(0, 2 * count, 256):
        rows = np.arange(start, min(start + 256, 2 * count))
        unit = np.zeros((len(scale), len(rows)))
        unit[rows, np.arange(len(rows))] = 1
        variances[rows] = solve(unit)[rows, np.arange(len(rows))] * scale[rows] ** 2
    errors = np.sqrt(variances)
    return errors[:count], errors[count:]


def _jacobian(
    xy: Floats, peak: Floats, sigma: Floats, shape: tuple[int, int], integrated: bool
) -> tuple[Any, Floats]:
    """Derivatives of all pixels, columns ordered x (N), y (N), peak (N), width (N), background."""
    count = len(xy)
    rows, columns, values = [], [], []
    mean = np.zeros(shape)
    for n in range(count):
        (i0, gx, dgx, sgx), (j0, gy, dgy, sgy) = (
            _profile(xy[n, axis], sigma[n], shape[1 - axis], integrated) for axis in (0, 1)
        )
        part = mean[j0 : j0 + len(gy), i0 : i0 + len(gx)]
        part += peak[n] * np.outer(gy, gx)
        pixel = (
            np.arange(j0, j0 + len(gy))[:, None] * shape[1] + np.arange(i0, i0 + len(gx))
        ).ravel()
        blocks = (
            peak[n] * np.outer(gy, dgx),
            peak[n] * np.outer(dgy, gx),
            np.outer(gy, gx),
            peak[n] * (np.outer(gy, sgx) + np.outer(sgy, gx)),
        )
        for k, block in enumerate(blocks):
            rows.append(pixel)
            columns.append(np.full(len(pixel), n + k * count))
            values.append(block.ravel())
    size = shape[0] * shape[1]
    rows.append(np.arange(size))
    columns.append(np.full(size, 4 * count))
    values.append(np.ones(size))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return csr_matrix(entries, shape=(size, 4 * count + 1)), mean.ravel()


def _profile(
    centre: float, sigma: float, length: int, integrated: bool
) -> tuple[int, Floats, Floats, Floats]:
    """One axis of a Gaussian: first pixel, values, derivatives by centre and by width."""
    first = int(np.clip(np.floor(centre - 6 * sigma), 0, length - 1))
    last = int(np.clip(np.ceil(centre + 6 * sigma), first, length - 1))
    d = np.arange(first, last + 1) - centre
    g = np.exp(-0.5 * (d / sigma) ** 2)
    if not integrated:
        return first, g, g * d / sigma**2, g * d**2 / sigma**3
    low, high = d - 0.5, d + 0.5
    g_low, g_high = np.exp(-0.5 * (low / sigma) ** 2), np.exp(-0.5 * (high / sigma) ** 2)
    area = np.sqrt(np.pi / 2) * sigma * (erf(high / sigma / 2**0.5) - erf(low / sigma / 2**0.5))
    return first, area, g_low - g_high, (area - high * g_high + low * g_low) / sigma


def _merge_widths(jacobian: Any, count: int, width: str) -> Any:
    """Keep, sum or drop the derivatives by width."""
    if width == "own":
        return jacobian
    columns = np.arange(4 * count + 1)
    kept = np.delete(columns, np.s_[3 * count : 4 * count])
    merged = jacobian[:, kept]
    if width == "known":
        return merged
    from scipy.sparse import hstack

    shared = csr_matrix(jacobian[:, 3 * count : 4 * count].sum(axis=1))
    return hstack([merged, shared]).tocsr()
