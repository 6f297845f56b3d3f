"""What happens in movies of graphene: hops, switches, dimers, trimers and growing lines.

Each kind sets up the specimen and returns a function that takes it one frame on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.simulate.scene import Floats

Ints = NDArray[np.int64]
Happening = tuple[str, int, str, str]  # kind, identity, from, to

NEXT = 1.2  # spacings: farthest first neighbour
_SHIFT = 0.22  # spacings: how far silicon moves when its coordination changes
_RADIUS = 0.95  # spacings: of a trimer of silicon in the place of a ring of carbon
_TURN = np.deg2rad(30.0)  # a step of the trimer


@dataclass(frozen=True)
class Setting:
    """How a movie is taken; lengths are in px, `jitter` and `drift` are standard deviations.

    Attributes:
        frames: Number of frames.
        size: Edge of a frame in px.
        spacing: Distance between neighbours in px.
        rate: Events of the kind in question per frame (per silicon atom, trimer or line).
        miss: Share of atoms that is not found.
        false: Mean number of false atoms in a frame.
        misread: Mean share of atoms whose species (or coordination) is read wrongly; for
            carbon it is a tenth of this.
        jitter: Of positions, spacings.
        drift: Step of the random walk of the frame.
        strain: Largest slow affine distortion over the movie.
        dopants: Silicon atoms in the movie 'hop'.
    """

    frames: int = 100
    size: int = 160
    spacing: float = 12.0
    rate: float = 0.03
    miss: float = 0.1
    false: float = 0.5
    misread: float = 0.03
    jitter: float = 0.05
    drift: float = 0.5
    strain: float = 0.005
    dopants: int = 1


@dataclass
class World:
    """Atoms of the specimen; a stage of the movie changes them in place."""

    xy: Floats
    species: NDArray[np.object_]
    coordination: Ints
    present: NDArray[np.bool_]
    near: list[list[int]]
    middle: Floats


Step = Callable[[], list[Happening]]


def _still(world: World, rng: np.random.Generator, setting: Setting) -> Step:
    del world, rng, setting
    return list


def _hop(world: World, rng: np.random.Generator, setting: Setting) -> Step:
    order = np.argsort(np.hypot(*(world.xy - world.middle).T))
    apart = len(order) // 5 // max(setting.dopants, 1)
    dopants = [int(order[i * apart]) for i in range(setting.dopants)]
    world.species[dopants] = "Si"

    def step() -> list[Happening]:
        done: list[Happening] = []
        for atom in dopants:
            if rng.random() < setting.rate:
                done += _exchange(world, atom, rng, setting.size)
        return done

    return step


def _exchange(world: World, atom: int, rng: np.random.Generator, size: float) -> list[Happening]:
    """Silicon trades places with a carbon neighbour, well inside the frame."""
    apart = np.hypot(*(world.xy - world.xy[atom]).T)
    spacing = float(np.sort(apart)[1])
    near = np.flatnonzero((apart < NEXT * spacing) & (world.species == "C") & world.present)
    inside = np.abs(world.xy[near] - (size - 1) / 2).max(axis=1) < size / 2 - 2 * spacing
    near = near[inside]
    if not len(near):
        return []
    other = int(rng.choice(near))
    world.xy[[atom, other]] = world.xy[[other, atom]]
    return [("hop", atom, "", "")]


def _switch(world: World, rng: np.random.Generator, setting: Setting) -> Step:
    atom = _middle(world)
    world.species[atom] = "Si"
    away = world.xy[world.near[atom][0]] - world.xy[atom]
    home = world.xy[atom].copy()

    def step() -> list[Happening]:
        if rng.random() >= setting.rate:
            return []
        before = int(world.coordination[atom])
        world.coordination[atom] = 7 - before
        world.xy[atom] = home + (_SHIFT * away if before == 3 else 0)
        return [("switch", atom, str(before), str(7 - before))]

    return step


def _dimer(world: World, rng: np.random.Generator, setting: Setting) -> Step:
    """One silicon atom stays, another hops between a site beside it and one farther off."""
    still = _middle(world)
    inner = world.near[still][0]
    outer = next(j for j in world.near[inner] if j != still)
    world.species[[still, inner]] = "Si"
    joined = [True]

    def step() -> list[Happening]:
        if rng.random() >= setting.rate:
            return []
        world.xy[[inner, outer]] = world.xy[[outer, inner]]
        joined[0] = not joined[0]
        kind = "dimer" if joined[0] else "break-up"
        return [(kind, inner, "", ""), ("hop", inner, "", "")]

    return step


def _trimer(world: World, rng: np.random.Generator, setting: Setting) -> Step:
    first, second = world.near[_middle(world)][:2]
    # the middle of a ring lies opposite to the third bond
    centre = world.xy[first] + world.xy[second] - world.middle
    ring = np.flatnonzero(np.hypot(*(world.xy - centre).T) < NEXT * setting.spacing)
    world.present[ring[3:]] = False
    trimer, angle = ring[:3], [float(rng.uniform(0, 2 * np.pi))]
    world.species[trimer] = "Si"

    def put() -> None:
        turn = angle[0] + 2 * np.pi * np.arange(3) / 3
        arm = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
        world.xy[trimer] = centre + _RADIUS * setting.spacing * arm

    def step() -> list[Happening]:
        if rng.random() >= setting.rate:
            return []
        sense = int(rng.choice([-1, 1]))
        angle[0] += sense * _TURN
        put()
        return [("rotation", int(trimer[0]), "", str(30 * sense))]

    put()
    return step


def _middle(world: World) -> int:
    return int(np.argmin(np.hypot(*(world.xy - world.middle).T)))


def _line(world: World, rng: np.random.Generator, setting: Setting) -> Step:
    chain = [_middle(world)]
    along = world.xy[world.near[chain[0]][0]] - world.xy[chain[0]]
    while len(chain) < setting.size / 2 / setting.spacing:
        near = [j for j in world.near[chain[-1]] if j not in chain]
        away = (world.xy[near] - world.xy[chain[0]]) @ along
        chain.append(near[int(np.argmax(away))])
    queue = list(chain)

    def step() -> list[Happening]:
        if not queue or rng.random() >= setting.rate:
            return []
        atom = queue.pop(0)
        world.present[atom] = False
        return [("creation", atom, "", "")]

    return step


KINDS: dict[str, Callable[[World, np.random.Generator, Setting], Step]] = {
    "still": _still,
    "hop": _hop,
    "switch": _switch,
    "dimer": _dimer,
    "trimer": _trimer,
    "line": _line,
}
