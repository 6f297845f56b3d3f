"""Catalysts at a few electrons per atom: F1 where most pixels of a frame count none.

    python benchmarks/electrons.py [--first SEED] [--quick]

Pt on amorphous carbon as `microscope.py` images it: single atoms, with a particle along [110], with
clusters of 6 to 24 atoms, with both; 8 to 300 electrons per column of the frame in the mean, three
pixel sizes. The program is told the pixel size. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from baselines import score_frame
from microscope import look, shoot
from ours import found_by
from scipy.spatial import KDTree
from specimens import WIDE, Array, Columns, World, nanoparticle, single_atoms

from atomscope.evaluate import Scores, pool

KINDS = ("single atoms", "with a particle", "with clusters", "with both")
ELECTRONS = (8, 20, 60, 300)
PIXELS = ((0.12, 384), (0.2, 256), (0.16, 320))  # Å, px of the frame
NEAR = 0.32  # Å: within which an atom counts as found
APART = 1.9  # Å between the atoms of a cluster
KEPT = 3.0  # Å: single atoms nearer to a particle or a cluster are left out


def catalyst(kind: str) -> Callable[[float, np.random.Generator], Columns]:
    """Builds a specimen of one kind within a square field."""

    def build(edge: float, rng: np.random.Generator) -> Columns:
        alone = single_atoms(edge, rng)
        some = rng.random(len(alone.xy)) < rng.uniform(0.15, 0.6)
        xy, weight = alone.xy[some], alone.weight[some]
        middle = alone.xy.mean(axis=0)
        parts = []
        if kind in ("with a particle", "with both"):
            particle = nanoparticle(min(edge, rng.uniform(22, 34)), rng)
            place = middle + rng.uniform(-0.2, 0.2, 2) * edge
            parts.append((particle.xy - particle.xy.mean(axis=0) + place, particle.weight))
        if kind in ("with clusters", "with both"):
            for _ in range(rng.integers(2, 5)):
                place = middle + rng.uniform(-0.4, 0.4, 2) * edge
                atoms = cluster(int(rng.integers(6, 25)), rng) + place
                parts.append((atoms, alone.weight[0] * rng.choice([1, 1, 2], len(atoms))))
        for atoms, their in parts:
            free = KDTree(atoms).query(xy)[0] > KEPT
            xy, weight = np.concatenate([xy[free], atoms]), np.append(weight[free], their)
        return Columns(xy, weight, alone.support_xy, alone.support_weight)

    return build


def cluster(count: int, rng: np.random.Generator) -> Array:
    """Atoms at random places of a disc in Å, none too near to another."""
    radius = 0.9 * np.sqrt(count)
    xy = np.zeros((1, 2))
    for _ in range(2000):
        new = rng.uniform(-radius, radius, 2)
        if np.hypot(*new) < radius and np.hypot(*(xy - new).T).min() > APART:
            xy = np.concatenate([xy, new[None]])
        if len(xy) == count:
            break
    return xy


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--first", type=int, default=4000, help="seed of the first frame")
    parser.add_argument("--quick", action="store_true", help="one pixel size")
    args = parser.parse_args()
    print("| electrons per column | " + " | ".join(KINDS) + " | all: precision, recall |")
    print("|---|" + "---|" * (len(KINDS) + 1))
    seed = args.first
    for electrons in ELECTRONS:
        of_kind: list[list[Scores]] = []
        for kind in KINDS:
            of_kind.append([])
            for pixel_size, size in PIXELS[: 1 if args.quick else None]:
                seed += 10
                view = look(World(kind, WIDE, catalyst(kind)), size, pixel_size, seed)
                frame = shoot(view, kind, electrons, seed + 5)
                frame = replace(frame, radius=max(frame.radius, NEAR / pixel_size))
                of_kind[-1].append(score_frame(frame, found_by([frame], refined=False)[0]))
        every = pool([one for scores in of_kind for one in scores])
        cells = [f"{pool(scores).f1:.3f}" for scores in of_kind]
        cells.append(f"{every.precision:.3f}, {every.recall:.3f}")
        print(f"| {electrons} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
