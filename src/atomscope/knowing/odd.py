"""The score of each atom: how unlike its fellows, and how badly described, it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atomscope.intervals import robust_scatter
from atomscope.knowing.local import Floats, Local

if TYPE_CHECKING:
    import pandas as pd

FELLOWS = 8  # atoms of a class that it takes to say what is usual in it
LEAST_WIDTH, LEAST_BRIGHTNESS = 0.05, 0.1  # relative scatter that is never odd
ODD = 4.0  # robust standard deviations at which an atom is as odd as not
OFF_LATTICE = 0.5  # for an atom between the sites of the lattice that holds most others


def oddity(atoms: pd.DataFrame, local: Local) -> Floats:
    """Return `ood` of each atom, shape (N,), 0 to 1.

    One minus the product of one minus each doubt, so that any single doubt suffices: that it is
    no atom (1 - p); that the fit leaves structure around it undescribed (its share); that its
    width or its brightness is unlike that of its fellows (one half at four robust standard
    deviations); that it lies off the lattice of the others (one half).
    """
    width = np.log(np.clip(atoms["width"].to_numpy(float), 1e-3, None))
    bright = np.log(np.clip(np.abs(atoms["intensity"].to_numpy(float)), 1e-300, None))
    kind = atoms["intensity_class"].fillna(-1).to_numpy(int)
    site = atoms["sublattice"].fillna(-1).to_numpy(int)
    off = (site < 0) & (np.mean(site >= 0) > 0.5)
    doubts = (
        1 - atoms["p"].to_numpy(float),
        local.misfit,
        _odd(width, np.zeros(len(kind), dtype=int), LEAST_WIDTH),
        _odd(bright, kind, LEAST_BRIGHTNESS),
        OFF_LATTICE * off,
    )
    return np.asarray(1 - np.prod([1 - np.clip(d, 0, 1) for d in doubts], axis=0))


def _odd(values: Floats, kind: NDArray[np.int_], least: float) -> Floats:
    """How far each value lies from the median of its kind, 0 to 1."""
    result = np.zeros(len(values))
    for one in np.unique(kind):
        here = kind == one
        if here.sum() < FELLOWS:
            continue
        off = values[here] - np.median(values[here])
        scatter = max(robust_scatter(off), least)
        result[here] = 1 - 0.5 ** ((off / scatter / ODD) ** 2)
    return result
