"""Time and memory of embedding atoms, for taught structures, against their number.

    python benchmarks/embedding_speed.py [--atoms N ...] [--threads 1 2] [--repeats 5]

A hexagonal sheet with brightness that scatters by 10 %. Each size runs in a process of its own,
that may use as many cores as asked for; memory is its peak, less what it held before. CPU time is
the median of the repeats, wall median and best.
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


def measure(atoms: int, threads: int, repeats: int) -> tuple[float, ...]:
    """Atoms; CPU of the surroundings and of the network, wall, least wall, in s; GB."""
    from atomscope.classify.embedding import FOLDER, load_embedder
    from atomscope.models.surroundings import surroundings

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    net = load_embedder(FOLDER)
    net.run(surroundings(*sheet(500)).inputs())  # imports
    xy, light = sheet(atoms)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = []
    for _ in range(repeats):
        start = now()
        seen = surroundings(xy, light)
        first, start = spent(start), now()
        net.run(seen.inputs())
        second = spent(start)
        del seen  # the next repeat makes its own
        found.append((first[0], second[0], first[1] + second[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return len(xy), *np.median(found, axis=0), min(wall for *_, wall in found), peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print("| atoms | threads | surroundings, µs of CPU per atom | network | wall | best | GB |")
    print("|---|---|---|---|---|---|---|")
    fresh = multiprocessing.get_context("spawn")
    for atoms in given.atoms:
        for threads in given.threads:
            with fresh.Pool(1) as pool:
                n, *seconds, memory = pool.apply(measure, (atoms, threads, given.repeats))
            times = " | ".join(f"{1e6 * s / n:.1f}" for s in seconds)
            print(f"| {n:,} | {threads} | {times} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
