"""Which sampling and which contrast a frame is to be seen at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.detect.tiles import columns
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample
from atomscope.scale import Scale, measure

Frame = NDArray[np.float32]

DARK_FIELD = 640  # px in the middle of a frame that decide between dark and bright
CROP = 224  # px of the canonical sampling on which candidates are tried
REPEATS = 0.2  # least height of the autocorrelation at the spacing of a lattice
LATTICE_SIGMA = 1.9  # px: usual width of a column where the spacing is canonical
LONE_ATOM = 0.45  # Å per px at which an isolated atom has the width that the network knows
FACTORS = (0.02, 8.0)  # canonical px per input px: beyond, no microscope's frame makes sense


@dataclass(frozen=True)
class View:
    """How a frame is shown to the network.

    Attributes:
        factor: Canonical px per px of the input.
        dark: True where the atoms are darker than their surroundings.
        scale: What the frame's autocorrelation said.
        level: True where scan lines are brought to one height first (STM).
    """

    factor: float
    dark: bool
    scale: Scale
    level: bool = False


def choose_factor(model: Model, frame: Frame, pixel_size: float | None) -> tuple[float, Scale]:
    """Choose the resampling factor of a frame.

    Where columns repeat, a few factors are tried on a part of the frame and the columns
    found have the last word on their spacing. Where nothing repeats (isolated atoms on a
    support), the pixel size decides, or else the grain of the texture.

    Args:
        model: The detector.
        frame: Finite values, bright atoms, shape (y, x).
        pixel_size: Å per px of the input, or None.
    """
    scale = measure(frame)
    if scale.spacing is None or scale.order < REPEATS:
        return _without_lattice(model, scale, pixel_size), scale
    base = model.card.spacing_px / scale.spacing
    wanted = [base, base * 1.6]
    if scale.sigma is not None:
        wanted.append(LATTICE_SIGMA / scale.sigma)
    trials = [(f, *_try(model, frame, f)) for f in _apart(wanted)]
    factor, score, nearest = max(trials, key=lambda t: t[1])
    if nearest is not None and not 0.72 < nearest / model.card.spacing_px < 1.45:
        again = float(np.clip(factor * model.card.spacing_px / nearest, *FACTORS))
        again_score, again_nearest = _try(model, frame, again)
        near_base = 0.4 < again / base < 3.2
        if near_base and again_score > 0.8 * score and again_nearest is not None:
            factor = again
    return factor, scale


def _without_lattice(model: Model, scale: Scale, pixel_size: float | None) -> float:
    """Factor at which isolated atoms have the width that the network knows."""
    grain = model.card.sigma_px / scale.sigma if scale.sigma is not None else 1.0
    factor = grain
    if pixel_size is not None:  # a support coarsens the grain: it may say half or double, no more
        factor = float(np.clip(pixel_size / LONE_ATOM, grain / 2, grain * 2))
    return float(np.clip(factor, *FACTORS))


def is_dark(frame: Frame) -> bool:
    """Tell dark atoms on a bright ground from bright ones by the skew of local contrast.

    A lattice that is barely resolved can have a skew down to -0.8 with bright atoms
    (three beams of a honeycomb), so only what lies well below counts as dark.
    """
    top, left = (max(0, (n - DARK_FIELD) // 2) for n in frame.shape)
    part = normalise(frame[top : top + DARK_FIELD, left : left + DARK_FIELD])
    values = ndimage.gaussian_filter(np.sinh(part), 1.0)
    values -= values.mean()
    spread = float(values.std())
    if spread == 0:
        return False
    return float(np.mean((values / spread) ** 3)) < -1.2


def _apart(wanted: list[float]) -> list[float]:
    """Factors worth a trial, at least a sixth apart."""
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
    """Resample the parts of a frame with most detail, each about CROP px wide afterwards."""
    edge = int(np.ceil(CROP / factor))
    height, width = frame.shape
    if height * width <= 1.5 * edge * edge:
        return [resample(frame, factor)]
    starts = [(y, x) for y in _starts(height, edge) for x in _starts(width, edge)]
    cut = [frame[y : y + edge, x : x + edge] for y, x in starts]
    seen = [resample(part, factor) for part in cut]
    return sorted(seen, key=lambda part: -float(np.diff(part, axis=1).std()))[:2]


def _starts(length: int, edge: int) -> list[int]:
    """Up to three places of a part of `edge` px along a side."""
    if length <= edge:
        return [0]
    return sorted({0, (length - edge) // 2, length - edge})
