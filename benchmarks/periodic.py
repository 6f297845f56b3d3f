"""Enforced periodicity: vacancies found, and atoms wrongly found, with the option and without.

    python benchmarks/periodic.py [--seeds N]

Honeycombs of 10 px between neighbours, 1.42 Å, with 5 % of the atoms taken out and four spots at
random places; Gaussians on a background, Poisson noise. Prints one Markdown line per dose (counts
in the peak of an atom). The spots that were added count as wrong.
"""

from __future__ import annotations

import argparse

import numpy as np
from baselines import Array

from atomscope import analyze
from atomscope.evaluate import match
from atomscope.recipe import DetectStage, Recipe, RefineStage
from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile

SPACING, SIZE, RIM, NEAR = 10.0, 176, 8.0, 3.0  # px
PIXEL = 0.142  # Å
CELL = SPACING * np.sqrt(3) * np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
BASIS = np.array([[0.0, 0.0], [1 / 3, 2 / 3]])


def specimen(seed: int, dose: int) -> tuple[Array, Array, Array]:
    """A frame, the atoms on sites, and the sites without one; positions in px."""
    rng = np.random.default_rng((seed, dose))
    xy, _ = tile(CELL, BASIS, SIZE, rng.uniform(0, 6), rng.uniform(0, 1, 2))
    gone = rng.random(len(xy)) < 0.05
    every = np.concatenate([xy[~gone], rng.uniform(0, SIZE, (4, 2))])
    clean = render(every, np.ones(len(every)), 0.27 * SPACING, (SIZE, SIZE)) + 0.2
    return rng.poisson(dose * clean).astype(float), xy[~gone], xy[gone]


def counts(truth: Array, found: Array) -> Array:
    """Found, wrongly found and missed positions, without the rim of the frame."""
    pairs = match(truth, found, NEAR)
    true = np.isin(np.arange(len(truth)), pairs.truth)
    inside, judged = _inside(truth), _inside(found)
    return np.array(
        [(true & inside).sum(), (~pairs.is_true & judged).sum(), (~true & inside).sum()]
    )


def _inside(xy: Array) -> Array:
    return np.all((xy > RIM) & (xy < SIZE - 1 - RIM), axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="frames per dose")
    args = parser.parse_args()
    print("| dose | vacancies: found, wrong, missed | atoms: found, wrong, missed | without |")
    print("|---|---|---|---|")
    for dose in (4, 8, 16, 60, 300):
        total = np.zeros((3, 3), dtype=int)
        for seed in range(args.seeds):
            frame, atoms, empty = specimen(seed, dose)
            for row, periodic in ((1, True), (2, False)):
                plan = Recipe(stages=(DetectStage(periodic=periodic), RefineStage()))
                got = analyze(frame, pixel_size=PIXEL, recipe=plan)
                total[row] += counts(atoms, got.atoms[["x_px", "y_px"]].to_numpy(float))
                if periodic:
                    total[0] += counts(empty, got.defects[["x_px", "y_px"]].to_numpy(float))
        cells = (", ".join(map(str, row)) for row in total)
        print(f"| {dose} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
