"""Movies of graphene with known truth: what is seen in each frame, and what happened.

The tables are what a detector would give (positions with errors, some atoms missed, some false,
some species misread); with them come the true atom behind each row and the true events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import ATOMS, conform, positions
from atomscope.errors import UsageError
from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile
from atomscope.simulate.movie_kinds import KINDS, NEXT, Ints, Setting, World
from atomscope.simulate.scene import Floats

__all__ = ["Movie", "Setting", "movie"]

_HONEYCOMB = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]]) * np.sqrt(3)
_BASIS = np.array([[0.0, 0.0], [1 / 3, 2 / 3]])
_SILICON = (14 / 6) ** 1.64  # brightness against carbon
_SIGMA = 0.3  # spacings: width of a column


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
            xy = positions(rows)
            weight = np.where(rows["species"] == "Si", _SILICON, 1.0)
            clean = render(xy, weight, _SIGMA * spacing, self.shape, tail=0.12) + 0.3
            yield rng.poisson(np.maximum(clean, 0) * dose).astype(np.float32)


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
    if kind not in KINDS:
        raise UsageError(f"movie {kind!r}: expected one of {', '.join(KINDS)}.")
    rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
    world = _graphene(rng, setting)
    step = KINDS[kind](world, rng, setting)
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


def _graphene(rng: np.random.Generator, setting: Setting) -> World:
    cell, size = _HONEYCOMB * setting.spacing, setting.size
    margin = 4 * setting.spacing  # the frame drifts over the specimen
    xy, _ = tile(cell, _BASIS, int(size + 2 * margin), rng.uniform(0, 6.28), rng.uniform(0, 1, 2))
    xy = xy - margin
    tree = cKDTree(xy)
    near = tree.query_ball_point(xy, NEXT * setting.spacing)
    middle = np.full(2, (size - 1) / 2)
    return World(
        xy,
        np.full(len(xy), "C", dtype=object),
        np.full(len(xy), 3, dtype=np.int64),
        np.ones(len(xy), dtype=bool),
        [[j for j in n if j != i] for i, n in enumerate(near)],
        np.asarray(xy[tree.query(middle)[1]]),
    )


def _observe(
    world: World, place: Floats, rng: np.random.Generator, setting: Setting
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
