"""How well single N and B in graphene can be told from C by brightness, at best.

    python benchmarks/brightness_bound.py [--dose 14]

The inverse of the Fisher matrix of Poisson counts gives the least error of the strength of one
column among others, for frames as those of `benchmarks/defects.py`. A reader for whom one atom in
`--atoms` is foreign then says N where the likelihood ratio is above that number.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from atomscope.formula import EXPONENT
from atomscope.simulate.named_field import SIGMA

PIXEL, SPACING, TAIL, WIDER, BACKGROUND = 0.11, 1.42, 0.12, 2.5, 0.35  # as in `named_frame`
SIZE = 130  # px


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dose", type=float, default=14.0, help="counts in the peak of carbon")
    parser.add_argument("--atoms", type=float, default=918.0, help="of a frame")
    args = parser.parse_args()
    core, tail, slopes, one = blocks()
    light = args.dose * ((core + tail).sum(axis=0) + BACKGROUND)
    grid = [np.outer(a, b).ravel() for a in hats() for b in hats()]
    models = {
        "probe with tails known, neighbours too": [(core + tail)[:1]],
        "probe with tails known": [core + tail],
        "cores on an even background": [core, one],
        "cores, background free every two spacings": [core, np.array(grid)],
        "the same, positions too": [core, *slopes, np.array(grid)],
    }
    print("| what is known or fitted | error of C | N found | B found | false per 10⁴ atoms |")
    print("|---|---|---|---|---|")
    for name, model in models.items():
        error = bound(args.dose * np.concatenate(model), light)
        found, false = zip(*(told(error, z, args.atoms) for z in (7, 5)), strict=True)
        cells = f"{found[0]:.3f} | {found[1]:.3f} | {1e4 * sum(false):.2f}"
        print(f"| {name} | {error:.4f} | {cells} |")


def blocks() -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """Core and tail of each column, the middle one first, its derivatives, an even background."""
    a, width = SPACING / PIXEL, SIGMA / PIXEL
    cell = np.array([[1, 0], [-0.5, np.sqrt(0.75)]]) * np.sqrt(3) * a
    steps = np.stack(np.meshgrid(np.arange(-12, 13), np.arange(-12, 13)), -1).reshape(-1, 1, 2)
    basis = np.array([[0, 0], [1 / 3, 2 / 3]])
    xy = ((steps + basis) @ cell).reshape(-1, 2) + SIZE / 2
    xy = xy[np.all((xy > -2 * a) & (xy < SIZE + 2 * a), axis=1)]
    xy = xy[np.argsort(np.hypot(*(xy - SIZE / 2).T), kind="stable")]
    y, x = np.mgrid[:SIZE, :SIZE].reshape(2, -1)
    dx, dy = x - xy[:, :1], y - xy[:, 1:]
    square = (dx**2 + dy**2) / width**2
    core, tail = np.exp(-0.5 * square), TAIL * np.exp(-0.5 * square / WIDER**2)
    return core, tail, [dx * core, dy * core], np.ones((1, SIZE**2))


def hats() -> np.ndarray:
    """Hat functions two spacings apart along one axis."""
    step = 2 * SPACING / PIXEL
    nodes = np.arange(-step, SIZE + 2 * step, step)
    return np.clip(1 - np.abs(np.arange(SIZE) - nodes[:, None]) / step, 0, None)


def bound(derivatives: np.ndarray, light: np.ndarray) -> float:
    """Least error of the first parameter, given derivatives (P, M) of the mean counts (M,)."""
    fisher = (derivatives / light) @ derivatives.T
    fisher += 1e-10 * np.trace(fisher) / len(fisher) * np.eye(len(fisher))
    first = np.eye(len(fisher))[0]
    return float(np.sqrt(np.linalg.solve(fisher, first)[0]))


def told(error: float, z: int, atoms: float) -> tuple[float, float]:
    """Share of foreign atoms that are found, and of carbon atoms that are taken for one."""
    apart = abs((z / 6) ** EXPONENT - 1) / error
    limit = apart / 2 + np.log(atoms) / apart
    return float(norm.cdf(apart - limit)), float(norm.sf(limit))


if __name__ == "__main__":
    main()
