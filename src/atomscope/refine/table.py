"""First version: own blocks only."""
from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, percentile_filter
from scipy.spatial import cKDTree

from atomscope.columns import conform
from atomscope.refine.options import RefineOptions
from atomscope.refine.windows import LOG_WIDTH, PEAK, Floats, Windows
from atomscope.types import FloatArray


def refine(
    frame: FloatArray,
    atoms: pd.DataFrame,
    *,
    options: RefineOptions = RefineOptions(),  # noqa: B008
    mask: FloatArray | None = None,
    dark: bool = False,
) -> pd.DataFrame:
    """Refine the columns of one frame (first version)."""
    table = conform(atoms)
    if len(table) == 0:
        return table
    image = np.asarray(frame, dtype=np.float64)
    usable = np.isfinite(image)
    if mask is not None:
        usable &= mask
    if not usable.any():
        table["flags"] = "unrefined"
        return table
    sign = -1.0 if dark else 1.0
    image = np.where(usable, sign * image, np.median(sign * image[usable]))
    start: Floats = table[["x_px", "y_px"]].to_numpy(dtype=np.float64)
    if len(start) > 1:
        near = float(np.median(cKDTree(start).query(start, 2)[0][:, 1]))
    else:
        near = 12.0
    near = float(np.clip(near, 3.0, 30.0))
    sigma = max(near / 4.5, 0.8)
    half = int(np.ceil(3.5 * sigma)) + 1
    background = gaussian_filter(percentile_filter(image, 10, int(near * 2)), near)
    theta = np.zeros((len(start), 6))
    theta[:, :2] = start
    theta[:, LOG_WIDTH] = np.log(sigma)
    win = Windows.around(theta, half, half, image.shape)
    centre = image[win.iy, win.ix]
    theta[:, PEAK] = np.maximum(centre - background[win.iy, win.ix], 1e-3 * np.ptp(image) + 1e-12)
    weight = np.pad(usable.astype(float), half)
    for _ in range(options.iterations):
        win = Windows.around(theta, half, half, image.shape)
        tiles = win.gaussians(theta)
        model = win.scatter(tiles * theta[:, PEAK, None, None], weight.shape)
        resid = (np.pad(image - background, half) - model) * weight
        d = win.derivatives(theta, 4)
        grad = (d @ win.first_moments(win.gather(resid) * tiles)[:, :, None])[:, :, 0]
        normal = d @ win.second_moments(win.gather(weight) * tiles**2) @ d.transpose(0, 2, 1)
        diagonal = np.einsum("nii->ni", normal)
        diagonal *= 1.3
        diagonal += 1e-12 * (diagonal.max() + 1e-30)
        step = np.linalg.solve(normal, grad[:, :, None])[:, :, 0]
        width = np.exp(theta[:, LOG_WIDTH, None])
        step[:, :2] = np.clip(step[:, :2], -0.3 * width, 0.3 * width)
        step[:, 3] = np.clip(step[:, 3], -0.2, 0.2)
        theta[:, :4] += np.nan_to_num(step)
        theta[:, LOG_WIDTH] = np.clip(theta[:, LOG_WIDTH], np.log(0.4), np.log(3 * sigma))
        theta[:, PEAK] = np.maximum(theta[:, PEAK], 0)
        background = background + gaussian_filter(
            (resid)[half:-half, half:-half], 2 * near
        ) / np.maximum(gaussian_filter(usable.astype(float), 2 * near), 1e-3)
    variance = np.sum(resid**2) / max(weight.sum() - 4 * len(theta), 1)
    cov = variance * np.linalg.pinv(normal)
    shift = np.hypot(*(theta[:, :2] - start).T)
    error = np.sqrt(np.abs(np.einsum("nii->ni", cov)))
    ok = (shift < options.max_shift * near) & np.isfinite(error).all(axis=1) & (theta[:, PEAK] > 0)
    ok &= (error[:, 0] < sigma) & (error[:, 1] < sigma)
    width = np.exp(theta[:, LOG_WIDTH])
    intensity = 2 * np.pi * theta[:, PEAK] * width**2
    relative = np.sqrt(
        error[:, 2] ** 2 / np.maximum(theta[:, PEAK], 1e-30) ** 2 + 4 * error[:, 3] ** 2
    )
    table["x_px"] = np.where(ok, theta[:, 0], start[:, 0])
    table["y_px"] = np.where(ok, theta[:, 1], start[:, 1])
    table["x_err_px"] = np.where(ok, error[:, 0], np.nan)
    table["y_err_px"] = np.where(ok, error[:, 1], np.nan)
    table["intensity"] = sign * intensity
    table["intensity_err"] = np.where(ok, np.abs(intensity) * relative, np.nan)
    table["width"] = width
    table["background"] = sign * background[win.iy, win.ix]
    table["flags"] = np.where(ok, "", "unrefined")
    return table
