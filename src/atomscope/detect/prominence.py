"""How far a spot stands out of its surroundings, as the eye judges single atoms.

A network knows supports only as they were simulated. The matched filter knows nothing but
the width of an atom and the spread of what is around it, and holds on any support.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from atomscope.detect.prepare import Shown

Frame = NDArray[np.float32]
Floats = NDArray[np.float64]

WIDER = 1.2  # the filter's sigma in units of an atom's: detectors and sources blur
SURROUNDINGS = 6.0  # filter widths over which the local spread is taken
LEAST_SPREAD = 0.2  # of the frame's mean spread; keeps vacuum quiet


def prominence(shown: Frame | Shown, sigma: float, xy: Floats) -> Floats:
    """Return the prominence (N,) of spots at xy (N, 2), in standard deviations.

    The Laplacian of a Gaussian of the frame, once in units of the frame's own spread and once
    in units of the local one, each made robust by the median; the mean of both.

    Args:
        shown: Normalised frame (2, y, x); its second channel is used.
        sigma: Width of an isolated atom in px.
        xy: Positions in px.
    """
    if len(xy) == 0:
        return np.empty(0)
    width = WIDER * sigma
    response = _robust(-ndimage.gaussian_laplace(np.sinh(shown[1:, :, :][0]), width))
    high = response - ndimage.gaussian_filter(response, SURROUNDINGS * width)
    spread = np.sqrt(ndimage.gaussian_filter(np.square(high), SURROUNDINGS * width))
    local = _robust(high / (spread + LEAST_SPREAD * spread.mean() + 1e-12))
    highest = ndimage.maximum_filter(0.5 * (response + local), 3)
    col, row = np.rint(xy).astype(int).T
    height, width_px = highest.shape
    return np.asarray(highest[row.clip(0, height - 1), col.clip(0, width_px - 1)], dtype=np.float64)


def _robust(values: Frame) -> Frame:
    """Median 0, and 1 for the spread that the median deviation stands for in noise."""
    centred = values - np.float32(np.median(values))
    return centred / np.float32(1.4826 * np.median(np.abs(centred)) + 1e-12)
