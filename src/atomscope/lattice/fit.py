"""Fitting the lattice of a frame, and its sites without an atom."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.lattice.grow import (
    Crystal,
    deviations,
    germinate,
    grow,
    neighbours,
    prune,
    settle,
)
from atomscope.lattice.supercell import enlarge, find_supercell
from atomscope.lattice.vectors import (
    LEAST_SHARE,
    Bools,
    Floats,
    Ints,
    Near,
    primitive,
    reduce_cell,
    tolerance,
)

_LEAST_ATOMS = 12
_REACH = 1.4  # tolerances: farthest that an atom may be from its site
_SWOLLEN = 1.3  # largest change of the cell's area between seed and grain
_FEWEST = 6  # atoms of each sublattice that a second look at order finds
_CHANCE = 0.6  # of the reach: rms deviation of a lattice; random points have 0.71


@dataclass(frozen=True)
class Lattice:
    """The lattice of the largest grain of a frame.

    Attributes:
        vectors: Mean primitive vectors as rows, px, shape (2, 2), reduced (see `reduce_cell`).
        origin: Mean position (px) of sublattice 0 in cell (0, 0), shape (2,).
        basis: Fractional positions of the sublattices, shape (B, 2); the first is at 0.
        sublattice: Of each atom, -1 where it is not of this lattice, shape (N,).
        cell: Indices of the cell of each atom, shape (N, 2); 0 where it is not of this lattice.
        deviation: Of each atom from the lattice that its neighbours show, px, shape (N, 2);
            NaN where it is not of this lattice.
    """

    vectors: Floats
    origin: Floats
    basis: Floats
    sublattice: Ints
    cell: Ints
    deviation: Floats

    @property
    def member(self) -> Bools:
        """Which atoms are of this lattice, shape (N,)."""
        return np.asarray(self.sublattice >= 0)

    @property
    def spacing(self) -> float:
        """Shortest distance between two sites in px."""
        shift = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        apart = self.basis[:, None, None] - self.basis[None, :, None] + shift
        distance = np.hypot(*np.moveaxis(apart @ self.vectors, -1, 0))
        return float(distance[distance > 1e-6].min())


def fit_lattice(xy: Floats, intensity: Floats | None = None) -> Lattice | None:
    """Find the lattice of a frame from its atoms.

    The primitive vectors are those that take most atoms to others; the sites of the cell are
    where atoms pile up in it; then every atom is indexed from its neighbours, so that smooth
    strain and drift are followed. Order that only brightness or small shifts show (a
    checkerboard of two elements) makes the cell two to four times as large. Time grows
    linearly with the number of atoms.

    Args:
        xy: Positions in px, shape (N, 2), finite.
        intensity: Of each atom, shape (N,), NaN where unknown.

    Returns:
        The lattice of the largest grain, or None where there is none.

    Raises:
        UsageError: The arrays have other shapes.
    """
    xy = np.asarray(xy, dtype=np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise UsageError(f"positions have shape {xy.shape}; expected (N, 2), all of them finite.")
    bright = np.full(len(xy), np.nan) if intensity is None else np.asarray(intensity, np.float64)
    if bright.shape != (len(xy),):
        raise UsageError(f"intensity has shape {bright.shape}; expected ({len(xy)},).")
    if len(xy) < _LEAST_ATOMS:
        return None
    order = np.lexsort(xy.T)  # the result must not depend on the order of the rows
    found = _fit(xy[order], bright[order])
    if found is None:
        return None
    back = np.argsort(order)
    return replace(
        found,
        sublattice=found.sublattice[back],
        cell=found.cell[back],
        deviation=found.deviation[back],
    )


def _fit(xy: Floats, bright: Floats) -> Lattice | None:
    tree = cKDTree(xy)
    tol = tolerance(xy, tree)
    if tol <= 0:
        return None
    cell = primitive(xy, tree, tol)
    if cell is None:
        return None
    vectors, repeats = cell
    near = neighbours(xy, tree)
    crystal = germinate(xy, tree, vectors, _start(xy, near, repeats), tol)
    reach = _REACH * tol
    for _ in range(2):  # a refined basis reaches further
        crystal = grow(xy, near, crystal, reach)
        crystal = prune(near, crystal, deviations(xy, near, crystal), reach)
        if np.mean(crystal.site >= 0) < LEAST_SHARE:
            return None
        crystal = settle(xy, near, crystal)
    deviation = deviations(xy, near, crystal)
    regular = np.sqrt(np.nanmean(np.sum(deviation**2, axis=1))) < _CHANCE * reach
    if not regular or not _alike(crystal.vectors, vectors):
        return None
    for again in (False, True):  # oxygen against metals first, then one metal against the other
        larger = find_supercell(crystal, np.column_stack([deviation, _log(bright)]))
        if larger is None:
            break
        enlarged = enlarge(crystal, larger)
        full = np.bincount(enlarged.site[enlarged.site >= 0], minlength=len(enlarged.basis))
        if again and full.min() < _FEWEST:
            break
        crystal = settle(xy, near, enlarged)
        deviation = deviations(xy, near, crystal)
    return _canonical(xy, crystal, deviation, bright)


def _log(bright: Floats) -> Floats:
    return np.log(np.where(bright > 0, bright, np.nan))


def _alike(vectors: Floats, expected: Floats) -> bool:
    """Whether the mean cell still has about the area that it had at the seed."""
    ratio = float(np.linalg.det(vectors) / np.linalg.det(expected))
    return 1 / _SWOLLEN < ratio < _SWOLLEN


def _start(xy: Floats, near: Near, repeats: Bools) -> int:
    """The point with most repeating neighbours, of these the one nearest to the middle of all."""
    share = np.where(repeats, np.mean([repeats[n] for n in near.T], axis=0), 0.0)
    best = np.flatnonzero(share >= share.max() - 1e-9)
    middle = np.median(xy[repeats], axis=0)
    return int(best[np.argmin(np.hypot(*(xy[best] - middle).T))])


def _canonical(xy: Floats, crystal: Crystal, deviation: Floats, bright: Floats) -> Lattice:
    """Reduce the cell; the brightest (or else fullest) sublattice comes first, at the origin."""
    vectors, change = reduce_cell(crystal.vectors)
    back = np.linalg.inv(change)
    site, cell = crystal.site, np.rint(crystal.cell @ back).astype(np.int64)
    basis = crystal.basis @ back
    order = _ranking(site, bright, len(basis))
    rank = np.argsort(order)
    basis = basis[order] - basis[order[0]]
    site = np.where(site >= 0, rank[site], -1)
    whole = np.floor(basis + 1e-6).astype(np.int64)
    cell = np.where(site[:, None] >= 0, cell + whole[site], 0)
    basis = basis - whole
    member = site >= 0
    origin = np.mean(xy[member] - (cell + basis[site])[member] @ vectors, axis=0)
    deviation = np.where(member[:, None], deviation, np.nan)
    return Lattice(vectors, origin, basis, site, cell, deviation)


def _ranking(site: Ints, bright: Floats, count: int) -> Ints:
    full = [float(np.sum(site == s)) for s in range(count)]
    if np.isfinite(bright[site >= 0]).any():
        known = [bright[(site == s) & np.isfinite(bright)] for s in range(count)]
        level = [float(np.median(b)) if len(b) else -np.inf for b in known]
        return np.lexsort((-np.array(full), -np.array(level)))
    return np.argsort(-np.array(full), kind="stable")
