"""What stands between a clean image and the counts on disc: background, noise, scan errors.

Textures and offsets of the specimen and its support, then the ways in which detectors and scans
spoil a frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from atomscope.simulate.imaging import Frame, amorphous, detector_noise, render, smooth_noise
from atomscope.simulate.scene import Floats, Ints


class Patch(NamedTuple):
    """A frame (y, x), float32, in arbitrary units; positions (N, 2) in px; classes (N,)."""

    frame: Frame
    xy: Floats
    label: Ints


def record(rng: np.random.Generator, clean: Frame, rms: float) -> Frame:
    """Record a clean frame with noise of the given rms, as detectors do."""
    blurred = rng.random()
    blur = (0.0, 0.0)
    if blurred < 0.25:
        blur = (float(rng.uniform(0.3, 1.0)),) * 2
    elif blurred < 0.4:
        blur = (0.0, float(rng.uniform(0.4, 2.0)))
    lines = float(rms * rng.uniform(0.1, 1.0)) if rng.random() < 0.2 else 0.0
    shot = float(rng.choice([1.0, 0.7, 0.3, 0.0]))
    return _spoil(rng, detector_noise(rng, clean, rms, shot=shot, blur=blur, lines=lines), rms)


def texture(rng: np.random.Generator, sigma: float, shape: tuple[int, int]) -> Frame:
    """Speckle of amorphous matter, about unit rms, with slower unevenness."""
    density = np.exp(rng.uniform(np.log(0.15), np.log(3.0)))
    field = amorphous(rng, shape, sigma * rng.uniform(0.95, 1.5), float(density))
    field += rng.uniform(0, 2.0) * smooth_noise(rng, shape, sigma * rng.uniform(2, 5))
    return np.asarray(field, dtype=np.float32)


def background(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Frame:
    """Offset, thickness gradients, contamination, steps and one-dimensional fringes."""
    frame = np.full(shape, np.exp(rng.uniform(np.log(0.02), np.log(6.0))), dtype=np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / shape[0] - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * x + np.sin(angle) * y
    frame = frame + np.float32(rng.uniform(0, 1.5)) * ramp
    if rng.random() < 0.5:
        frame = frame + rng.uniform(0.1, 1.5) * smooth_noise(rng, shape, rng.uniform(8, 40))
    if rng.random() < 0.15:  # a step: terrace, film edge, support edge
        slope = np.clip((ramp - rng.uniform(-0.3, 0.3)) * shape[0] / rng.uniform(0.5, 8), -30, 30)
        frame = frame + np.float32(rng.uniform(0.3, 4)) / (1 + np.exp(-slope))
    if rng.random() < 0.05:  # fringes: lattice planes without resolved columns
        period = rng.uniform(3.5, 14) / shape[0]
        frame = frame + np.float32(rng.uniform(0.1, 0.6)) * np.sin(2 * np.pi * ramp / period)
    if rng.random() < 0.15:
        count = rng.integers(1, 4)
        spots = rng.uniform(0, shape[0], (count, 2))
        heights = rng.uniform(0.5, 3, count)
        frame = frame + render(spots, heights, sigma * rng.uniform(3, 7, count), shape)
    return np.asarray(frame, dtype=np.float32)


def _spoil(rng: np.random.Generator, frame: Frame, rms: float) -> Frame:
    """Hot pixels and torn lines, as detectors and scans give them."""
    if rng.random() < 0.1:
        count = rng.integers(1, 12)
        where = tuple(rng.integers(0, n, count) for n in frame.shape)
        frame[where] += rms * rng.uniform(4, 15, count).astype(np.float32)
    if rng.random() < 0.06:
        line = rng.integers(0, len(frame))
        frame[line] += np.float32(rms * rng.uniform(1, 6) * rng.choice([-1, 1]))
    return frame
