"""Lattices that noise hides: how their averages are fitted, and what is said of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.detect.view import View
from atomscope.intervals import robust_scatter
from atomscope.recipe.stages import RefineOptions
from atomscope.types import Image

_SHIFT = 0.2  # spacings: largest move of columns that noise hides
_NEIGHBOURS = 12
_SCATTER, _EMPTY = 0.4, 0.12  # shares of the usual brightness


def gentle(options: RefineOptions) -> RefineOptions:
    """A column of a few electrons has no width of its own, and its fit cannot lead far."""
    least = min(_SHIFT, options.max_shift)
    return options.model_copy(update={"width": "shared", "max_shift": least})


def occupied(fitted: pd.DataFrame) -> pd.DataFrame:
    """Leave out sites of an averaged lattice that the frame itself shows to be empty.

    Their brightness tells where that of the others scatters little: from seven electrons on.
    """
    bright = fitted["intensity"].to_numpy(float)
    if len(fitted) <= _NEIGHBOURS or not np.isfinite(bright).all():
        return fitted
    middle = float(np.median(bright))
    if robust_scatter(bright) > _SCATTER * abs(middle):
        return fitted
    xy = positions(fitted)
    usual = np.median(bright[cKDTree(xy).query(xy, k=_NEIGHBOURS + 1)[1]], axis=1)
    taken = bright * np.sign(middle) > _EMPTY * np.abs(usual)
    return pd.DataFrame(fitted[taken])


def faintness(image: Image, view: View) -> tuple[str, ...]:
    """Say what an averaged lattice is worth."""
    if not view.faint:
        return ()
    return (
        f"{image.name}: noise hides the single columns, so that what repeats was averaged: sites "
        "are where the lattice has them, vacancies and foreign atoms may be missed, and no defect "
        "is named; record more electrons to see them.",
    )
