"""Trying all spacings that a lattice may have, and telling a lattice by the columns found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.detect.trials import KEPT, Trial, attempt
from atomscope.models.store import Model

Frame = NDArray[np.float32]

# Spacings that are tried
SPACINGS = (1.2, 4.0)  # Å
SPACINGS_PX = (4.0, 48.0)  # px
STEP = 1.3  # from one spacing to the next
LEAST_SIDE = 3.0  # spacings to the side of a frame

# When a frame is dimmed as well
SMOOTH = 2.0  # px: over which brightness is compared
HEAVY = 99.8  # percentile of brightness: that of heavy atoms, if there are any
OUTSHONE = 3.0  # times what is bright elsewhere: heavy atoms that bright may hide a lattice

# What columns of a lattice are like
LEAST_SCORE = 0.6  # least certainty
LEAST_FILLING = 0.12  # least share of the part that they fill
AS_FAR = (0.8, 1.3)  # how far apart they are, in spacings of the network
CLOSER = 0.55  # how far apart pairs of columns are, where there is nothing else
LEAST_REPEAT = 0.33  # how well they repeat
SURE, REPEAT_OF_SURE = 0.9, 0.2  # the same of columns as certain, across a boundary of two grains
DENSE, REPEAT_OF_DENSE = 0.65, 0.15  # the same of columns as certain that fill the plane so well
FEW_SPACINGS = 8.0  # side of a part in which too little repeats to tell
SURE_OF_FEW, EVEN = 0.72, 0.12  # certainty and unevenness there; noise is below 0.6, above 0.2

# Which of several samplings is taken
NEARLY = 0.4  # of what the best one reaches, and another may still be the right one
SAME = 0.75  # of the columns of another one, and both see the same lattice


def search(model: Model, frame: Frame, pixel_size: float | None) -> list[Trial]:
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


def is_lattice(model: Model, trial: Trial, closest: float = AS_FAR[0]) -> bool:
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


def finest(trials: list[Trial], spacing: float) -> Trial:
    """Of the trials nearly as good as the best, and of those with most columns, the one to scale.

    Pairs of columns that merge at a coarse sampling repeat as well, and look surer.
    """
    best = max(trial.score * trial.order for trial in trials)
    nearly = [trial for trial in trials if trial.score * trial.order >= NEARLY * best]
    most = max(trial.density for trial in nearly)
    same = [trial for trial in nearly if trial.density >= SAME * most]
    return min(same, key=lambda trial: abs(np.log((trial.nearest or 1.0) / spacing)))
