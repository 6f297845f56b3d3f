"""Scanning tunnelling topographs: states at a height, seen by a blunt tip, line after line.

At constant current the tip follows a contour of the local density of states, whose
corrugation falls off exponentially with height (Tersoff & Hamann, Phys. Rev. B 31, 805
(1985)): fine detail is lost first, so that each atom is close to a broad Gaussian.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from atomscope.simulate.imaging import Frame, render, smooth_noise
from atomscope.simulate.scene import Scene


def topograph(
    rng: np.random.Generator, scene: Scene, sigma: float, shape: tuple[int, int], snr: float
) -> Frame:
    """Draw a topograph of a surface.

    Args:
        rng: Source of randomness.
        scene: Atoms of the top layer, adatoms among them.
        sigma: Width of an atom in px.
        shape: (height, width) in px.
        snr: Matched-filter signal-to-noise ratio of a typical atom.

    Returns:
        Heights (y, x) in units of a typical atom's.
    """
    surface = render(scene.xy, scene.weight, sigma, shape)
    surface = _tip(rng, surface, sigma) + _terraces(rng, shape)
    return _scanned(rng, surface, sigma * np.sqrt(np.pi) / snr)


def _tip(rng: np.random.Generator, surface: Frame, sigma: float) -> Frame:
    """Blur by a tip that is rarely round and sometimes double."""
    if rng.random() < 0.4:
        surface = ndimage.gaussian_filter(surface, tuple(sigma * rng.uniform(0.0, 0.5, 2)))
    if rng.random() < 0.12:
        shift = rng.normal(0, 2.0 * sigma, 2)
        ghost = ndimage.shift(surface, shift, order=1, mode="nearest")
        surface = surface + np.float32(rng.uniform(0.05, 0.3)) * ghost
    return np.asarray(surface, dtype=np.float32)


def _terraces(rng: np.random.Generator, shape: tuple[int, int]) -> Frame:
    """Tilt, slow unevenness, and up to two steps in height."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / max(shape) - 0.5
    ground = rng.normal(0, 2.0) * x + rng.normal(0, 2.0) * y
    ground = ground + rng.uniform(0, 0.6) * smooth_noise(rng, shape, rng.uniform(10, 40))
    for _ in range(rng.choice([0, 1, 2], p=[0.65, 0.25, 0.1])):
        angle = rng.uniform(0, 2 * np.pi)
        along = np.cos(angle) * x + np.sin(angle) * y
        edge = along - rng.uniform(-0.4, 0.4) + rng.uniform(0, 0.03) * smooth_noise(rng, shape, 12)
        slope = np.clip(edge * max(shape) / rng.uniform(0.6, 3.0), -30, 30)
        ground = ground + rng.uniform(1.0, 8.0) / (1 + np.exp(-slope))
    return np.asarray(ground, dtype=np.float32)


def _scanned(rng: np.random.Generator, surface: Frame, rms: float) -> Frame:
    """Scan line by line: noise of the loop, lines at heights of their own, changes of the tip."""
    height, width = surface.shape
    memory = float(rng.choice([0.0, rng.uniform(0.3, 2.5)]))  # px along the fast axis
    white = rng.standard_normal(surface.shape, dtype=np.float32)
    if memory > 0:
        white = ndimage.gaussian_filter1d(white, memory, axis=1) * np.sqrt(2 * memory * 1.77)
    frame = surface + np.float32(rms) * white
    lines = rng.normal(0, rms * rng.uniform(0, 2.0), (height,))
    if rng.random() < 0.4:
        lines = lines + np.cumsum(rng.normal(0, rms * rng.uniform(0.1, 0.6), height))
    if rng.random() < 0.1:  # the tip picks something up: all later lines lie higher
        lines[rng.integers(0, height) :] += rng.normal(0, 2.0)
    frame = frame + lines[:, None].astype(np.float32)
    for _ in range(rng.poisson(0.3)):  # streaks: something moves along with the tip
        row, start = rng.integers(0, height), rng.integers(0, width)
        frame[row, start : start + rng.integers(5, 60)] += np.float32(rng.normal(0, 1.0))
    return np.asarray(frame, dtype=np.float32)
