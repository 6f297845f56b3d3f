"""Where a layer lies in a frame, its columns there, and the counts of a detector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomscope.formula import EXPONENT
from atomscope.simulate.crystals import MERGE, formula
from atomscope.simulate.imaging import render, scan_jitter
from atomscope.simulate.named_templates import Laid
from atomscope.simulate.scene import Floats, Ints

SIGMA = 0.42  # Å: probe and source of an aberration-corrected microscope at 60 kV
SEEN = 5.0  # Å: columns farther outside the frame do not shine into it


@dataclass(frozen=True)
class NamedFrame:
    """A frame and the truth about it.

    Attributes:
        atoms: frame, atom, x_px, y_px, x, y (Å) and species of the columns of the relaxed layer
            in projection; species is their formula: C, Mo, S2.
        defects: frame, defect, name, x_px, y_px, x, y (Å) and atoms (numbers joined by spaces).
        image: Counts (y, x), uint16, or None where no dose was given.
        pixel_size: Å.
        shape: (height, width) in px.
        host: Name of the layer.
    """

    atoms: pd.DataFrame
    defects: pd.DataFrame
    image: NDArray[np.uint16] | None
    pixel_size: float
    shape: tuple[int, int]
    host: str


@dataclass(frozen=True)
class Field:
    """Where a layer lies in a frame.

    Attributes:
        size: Edge in px.
        pixel: Å.
        matrix: Turns, mirrors and strains (2, 2) the layer.
        drift: Way (2,) in Å during the scan.
    """

    size: int
    pixel: float
    matrix: Floats
    drift: Floats

    @property
    def edge(self) -> float:
        """Edge in Å."""
        return self.size * self.pixel

    def to_frame(self, positions: Floats) -> Floats:
        """Return places (N, 2) in Å, 0 = centre of the first pixel."""
        placed = positions[:, :2] @ self.matrix.T + (self.size - 1) / 2 * self.pixel
        return np.asarray(placed + placed[:, 1:] / self.edge * self.drift)


def random_matrix(rng: np.random.Generator, strain: float) -> Floats:
    """Return a random turn and mirror (2, 2), after an extension along a random direction."""
    (a, b), flip = rng.uniform(0, 2 * np.pi, 2), rng.choice([-1.0, 1.0])
    along = np.array([np.cos(b), np.sin(b)])
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.asarray((np.eye(2) + strain * np.outer(along, along)) @ turn @ np.diag([1.0, flip]))


def columns_in(laid: Laid, field: Field) -> tuple[Floats, list[tuple[int, ...]], Ints]:
    """Join what lies over each other: places (N, 2) in Å, atomic numbers, and defects (N,)."""
    places = field.to_frame(laid.positions)
    seen = np.all(np.abs(places - field.edge / 2) < field.edge / 2 + SEEN, axis=1)
    places, atomic, owner = places[seen], laid.numbers[seen], laid.owner[seen]
    pairs = cKDTree(places).query_pairs(MERGE, output_type="ndarray")
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(places),) * 2)
    count, column = connected_components(links, directed=False)
    heavy = atomic**EXPONENT  # the stronger atom of a column pulls its peak
    total = np.bincount(column, heavy)
    xy = np.stack([np.bincount(column, heavy * at) / total for at in places.T], axis=1)
    numbers: list[list[int]] = [[] for _ in range(count)]
    for one, z in zip(column, atomic.tolist(), strict=True):
        numbers[one].append(z)
    owners = np.full(count, -1)
    np.maximum.at(owners, column, owner)
    return xy, [tuple(sorted(n)) for n in numbers], owners


def tables_of(
    xy: Floats,
    numbers: list[tuple[int, ...]],
    owner: Ints,
    laid: Laid,
    field: Field,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write the columns within the frame, and the defects."""
    low, high = -0.5 * field.pixel, field.edge - 0.5 * field.pixel
    inside = np.flatnonzero(np.all((xy >= low) & (xy < high), axis=1))
    inside = inside[np.lexsort(xy[inside].T)]  # row by row
    words = {n: formula(n) for n in set(numbers)}
    species = [words[numbers[i]] for i in inside]
    atoms = _table("atom", xy[inside], field.pixel).assign(species=species)
    defects = _table("defect", field.to_frame(laid.middle), field.pixel)
    members = [np.flatnonzero(owner[inside] == number) for number in range(len(laid.names))]
    defects.insert(2, "name", np.array(laid.names, dtype=object))
    return atoms, defects.assign(atoms=[" ".join(map(str, m)) for m in members])


def _table(number: str, xy: Floats, pixel: float) -> pd.DataFrame:
    x, y = xy.T
    data = {"frame": np.zeros(len(xy), dtype=np.int64), number: np.arange(len(xy))}
    return pd.DataFrame({**data, "x_px": x / pixel, "y_px": y / pixel, "x": x, "y": y})


def counted(
    rng: np.random.Generator,
    xy: Floats,
    weight: Floats,
    field: Field,
    dose: float,
    *,
    sigma: float = SIGMA,
    tail: float = 0.12,
    background: float = 0.35,
    jitter: float = 0.25,
) -> NDArray[np.uint16]:
    """Counts of a frame with columns of some weight at places (N, 2) in Å; see `named_frame`."""
    shape = (field.size, field.size)
    clean = render(xy / field.pixel, weight, sigma / field.pixel, shape, tail=tail)
    expected = np.maximum(scan_jitter(clean + background, rng, jitter), 0) * dose
    return np.asarray(rng.poisson(expected).clip(0, 65535), dtype=np.uint16)
