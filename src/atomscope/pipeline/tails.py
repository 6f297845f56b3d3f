"""The tails of columns of a frame: where they are measured, and the frame without them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atomscope.columns import positions
from atomscope.detect.view import View
from atomscope.lattice import Lattice, empty_sites, fit_lattice
from atomscope.recipe import Recipe
from atomscope.refine.tails import Tail, measure_tail, tails
from atomscope.refine.windows import Floats
from atomscope.types import FloatArray

_MIXED = 1.4  # ratio of bright to dim sublattices of a lattice of several kinds
_ODD = 0.15  # in log intensity beside the sublattice
_MOST = 12  # places that are looked at
_INSIDE = 2.5  # spacings from the border, beyond which there are columns that nobody knows
_GRID = (0.2, 0.5, 0.8)  # of height and width: where else


def without_tails(frame: FloatArray, atoms: pd.DataFrame, plan: Recipe, view: View) -> FloatArray:
    """Return the frame without the tails of heavy atoms, or itself where none are seen."""
    tail = tail_of(frame, atoms, plan, view)
    return frame if tail is None else without(tail, frame, atoms)


def without(tail: Tail, frame: FloatArray, atoms: pd.DataFrame) -> FloatArray:
    """Return the frame without a tail."""
    return np.asarray(frame - tails(atoms, tail, (frame.shape[0], frame.shape[1])))


def tail_of(frame: FloatArray, atoms: pd.DataFrame, plan: Recipe, view: View) -> Tail | None:
    """Tail of the columns of a lattice of bright atoms, or None.

    Without heavy atoms it is small, and matters only to who wants to know species.
    """
    if view.dark or not view.lattice or plan.refine is None:
        return None
    if plan.identify is None or not plan.identify.elements:
        return measure_tail(frame, atoms)
    xy, bright = positions(atoms), atoms["intensity"].to_numpy(float)
    lattice = fit_lattice(xy, bright)
    if lattice is None:
        return measure_tail(frame, atoms)
    shape = (frame.shape[0], frame.shape[1])
    empty = empty_sites(lattice, xy, shape)
    return measure_tail(frame, atoms, _telling(atoms, lattice, empty, shape), empty)


def _telling(
    atoms: pd.DataFrame, lattice: Lattice, empty: Floats, shape: tuple[int, int]
) -> Floats | None:
    """Places that show the tails of a lattice of bright and dim columns, (M, 2); None elsewhere.

    Columns that are not as bright as others on their sublattice, empty sites, and some more.
    """
    xy = positions(atoms)
    bright = atoms["intensity"].to_numpy(float)
    if not np.isfinite(bright).all() or bright.min() <= 0:
        return None
    usual = np.array([np.median(bright[lattice.sublattice == s]) for s in _sites(lattice)])
    if usual.max() < _MIXED * usual.min():
        return None
    off = np.abs(np.log(bright / usual[lattice.sublattice]))
    off[~lattice.member] = 1.0
    odd = xy[np.argsort(-off, kind="stable")][: int(np.sum(off > _ODD))]
    others = [(x * shape[1], y * shape[0]) for x in _GRID for y in _GRID]
    places = np.concatenate([empty, odd, others])
    inset = np.minimum(places, np.array(shape[::-1]) - 1 - places).min(axis=1)
    return np.asarray(places[inset > _INSIDE * lattice.spacing][:_MOST])


def _sites(lattice: Lattice) -> range:
    return range(len(lattice.basis))
