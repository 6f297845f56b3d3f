"""Real crystals for the training world: the named materials, projected along their zone axes."""

from __future__ import annotations

from functools import cache

import numpy as np

from atomscope.simulate.crystals import Basis, project
from atomscope.simulate.lattices import shortest_distance, tile
from atomscope.simulate.materials import material, names
from atomscope.simulate.scene import Scene

FAINT = 0.15  # columns below this share of the strongest show in no usual image
CROWDED = 0.55  # Å: projections with columns nearer than this are not resolved by any microscope


@cache
def projections(apart: tuple[str, ...] = ()) -> tuple[Basis, ...]:
    """Return the projections of all layers and bulk crystals along their usual zone axes.

    Args:
        apart: Materials that are left out, so that tests can use them.
    """
    kept = [material(name) for name in names() if name not in apart]
    found = [project(m.atoms, zone) for m in kept if m.kind != "surface" for zone in m.zones]
    return tuple(b for b in found if shortest_distance(b.cell, b.sites) > CROWDED)


def crystal_lattice(
    rng: np.random.Generator, size: int, spacing: float, choice: tuple[Basis, ...]
) -> Scene:
    """Cover a square field with a real crystal in a random orientation.

    Args:
        rng: Source of randomness.
        size: Edge of the field in px.
        spacing: Shortest distance in px between columns that are bright enough to show.
        choice: Projections to draw from.
    """
    basis = choice[rng.integers(len(choice))]
    weight = basis.weights(rng.uniform(1.2, 2.0))
    shown = weight >= FAINT
    cell, sites, weight = basis.cell, basis.sites[shown], weight[shown]
    scale = spacing / shortest_distance(cell, sites)
    flip = np.diag([1.0, rng.choice([-1.0, 1.0])])
    xy, site = tile(
        scale * cell @ flip, sites, size, rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2)
    )
    return Scene.unlabelled(xy, weight[site], spacing)
