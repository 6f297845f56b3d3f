"""Which sampling and which contrast a frame is to be seen at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.detect.average import averaged, is_striped
from atomscope.detect.tiles import columns
from atomscope.detect.trials import FACTORS, KEPT, Trial, attempt, best_trial, told_apart
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample
from atomscope.scale import Scale, beyond_noise, measure

Frame = NDArray[np.float32]

DARK_FIELD = 320  # px in the middle of a frame that decide between dark and bright
CLEARLY = 0.4  # height of the autocorrelation beyond which the frame has a lattice, filled or not,
SEEN_REPEAT = 0.15  # where the columns found repeat as well, if only a little
BRIGHTEST = 99.5  # percentile: brighter pixels are cut off for a second look
NOISE = 0.05  # share of texture below which even a lattice that is not seen is looked for
FAINT = 0.165  # share of texture in the variance of such pixels below which columns are not seen
USUAL = 10.0  # px per spacing at which that share is meant
LEAST_SCORE = 0.6  # certainty of columns that show a lattice where that does not,
LEAST_FILLING = 0.12  # the share that they fill,
LEAST_REPEAT = 0.33  # how well they repeat,
SURE, REPEAT_OF_SURE = 0.9, 0.2  # or, where they are as certain, across a boundary of two grains,
DENSE, REPEAT_OF_DENSE = 0.65, 0.15  # all the more where they fill the plane, unlike chance,
AS_FAR = (0.8, 1.3)  # and how far apart they are, in spacings of a lattice,
FEW_SPACINGS = 8.0  # in a part of fewer, in which little repeats, columns may show it that
SURE_OF_FEW, EVEN = 0.72, 0.12  # are as sure and as evenly spaced: noise is below 0.6, above 0.2,
CLOSER = 0.55  # or closer, as pairs are, if there is nothing else
SMOOTH = 2.0  # px: over which brightness is compared,
HEAVY = 99.8  # percentile: that of heavy atoms, if there are any,
OUTSHONE = 3.0  # times what is bright elsewhere: so much brighter, they may hide it
MORE = 1.2  # times the columns: so many must be hidden for a frame to be dimmed
NEARLY = 0.4  # of what the best such sampling reaches, and another may still be the right one
SAME = 0.75  # of the columns of another, and both see the same lattice
SPACINGS = (1.2, 4.0)  # Å: where such a lattice is looked for,
SPACINGS_PX = (4.0, 48.0)  # and in px
WIDE, WIDE_GRAIN = 24.0, 5.0  # px: between columns, and of their grain, where pixels are too many
LEAST_SIDE = 3.0  # of them to the side of a frame
STEP = 1.3  # from one of these to the next
LEAST_FAINT = 0.125  # share that columns fill in an averaged lattice
CLOSEST = 0.5  # Å: nothing repeats in less, but lines of a scan do
LONE_ATOM = 0.5  # Å per px: coarsest sampling of isolated atoms, three of them to an atom
FEW = 16.0  # Å: a smaller frame is one of few columns, whose width it shows
NARROWEST = 3.0  # times finer than that: no atom is as narrow, but smooth noise is
FIELD, SMALLEST = 768, 64  # px: part that tells the width of isolated atoms in smooth noise
DOUBTED, DOUBT = 0.3, 0.4  # probability from which on atoms count for it, and what is no evidence


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
        dimmed: True where a few atoms are so bright that they would hide all others.
        pairs: True where columns stand in pairs far from each other, closer than the network's
            own spacing.
    """

    factor: float
    dark: bool
    scale: Scale
    lattice: bool = True
    level: bool = False
    faint: bool = False
    dimmed: bool = False
    pairs: bool = False


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
    trials += _search(model, frame, pixel_size)
    good = [trial for trial in trials if _is_lattice(model, trial)]
    close = [trial for trial in trials if trial.resolved and not good]
    pairs = [trial for trial in close if _is_lattice(model, trial, closest=CLOSER)]
    good += pairs
    if good:
        spacing = model.card.spacing_px
        seen = [trial for trial in good if not trial.dimmed]
        best = _finest(good, spacing)
        plain = _finest(seen, spacing) if seen else best
        best = best if best.density > MORE * plain.density else plain
        scale = replace(scale, spacing=spacing / best.factor)
        return View(best.factor, False, scale, dimmed=best.dimmed, pairs=bool(pairs))
    return _isolated_view(model, frame, scale, pixel_size)


def _isolated_view(model: Model, frame: Frame, scale: Scale, pixel_size: float | None) -> View:
    """Show isolated atoms at their width, by the pixel size or else by the grain."""
    if pixel_size is not None and pixel_size * min(frame.shape) < FEW:
        pixel_size = None
    factor = _without_lattice(model, scale.sigma, pixel_size)
    if scale.smooth and pixel_size is None:
        other = _without_lattice(model, beyond_noise(frame, scale), None)
        factor = max(factor, other, key=lambda f: _certainty(model, frame, f))
    return View(factor, False, scale, lattice=False)


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


def _search(model: Model, frame: Frame, pixel_size: float | None) -> list[Trial]:
    """Try all spacings that a lattice may have.

    A strong background, heavy adatoms or uneven lines hide a lattice from the autocorrelation of
    the frame, but not from that of the columns found.
    """
    low, high = SPACINGS_PX
    if pixel_size is not None:
        told = [float(np.clip(a / pixel_size, low, high)) for a in SPACINGS]
        low, high = told if told[0] < told[1] else (low, high)  # else the unit is wrong
    high = max(min(high, min(frame.shape) / LEAST_SIDE), low)
    count = int(np.log(high / low) / np.log(STEP)) + 2
    spacings = np.geomspace(low, high, count)
    factors = model.card.spacing_px / spacings
    ways = (False, True) if _outshone(frame) else (False,)
    return [attempt(model, frame, factor, dim=dim) for dim in ways for factor in factors]


def _outshone(frame: Frame) -> bool:
    """Whether a few places are many times as bright as what is bright elsewhere."""
    smooth = ndimage.gaussian_filter(frame, SMOOTH)
    middle, bright, brightest = np.percentile(smooth, (50, KEPT, HEAVY))
    return bool(brightest - middle > OUTSHONE * (bright - middle))


def _finest(trials: list[Trial], spacing: float) -> Trial:
    """Of the trials nearly as good as the best, and of those with most columns, the one to scale.

    Pairs of columns that merge at a coarse sampling repeat as well, and look surer.
    """
    best = max(trial.score * trial.order for trial in trials)
    nearly = [trial for trial in trials if trial.score * trial.order >= NEARLY * best]
    most = max(trial.density for trial in nearly)
    same = [trial for trial in nearly if trial.density >= SAME * most]
    return min(same, key=lambda trial: abs(np.log((trial.nearest or 1.0) / spacing)))


def _is_lattice(model: Model, trial: Trial, closest: float = AS_FAR[0]) -> bool:
    """Tell whether columns found fill the part, are sure, repeat, and lie as far apart as tried.

    Texture of a support passes for columns at some sampling, but does not repeat.
    """
    if trial.nearest is None or trial.score < LEAST_SCORE or trial.filling < LEAST_FILLING:
        return False
    if not closest < trial.nearest / model.card.spacing_px < AS_FAR[1]:
        return False
    few = min(trial.shape) < FEW_SPACINGS * trial.nearest
    if few and trial.unevenness <= EVEN and trial.score >= SURE_OF_FEW:
        return True
    least = LEAST_REPEAT
    if trial.score >= SURE:
        least = REPEAT_OF_DENSE if trial.filling >= DENSE else REPEAT_OF_SURE
    return trial.order >= least


def _certainty(model: Model, frame: Frame, factor: float) -> float:
    """How many isolated atoms are seen in the middle of a frame at a factor, and how surely."""
    top, left = (max(0, (n - FIELD) // 2) for n in frame.shape)
    part = resample(frame[top : top + FIELD, left : left + FIELD], factor)
    if min(part.shape) < SMALLEST:
        return 0.0
    p = columns(model, normalise(part), lattice=False).p
    return float((p[p >= DOUBTED] - DOUBT).sum())


def _without_lattice(model: Model, width: float | None, pixel_size: float | None) -> float:
    """Factor at which isolated atoms have the width that the network knows.

    Args:
        model: The detector.
        width: Of the grain of the texture, px.
        pixel_size: Å per px, or None.
    """
    grain = None if width is None else model.card.sigma_px / width
    told = None if pixel_size is None else pixel_size / LONE_ATOM
    if told is None or grain is None:
        factor = grain or told or 1.0
    else:  # a support coarsens the grain, up to twice
        factor = told if grain > NARROWEST * told else float(np.clip(told, grain, grain * 2))
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
    values /= spread
    return float(np.mean(values * values * values)) < -1.2  # a power would take 70 times as long
