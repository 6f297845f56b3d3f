"""Defects of graphene from coordinates: named by rules, and found by AtomAI's ring clusters.

    python benchmarks/clusters.py --peers peers/bin/python [--seeds N]

Both get the same coordinates with the true species: exact ones, and with Gaussian errors of
0.1 Å on each axis. AtomAI's `find_cycle_clusters` is asked for rings of 5, 7, 8 and 9
atoms; it returns the coordinates of clusters, and no names. A defect is found where a cluster, or
a defect of ours, lies within 2 Å of it (the nearest atom of a cluster); placed where there is
just one with its middle within 2 Å; false is what lies farther than 4 Å from the atoms and the
middle of every planted one. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from defects import AWAY, ON, SIZE, plans
from scipy.spatial import cKDTree

from atomscope.rules import name_defects
from atomscope.simulate.named import NamedFrame, kinds_of, named_frame

FIRST_SEED = 60_000
ERRORS = (0.0, 0.1)  # Å
CYCLES = (5, 7, 8, 9)
RINGS = ("V1", "V1(5-9)", "V2(5-8-5)", "V2(555-777)", "SW(55-77)", "5-7", "ad-dimer C2")


@dataclass
class Score:
    """Counts of one method at one error of position.

    Attributes:
        all, found, placed, named: Defects, by whether they are ring defects.
        false: What lies away from all of them.
        atoms: Atoms of all frames.
        seconds: Time, of the processor.
    """

    all: Counter[bool] = field(default_factory=Counter)
    found: Counter[bool] = field(default_factory=Counter)
    placed: Counter[bool] = field(default_factory=Counter)
    named: Counter[bool] = field(default_factory=Counter)
    false: int = 0
    atoms: int = 0
    seconds: float = 0.0

    def add(
        self, frame: NamedFrame, sets: list[np.ndarray], names: list[str], seconds: float
    ) -> None:
        """Count one frame; each thing found is a set of points (K, 2) in Å."""
        middles = np.array([points.mean(axis=0) for points in sets]).reshape(-1, 2)
        far = np.ones(len(sets), dtype=bool)
        xy = frame.atoms[["x", "y"]].to_numpy()
        for truth in frame.defects.itertuples():
            place = np.array([truth.x, truth.y])
            ours = xy[[int(i) for i in str(truth.atoms).split()]]
            tree = cKDTree(np.vstack([ours, place]))
            away = np.array([np.linalg.norm(points - place, axis=1).min() for points in sets])
            far &= np.array([tree.query(points)[0].min() > AWAY for points in sets], dtype=bool)
            centred = np.flatnonzero(np.linalg.norm(middles - place, axis=1) < ON)
            of_rings = truth.name in RINGS
            self.all[of_rings] += 1
            self.found[of_rings] += bool((away < ON).any())
            self.placed[of_rings] += len(centred) == 1
            self.named[of_rings] += len(centred) == 1 and names[centred[0]] == truth.name
        self.false += int(far.sum())
        self.atoms += len(xy)
        self.seconds += seconds


def frames(seeds: int) -> list[NamedFrame]:
    """Every kind of graphene, so often, and as many perfect layers."""
    planned = [
        (FIRST_SEED + 1000 * k + i, kinds)
        for k in range(seeds)
        for i, kinds in enumerate(plans("graphene", FIRST_SEED + 1000 * k))
    ]
    planned += [(FIRST_SEED - 1 - k, ()) for k in range(seeds)]
    return [named_frame("graphene", kinds, seed, size_px=SIZE) for seed, kinds in planned]


def moved(frame: NamedFrame, error: float, seed: int) -> pd.DataFrame:
    """Atoms with errors of position in Å."""
    table = frame.atoms.copy()
    step = np.random.default_rng(seed).normal(0, error, (len(table), 2)) if error else 0.0
    table[["x", "y"]] += step
    table[["x_px", "y_px"]] = table[["x", "y"]] / frame.pixel_size
    return table.assign(x_err=error, y_err=error, p=1.0)


def ours(frame: NamedFrame, table: pd.DataFrame) -> tuple[list[np.ndarray], list[str], float]:
    """Places, names and seconds of our defects."""
    start = time.process_time()
    found = name_defects(table, shape=frame.shape, pixel_size=frame.pixel_size).defects
    spent = time.process_time() - start
    places = found[["x_px", "y_px"]].to_numpy(float) * frame.pixel_size
    return [p[None] for p in places], list(found["name"]), spent


def theirs(jobs: dict[str, np.ndarray], python: str) -> dict[str, np.ndarray]:
    """Run AtomAI in its own environment."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "jobs.npz", Path(folder) / "out.npz"
        np.savez(source, **jobs)
        script = Path(__file__).with_name("clusters_peer.py")
        subprocess.run([python, str(script), str(source), str(out)], check=True)
        with np.load(out) as found:
            return dict(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", help="Python of the environment with AtomAI")
    parser.add_argument("--seeds", type=int, default=3, help="defects of each kind")
    args = parser.parse_args()
    layers = frames(args.seeds)
    scores = {(who, e): Score() for who in ("atomscope", "AtomAI") for e in ERRORS}
    jobs: dict[str, np.ndarray] = {"cycles": np.array(CYCLES)}
    for e, error in enumerate(ERRORS):
        for i, frame in enumerate(layers):
            table = moved(frame, error, i)
            scores["atomscope", error].add(frame, *ours(frame, table))
            jobs[f"xy_{e}_{i}"] = table[["x", "y"]].to_numpy()
            jobs[f"species_{e}_{i}"] = table["species"].to_numpy().astype(str)
    if args.peers:
        found = theirs(jobs, args.peers)
        for e, error in enumerate(ERRORS):
            for i, frame in enumerate(layers):
                number, xy = found[f"cluster_{e}_{i}"], found[f"points_{e}_{i}"]
                sets = [xy[number == n] for n in np.unique(number)]
                seconds = float(found[f"seconds_{e}_{i}"])
                scores["AtomAI", error].add(frame, sets, [""] * len(sets), seconds)
    print(f"{len(kinds_of('graphene'))} kinds, {len(layers)} frames")
    print(
        "| coordinates | method | rings found | placed | named | foreign found | placed | named |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for (who, error), s in scores.items():
        if s.atoms:
            cells = [
                f"{counts[rings]} of {s.all[rings]}"
                for rings in (True, False)
                for counts in (s.found, s.placed, s.named)
            ]
            print(f"| error {error} Å | {who} | " + " | ".join(cells) + " |")
    for (who, error), s in scores.items():
        if s.atoms:
            print(f"{who} {error}: {s.false} false of {s.atoms} atoms, {s.seconds:.2f} s")


if __name__ == "__main__":
    main()
