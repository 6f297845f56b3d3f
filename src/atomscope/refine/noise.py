"""The noise of a detector whose gain and offset nobody told: variance against brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from atomscope.refine.windows import Floats
from atomscope.types import FloatArray

_BINS = 48
_LEAST = 24  # pixels per bin below which a variance says little


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel = constant + slope * brightness, never below `floor`."""

    constant: float
    slope: float
    floor: float
    typical: float = 1.0  # variance of a pixel of mean brightness

    def variance(self, model: FloatArray) -> FloatArray:
        """Variance of pixels of the given noiseless brightness."""
        return np.asarray(np.maximum(self.constant + self.slope * model, self.floor))


def noise_sample(model: FloatArray, residual: FloatArray, usable: FloatArray) -> Floats:
    """Brightness and squared noise of pixel pairs, shape (2, n).

    Differences of neighbouring residuals along x: half their square is the variance of
    a pixel, whatever the model has missed on longer lengths.
    """
    both = (usable[:, 1:] > 0) & (usable[:, :-1] > 0)
    squared = 0.5 * (residual[:, 1:] - residual[:, :-1]) ** 2
    bright = 0.5 * (model[:, 1:] + model[:, :-1])
    return np.stack([bright[both], squared[both]])


def fit_noise(sample: Floats, kind: Literal["auto", "poisson", "gaussian"], tiny: float) -> Noise:
    """Regress the variance on the brightness, robustly.

    Args:
        sample: Brightness and squared noise, shape (2, n).
        kind: 'auto' for a line, 'gaussian' for a constant, 'poisson' for the brightness itself.
        tiny: Variance of rounding, the least that is ever given.
    """
    bright, squared = sample
    overall = max(_clipped_mean(squared), tiny)
    if kind == "poisson":
        mean = float(np.mean(np.maximum(bright, 0))) if bright.size else 0.0
        return Noise(0.0, 1.0, max(0.02 * mean, tiny), max(mean, tiny))
    flat = Noise(overall, 0.0, tiny, overall)
    if kind == "gaussian" or bright.size < 4 * _LEAST:
        return flat
    bins = int(min(_BINS, bright.size // _LEAST))
    edges = np.quantile(bright, np.linspace(0, 1, bins + 1)[1:-1])
    label = np.searchsorted(edges, bright)
    number = np.bincount(label, minlength=bins).astype(float)
    keep = number > 0
    mean = np.bincount(label, bright, minlength=bins)[keep] / number[keep]
    variance = _binned_variance(label, squared, number, bins)[keep]
    number = number[keep]
    spread = np.ptp(mean)
    if not spread > 0:
        return flat
    predicted = np.full(len(mean), overall)
    constant, slope = predicted[0], 0.0
    for _ in range(6):
        # The scatter of a bin's variance is proportional to the variance itself; bins that
        # fit badly (misfit of the model at its brightest) count less (Cauchy weights).
        off = (variance - predicted) / predicted
        weight = number / predicted**2 / (1 + (off / 0.3) ** 2)
        centre = float(np.average(mean, weights=weight))
        lever = weight * (mean - centre)
        slope = float(lever @ variance / max(float(lever @ (mean - centre)), 1e-300))
        constant = float(np.average(variance, weights=weight)) - slope * centre
        floor = max(0.1 * float(variance.min()), 0.01 * overall, tiny)
        predicted = np.maximum(constant + slope * mean, floor)
    return Noise(constant, slope, floor, overall)


def _clipped_mean(values: Floats) -> float:
    if not values.size:
        return 0.0
    mean = float(values.mean())
    return float(np.minimum(values, 50 * mean).mean())


def _binned_variance(label: FloatArray, squared: Floats, number: Floats, bins: int) -> Floats:
    # Single hot pixels are cut at 50 times their bin's mean; Poisson counts stay whole.
    safe = np.maximum(number, 1)
    mean = np.bincount(label, squared, minlength=bins) / safe
    cut = np.minimum(squared, 50 * mean[label])
    return np.asarray(np.bincount(label, cut, minlength=bins) / safe)
