"""Time and memory of bonds and rings against the number of atoms.

    python benchmarks/graph_speed.py [--atoms N ...] [--lattice honeycomb hexagonal]

Sheets with 1 % of the atoms missing, positions blurred by 3 % of a bond; species and errors known.
Each size runs in a process of its own. Times are of the processor (one thread), so that they hold
on a busy machine too; memory is the peak of the process, less what it held before.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
import pandas as pd

BOND = 1.42  # Å
HEXAGONAL = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
CELLS = {
    "honeycomb": (BOND * np.sqrt(3) * HEXAGONAL, np.array([[0.0, 0.0], [1 / 3, 2 / 3]])),
    "hexagonal": (BOND * HEXAGONAL, np.zeros((1, 2))),
}


def sheet(name: str, atoms: int) -> pd.DataFrame:
    """Table of about so many atoms."""
    cell, basis = CELLS[name]
    rng = np.random.default_rng(1)
    edge = int(np.sqrt(atoms / len(basis))) + 1
    steps = np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), -1).reshape(-1, 1, 2)
    xy = ((steps + basis) @ cell).reshape(-1, 2)
    xy = xy[rng.random(len(xy)) > 0.01]
    xy += rng.normal(0, 0.03 * BOND, xy.shape)
    error = 0.03 * BOND
    return pd.DataFrame(
        {"x": xy[:, 0], "y": xy[:, 1], "species": "C", "x_err": error, "y_err": error}
    )


def measure(name: str, atoms: int) -> tuple[int, int, int, float, float, float]:
    """Atoms, bonds, rings; seconds for each of both; GB."""
    from atomscope.graph import connect, rings

    rings(connect(sheet(name, 500)))  # imports
    table = sheet(name, atoms)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    graph = connect(table)
    middle = time.process_time()
    found = rings(graph)
    stop = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    seconds = (middle - start, stop - middle)
    return len(graph), len(graph.bonds), len(found), *seconds, peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--lattice", nargs="+", default=["honeycomb"], choices=CELLS)
    given = parser.parse_args()
    print("| lattice | atoms | bonds | rings | connect, s | rings, s | µs per atom | memory, GB |")
    print("|---|---|---|---|---|---|---|---|")
    fresh = multiprocessing.get_context("spawn")
    for name in given.lattice:
        for atoms in given.atoms:
            with fresh.Pool(1) as pool:
                n, bonds, faces, first, second, memory = pool.apply(measure, (name, atoms))
            each = 1e6 * (first + second) / n
            print(
                f"| {name} | {n:,} | {bonds:,} | {faces:,} | {first:.2f} | {second:.2f} "
                f"| {each:.1f} | {memory:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
