"""Random two-dimensional crystals: the generic part of the training world."""

from __future__ import annotations

import numpy as np

from atomscope.simulate.scene import Floats, Scene


def random_lattice(rng: np.random.Generator, size: int, spacing: float) -> Scene:
    """Return a random periodic structure that covers a square field.

    Args:
        rng: Source of randomness.
        size: Edge of the field in px.
        spacing: Shortest column spacing in px.
    """
    cell, basis = _random_cell(rng)
    shortest = shortest_distance(cell, basis)
    cell = cell * (spacing / shortest)
    weight = np.exp(rng.uniform(np.log(0.2), 0.0, len(basis)))
    weight /= weight.max()
    if rng.random() < 0.35:
        weight[:] = 1.0
    xy, kind = tile(cell, basis, size, rng.uniform(0, 2 * np.pi), rng.uniform(0, 1, 2))
    return Scene.unlabelled(xy, weight[kind], spacing)


def tile(
    cell: Floats, basis: Floats, size: int, angle: float, origin: Floats
) -> tuple[Floats, np.ndarray]:
    """Fill a square of edge `size` px with a rotated cell.

    Args:
        cell: Lattice vectors as rows, px, shape (2, 2).
        basis: Fractional positions, shape (B, 2).
        size: Edge of the field, px.
        angle: Rotation in rad.
        origin: Fractional shift of the origin, shape (2,).

    Returns:
        Positions (N, 2) in px and the index (N,) of the basis site of each.
    """
    c, s = np.cos(angle), np.sin(angle)
    cell = cell @ np.array([[c, s], [-s, c]])
    margin = 12.0
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * (size / 2 + margin)
    index = corners @ np.linalg.inv(cell)
    low, high = np.floor(index.min(0)) - 1, np.ceil(index.max(0)) + 1
    grid = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))), -1)
    sites = (grid.reshape(-1, 1, 2) + basis + origin).reshape(-1, 2) @ cell + size / 2
    kind = np.tile(np.arange(len(basis)), len(grid.reshape(-1, 2)))
    inside = np.all((sites > -margin) & (sites < size + margin), axis=1)
    return sites[inside], kind[inside]


def _random_cell(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw lattice vectors (2, 2) and a basis (B, 2) of one of the families that images show."""
    hexagonal = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
    family = rng.choice(
        ["honeycomb", "hexagonal", "square", "rectangular", "dumbbell", "generic"],
        p=[0.17, 0.15, 0.15, 0.13, 0.12, 0.28],
    )
    one = np.zeros((1, 2))
    if family == "honeycomb":
        return hexagonal, np.array([[0.0, 0.0], [1 / 3, 2 / 3]])
    if family == "hexagonal":
        return hexagonal, one
    if family == "square":
        centred = rng.random() < 0.5
        return np.eye(2), np.array([[0.0, 0.0], [0.5, 0.5]]) if centred else one
    if family == "rectangular":
        cell = np.diag([1.0, rng.uniform(1.05, 1.9)])
        return cell, np.array([[0.0, 0.0], [0.5, 0.5]]) if rng.random() < 0.6 else one
    if family == "dumbbell":
        cell = np.diag([1.0, rng.uniform(1.2, 1.6)])
        gap = rng.uniform(0.22, 0.36)
        return cell, np.array([[0, 0], [0, gap], [0.5, 0.5], [0.5, 0.5 + gap]])
    angle = np.deg2rad(rng.uniform(60, 120))
    length = rng.uniform(1.0, 1.8)
    cell = np.array([[1.0, 0.0], [length * np.cos(angle), length * np.sin(angle)]])
    return cell, _random_basis(rng, cell)


def _random_basis(rng: np.random.Generator, cell: Floats) -> Floats:
    """Draw up to six sites that keep a fair distance from each other."""
    wanted = int(rng.integers(1, 7))
    least = 0.62 * np.sqrt(abs(np.linalg.det(cell)) / wanted)
    basis = [rng.uniform(0, 1, 2)]
    for _ in range(40):
        trial = rng.uniform(0, 1, 2)
        if shortest_distance(cell, np.array([*basis, trial])) >= least:
            basis.append(trial)
        if len(basis) == wanted:
            break
    return np.array(basis)


def shortest_distance(cell: Floats, basis: Floats) -> float:
    """Return the shortest distance between any two sites of the infinite lattice."""
    shift = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    difference = basis[:, None, None] - basis[None, :, None] + shift
    distance = np.linalg.norm(difference @ cell, axis=-1)
    return float(distance[distance > 1e-9].min())
