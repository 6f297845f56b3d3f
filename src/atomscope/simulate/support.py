"""What isolated atoms lie on and among: supports of uneven thickness, atoms that move.

A support is matter: where it is thicker it is brighter, its speckle is stronger and so is
the shot noise, while an atom on it adds the same intensity everywhere.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from atomscope.simulate.imaging import Frame, smooth_noise
from atomscope.simulate.scene import Floats


def thickness(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Frame:
    """Draw the thickness of a support, about 1 in the mean, 0 in vacuum.

    Relief on all scales from a few probe widths up, its amplitude growing with the scale
    to a random power; often a wedge, sometimes an edge to vacuum or a hole.

    Args:
        rng: Source of randomness.
        shape: (height, width) in px.
        sigma: Width of the probe in px.
    """
    scales = sigma * np.array([2.0, 4.0, 8.0, 16.0])
    share = (scales / scales[-1]) ** rng.uniform(0.0, 1.2)
    relief = sum(w * smooth_noise(rng, shape, s) for w, s in zip(share, scales, strict=True))
    depth = rng.uniform(0.0, 0.5) / np.sqrt(np.sum(share**2))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / max(shape) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    mass = np.exp(np.float32(depth) * relief + np.float32(rng.uniform(0, 1.8)) * along)
    if rng.random() < 0.25:
        edge = along + 0.05 * smooth_noise(rng, shape, 12 * sigma) - rng.uniform(-0.45, 0.3)
        mass = mass / (1 + np.exp(-np.clip(edge * max(shape) / rng.uniform(0.7, 10), -30, 30)))
    return np.asarray(mass, dtype=np.float32)


def support(
    rng: np.random.Generator, mass: Frame, sigma: float, *, speckle: float, density: float
) -> Frame:
    """Image a support of randomly placed weak atoms, in units of an isolated atom's peak.

    Args:
        rng: Source of randomness.
        mass: Thickness (y, x) in units of a typical one.
        sigma: Width of the probe in px.
        speckle: Rms of the intensity at thickness 1; with the density it also gives the mean.
        density: Support atoms per px at thickness 1; the fewer, the more single they look.
    """
    points = rng.poisson(density * mass).astype(np.float32)
    # a filtered Poisson field has the variance density / (4 pi sigma^2)
    atom = speckle * np.sqrt(4 * np.pi * sigma**2 / density)
    return np.asarray(ndimage.gaussian_filter(points, sigma) * np.float32(atom), dtype=np.float32)


def restless(
    rng: np.random.Generator,
    xy: Floats,
    weight: Floats,
    sigma: float,
    shape: tuple[int, int],
    *,
    jump: float,
    blink: float,
) -> Frame:
    """Image atoms that move while the probe scans: every line meets them at another place.

    Args:
        rng: Source of randomness.
        xy: Mean positions in px, shape (N, 2).
        weight: Peaks, shape (N,).
        sigma: Width of the probe in px.
        shape: (height, width) of the frame.
        jump: Rms shift along x from line to line, px.
        blink: Share of the lines in which an atom is away.
    """
    rows, cols = np.arange(shape[0])[:, None, None], np.arange(shape[1], dtype=np.float32)
    at = xy[:, 0] + rng.normal(0, jump, (shape[0], len(xy)))
    there = rng.random((shape[0], len(xy))) >= blink
    height = weight * there * np.exp(-0.5 * ((rows[:, :, 0] - xy[:, 1]) / sigma) ** 2)
    frame = np.zeros(shape, dtype=np.float32)
    for atom in range(len(xy)):
        near = np.flatnonzero(height[:, atom] > 1e-3 * weight[atom])
        peak = np.exp(-0.5 * ((cols - at[near, atom, None].astype(np.float32)) / sigma) ** 2)
        frame[near] += height[near, atom, None].astype(np.float32) * peak
    return frame


def restless_clusters(rng: np.random.Generator, sigma: float, shape: tuple[int, int]) -> Frame:
    """Draw a few heaps of moving atoms, in which no image tells one atom from the next."""
    frame = np.zeros(shape, dtype=np.float32)
    for _ in range(rng.integers(1, 4)):
        count = rng.integers(4, 16)
        centre = rng.uniform(0, shape, 2)[::-1]
        xy = centre + rng.normal(0, sigma * rng.uniform(0.8, 2.5), (count, 2))
        weight = np.exp(rng.normal(np.log(0.7), 0.3, count))
        frame += restless(
            rng,
            xy,
            weight,
            sigma,
            shape,
            jump=sigma * rng.uniform(0.8, 2.5),
            blink=rng.uniform(0.2, 0.7),
        )
    return frame
