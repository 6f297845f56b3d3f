"""Movies of graphene with known truth: what is seen in each frame, and what happened.

The tables are what a detector would give (positions with errors, some atoms missed, some false,
some species misread); with them come the true atom behind each row and the true events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import ATOMS, conform
from atomscope.errors import UsageError
from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile
from atomscope.simulate.scene import Floats

Ints = NDArray[np.int64]
Happening = tuple[str, int, str, str]  # kind, identity, from, to

_HONEYCOMB = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]]) * np.sqrt(3)
_BASIS = np.array([[0.0, 0.0], [1 / 3, 2 / 3]])
_NEXT = 1.2  # spacings: farthest first neighbour
_SHIFT = 0.22  # spacings: how far silicon moves when its coordination changes
_RADIUS = 0.95  # spacings: of a trimer of silicon in the place of a ring of carbon
_TURN = np.deg2rad(30.0)  # a step of the trimer
_SILICON = (14 / 6) ** 1.64  # brightness against carbon
_SIGMA = 0.3  # spacings: width of a column


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


@dataclass(frozen=True)
class Movie:
    """A movie with its truth.

    Attributes:
        atoms: Table of detected atoms with the columns of `atomscope.columns.ATOMS`.
        identity: True atom of each row, -1 for a false one, shape (rows,).
        events: True events: frame, kind, identity, from, to.
        truth: Where every atom in view is: frame, identity, x_px, y_px, species, found.
        drift: True shift of each frame against the first, px, shape (F, 2).
        shape: Of a frame, (y, x).
    """

    atoms: pd.DataFrame
    identity: Ints
    events: pd.DataFrame
    truth: pd.DataFrame
    drift: Floats
    shape: tuple[int, int]

    def permuted(self, rng: np.random.Generator) -> Movie:
        """Return the movie with its rows in another order."""
        order = rng.permutation(len(self.atoms))
        table = self.atoms.iloc[order].reset_index(drop=True)
        return replace(self, atoms=table, identity=self.identity[order])

    def images(self, *, dose: float, seed: int) -> Iterator[NDArray[np.float32]]:
        """Render the frames, one after another; `dose` is the counts in a carbon peak."""
        rng = np.random.default_rng(seed)
        spacing = float(self.truth.attrs["spacing"])
        for _, rows in self.truth.groupby("frame"):
            xy = rows[["x_px", "y_px"]].to_numpy(float)
            weight = np.where(rows["species"] == "Si", _SILICON, 1.0)
            clean = render(xy, weight, _SIGMA * spacing, self.shape, tail=0.12) + 0.3
            yield rng.poisson(np.maximum(clean, 0) * dose).astype(np.float32)


@dataclass
class _World:
    """Atoms of the specimen; a stage of the movie changes them in place."""

    xy: Floats
    species: NDArray[np.object_]
    coordination: Ints
    present: NDArray[np.bool_]
    near: list[list[int]]
    middle: Floats


_Step = Callable[[], list[Happening]]


def movie(kind: str, seed: int, setting: Setting | None = None) -> Movie:
    """Simulate a movie of one kind.

    Kinds: 'still' (nothing happens), 'hop' (silicon exchanges places with neighbouring carbon),
    'switch' (silicon with 3 or 4 bonds), 'dimer' (a silicon atom joins and leaves another),
    'trimer' (three silicon atoms turn by 30 degrees in a pore), 'line' (carbon atoms are knocked
    out one after another along a zigzag line).

    Raises:
        UsageError: There is no such kind.
    """
    setting = setting or Setting()
    if kind not in _KINDS:
        raise UsageError(f"movie {kind!r}: expected one of {', '.join(_KINDS)}.")
    rng = np.random.default_rng([seed, sorted(_KINDS).index(kind)])
    world = _graphene(rng, setting)
    step = _KINDS[kind](world, rng, setting)
    middle = np.full(2, (setting.size - 1) / 2)
    walk = np.cumsum(rng.normal(0, setting.drift, (setting.frames, 2)), axis=0)
    walk -= walk[0]
    bend = rng.uniform(-1, 1, (2, 2)) * setting.strain
    seen, truths, happened = [], [], []
    for frame in range(setting.frames):
        if frame:
            happened += [(frame, *event) for event in step()]
        warp = np.eye(2) + bend * frame / max(setting.frames - 1, 1)
        place = (world.xy - middle) @ warp + middle + walk[frame]
        rows, true = _observe(world, place, rng, setting)
        seen.append(rows.assign(frame=frame))
        truths.append(true.assign(frame=frame))
    table = pd.concat(seen, ignore_index=True)
    truth = pd.concat(truths, ignore_index=True)
    truth.attrs["spacing"] = setting.spacing
    identity = table.pop("identity").to_numpy(np.int64)
    events = pd.DataFrame(happened, columns=["frame", "kind", "identity", "from", "to"])
    shape = (setting.size, setting.size)
    return Movie(conform(table, ATOMS), identity, events, truth, walk, shape)


def _graphene(rng: np.random.Generator, setting: Setting) -> _World:
    cell, size = _HONEYCOMB * setting.spacing, setting.size
    margin = 4 * setting.spacing  # the frame drifts over the specimen
    xy, _ = tile(cell, _BASIS, int(size + 2 * margin), rng.uniform(0, 6.28), rng.uniform(0, 1, 2))
    xy = xy - margin
    tree = cKDTree(xy)
    near = tree.query_ball_point(xy, _NEXT * setting.spacing)
    middle = np.full(2, (size - 1) / 2)
    return _World(
        xy,
        np.full(len(xy), "C", dtype=object),
        np.full(len(xy), 3, dtype=np.int64),
        np.ones(len(xy), dtype=bool),
        [[j for j in n if j != i] for i, n in enumerate(near)],
        np.asarray(xy[tree.query(middle)[1]]),
    )


def _observe(
    world: _World, place: Floats, rng: np.random.Generator, setting: Setting
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return what is found in a frame, and what there is to find."""
    size, spacing = setting.size, setting.spacing
    there = np.flatnonzero(world.present & np.all((place >= 0) & (place <= size - 1), axis=1))
    found = rng.random(len(there)) >= setting.miss
    true = pd.DataFrame(
        {
            "identity": there,
            "x_px": place[there, 0],
            "y_px": place[there, 1],
            "species": world.species[there],
            "found": found,
        }
    )
    seen = there[found]
    error = setting.jitter * spacing
    xy = place[seen] + rng.normal(0, error, (len(seen), 2))
    false = rng.uniform(0, size - 1, (rng.poisson(setting.false), 2))
    species = np.concatenate([world.species[seen], np.full(len(false), "C", dtype=object)])
    silicon = species == "Si"
    # The stated probability is the chance that the reading is right.
    doubt = rng.uniform(0, 2 * setting.misread, len(species)) * np.where(silicon, 1.0, 0.1)
    wrong = rng.random(len(species)) < doubt
    read = np.where(wrong, np.where(silicon, "C", "Si"), species)
    bonds = np.concatenate([world.coordination[seen], np.full(len(false), 3)])
    other = rng.random(len(species)) < np.where(silicon, setting.misread, 0.0)
    xy = np.concatenate([xy, false])
    rows = pd.DataFrame(
        {
            "identity": np.concatenate([seen, np.full(len(false), -1)]),
            "atom": np.arange(len(xy)),
            "x_px": xy[:, 0],
            "y_px": xy[:, 1],
            "x_err_px": error,
            "y_err_px": error,
            "p": np.where(np.arange(len(xy)) < len(seen), 0.97, 0.8),
            "species": read,
            "species_p": 1 - doubt,
            "coordination": pd.array(np.where(other, 7 - bonds, bonds), dtype="Int64"),
        }
    )
    return rows, true


def _still(world: _World, rng: np.random.Generator, setting: Setting) -> _Step:
    del world, rng, setting
    return list


def _hop(world: _World, rng: np.random.Generator, setting: Setting) -> _Step:
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


def _exchange(world: _World, atom: int, rng: np.random.Generator, size: float) -> list[Happening]:
    """Silicon trades places with a carbon neighbour, well inside the frame."""
    apart = np.hypot(*(world.xy - world.xy[atom]).T)
    spacing = float(np.sort(apart)[1])
    near = np.flatnonzero((apart < _NEXT * spacing) & (world.species == "C") & world.present)
    inside = np.abs(world.xy[near] - (size - 1) / 2).max(axis=1) < size / 2 - 2 * spacing
    near = near[inside]
    if not len(near):
        return []
    other = int(rng.choice(near))
    world.xy[[atom, other]] = world.xy[[other, atom]]
    return [("hop", atom, "", "")]


def _switch(world: _World, rng: np.random.Generator, setting: Setting) -> _Step:
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


def _dimer(world: _World, rng: np.random.Generator, setting: Setting) -> _Step:
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


def _trimer(world: _World, rng: np.random.Generator, setting: Setting) -> _Step:
    first, second = world.near[_middle(world)][:2]
    # the middle of a ring lies opposite to the third bond
    centre = world.xy[first] + world.xy[second] - world.middle
    ring = np.flatnonzero(np.hypot(*(world.xy - centre).T) < _NEXT * setting.spacing)
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


def _middle(world: _World) -> int:
    return int(np.argmin(np.hypot(*(world.xy - world.middle).T)))


def _line(world: _World, rng: np.random.Generator, setting: Setting) -> _Step:
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


_KINDS: dict[str, Callable[[_World, np.random.Generator, Setting], _Step]] = {
    "still": _still,
    "hop": _hop,
    "switch": _switch,
    "dimer": _dimer,
    "trimer": _trimer,
    "line": _line,
}
