"""What the shares of classes in a movie do to its labels.

    python benchmarks/class_shares.py MODEL ... [--movies N] [--frames N]

MODEL is a name of the zoo or a folder. Movies of its world held apart: frames of one specimen and
one microscope (shares of all classes, dose, width of the columns, background drawn once), 14
spacings wide. Prints Markdown: F1 of each class (place and class) as the network labels single
frames, and as `atomscope.detect.label.judged_together` does with the movie.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from atomscope.detect.label import judged_together
from atomscope.detect.tiles import Found, columns
from atomscope.models.store import ColumnClass, Model, load, read_card
from atomscope.simulate.dataset import World, patch
from atomscope.simulate.recording import Patch
from atomscope.train.classes import RADIUS
from atomscope.train.data import VALIDATION, shown
from atomscope.train.settings import TrainingRecipe

SIZE = 112  # px, at 8 px between neighbours
FIRST = 3 * 10**6  # seeds beyond those of scores and calibration


def specimen(world: World, rng: np.random.Generator) -> World:
    """The world narrowed down to one specimen under one microscope."""
    changes = []
    for change in world.changes:
        share = rng.uniform(*change.share)
        changes.append(replace(change, share=(share, share)))
    snr = float(np.exp(rng.uniform(*np.log(world.snr))))
    sigma = rng.uniform(*world.sigma)
    return replace(
        world,
        kinds=(1.0, 0.0, 0.0),
        changes=tuple(changes),
        snr=(snr, snr),
        sigma=(sigma, sigma),
        tidy=float(rng.random() < world.tidy),
        hosts=(world.hosts[rng.integers(len(world.hosts))],),
        spacing_spread=0.0,
    )


def movie(recipe: TrainingRecipe, model: Model, number: int, length: int) -> list[tuple]:
    """Truth and what the model sees, frame by frame."""
    last = recipe.phases[-1]
    key = (last.seed, VALIDATION, FIRST + number)
    world = specimen(last.world.world(recipe.class_names), np.random.default_rng(key))
    frames = []
    for i in range(length):
        truth = patch(np.random.default_rng((*key, i)), SIZE, world)
        seen = columns(model, shown(truth.frame, world))
        frames.append((truth, seen.keep(seen.p >= 0.5)))
    return frames


def counts(truth: Patch, seen: Found, size: int) -> np.ndarray:
    """Hits, calls and true sites of each class, (K, 3)."""
    called = seen.label.argmax(1)
    hit = np.zeros(len(called), dtype=bool)
    if len(called) and len(truth.xy):
        distance, index = cKDTree(truth.xy).query(seen.xy)
        hit = (distance < RADIUS) & (truth.label[index] == called)
    kinds = (called[hit], called, truth.label[truth.label >= 0])
    return np.stack([np.bincount(each, minlength=size) for each in kinds], axis=1)


def compare(name: str, classes: tuple[ColumnClass, ...], args: argparse.Namespace) -> None:
    """Print F1 of each class, from single frames and from whole movies."""
    model = load(name)
    recipe = TrainingRecipe.model_validate(model.card.recipe)
    total = np.zeros((2, len(classes), 3))
    for number in range(args.movies):
        frames = movie(recipe, model, number, args.frames)
        single = [seen for _, seen in frames]
        for way, seen in enumerate((single, judged_together(single, classes))):
            for (truth, _), found in zip(frames, seen, strict=True):
                total[way] += counts(truth, found, len(classes))
    hits, called, true = np.moveaxis(total, 2, 0)
    f1 = 2 * hits / np.maximum(called + true, 1)
    cells = [f"{c.name} {a:.3f} → {b:.3f}" for c, a, b in zip(classes, *f1, strict=True)]
    print(f"| {name} | {', '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--movies", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8, help="of each movie")
    args = parser.parse_args()
    print("| model | F1 of single frames → of the movie |\n|---|---|")
    for name in args.models:
        card, _ = read_card(name)
        compare(name, card.classes, args)


if __name__ == "__main__":
    main()
