"""Which sampling and which contrast a frame is to be seen at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.detect.average import averaged, is_striped
from atomscope.detect.isolated import isolated_view
from atomscope.detect.search import CLOSER, LEAST_SCORE, finest, is_lattice, search
from atomscope.detect.trials import best_trial, told_apart
from atomscope.detect.view import View
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample
from atomscope.scale import Scale, measure

Frame = NDArray[np.float32]

DARK_FIELD = 320  # px in the middle of a frame that decide between dark and bright

# A lattice that the autocorrelation shows
CLEARLY = 0.4  # height of its peak beyond which the frame has a lattice, filled or not
SEEN_REPEAT = 0.15  # how well the columns found repeat there at least
BRIGHTEST = 99.5  # percentile: brighter pixels are cut off for a second look
CLOSEST = 0.5  # Å: nothing repeats in less, but lines of a scan do
WIDE, WIDE_GRAIN = 24.0, 5.0  # px: between columns, and of their grain, where pixels are too many

# A lattice that noise hides
NOISE = 0.05  # share of texture below which even a lattice that is not seen is looked for
FAINT = 0.165  # share of texture in the variance of pixels below which columns are not seen
USUAL = 10.0  # px per spacing at which that share is meant
LEAST_FAINT = 0.125  # share of the part that columns fill in an averaged lattice

MORE = 1.2  # times the columns: so many must be hidden for a frame to be dimmed


def choose_view(
    model: Model, frame: Frame, pixel_size: float | None, *, lines: bool = False
) -> View:
    """Choose the resampling factor of a frame with bright atoms.

    Where the frame repeats, a few factors are tried on a part of it and the columns found have
    the last word on their spacing. Where that is in doubt, all spacings are tried, and there is a
    lattice where the columns found repeat. Otherwise (isolated atoms on a support) the pixel size
    decides, or else the grain of the texture.

    Args:
        model: The detector.
        frame: Finite values, bright atoms, shape (y, x).
        pixel_size: Å per px of the input, or None.
        lines: Whether the frame is a topograph, whose noise is one of lines, not of electrons.
    """
    scale = _scale(frame, pixel_size)
    faint = None if lines else _faint_view(model, frame, scale, pixel_size)
    if faint is not None:
        return faint
    scale = _of_wide_columns(frame, scale, pixel_size)
    trials = []
    if scale.spacing is not None:
        trials.append(best_trial(model, frame, scale.spacing, scale.sigma))
        clear = scale.order >= CLEARLY and trials[0].score >= LEAST_SCORE
        if clear and trials[0].order >= SEEN_REPEAT:
            finer = told_apart(model, frame, trials[0], scale.sigma)
            return View(finer.factor, False, scale, pairs=finer is not trials[0])
    trials += search(model, frame, pixel_size)
    good = [trial for trial in trials if is_lattice(model, trial)]
    close = [trial for trial in trials if trial.resolved and not good]
    pairs = [trial for trial in close if is_lattice(model, trial, closest=CLOSER)]
    good += pairs
    if good:
        spacing = model.card.spacing_px
        seen = [trial for trial in good if not trial.dimmed]
        best = finest(good, spacing)
        plain = finest(seen, spacing) if seen else best
        best = best if best.density > MORE * plain.density else plain
        scale = replace(scale, spacing=spacing / best.factor)
        return View(best.factor, False, scale, dimmed=best.dimmed, pairs=bool(pairs))
    return isolated_view(model, frame, scale, pixel_size)


def _faint_view(model: Model, frame: Frame, scale: Scale, pixel_size: float | None) -> View | None:
    """Show a lattice averaged where it is there for sure, and noise hides its single columns."""
    known = scale.spacing is not None
    if scale.signal >= FAINT or (known and scale.order < CLEARLY):
        return None
    if not known and scale.signal >= NOISE:
        return None
    clear = averaged(frame, scale.spacing or USUAL)
    sure = measure(clear)
    if sure.spacing is None or sure.order < CLEARLY or sure.spacing < _closest(pixel_size):
        return None
    best = best_trial(model, clear, sure.spacing, sure.sigma)
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
    closest = _closest(pixel_size)
    if scale.spacing and scale.spacing < closest:
        return _coarser(frame, closest) or scale
    if scale.order >= CLEARLY:
        return scale
    flat = measure(np.minimum(frame, np.float32(np.percentile(frame, BRIGHTEST))))
    return flat if flat.order >= CLEARLY else scale


def _closest(pixel_size: float | None) -> float:
    """Px below which no lattice repeats; 0 where the pixel size is unknown."""
    return CLOSEST / pixel_size if pixel_size else 0.0


def _of_wide_columns(frame: Frame, scale: Scale, pixel_size: float | None) -> Scale:
    """Return the scale of a lattice of many pixels per column, or else the one that is known.

    A pixel holds few electrons there, a column many.
    """
    wide = scale.spacing is None and (scale.sigma or 0.0) > WIDE_GRAIN
    if scale.order >= CLEARLY or not (wide or scale.signal < NOISE):
        return scale
    return _coarser(frame, max(WIDE, _closest(pixel_size))) or scale


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
    values /= spread
    return float(np.mean(values * values * values)) < -1.2  # a power would take 70 times as long
