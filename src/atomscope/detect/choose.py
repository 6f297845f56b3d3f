"""Which sampling and which contrast a frame is to be seen at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from atomscope.detect.average import averaged, is_striped
from atomscope.detect.tiles import columns
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample
from atomscope.scale import Scale, measure

Frame = NDArray[np.float32]

DARK_FIELD = 320  # px in the middle of a frame that decide between dark and bright
CROP = 192  # px of the canonical sampling on which candidates are tried
CLEARLY = 0.4  # height of the autocorrelation beyond which the frame has a lattice, filled or not
BRIGHTEST = 99.5  # percentile: brighter pixels are cut off for a second look
NOISE = 0.05  # share of texture below which even a lattice that is not seen is looked for
FAINT = 0.165  # share of texture in the variance of such pixels below which columns are not seen
USUAL = 10.0  # px per spacing at which that share is meant
LEAST_ORDER = 0.1  # height below which it has none: texture of a support reaches it by chance
LEAST_FILLING = 0.32  # share that columns fill where the autocorrelation alone is in doubt,
LEAST_SCORE = 0.6  # how sure they are there,
AS_FAR = (0.85, 1.3)  # and how far apart, in spacings of a lattice
LEAST_FAINT = 0.125  # share that columns fill in an averaged lattice
MANY_SIGMA = 0.55  # canonical px: a finer grain means several columns in the repeat
FINER = 1.6  # times the factor of the repeat: between a square's diagonal and a dumbbell
CLOSEST = 0.5  # Å: nothing repeats in less, but lines of a scan do
LONE_ATOM = 0.5  # Å per px: coarsest sampling of isolated atoms, three of them to an atom
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
        faint: True where noise hides the single columns of a lattice, which is then shown
            averaged; see `average`.
    """

    factor: float
    dark: bool
    scale: Scale
    lattice: bool = True
    level: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Trial:
    """What one factor shows on a part of the frame.

    Attributes:
        factor: Canonical px per px of the input.
        score: Certainty of the columns found, 0 to 1.
        nearest: Their median distance in canonical px, None for a handful.
        filling: Share of the part that they fill, 1 for a square lattice at that distance.
    """

    factor: float
    score: float = -1.0
    nearest: float | None = None
    filling: float = 0.0


def choose_view(
    model: Model, frame: Frame, pixel_size: float | None, *, lines: bool = False
) -> View:
    """Choose the resampling factor of a frame with bright atoms.

    Where columns repeat, a few factors are tried on a part of the frame and the columns
    found have the last word on their spacing. Where nothing repeats, or the columns leave
    most of the part empty (isolated atoms on a support), the pixel size decides, or else the
    grain of the texture.

    Args:
        model: The detector.
        frame: Finite values, bright atoms, shape (y, x).
        pixel_size: Å per px of the input, or None.
        lines: Whether the frame is a topograph, whose noise is one of lines, not of electrons.
    """
    scale = _scale(frame, pixel_size)
    faint = None if lines else _faint_view(model, frame, scale)
    if faint is not None:
        return faint
    if scale.spacing is not None and scale.order >= LEAST_ORDER:
        best = _best_trial(model, frame, scale.spacing, scale.sigma)
        if scale.order >= CLEARLY or _is_lattice(best, model.card.spacing_px):
            return View(best.factor, False, scale)
    return View(_without_lattice(model, scale, pixel_size), False, scale, lattice=False)


def _faint_view(model: Model, frame: Frame, scale: Scale) -> View | None:
    """Show a lattice averaged where it is there for sure, and noise hides its single columns."""
    known = scale.spacing is not None
    if scale.signal >= FAINT or (known and scale.order < CLEARLY):
        return None
    if not known and scale.signal >= NOISE:
        return None
    clear = averaged(frame, scale.spacing or USUAL)
    sure = measure(clear)
    if sure.spacing is None or sure.order < CLEARLY:
        return None
    best = _best_trial(model, clear, sure.spacing, sure.sigma)
    if best.filling < LEAST_FAINT or is_striped(frame, sure.spacing):
        return None
    spacing = best.nearest / best.factor if best.nearest else sure.spacing
    noise = (1 - scale.signal) * (USUAL / spacing) ** 2  # of pixels as large as the network's
    if scale.signal >= FAINT * (scale.signal + noise):
        return None
    return View(best.factor, False, replace(scale, spacing=sure.spacing), faint=True)


def _scale(frame: Frame, pixel_size: float | None) -> Scale:
    """Measure the scale; where a few very bright atoms hide a lattice, without their height."""
    scale = measure(frame)
    if pixel_size and scale.spacing and scale.spacing * pixel_size < CLOSEST:
        return _coarser(frame, CLOSEST / pixel_size) or scale
    if scale.order >= CLEARLY:
        return scale
    flat = measure(np.minimum(frame, np.float32(np.percentile(frame, BRIGHTEST))))
    return flat if flat.order >= CLEARLY else scale


def _coarser(frame: Frame, closest: float) -> Scale | None:
    """Measure with pixels two to sixteen times as large, in which no finer repeat is left.

    None where no lattice with a spacing of at least `closest` px is clear: a pixel size in a
    wrong unit makes any lattice look too fine, and none of these shows another.
    """
    for step in (2, 4, 8, 16):
        found = measure(resample(frame, 1 / step))
        if found.spacing and found.order >= CLEARLY and found.spacing * step >= closest:
            grain = None if found.sigma is None else found.sigma * step
            return replace(found, spacing=found.spacing * step, sigma=grain)
    return None


def _best_trial(model: Model, frame: Frame, spacing: float, sigma: float | None) -> Trial:
    """Try the spacing as it is, and finer: the repeat may hold several columns.

    At the wrong factor columns merge or noise is found, and both cost certainty. Where the
    grain is very much finer than the repeat, the repeat alone is no candidate.
    """
    base = model.card.spacing_px / spacing
    many = sigma is not None and sigma * base < MANY_SIGMA
    wanted = [2**0.5 * FINER * base] if many else [FINER * base, base]
    trials = [_try(model, frame, float(np.clip(f, *FACTORS))) for f in wanted]
    best = max(trials, key=lambda trial: trial.score)
    if best.nearest is None or 0.75 < best.nearest / model.card.spacing_px < 1.2:
        return best
    again = float(np.clip(best.factor * model.card.spacing_px / best.nearest, *FACTORS))
    if not 0.4 < again / base < 3.2:
        return best
    other = _try(model, frame, again)
    return other if other.nearest is not None and other.score > 0.8 * best.score else best


def _is_lattice(trial: Trial, spacing: float) -> bool:
    """Tell whether columns found at a spacing fill the frame at that spacing, and surely.

    A strong background and bright single atoms hide a lattice from the autocorrelation; texture
    of a support and clusters of single atoms have a repeat by chance.
    """
    if trial.nearest is None or trial.score < LEAST_SCORE or trial.filling < LEAST_FILLING:
        return False
    return AS_FAR[0] < trial.nearest / spacing < AS_FAR[1]


def _without_lattice(model: Model, scale: Scale, pixel_size: float | None) -> float:
    """Factor at which isolated atoms have the width that the network knows."""
    grain = model.card.sigma_px / scale.sigma if scale.sigma is not None else 1.0
    factor = grain
    if pixel_size is not None:  # a support coarsens the grain, up to twice
        factor = float(np.clip(pixel_size / LONE_ATOM, grain, grain * 2))
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


def _try(model: Model, frame: Frame, factor: float) -> Trial:
    """Look at a part of the frame at one factor."""
    part = _part(frame, factor)
    found = columns(model, normalise(part))
    xy, p = found.xy, found.p
    sure = p > 0.5
    if not sure.any():
        return Trial(factor, 0.0)
    score = float(p[sure].sum() / (p.sum() + 2.0) * p[sure].mean())
    if sure.sum() < 8:
        return Trial(factor, score)
    nearest = float(np.median(cKDTree(xy[sure]).query(xy[sure], k=2)[0][:, 1]))
    return Trial(factor, score, nearest, float(sure.sum()) * nearest**2 / part.size)


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
