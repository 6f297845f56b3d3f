"""Time and memory of graph, rings and names of a large sheet of graphene with defects.

    python benchmarks/names_speed.py [N ...]

One vacancy and one silicon atom per thousand atoms, positions with 5 pm of noise; one process per
size, one frame; CPU time.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from atomscope.rules import name_defects

PIXEL = 0.1  # Å
BOND = 1.42  # Å


def sheet(count: int, seed: int = 1) -> tuple[pd.DataFrame, tuple[int, int]]:
    """About `count` atoms of graphene with vacancies and silicon."""
    rng = np.random.default_rng(seed)
    across = int(np.sqrt(count / 4 * np.sqrt(3)))
    cell = BOND * np.array([[np.sqrt(3), 0], [0, 3]])
    basis = BOND * np.array([[0, 0], [np.sqrt(3) / 2, 0.5], [np.sqrt(3) / 2, 1.5], [0, 2]])
    down = int(count / 4 / across)
    i, j = (a.ravel() for a in np.indices((across, down)))
    xy = (i[:, None] * cell[0] + j[:, None] * cell[1])[:, None] + basis
    xy = xy.reshape(-1, 2) + rng.normal(0, 0.05, (len(i) * 4, 2))
    kept = rng.uniform(size=len(xy)) > 1e-3
    species = np.where(rng.uniform(size=len(xy)) < 1e-3, "Si", "C").astype(object)
    x, y = xy[kept].T
    table = pd.DataFrame({"x": x, "y": y, "x_px": x / PIXEL, "y_px": y / PIXEL})
    shape = (int(y.max() / PIXEL) + 1, int(x.max() / PIXEL) + 1)
    return table.assign(species=species[kept], p=1.0), shape


def one(count: int) -> None:
    """Print what one size takes."""
    table, shape = sheet(count)
    start = time.process_time()
    found = name_defects(table, host="graphene", shape=shape, pixel_size=PIXEL).defects
    spent = time.process_time() - start
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024**2
    names = found["name"].value_counts().iloc[:3].to_dict()
    print(f"| {len(table):,} | {spent:.1f} s | {peak:.2f} GB | {names} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("sizes", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", action="store_true", help="in this process, for internal use")
    args = parser.parse_args()
    if args.one:
        one(args.sizes[0])
        return
    print("| atoms | CPU time | peak memory | commonest names |\n|---|---|---|---|", flush=True)
    for size in args.sizes:
        subprocess.run([sys.executable, __file__, str(size), "--one"], check=True)


if __name__ == "__main__":
    main()
