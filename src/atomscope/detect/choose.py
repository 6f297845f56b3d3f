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

DARK_FIELD = 320  # px in the middle of a frame that decide between dark and bright
SURE = 0.9  # score of a trial after which no other is made
CROP = 192  # px of the canonical sampling on which candidates are tried
REPEATS = 0.2  # least height of the autocorrelation at the spacing of a lattice
LATTICE_SIGMA = 1.9  # px: usual width of a column where the spacing is canonical
LONE_ATOM = 0.5  # Å per px at which an isolated atom has the width that the network knows
FACTORS = (0.02, 8.0)  # canonical px per input px: beyond, no microscope's frame makes sense


@dataclass(frozen=True)
class View:
    """How a frame is shown to the network.

    Attributes:
        factor: Canonical px per px of the input.
        dark: True where the atoms are darker than their surroundings.
        scale: What the frame's autocorrelation said.
        lattice: True where columns repeat, False for isolated atoms on a support.
        level: True where scan lines are brought to one height first (STM).
    """

    factor: float
    dark: bool
    scale: Scale
    lattice: bool = True
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
    best, score, nearest = 0.0, -1.0, None
    for factor in _candidates(model, scale.spacing, scale.sigma):
        trial, found = _try(model, frame, factor)
        if trial > score:
            best, score, nearest = factor, trial, found
        if score > SURE:
            break
    if nearest is not None and not 0.75 < nearest / model.card.spacing_px < 1.2:
        again = float(np.clip(best * model.card.spacing_px / nearest, *FACTORS))
        base = model.card.spacing_px / scale.spacing
        trial, found = _try(model, frame, again) if 0.4 < again / base < 3.2 else (0.0, None)
        if trial > 0.8 * score and found is not None:
            best = again
    return best, scale


def _candidates(model: Model, spacing: float, sigma: float | None) -> list[float]:
    """Factors worth a trial, the likeliest first, at least a sixth apart.

    Where the grain is much finer than the repeat, the cell holds several columns
    (dumbbells, honeycombs): the grain then says more than the repeat.
    """
    base = model.card.spacing_px / spacing
    wanted = [base, 1.6 * base]
    if sigma is not None:
        grain = LATTICE_SIGMA / sigma
        fine = sigma * base < 0.65 * LATTICE_SIGMA
        wanted.insert(0 if fine else 1, float(np.clip(grain, base / 2, 2.2 * base)))
    kept: list[float] = []
    for factor in (float(np.clip(f, *FACTORS)) for f in wanted):
        if all(abs(np.log(factor / other)) > 0.15 for other in kept):
            kept.append(factor)
    return kept


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
    values = ndimage.gaussian_filter(np.sinh(part[1]), 1.0)
    values -= values.mean()
    spread = float(values.std())
    if spread == 0:
        return False
    return float(np.mean((values / spread) ** 3)) < -1.2


def _try(model: Model, frame: Frame, factor: float) -> tuple[float, float | None]:
    """Score one factor: the certainty of the columns found, and their spacing (canonical px)."""
    xy, p = columns(model, normalise(_part(frame, factor)))
    if not (p > 0.5).any():
        return 0.0, None
    sure = float(np.sum(p[p > 0.5])) / (float(np.sum(p)) + 2.0)
    score = sure * float(np.mean(p[p > 0.5]))
    if (p > 0.5).sum() < 8:
        return score, None
    return score, float(np.median(cKDTree(xy[p > 0.5]).query(xy[p > 0.5], k=2)[0][:, 1]))


def _part(frame: Frame, factor: float) -> Frame:
    """Resample the part of a frame with most detail; it is about CROP px wide afterwards."""
    edge = int(np.ceil(CROP / factor))
    height, width = frame.shape
    if height * width <= 1.5 * edge * edge:
        return resample(frame, factor)
    corners = [(y, x) for y in _starts(height, edge) for x in _starts(width, edge)]
    parts = (resample(frame[y : y + edge, x : x + edge], factor) for y, x in corners)
    return max(parts, key=lambda part: float(np.diff(part, axis=1).std()))


def _starts(length: int, edge: int) -> list[int]:
    """Up to three places of a part of `edge` px along a side."""
    if length <= edge:
        return [0]
    return sorted({0, (length - edge) // 2, length - edge})
