"""From columns to counts: incoherent imaging, supports, scan errors and detector noise.

The image of thin specimens in annular dark field is close to linear and incoherent:
the sum of one peak per column (Pennycook & Jesson, Phys. Rev. Lett. 64, 938 (1990)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.simulate.scene import Floats, Scene

Frame = NDArray[np.float32]


def render(
    xy: Floats,
    weight: Floats,
    sigma: Floats | float,
    shape: tuple[int, int],
    *,
    tail: float = 0.0,
    tail_width: float = 2.5,
) -> Frame:
    """Sum one Gaussian peak per column, exactly, as one product of two matrices.

    Args:
        xy: Positions in px, shape (N, 2).
        weight: Peak heights, shape (N,).
        sigma: Standard deviation of the peaks in px, one or (N,).
        shape: (height, width) of the frame.
        tail: Share of the height in a second, wider peak; below 0 gives a dark rim.
        tail_width: Width of the second peak in units of the first.
    """
    sigma = np.broadcast_to(np.asarray(sigma, dtype=np.float64), len(xy))

    def profiles(at: Floats, width: Floats, length: int) -> Frame:
        away = (np.arange(length) - at[:, None]) / width[:, None]
        return np.exp(np.float32(-0.5) * np.square(away, dtype=np.float32))

    def peaks(width: Floats, height: Floats) -> Frame:
        rows = profiles(xy[:, 1], width, shape[0]) * height[:, None].astype(np.float32)
        return rows.T @ profiles(xy[:, 0], width, shape[1])

    frame = peaks(sigma, weight * (1 - tail))
    return frame if tail == 0 else np.asarray(frame + peaks(sigma * tail_width, weight * tail))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Frame:
    """Return smooth Gaussian noise of zero mean and unit rms; `sigma` is its length in px."""
    step = max(1, int(sigma / 2.5))  # coarse grid: the field has no finer detail
    coarse = tuple(-(-n // step) + 2 for n in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), sigma / step)
    for axis in (0, 1):  # linear interpolation of rows, then of columns
        at = np.arange(shape[axis], dtype=np.float32) / step
        low = at.astype(np.intp)
        part = (at - low)[:, None]
        field = (field[low] * (1 - part) + field[low + 1] * part).T
    centred = field - field.mean()
    return np.asarray(centred / (centred.std() + 1e-9), dtype=np.float32)


def amorphous(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, density: float
) -> Frame:
    """Return the speckle of a support: many weak atoms in projection, zero mean, unit rms.

    Args:
        rng: Source of randomness.
        shape: (height, width) of the frame.
        sigma: Width of the probe in px.
        density: Atoms per px; the fewer, the more the speckle looks like single atoms.
    """
    points = rng.poisson(density, shape).astype(np.float32)
    field = ndimage.gaussian_filter(points, sigma)
    field -= field.mean()
    return np.asarray(field / (field.std() + 1e-9), dtype=np.float32)


def scan_jitter(frame: Frame, rng: np.random.Generator, rms: float) -> Frame:
    """Displace every scan line along x by a random amount of `rms` px."""
    height, width = frame.shape
    shift = np.asarray(rng.normal(0, rms, height), dtype=np.float32)
    cols = np.clip(np.arange(width) + shift[:, None], 0, width - 1.001)
    left = cols.astype(np.intp)
    part = (cols - left).astype(np.float32)
    rows = np.arange(height)[:, None]
    right = np.minimum(left + 1, width - 1)
    return np.asarray(frame[rows, left] * (1 - part) + frame[rows, right] * part)


def detector_noise(
    rng: np.random.Generator,
    frame: Frame,
    rms: float,
    *,
    shot: float,
    blur: tuple[float, float] = (0.0, 0.0),
    lines: float = 0.0,
) -> Frame:
    """Add noise of given rms at the mean brightness of the frame.

    Args:
        rng: Source of randomness.
        frame: Clean image, 0 or more.
        rms: Standard deviation of the noise where the frame has its mean value.
        shot: Share of the variance that grows with the brightness (1: Poisson).
        blur: Correlation length of the noise along y and x in px; takes from its fine detail.
        lines: Standard deviation of a value added to whole scan lines.
    """
    mean = float(frame.mean()) + 1e-6
    if shot > 0.95 and blur == (0.0, 0.0):
        dose = mean / rms**2  # counts per unit of brightness
        noisy = rng.poisson(np.maximum(frame, 0) * dose).astype(np.float32) / np.float32(dose)
    else:
        white = rng.standard_normal(frame.shape, dtype=np.float32)
        if max(blur) > 0:
            white = ndimage.gaussian_filter(white, blur)  # its spectrum stays 1 where columns are
        noisy = frame + white * (
            rms * np.sqrt(np.maximum(1 - shot + shot * np.maximum(frame, 0) / mean, 0))
        )
    if lines > 0:
        noisy = noisy + rng.normal(0, lines, (len(frame), 1)).astype(np.float32)
    return np.asarray(noisy, dtype=np.float32)


def visible(scene: Scene, size: int, margin: float = 0.0) -> Scene:
    """Return the columns whose centres lie inside a square frame."""
    low, high = -0.5 - margin, size - 0.5 + margin
    return scene.keep(np.all((scene.xy >= low) & (scene.xy < high), axis=1))
