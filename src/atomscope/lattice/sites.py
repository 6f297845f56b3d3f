"""Sites of a fitted lattice where no atom was found: candidates for vacancies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from atomscope.lattice.grow import Crystal, around
from atomscope.lattice.vectors import Bools, Floats, Ints

if TYPE_CHECKING:
    from atomscope.lattice.fit import Lattice

_NEAR = 12  # atoms that say where a site is
FREE = 0.45  # spacings: nearer than this an atom takes the site
_BORDER = 0.5  # spacings from the border of the frame: nearer, a column may not be found
_SECTORS = 8  # around a site, of which
_OPEN = 2  # as many may hold no atom within
_SIGHT = 2.0  # mean distances between atoms: beyond the edge of a flake there are none


def empty_sites(lattice: Lattice, xy: Floats, shape: tuple[int, int]) -> Floats:
    """Return the sites of a lattice that have no atom but atoms on all sides.

    Asked for are the sites in the cells of the atoms and in those next to them, so the inside of
    a hole that is wider than two cells is not filled.

    Args:
        lattice: Fitted to these atoms.
        xy: Positions of the atoms in px, shape (N, 2).
        shape: Of the frame, (y, x).

    Returns:
        Positions in px, shape (M, 2), where the neighbours place the sites.
    """
    member = np.flatnonzero(lattice.member)
    if len(member) < _NEAR:
        return np.empty((0, 2))
    site, cell, start = _unused(lattice, member)
    crystal = Crystal(
        lattice.vectors, lattice.basis, lattice.sublattice[member], lattice.cell[member]
    )
    tree, points = cKDTree(xy[member]), xy[member]
    rough = points[start] + (cell + lattice.basis[site] - crystal.coordinates(start)) @ (
        lattice.vectors
    )
    near = tree.query(rough, k=_NEAR)[1]
    local = around(points, crystal, near, np.ones(near.shape, dtype=bool))
    places = local.positions(cell + lattice.basis[site])
    edge = _BORDER * lattice.spacing
    far = np.array([shape[1], shape[0]]) - 1 - edge
    inside = np.all((places >= edge) & (places <= far), axis=1)
    every = cKDTree(xy)
    free = every.query(places)[0] > FREE * lattice.spacing
    places = places[inside & free]
    return np.asarray(places[_enclosed(places, xy, every, lattice, shape)])


def _unused(lattice: Lattice, member: Ints) -> tuple[Ints, Ints, Ints]:
    """Sublattice, cell and one atom nearby of each site without an index around the atoms."""
    cell, site = lattice.cell[member], lattice.sublattice[member]
    low, wide = cell.min(axis=0) - 1, np.ptp(cell, axis=0) + 3  # with a rim of one cell
    place = (cell - low) @ np.array([wide[1], 1])
    cells, first = np.unique(place, return_index=True)
    steps = np.array([i * wide[1] + j for i in (-1, 0, 1) for j in (-1, 0, 1)])
    start = np.repeat(first, len(steps))
    order = np.argsort(start, kind="stable")
    asked, at = np.unique((cells[:, None] + steps).ravel()[order], return_index=True)
    start = start[order][at]
    free = [~np.isin(asked, place[site == s]) for s in range(len(lattice.basis))]
    of_site, row = np.nonzero(np.array(free))
    return of_site, np.stack(np.divmod(asked[row], wide[1]), axis=1) + low, start[row]


def _enclosed(
    places: Floats, xy: Floats, tree: cKDTree, lattice: Lattice, shape: tuple[int, int]
) -> Bools:
    """Places with an atom, or the border of the frame, in nearly all directions."""
    area = abs(float(np.linalg.det(lattice.vectors))) / len(lattice.basis)
    sight = _SIGHT * np.sqrt(area)
    angle = 2 * np.pi * np.arange(_SECTORS) / _SECTORS
    ends = places[:, None] + sight * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    closed = np.any((ends < 0) | (ends > np.array([shape[1], shape[0]]) - 1), axis=-1)
    for i, atoms in enumerate(tree.query_ball_point(places, sight)):
        away = xy[atoms] - places[i]
        sector = np.rint(np.arctan2(away[:, 1], away[:, 0]) / (2 * np.pi) * _SECTORS)
        closed[i, sector.astype(int) % _SECTORS] = True
    return np.asarray((~closed).sum(axis=1) <= _OPEN)
