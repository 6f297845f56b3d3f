"""Small simulated frames with known truth for the tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile

Floats = NDArray[np.float64]

HEXAGONAL = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
HONEYCOMB = (HEXAGONAL * np.sqrt(3), np.array([[0.0, 0.0], [1 / 3, 2 / 3]]))
SQUARE = (np.eye(2), np.zeros((1, 2)))


def lattice_frame(
    *,
    size: int = 192,
    spacing: float = 12.0,
    cell: tuple[Floats, Floats] = HONEYCOMB,
    dose: float | None = 200.0,
    angle: float = 0.3,
    seed: int = 0,
    shape: tuple[int, int] | None = None,
) -> tuple[Floats, Floats]:
    """Frame of a lattice and its true columns; `dose` is the counts in a column's peak."""
    rng = np.random.default_rng(seed)
    shape = shape or (size, size)
    xy, _ = tile(cell[0] * spacing, cell[1], max(shape), angle, rng.uniform(0, 1, 2))
    frame = render(xy, np.ones(len(xy)), 0.27 * spacing, shape) + 0.2
    if dose is not None:
        frame = rng.poisson(frame * dose).astype(np.float64)
    inside = np.all((xy > -0.5) & (xy < (shape[1] - 0.5, shape[0] - 0.5)), axis=1)
    return np.asarray(frame, dtype=np.float64), xy[inside]


def phosphorene_frame(angstrom: float, dose: float, seed: int = 3) -> tuple[Floats, Floats]:
    """Frame of pairs of columns 0.74 Å apart, 30 Å wide at a pixel size, and its columns."""
    size = int(30 / angstrom)
    pairs = np.array([[0.0, 0.0], [0.0, 0.17], [0.5, 0.5], [0.5, 0.67]])
    xy, _ = tile(np.diag([3.31, 4.38]) / angstrom, pairs, size, 0.3, np.array([0.2, 0.6]))
    clean = render(xy, np.ones(len(xy)), 0.25 / angstrom, (size, size)) + 0.3
    frame = np.random.default_rng(seed).poisson(clean * dose)
    return frame.astype(np.float64), inner(xy, (size, size), -0.5)


def inner(xy: Floats, shape: tuple[int, int], margin: float) -> Floats:
    """Return the points at least `margin` px away from the border."""
    high = np.array([shape[1], shape[0]]) - 1 - margin
    return xy[np.all((xy >= margin) & (xy <= high), axis=1)]
