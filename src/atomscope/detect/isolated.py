"""At which sampling isolated atoms are shown: by the pixel size, or else by their width."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomscope.detect.tiles import columns
from atomscope.detect.trials import FACTORS
from atomscope.detect.view import View
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.sampling import resample
from atomscope.scale import Scale, beyond_noise

Frame = NDArray[np.float32]

COARSEST = 0.5  # Å per px: coarsest sampling of isolated atoms, three px to an atom
FEW = 16.0  # Å: the side of a frame of so few columns that it shows their width
NARROWEST = 3.0  # times finer than that sampling: smooth noise is as narrow, no atom is
FIELD, SMALLEST = 768, 64  # px: the part that tells width in smooth noise, and the least of it
DOUBTED = 0.3  # probability from which on an atom counts for a sampling
DOUBT = 0.4  # probability of an atom that speaks neither for a sampling nor against it


def isolated_view(model: Model, frame: Frame, scale: Scale, pixel_size: float | None) -> View:
    """Show isolated atoms at their width, by the pixel size or else by the grain."""
    if pixel_size is not None and pixel_size * min(frame.shape) < FEW:
        pixel_size = None
    factor = _without_lattice(model, scale.sigma, pixel_size)
    if scale.smooth and pixel_size is None:
        other = _without_lattice(model, beyond_noise(frame, scale), None)
        factor = max(factor, other, key=lambda f: _certainty(model, frame, f))
    return View(factor, False, scale, lattice=False)


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
    told = None if pixel_size is None else pixel_size / COARSEST
    if told is None or grain is None:
        factor = grain or told or 1.0
    else:  # a support coarsens the grain, up to twice
        factor = told if grain > NARROWEST * told else float(np.clip(told, grain, grain * 2))
    return float(np.clip(factor, *FACTORS))
