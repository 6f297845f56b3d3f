"""What in a frame and its atoms speaks for or against having seen such a frame in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import has_flag, positions
from atomscope.detect.view import View
from atomscope.knowing.local import Floats, Local
from atomscope.spacing import nearest

if TYPE_CHECKING:
    import pandas as pd

SHARPEST = 0.62  # narrowness of the sharpest columns of the training world, 0.75 px of 1.4
ACCEPTED = 0.25  # logarithm of the spacing's error that the choice of the sampling lets pass
PAIRED = 0.4  # more, towards closer atoms, where pairs were told apart

# Translations of the lattice
HOMES, AROUND = 8, 24  # atoms in the middle, and neighbours of each, whose vectors are tried
SAMPLE = 512  # atoms that tell whether a vector is a translation
REPEATS = 0.3  # spacings: how near to an atom a translation must bring another one
SHARED = 0.3  # share of the atoms that it must bring there

# Each sign speaks against a frame where it is large, and never for it; the words say how.
SIGNS: dict[str, str] = {
    "misfit": "the fitted atoms describe their surroundings badly",
    "left": "much of the structure lies outside the atoms",
    "dips": "dips are as deep as atoms are high, as in noise and speckle",
    "rivals": "spots as high as the atoms are no atoms",
    "faint": "atoms barely rise above the noise",
    "plain": "atoms do not stand out from the texture",
    "doubt": "few atoms are sure",
    "unrefined": "many fits fail",
    "width_scatter": "widths scatter",
    "brightness_scatter": "brightness does not repeat from cell to cell",
    "glare": "one spot outshines all others",
    "fall": "brightness falls on all sides of the brightest, as in a diffraction pattern",
    "wide": "atoms are wide for the sampling that was chosen",
    "narrow": "atoms are narrow for the sampling that was chosen",
    "sharp": "atoms are sharper than any that the network was trained on",
    "off_scale": "atoms lie too close or too far apart for the sampling that was chosen",
    "disorder": "distances between neighbours scatter",
    "long": "atoms are long in one direction, as pairs that are not resolved",
}


def measure_signs(
    atoms: pd.DataFrame,
    local: Local,
    view: View,
    spacing: float,
    sigma: float,
) -> dict[str, float]:
    """Return all signs of a frame, finite numbers that neither gain nor mirroring changes.

    Args:
        atoms: Refined atoms of the frame, one or more.
        local: How they describe their surroundings.
        view: How the frame was shown to the network.
        spacing: Distance between columns at the network's own sampling in px.
        sigma: Their width there in px.
    """
    xy = positions(atoms)
    width = np.log(np.clip(atoms["width"].to_numpy(float), 1e-3, None))
    bright = np.log(np.clip(np.abs(atoms["intensity"].to_numpy(float)), 1e-300, None))
    peak = np.exp(np.median(bright) - 2 * np.median(width)) / (2 * np.pi)
    told, untold = float(np.median(local.told)), max(float(np.median(local.untold)), 0.0)
    noise = max(float(np.median(local.noise)), 1e-300)
    breadth = np.log(np.exp(np.median(width)) * view.factor / sigma)
    signs = {
        "misfit": untold / max(untold + told, 1e-300),
        "doubt": float(np.mean(1 - atoms["p"].to_numpy(float))),
        "unrefined": float(np.mean(has_flag(atoms, "unrefined"))),
        "width_scatter": _scatter(width),
        "brightness_scatter": _scatter_between_cells(xy, bright),
        "fall": _fall(xy, bright),
        "glare": float(bright.max() - np.median(bright)),
        "wide": max(breadth, 0.0),
        "narrow": max(-breadth, 0.0),
        "sharp": max(-breadth - SHARPEST, 0.0),
        "faint": -0.5 * np.log10(max(told, 1e-300) / noise),
        "plain": -np.log(max(peak, 1e-300) / max(local.texture, 1e-300)),
        "left": local.left,
        "dips": local.dips,
        "rivals": local.rivals,
        "long": local.long,
    }
    signs |= _distances(xy, view.factor / spacing, ACCEPTED + PAIRED * view.pairs)
    return {name: float(np.clip(signs[name], *_LIMITS[name])) for name in SIGNS}


_LIMITS = dict.fromkeys(SIGNS, (0.0, 1.0)) | {
    "brightness_scatter": (0.0, 2.0),
    "glare": (0.0, 5.0),
    "wide": (0.0, 1.5),
    "narrow": (0.0, 1.5),
    "off_scale": (0.0, 1.5),
    "faint": (-1.5, 1.5),
    "plain": (-4.0, 0.0),
    "dips": (0.0, 2.0),
    "rivals": (0.0, 2.0),
}


def _distances(xy: Floats, scale: float, closer: float) -> dict[str, float]:
    """Signs of the distances to the nearest neighbour; neutral for a handful.

    Atoms may be closer than the network's spacing by the logarithm `closer`.
    """
    if len(xy) < 5:
        return {"off_scale": 0.0, "disorder": 0.5}
    low, middle, high = np.quantile(nearest(xy), [0.25, 0.5, 0.75])
    apart = np.log(max(middle, 1e-9) * scale)
    return {
        "off_scale": max(apart - ACCEPTED, -apart - closer, 0.0),
        "disorder": (high - low) / max(middle, 1e-9),
    }


def _scatter(values: Floats) -> float:
    low, high = np.quantile(values, [0.25, 0.75])
    return float(high - low) / 1.35


def _scatter_between_cells(xy: Floats, bright: Floats) -> float:
    """Scatter of brightness between atoms one translation of the lattice apart.

    Of the vectors between neighbours that many atoms share, the one across which brightness
    changes least: sublattices of any brightness repeat, spots of diffraction do not. Where no
    vector is shared, the scatter of all.
    """
    scatter = _scatter(bright)
    if len(xy) <= AROUND:
        return scatter
    tree = cKDTree(xy)
    near = REPEATS * float(np.median(tree.query(xy, k=2)[0][:, 1]))
    some = np.linspace(0, len(xy) - 1, min(len(xy), SAMPLE)).astype(int)
    for home in tree.query(xy.mean(axis=0), k=HOMES)[1]:
        for vector in xy[tree.query(xy[home], k=AROUND + 1)[1][1:]] - xy[home]:
            distance, other = tree.query(xy[some] + vector, distance_upper_bound=near)
            both = np.isfinite(distance)
            if both.mean() >= SHARED:
                change = bright[other[both]] - bright[some[both]]
                scatter = min(scatter, _scatter(change) / 2**0.5)
    return scatter


def _fall(xy: Floats, bright: Floats) -> float:
    """How strictly brightness falls with the distance from the brightest, on every side of it.

    The least rank correlation of four halves of the plane; 0 where one holds next to nothing: a
    crystal that grows thicker or heavier to one side is brightest at its edge.
    """
    if len(xy) < 8:
        return 0.0
    brightest = np.argsort(bright)[-3:]
    centre = xy[brightest].mean(axis=0) if _near(xy, brightest) else xy[brightest[-1]]
    away = xy - centre
    distance = np.hypot(*away.T)
    sides = [(half > 0) | ((half == 0) & (distance > 0)) for half in (*away.T, *-away.T)]
    if min(side.sum() for side in sides) < max(4, len(xy) / 16):
        return 0.0
    return max(0.0, min(-_rank_correlation(distance[side], bright[side]) for side in sides))


def _rank_correlation(first: Floats, second: Floats) -> float:
    ranks = np.array([np.argsort(np.argsort(v)) for v in (first, second)], dtype=float)
    return float(np.corrcoef(ranks)[0, 1])


def _near(xy: Floats, few: NDArray[np.intp]) -> bool:
    """Whether a few atoms lie together, within a tenth of the field."""
    field = np.ptp(xy, axis=0).max()
    return bool(np.ptp(xy[few], axis=0).max() < 0.1 * field)
