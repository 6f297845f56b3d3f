"""Time and memory of embedding atoms, for taught structures, against their number.

    python benchmarks/embedding_speed.py [--atoms N ...] [--threads 1 2]

A hexagonal sheet with brightness that scatters by 10 %. Each size runs in a process of its own,
that may use as many cores as asked for; memory is its peak, less what it
held before. CPU time holds on a busy machine too; the wall is that of this run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time

import numpy as np


def sheet(atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 2) in px and brightness (N,) of about so many atoms."""
    rng = np.random.default_rng(1)
    edge = int(np.sqrt(atoms))
    steps = np.stack(np.meshgrid(np.arange(edge), np.arange(edge)), -1).reshape(-1, 2)
    xy = 10.0 * steps @ np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
    return xy + rng.normal(0, 0.3, xy.shape), np.exp(rng.normal(0, 0.1, len(xy)))


def spent(start: tuple[float, float]) -> tuple[float, float]:
    return time.process_time() - start[0], time.perf_counter() - start[1]


def now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def measure(atoms: int, threads: int) -> tuple[float, ...]:
    """Atoms; CPU and wall of the surroundings and of the network in s; GB."""
    from atomscope.classify.embedding import FOLDER, load_embedder
    from atomscope.models.surroundings import surroundings

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    net = load_embedder(FOLDER)
    net.run(surroundings(*sheet(500)).inputs())  # imports
    xy, light = sheet(atoms)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = now()
    seen = surroundings(xy, light)
    first, start = spent(start), now()
    net.run(seen.inputs())
    second = spent(start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return len(xy), *first, *second, peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    print("| atoms | threads | surroundings, µs of CPU per atom | network | wall per atom | GB |")
    print("|---|---|---|---|---|---|")
    fresh = multiprocessing.get_context("spawn")
    for atoms in given.atoms:
        for threads in given.threads:
            with fresh.Pool(1) as pool:
                n, *seconds, memory = pool.apply(measure, (atoms, threads))
            a, wall, b, other = (1e6 * s / n for s in seconds)
            print(
                f"| {n:,} | {threads} | {a:.1f} | {b:.1f} | {wall + other:.1f} | {memory:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
