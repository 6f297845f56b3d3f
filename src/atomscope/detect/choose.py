"""Which sampling and which contrast a frame is to be seen at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.detect.tiles import columns
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample
from atomscope.scale import LEAST_SPACING, Scale, measure

Frame = NDArray[np.float32]

CROP = 224  # px of the canonical sampling on which candidates are tried
LONE_ATOM = 0.29  # Å per px at which an isolated atom has the width that the network knows
FACTORS = (0.02, 8.0)  # canonical px per input px: beyond, no microscope's frame makes sense


@dataclass(frozen=True)
class View:
    """How a frame is shown to the network.

    Attributes:
        factor: Canonical px per px of the input.
        dark: True where the atoms are darker than their surroundings.
        scale: What the frame's autocorrelation said.
        warnings: One line for each doubt.
    """

    factor: float
    dark: bool
    scale: Scale
    warnings: tuple[str, ...] = ()


def choose_factor(model: Model, frame: Frame, pixel_size: float | None) -> tuple[float, Scale]:
    """Choose the resampling factor by trying the candidates on a part of the frame.

    Args:
        model: The detector.
        frame: Finite values, bright atoms, shape (y, x).
        pixel_size: Å per px of the input, or None.
    """
    scale = measure(frame)
    trials = [(f, *_try(model, frame, f)) for f in _candidates(model, scale, pixel_size)]
    factor, score, nearest = max(trials, key=lambda t: t[1])
    # Let the columns themselves have the last word on their spacing.
    if nearest is not None and not 0.72 < nearest / model.card.spacing_px < 1.45:
        again = float(np.clip(factor * model.card.spacing_px / nearest, *FACTORS))
        again_score, again_nearest = _try(model, frame, again)
        if again_score > 0.8 * score and again_nearest is not None:
            factor = again
    return factor, scale


def is_dark(frame: Frame) -> bool:
    """Tell dark atoms on a bright ground from bright ones by the skew of local contrast.

    A lattice that is barely resolved can have a skew down to -0.8 with bright atoms
    (three beams of a honeycomb), so only what lies well below counts as dark.
    """
    values = normalise(frame)
    values = values - values.mean()
    spread = float(values.std())
    if spread == 0:
        return False
    return float(np.mean((values / spread) ** 3)) < -1.2


def _candidates(model: Model, scale: Scale, pixel_size: float | None) -> list[float]:
    """Factors worth a trial, at least a sixth apart."""
    wanted: list[float] = []
    if scale.spacing is not None and scale.spacing >= LEAST_SPACING and scale.order > 0.12:
        base = model.card.spacing_px / scale.spacing
        wanted += [base, base * 1.6]
    if scale.sigma is not None:
        wanted.append(model.card.sigma_px / scale.sigma)
    if pixel_size is not None:
        wanted.append(pixel_size / LONE_ATOM)
    if not wanted or pixel_size is None:
        wanted.append(1.0)
    kept: list[float] = []
    for factor in (float(np.clip(f, *FACTORS)) for f in wanted):
        if all(abs(np.log(factor / other)) > 0.15 for other in kept):
            kept.append(factor)
    return kept


def _try(model: Model, frame: Frame, factor: float) -> tuple[float, float | None]:
    """Score one factor: the certainty of the columns found, and their spacing (canonical px)."""
    found = [columns(model, normalise(part)) for part in _parts(frame, factor)]
    p = np.concatenate([q for _, q in found])
    if not (p > 0.5).any():
        return 0.0, None
    sure = float(np.sum(p[p > 0.5])) / (float(np.sum(p)) + 2.0)
    near = [d for xy, q in found for d in _nearest(xy[q > 0.5])]
    return sure * float(np.mean(p[p > 0.5])), float(np.median(near)) if len(near) >= 8 else None


def _nearest(xy: NDArray[np.float64]) -> list[float]:
    if len(xy) < 2:
        return []
    return [float(d) for d in cKDTree(xy).query(xy, k=2)[0][:, 1]]


def _parts(frame: Frame, factor: float) -> list[Frame]:
    """Resample the liveliest parts of a frame, each about CROP px wide afterwards."""
    edge = int(np.ceil(CROP / factor))
    height, width = frame.shape
    if height * width <= 1.5 * edge * edge:
        return [resample(frame, factor)]
    starts = [(y, x) for y in _starts(height, edge) for x in _starts(width, edge)]
    cut = [frame[y : y + edge, x : x + edge] for y, x in starts]
    lively = sorted(cut, key=lambda part: -float(part.std()))
    return [resample(part, factor) for part in lively[:2]]


def _starts(length: int, edge: int) -> list[int]:
    """Up to three places of a part of `edge` px along a side."""
    if length <= edge:
        return [0]
    return sorted({0, (length - edge) // 2, length - edge})
