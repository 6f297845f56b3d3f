"""Wide columns are fitted on joined pixels: they tell the same, and the fit takes far less time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from atomscope.refine.phases import Fit
from atomscope.refine.pixels import Pixels
from atomscope.refine.windows import LOG_WIDTH, PEAK, Floats, X, Y
from atomscope.sampling import block_means

# Standard deviation of a column in joined pixels. A pixel of edge 1 widens it by 1/12 in the
# square, which costs 0.7 % of the precision of a position.
WIDTH = 2.5


def join(pixels: Pixels, step: int, *, counts: bool) -> Pixels:
    """Join blocks of step x step pixels; one that is not usable, or beyond the border, spoils all.

    Args:
        pixels: Of the frame.
        step: Edge of a block.
        counts: Whether values are numbers of events, which add up; means otherwise.
    """
    missing = [(0, -n % step) for n in pixels.shape]
    values, usable = np.pad(pixels.image, missing), np.pad(pixels.usable, missing)
    values[~usable] = 0  # in the copy: of a large frame a second one is much
    rows, columns = (n // step for n in usable.shape)
    whole = np.asarray(usable.reshape(rows, step, columns, step).all(axis=(1, 3)))
    gain = pixels.gain * (step**2 if counts else 1)
    return replace(pixels, image=block_means(values, step), usable=whole, gain=gain)


def to_joined(xy: Floats, step: int) -> Floats:
    """Positions in joined pixels, shape (N, 2)."""
    return (xy + 0.5) / step - 0.5


def from_joined(fit: Fit, step: int, shape: tuple[int, int], *, counts: bool) -> Fit:
    """Return a fit of joined pixels in pixels of the frame (y, x), as `join` joined them.

    Widths are those that pixels of the frame would show; what a column holds stays the same.
    """
    theta = fit.theta.copy()
    border = np.array([shape[1], shape[0]]) - 1.0  # the last block may reach beyond
    theta[:, [X, Y]] = ((fit.theta[:, [X, Y]] + 0.5) * step - 0.5).clip(0.0, border)
    square = step**2 * np.exp(2 * fit.theta[:, LOG_WIDTH])
    narrow = np.maximum(square - (step**2 - 1) / 12, 0.5 * square)
    share = 1 / step**2 if counts else 1.0
    height = share * square / narrow
    theta[:, LOG_WIDTH] = 0.5 * np.log(narrow)
    theta[:, PEAK] = fit.theta[:, PEAK] * height
    scale = np.ones_like(theta)
    scale[:, [X, Y]] = step
    scale[:, LOG_WIDTH] = square / narrow
    scale[:, PEAK] = height
    scale = scale[:, : fit.covariance.shape[1]]
    covariance = fit.covariance * scale[:, :, None] * scale[:, None, :]
    return replace(fit, theta=theta, covariance=covariance, ground=fit.ground * share)
