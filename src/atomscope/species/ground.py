"""Brightness without what the fit of a column traded with the background.

Columns and background are fitted together. Where noise lifts the background under a column, its
brightness comes out too low by as much: the two errors go together. A background that is smooth
shows how far it was lifted, so that this part of the error can be taken off again, as with a
control variate (Hammersley and Handscomb, Monte Carlo Methods (1964)). Where the background is so
odd that it must be there, as beside empty sites and heavy atoms, brightness stays as it was fitted.
Tails of a column are background, too: under columns of another brightness than the usual one it is
another by as much as these show together, and that is no error.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.columns import positions
from atomscope.intervals import robust_scatter
from atomscope.species.gain import gain_field
from atomscope.species.mixture import Floats, Ints

_FEWEST = 50  # atoms that tell how the two errors go together
_WITHIN = 3.0  # standard deviations: what lies farther out tells nothing
_BRIGHT = 1.6  # times the brightest sublattice: the tails of such atoms are in their background
_NOISE, _REAL = 2.0, 4.0  # standard deviations: a background as odd as that is noise, or there
_SURE = 5.0  # standard errors of the slope,
_SHOWN = 2.0  # and of the share of a column's light that is in its background
_SOME = 3  # columns that show it


def off_ground(rows: pd.DataFrame, group: Ints) -> tuple[Floats, Floats]:
    """Take off the errors of brightness that show in the background.

    Args:
        rows: Refined atoms with an intensity, N of them, of one or more frames.
        group: Sublattice of each, or another kind of about the same brightness, shape (N,).

    Returns:
        Intensities, and the squared errors that went, shape (N,) each; as they were, and 0, where
        the background is not known or tells nothing.
    """
    bright = rows["intensity"].to_numpy(float).copy()
    gone = np.zeros(len(bright))
    xy, frames = positions(rows), rows["frame"].to_numpy()
    ground = rows["background"].to_numpy(float)
    for frame in np.unique(frames):
        here = np.flatnonzero((frames == frame) & np.isfinite(ground))
        if len(here) < _FEWEST or robust_scatter(ground[here]) <= 0:
            continue
        usual = np.full(len(here), robust_scatter(ground[here]))
        lifted = ground[here] - gain_field(xy[here], ground[here], usual, xy[here])
        spread = robust_scatter(lifted)
        off, scatter = _beside_usual(bright[here], group[here])
        lifted -= _own_light(lifted, spread, off, np.abs(off) > _WITHIN * scatter)
        slope = _slope(lifted, spread, off, scatter)
        noise = np.clip((_REAL - np.abs(lifted) / spread) / (_REAL - _NOISE), 0.0, 1.0)
        noise *= bright[here] < _BRIGHT * _brightest(bright[here], group[here])
        bright[here] -= slope * noise * lifted
        gone[here] = (slope * spread) ** 2 * noise
    return bright, gone


def _beside_usual(bright: Floats, group: Ints) -> tuple[Floats, Floats]:
    """Brightness beside that of the usual column of the group, and the scatter of it, (N,) each."""
    off, scatter = np.zeros(len(bright)), np.zeros(len(bright))
    for g in np.unique(group):
        mine = group == g
        off[mine] = bright[mine] - np.median(bright[mine])
        scatter[mine] = robust_scatter(off[mine])
    return off, scatter


def _own_light(lifted: Floats, spread: float, off: Floats, odd: NDArray[np.bool_]) -> Floats:
    """Background that columns have since their own light is another than usual, shape (N,)."""
    shown = odd & (np.abs(lifted) < _REAL * spread)
    known = float(np.sum(off[shown] ** 2))
    share = float(np.sum(off[shown] * lifted[shown])) / known if known > 0 else 0.0
    if shown.sum() < _SOME or abs(share) < _SHOWN * spread / np.sqrt(known):
        return np.zeros(len(off))
    return np.where(odd, share * off, 0.0)


def _slope(lifted: Floats, spread: float, off: Floats, scatter: Floats) -> float:
    """How much darker a column comes out for a background that is too high; 0 if it is not."""
    usual = (np.abs(lifted) < _WITHIN * spread) & (np.abs(off) < _WITHIN * scatter)
    if usual.sum() < _FEWEST or spread <= 0:
        return 0.0
    x, y, w = lifted[usual], off[usual], scatter[usual] ** -2
    known = float(np.sum(w * x * x))
    slope = float(np.sum(w * x * y)) / known
    return slope if slope < -_SURE / np.sqrt(known) else 0.0


def _brightest(bright: Floats, group: Ints) -> float:
    """Typical brightness of the brightest sublattice of many atoms."""
    large = [g for g in np.unique(group) if np.sum(group == g) >= _FEWEST]
    return max((float(np.median(bright[group == g])) for g in large), default=np.inf)
