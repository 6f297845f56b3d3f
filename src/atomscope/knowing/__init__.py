"""Knowing when not to know: how unlike the training world an atom and a whole frame are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atomscope.knowing.local import Filled, Floats, Local, compare
from atomscope.knowing.odd import oddity
from atomscope.knowing.signs import measure_signs
from atomscope.knowing.verdict import Verdict, decide, join
from atomscope.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.detect.view import View

__all__ = ["Verdict", "decide", "join", "know", "look_around"]


def know(
    frame: FloatArray,
    atoms: pd.DataFrame,
    view: View,
    *,
    spacing: float,
    sigma: float,
    pixel_size: float | None = None,
) -> tuple[Floats, Verdict]:
    """Judge one frame from what an analysis has at its end.

    Args:
        frame: Image, shape (y, x); pixels that are not finite are left out.
        atoms: Refined atoms of this frame, shape (N,) rows.
        view: How the frame was shown to the network.
        spacing: Distance between columns at the network's own sampling in px.
        sigma: Their width there in px.
        pixel_size: Å per px, or None.

    Returns:
        `ood` of each atom, shape (N,), 0 to 1, NaN where nothing was fitted; and the verdict.
    """
    if view.level:
        why = "the weights of the verdict are for scanned beams, not for tips"
        return np.full(len(atoms), np.nan), Verdict.unknown(why)
    if not len(atoms):
        return np.empty(0), Verdict.without_atoms()
    local = look_around(frame, atoms)
    if local is None:
        return np.full(len(atoms), np.nan), Verdict.unknown("the atoms were not refined")
    signs = measure_signs(atoms, local, view, spacing, sigma)
    return oddity(atoms, local), decide(signs, view, atoms, pixel_size)


def look_around(frame: FloatArray, atoms: pd.DataFrame) -> Local | None:
    """Compare the frame with its fitted atoms; None where there is no fit to compare with."""
    from atomscope.detect.prepare import usable

    columns = ["x_px", "y_px", "intensity", "width", "background"]
    fitted = atoms[columns].to_numpy(float)
    if not np.isfinite(fitted).all() or np.ndim(frame) != 2:
        return None
    x, y, volume, width, _ = fitted.T
    good = usable(frame)
    pixels = frame if good.all() else Filled(frame, good)
    peak = volume / (2 * np.pi * np.maximum(width, 1e-3) ** 2)
    return compare(pixels, np.stack([x, y], axis=1), peak, width)
