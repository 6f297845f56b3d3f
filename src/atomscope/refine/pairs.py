"""Isolated atoms so close in projection that one was found are told apart where they are resolved.

Single atoms are about as bright as each other, and round. Two in one are twice as bright and
longer than wide; a fit of two says how far apart they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import has_flag, positions, with_flags
from atomscope.intervals import robust_scatter
from atomscope.recipe.stages import RefineOptions
from atomscope.refine.table import Measured, checked, measure, refine
from atomscope.refine.windows import E1, E2, LOG_WIDTH, Bools, Floats
from atomscope.types import FloatArray

BRIGHTER = 1.4  # times the usual atom: two are at least as bright
FEWEST = 8  # atoms tell what is usual
LONGER = 0.15  # ellipticity above that of the others: two are at least as long
UNLIKE = 3.0  # spreads of the others, in both: where atoms move, single ones are not alike either
SURE = 5.0  # standard errors of the length, and of the distance between the two
RESOLVED = 2.0  # widths between two Gaussians from which on they have two maxima (Sparrow's limit)
EACH = (0.5, 2.0)  # brightness of each of the two, in usual atoms
AROUND = 8.0  # widths around a pair in which neighbours are taken from the fit with both


@dataclass(frozen=True)
class _Long:
    """Bright columns that are longer than the others.

    Attributes:
        rows: Of the table, ascending, shape (M,).
        half: From the middle of two such atoms to the second, px, shape (M, 2).
        width: Usual width of a column, px.
        intensity: Usual intensity of a column.
    """

    rows: NDArray[np.int64]
    half: Floats
    width: float
    intensity: float


def split_pairs(
    frame: FloatArray,
    atoms: pd.DataFrame,
    *,
    options: RefineOptions,
    mask: NDArray[np.bool_] | None = None,
    dark: bool = False,
) -> pd.DataFrame:
    """Put two atoms in place of one where the image shows two.

    Args:
        frame: Image, shape (y, x).
        atoms: What `refine` returned for isolated atoms of this frame.
        options: As for `refine`; pairs have the usual width, whatever they say.
        mask: True where a pixel may be used, shape (y, x); None for all.
        dark: Columns are darker than the background.

    Returns:
        The table with two rows, flagged 'split', in place of each atom that was two; both keep
        what else is known of it (number, p). Only what is resolved is told apart (Sparrow's
        limit), and only where both are about as bright as the other atoms.
    """
    long = _long_ones(frame, atoms, options, mask, dark=dark)
    if long is None:
        return atoms
    # `of`: the atom that each row of the trial stands for; the long ones stand there twice
    of = np.repeat(np.arange(len(atoms)), 1 + np.bincount(long.rows, minlength=len(atoms)))
    first = np.searchsorted(of, long.rows)
    xy = positions(atoms)[of]
    xy[first] -= long.half
    xy[first + 1] += long.half
    trial = atoms.iloc[of].reset_index(drop=True).assign(x_px=xy[:, 0], y_px=xy[:, 1])
    alike = options.model_copy(update={"width": "shared"})
    fitted = refine(frame, trial, options=alike, mask=mask, dark=dark)
    two = _are_two(fitted, first, long)
    if not two.any():
        return atoms
    pairs, single = first[two], first[~two]
    split = has_flag(fitted, "split")
    split[pairs] = split[pairs + 1] = True
    fitted["flags"] = with_flags(fitted, {"split": split})
    near = cKDTree(positions(fitted)[pairs]).query(positions(fitted))[0] < AROUND * long.width
    near[single] = near[single + 1] = False  # what stays one atom stays as it was
    kept = np.setdiff1d(np.arange(len(of)), single + 1)
    rows: pd.DataFrame = pd.concat([fitted[near], atoms.iloc[of].set_axis(fitted.index)[~near]])
    return rows.loc[kept].reset_index(drop=True)


def _long_ones(
    frame: FloatArray,
    atoms: pd.DataFrame,
    options: RefineOptions,
    mask: NDArray[np.bool_] | None,
    *,
    dark: bool,
) -> _Long | None:
    """Find bright columns that are longer than the others; None where there are none."""
    usual = np.abs(atoms["intensity"].to_numpy(dtype=np.float64))
    fitted = np.isfinite(atoms["x_err_px"].to_numpy(dtype=np.float64))
    if fitted.sum() < FEWEST:
        return None
    intensity = float(np.median(usual[fitted]))
    spread = robust_scatter(usual[fitted])
    bright = fitted & (usual > np.maximum(BRIGHTER * intensity, intensity + UNLIKE * spread))
    if not bright.any():
        return None
    image, usable = checked(frame, atoms, mask)
    oval = options.model_copy(update={"elliptical": True})
    done = measure(image, usable, atoms, oval, dark=dark)
    if done is None or not done.known.all():
        return None
    excess, error = _ellipticity(done)
    size = np.hypot(*excess.T)
    least = max(LONGER, UNLIKE * max(robust_scatter(part[done.fit.good]) for part in excess.T))
    rows = np.flatnonzero(bright & done.fit.good & (size > least) & (size > SURE * error))
    if not len(rows):
        return None
    square = np.exp(2 * done.fit.theta[:, LOG_WIDTH])
    width = float(np.sqrt(np.median(square[done.fit.good])))
    return _Long(rows, _half(square[rows], excess[rows]), width, intensity)


def _ellipticity(done: Measured) -> tuple[Floats, Floats]:
    """Ellipticity (N, 2) beyond that of the others (an astigmatic probe), and its error (N,)."""
    fit = done.fit
    values = fit.theta[:, [E1, E2]]
    variance = (fit.covariance[:, E1, E1] + fit.covariance[:, E2, E2]) * fit.misfit / 2
    return values - np.median(values[fit.good], axis=0), np.sqrt(np.maximum(variance, 0))


def _half(square: Floats, excess: Floats) -> Floats:
    """Half of the vector between two round columns that look like one ellipse, (M, 2).

    Along the line between them they add a quarter of their distance squared to the variance,
    which is `square` / (1 - e) there and `square` / (1 + e) across it.
    """
    size = np.minimum(np.hypot(*excess.T), 0.9)
    length = np.sqrt(square / (1 - size) - square / (1 + size))
    angle = 0.5 * np.arctan2(excess[:, 1], excess[:, 0]) + np.pi / 2
    return np.asarray(length[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1))


def _are_two(fitted: pd.DataFrame, first: NDArray[np.int64], long: _Long) -> Bools:
    """Which long columns came out as two atoms: resolved, surely apart, each as bright as one."""
    halves = [fitted.iloc[first + k] for k in (0, 1)]
    apart = positions(halves[1]) - positions(halves[0])
    distance = np.hypot(*apart.T)
    variance = sum(half[["x_err_px", "y_err_px"]].to_numpy(float) ** 2 for half in halves)
    error = np.sqrt(np.einsum("ni,ni->n", apart**2, variance)) / np.maximum(distance, 1e-9)
    two = (distance > RESOLVED * long.width) & (distance > SURE * error)
    for half in halves:  # a fit that failed has no errors, and fails here as well
        share = np.abs(half["intensity"].to_numpy(dtype=np.float64)) / long.intensity
        two &= (share > EACH[0]) & (share < EACH[1])
    return np.asarray(two)
