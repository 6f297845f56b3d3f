"""How a microscope and a detector show the worlds of `environments`: distorted, thinned, dimmed."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from atomscope.train.environments import SIDE, World


def gammas(rng: np.random.Generator) -> tuple[float, float]:
    """Exponents of brightness of two worlds: of two microscopes, or mostly of nearly one."""
    first, other = rng.uniform(0.7, 1.4, 2)
    return float(first), float(other if rng.random() < 0.3 else first * rng.uniform(0.92, 1.08))


def seen(
    found: World, rng: np.random.Generator, hard: float = 1.0, gamma: float | None = None
) -> World:
    """Distort, thin out and dim a world, as a microscope and a detector do.

    Turn, mirror, scale 0.5 to 2, shear to 0.12, a smooth distortion to 6 %, jitter to 6 % of the
    spacing, up to 12 % of the columns lost, up to 2 % false ones; brightness with noise to 15 %,
    gain, gamma 0.7 to 1.4 and a slow change.

    Args:
        found: As `world` gives it.
        rng: Of everything random.
        hard: Scales shear, distortion, jitter, losses and noise.
        gamma: Exponent of the brightness; random where None.
    """
    gamma = rng.uniform(0.7, 1.4) if gamma is None else gamma
    found = _with_false(found, rng, 0.02 * hard * rng.random() * (rng.random() < 0.3))
    xy = found.xy
    phase, wave = rng.uniform(0, 2 * np.pi, 2), rng.normal(0, 0.25, (2, 2))
    bend = np.sin(xy @ wave + phase) * (rng.uniform(0, 0.06, 2) * hard / np.abs(wave).sum(axis=0))
    xy = xy + bend + rng.normal(0, rng.uniform(0, 0.06) * hard, xy.shape)
    angle, flip = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
    c, s = np.cos(angle), np.sin(angle)
    along = np.array([[1, rng.uniform(-0.12, 0.12) * hard * (rng.random() < 0.5)], [0, 1]])
    xy = xy @ along @ np.array([[c, s], [-s, c]]) @ np.diag([1, flip]) * rng.uniform(0.5, 2)
    log = np.log(found.brightness) * gamma
    log = log + rng.normal(0, rng.uniform(0.01, 0.15) * hard, len(log))
    log = log + 0.3 * np.sin(found.xy @ rng.normal(0, 0.12, 2)) + rng.normal()
    kept = rng.random(len(xy)) >= rng.uniform(0, 0.12) * hard * (rng.random() < 0.6)
    return World(xy[kept], np.exp(log[kept]), found.label[kept])


def _with_false(found: World, rng: np.random.Generator, share: float) -> World:
    """Add atoms where none are, faint ones, away from the true ones."""
    count = int(share * len(found.xy))
    if not count:
        return found
    xy = rng.uniform(-SIDE, SIDE, (count, 2))
    xy = xy[cKDTree(found.xy).query(xy)[0] > 0.45]
    dim = np.quantile(found.brightness, 0.1) * np.exp(rng.normal(-0.7, 0.4, len(xy)))
    label = np.full(len(xy), -1, np.int64)
    return World(
        np.concatenate([found.xy, xy]),
        np.concatenate([found.brightness, dim]),
        np.concatenate([found.label, label]),
    )
