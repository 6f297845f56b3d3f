"""Real crystals and layers in projection: columns with positions in Å and strengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from atomscope.errors import UsageError
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from ase import Atoms

MERGE = 0.3  # Å: atoms nearer than this in projection make one column


def project(
    crystal: Atoms,
    zone: tuple[int, int, int] = (0, 0, 1),
    *,
    edge: float = 20.0,
    exponent: float = 1.6,
) -> tuple[Floats, Floats]:
    """Project a periodic structure along a zone axis.

    Args:
        crystal: Unit cell, periodic along all of its vectors (a layer: with vacuum).
        zone: Direction [uvw] of the beam in units of the cell vectors.
        edge: Edge of the square field in Å, centred on the origin.
        exponent: Strength of an atom is Z to this power; about 1.6 to 1.8 in HAADF
            (Krivanek et al., Nature 464, 571 (2010)).

    Returns:
        Positions (N, 2) in Å and strengths (N,) of one period of the crystal, where
        the strongest column has 1.

    Raises:
        UsageError: The zone axis is (0, 0, 0).
    """
    if not any(zone):
        raise UsageError("zone axis (0, 0, 0): expected a direction, for example (0, 0, 1).")
    cell = np.asarray(crystal.cell[:])
    uvw = np.array(zone) // np.gcd.reduce(zone)
    beam = uvw @ cell
    period = float(np.linalg.norm(beam))
    turn = _to_z(beam / period)
    reach = edge * np.sqrt(0.5) + period
    count = np.ceil(reach / _heights(cell)).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in count), indexing="ij"), -1)
    places = (shifts.reshape(-1, 1, 3) @ cell + crystal.positions).reshape(-1, 3) @ turn.T
    strength = np.tile(crystal.numbers.astype(float) ** exponent, len(places) // len(crystal))
    depth = np.mod(places[:, 2] + 1e-6, period) - places[:, 2]
    inside = (np.abs(depth) < 1e-3) & np.all(np.abs(places[:, :2]) <= edge / 2, axis=1)
    return _merge(places[inside, :2], strength[inside])


def _to_z(direction: Floats) -> Floats:
    """Return the rotation (3, 3) that turns a unit vector onto z."""
    helper = np.eye(3)[int(np.argmin(np.abs(direction)))]
    x = np.cross(helper, direction)
    x /= np.linalg.norm(x)
    return np.array([x, np.cross(direction, x), direction])


def _heights(cell: Floats) -> Floats:
    """Distances between opposite faces of a cell."""
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(cell), axis=0))


def _merge(xy: Floats, strength: Floats) -> tuple[Floats, Floats]:
    if len(xy) < 2:
        return xy, strength / (strength.max(initial=0.0) or 1.0)
    label = fcluster(linkage(xy, "average"), MERGE, "distance") - 1
    total = np.bincount(label, strength)
    centre = [np.bincount(label, strength * xy[:, i]) / total for i in (0, 1)]
    return np.stack(centre, axis=1), total / total.max()


def substitute(
    xy: Floats, strength: Floats, site: int, *, factor: float, push: float
) -> tuple[Floats, Floats]:
    """Put another atom on a site; its nearest neighbours move outwards by `push` Å.

    The shift falls off with the square of the distance, as around a point source of
    strain in a plate.
    """
    xy, strength = xy.copy(), strength.copy()
    away: Any = xy - xy[site]
    distance = np.linalg.norm(away, axis=1)
    distance[site] = np.inf
    nearest = distance.min()
    xy += away / distance[:, None] * push * (nearest / distance[:, None]) ** 2
    strength[site] *= factor
    return xy, strength
