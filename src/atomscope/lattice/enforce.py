"""The lattice's periodicity, enforced: one atom per site, and a vacancy where there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import DEFECTS, conform, positions
from atomscope.errors import UsageError
from atomscope.lattice.grow import Crystal, around, nearest_site
from atomscope.lattice.sites import FREE, empty_sites
from atomscope.lattice.vectors import Bools, Floats, Ints

if TYPE_CHECKING:
    from atomscope.lattice.fit import Lattice

_NEAR = 12  # atoms of the lattice that say where its sites are
_CLOSE = 8  # atoms nearest to a place, of which
_MOST = 0.5  # as large a share must be of the lattice, or the place is another grain's
LEAST = 0.1  # of the usual intensity of a site: V for W has 0.15, what is seen in a vacancy 0.0
_ROUNDS = 4  # without what was dropped, more places are of the lattice


def enforce(
    atoms: pd.DataFrame,
    lattice: Lattice,
    shape: tuple[int, int],
    *,
    reach: float = FREE,
    least: float = LEAST,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leave one atom on each site of a lattice, and list the sites that have none.

    Where most of the nearest atoms are of the lattice, an atom farther from all sites than
    `reach` is dropped, and so are all but the most probable of those at one site, and those
    in which the fit found next to nothing: a network may see atoms where a lattice should have
    them. Atoms elsewhere (another grain, the support beside a flake) stay: nothing is periodic
    there. Positions are measurements and are not moved.

    Args:
        atoms: Table of one frame, N rows of `atomscope.columns.ATOMS`.
        lattice: Fitted to these atoms, in the same order.
        shape: Of the frame, (y, x).
        reach: Largest distance of an atom from its site, in units of the lattice's spacing.
        least: Least intensity in units of the median of the sublattice; unknown ones pass.

    Returns:
        The atoms that are left, unchanged and in their order; and the empty sites as rows of
        `atomscope.columns.DEFECTS`, named V_ and what most atoms of that sublattice are, or
        site- and the number of the sublattice. Their p is how sure those atoms are that place
        the site.

    Raises:
        UsageError: The lattice is of other atoms, a position is not finite, or `reach` or
            `least` is out of range.
    """
    xy, p, bright = _checked(atoms, lattice, reach, least)
    if lattice.member.sum() < _NEAR:
        return atoms, _rows(atoms, lattice, np.empty((0, 2)), np.empty(0, int), np.empty(0))
    for _ in range(_ROUNDS):
        faint = _relative(bright, lattice) < least
        kept, lattice = _one_per_site(xy, p, lattice, reach, faint)
        xy, p, bright, atoms = xy[kept], p[kept], bright[kept], atoms[kept]
        if kept.all():
            break
    places = empty_sites(lattice, xy, shape)
    site, sure = np.empty(0, int), np.empty(0)
    if len(places):
        site, _, _, sure, inside = _placed(places, xy, p, lattice, itself=False)
        places, site, sure = places[inside], site[inside], sure[inside]
    return atoms.reset_index(drop=True), _rows(atoms, lattice, places, site, sure)


def _relative(bright: Floats, lattice: Lattice) -> Floats:
    """Intensity (N,) in units of the median of the sublattice, or of all; NaN where unknown."""
    known = np.isfinite(bright)
    usual = np.full(len(bright), np.median(bright[known]) if known.any() else np.nan)
    for s in range(len(lattice.basis)):
        here = lattice.sublattice == s
        if (here & known).any():
            usual[here] = np.median(bright[here & known])
    return np.asarray(bright / np.where(usual == 0, np.nan, usual))


def _one_per_site(
    xy: Floats, p: Floats, lattice: Lattice, reach: float, faint: Bools
) -> tuple[Bools, Lattice]:
    """Which atoms stay, shape (N,), and the lattice of these."""
    site, cell, miss, _, inside = _placed(xy, xy, p, lattice, itself=True)
    rivals = np.flatnonzero(inside & ~faint & (miss <= reach * lattice.spacing))
    rivals = rivals[np.lexsort((miss[rivals], -p[rivals]))]
    best = np.unique(np.column_stack([site, cell])[rivals], axis=0, return_index=True)[1]
    kept = ~inside
    kept[rivals[best]] = True
    on = inside[kept]
    left = replace(
        lattice,
        sublattice=np.where(on, site[kept], lattice.sublattice[kept]),
        cell=np.where(on[:, None], cell[kept], lattice.cell[kept]),
        deviation=lattice.deviation[kept],
    )
    return kept, left


def _checked(
    atoms: pd.DataFrame, lattice: Lattice, reach: float, least: float
) -> tuple[Floats, Floats, Floats]:
    """Positions (N, 2), probabilities (N,) with 0 and intensities (N,) with NaN for unknown."""
    if len(atoms) != len(lattice.sublattice):
        raise UsageError(
            f"{len(atoms)} atoms and a lattice of {len(lattice.sublattice)}; expected the atoms of "
            "one frame and the lattice that was fitted to them."
        )
    if not 0 < reach < 1:
        raise UsageError(f"reach is {reach:g}; expected a share of the spacing, between 0 and 1.")
    if not 0 <= least < 1:
        raise UsageError(f"least is {least:g}; expected a share of the intensity, 0 to below 1.")
    xy = positions(atoms)
    if not np.isfinite(xy).all():
        raise UsageError("a position is not finite; drop atoms without a position first.")
    unknown = np.full(len(atoms), np.nan)
    p, bright = (
        atoms[name].to_numpy(float) if name in atoms else unknown for name in ("p", "intensity")
    )
    return xy, np.nan_to_num(p), bright


def _placed(
    places: Floats, xy: Floats, p: Floats, lattice: Lattice, *, itself: bool
) -> tuple[Ints, Ints, Floats, Floats, Bools]:
    """Find the site nearest to each of M places, as the members around it show the lattice.

    Args:
        places: Positions in px, shape (M, 2).
        xy: Of the atoms, shape (N, 2).
        p: Of the atoms, shape (N,).
        lattice: Of the atoms.
        itself: The places are the atoms, of which none speaks for itself.

    Returns:
        Sublattice (M,), cell (M, 2), distance from the site in px (M,), mean p of the members
        that place it (M,), and whether most of the nearest atoms are of the lattice (M,).
    """
    member = np.flatnonzero(lattice.member)
    crystal = Crystal(
        lattice.vectors, lattice.basis, lattice.sublattice[member], lattice.cell[member]
    )
    count = min(_NEAR + itself, len(member))
    near = np.asarray(cKDTree(xy[member]).query(places, k=count)[1])
    known = np.ones(near.shape, dtype=bool)
    if itself:
        known = member[near] != np.arange(len(places))[:, None]
    local = around(xy[member], crystal, near, known)
    site, cell, miss = nearest_site(places, local, lattice.basis)
    sure = (p[member][near] * known).sum(axis=1) / known.sum(axis=1)
    first = int(itself)
    close = np.asarray(cKDTree(xy).query(places, k=min(_CLOSE + first, len(xy)))[1])[:, first:]
    inside = lattice.member[close].mean(axis=1) > _MOST
    return site, cell, miss, sure, inside & local.resembles(lattice.vectors)


def _rows(
    atoms: pd.DataFrame, lattice: Lattice, places: Floats, site: Ints, p: Floats
) -> pd.DataFrame:
    """Table of empty sites."""
    names = _contents(atoms, lattice)
    found = np.array([names[s] for s in site], dtype=object)
    columns: dict[str, Any] = {
        "frame": atoms["frame"].iloc[0] if "frame" in atoms and len(atoms) else 0,
        "defect": np.arange(len(places)),
        "name": np.array(
            [f"V_{name or f'site-{s}'}" for name, s in zip(found, site, strict=True)], object
        ),
        "formula": found,
        "x_px": places[:, 0],
        "y_px": places[:, 1],
        "p": p,
        "rule": np.array([f"empty site of sublattice {s}" for s in site], dtype=object),
        "known": True,
    }
    return conform(pd.DataFrame(columns, index=range(len(places))), DEFECTS)


def _contents(atoms: pd.DataFrame, lattice: Lattice) -> list[str]:
    """What most atoms of each sublattice are, empty where that is not known."""
    if "species" not in atoms:
        return [""] * len(lattice.basis)
    species = atoms["species"].to_numpy(dtype=object)
    result = []
    for s in range(len(lattice.basis)):
        some, count = np.unique(species[lattice.sublattice == s].astype(str), return_counts=True)
        result.append(str(some[count.argmax()]) if len(some) else "")
    return result
