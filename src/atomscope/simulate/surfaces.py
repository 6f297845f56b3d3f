"""Surfaces for STM: slabs whose top is at the high end of z, with vacuum above."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

GAP = 20.0  # Å of vacuum
DIMER_BOND = 1.04  # bonds within a dimer in units of the bulk bond
ADATOM_BOND = 1.06  # bonds of an adatom in the same unit


def fcc111(symbol: str, a: float) -> Atoms:
    """Close-packed surface of an fcc metal, unreconstructed, four layers thick."""
    from ase.build import fcc111 as slab

    found = slab(symbol, (1, 1, 4), a=a, vacuum=GAP / 2, periodic=False)
    found.info.clear()
    found.arrays.pop("tags", None)
    return found


def das7x7(symbol: str, a: float) -> Atoms:
    """Dimers, adatoms and stacking fault on the (111) surface of a diamond crystal.

    One 7×7 cell: 12 adatoms, 42 atoms that carry them (those of one half on the sites of a
    stacking fault), 48 atoms with nine dimers around the corner hole, and a full bilayer of
    98 below (Takayanagi et al., Surf. Sci. 164, 367 (1985)). All sites are those of the bulk,
    not relaxed, but for two rules: bonds within dimers are 4 %, bonds of adatoms 6 % longer
    than those of the bulk.
    """
    from ase import Atoms

    # Sites in units of the surface lattice, with 60° between its vectors: the half cells are
    # the triangles i + j < 7 and i + j > 7, and dimers stand on their sides.
    step, bond = a / np.sqrt(2), a * np.sqrt(3) / 4
    rise = bond / 3  # between the two halves of a bilayer
    height = np.sqrt((ADATOM_BOND * bond) ** 2 - step**2 / 3)
    i, j = (x.ravel().astype(float) for x in np.meshgrid(range(7), range(7), indexing="ij"))
    grid = np.stack([i, j], axis=1)
    near, far = grid[(i > 0) & (j > 0) & (i + j < 7)], grid[i + j > 7]
    fault, plain = grid[i + j <= 5] + 2 / 3, grid[i + j >= 7] + 1 / 3
    corner = near[np.all(near % 2 == 1, axis=1)]
    below = np.concatenate([near, far, _dimers(step, bond)])
    levels = [
        (grid + 1 / 3, -bond - rise),
        (grid, -bond),
        (below, 0.0),
        (np.concatenate([fault, plain]), rise),
        (np.concatenate([corner, 7 - corner]), rise + height),
    ]
    flat = step * np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
    base = bond + rise + GAP / 2
    positions = np.concatenate([np.c_[xy @ flat, np.full(len(xy), base + z)] for xy, z in levels])
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = 7 * flat, bond + 2 * rise + height + GAP
    symbols = [symbol] * len(positions)
    return Atoms(symbols, positions=positions, cell=cell, pbc=(True, True, False))


def _dimers(step: float, bond: float) -> np.ndarray:
    """Sites (18, 2) on the three sides of the half cells, drawn together two by two."""
    along = np.arange(1.0, 7.0)
    pull = (1 - DIMER_BOND * bond / step) / 2
    along += np.where(along % 2 == 1, pull, -pull)
    rest = np.zeros(6)
    sides = [(along, rest), (rest, along), (along, 7 - along)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])
