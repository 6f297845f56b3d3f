"""Networks trained on multislice images beside their counterparts by the fast model.

    atomscope simulate graphene-si --multislice -o sets/graphene-si --count 8 --seed 1
    atomscope simulate graphene-si --multislice -o sets/graphene-si-test --count 8 --seed 101
    atomscope train benchmarks/recipes/graphene-si-multislice.yaml -o runs/graphene-si-multislice
    atomscope train benchmarks/recipes/graphene-si-fast.yaml -o runs/graphene-si-fast
    (mos2-s likewise, with seeds 2 and 102)
    python benchmarks/multislice_trained.py

Both, and the model of the zoo, look at the same frames: cut from the multislice set that no
training saw, turned, brought to a width of the probe (the set's own or more), recorded at a
signal to noise as in training; then frames of the fast world, with seeds kept apart. Prints
Markdown: F1 per class (place and class), and the error of the positions before refinement.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from classes import Tally, named_by, tally

from atomscope.models.store import Model, load
from atomscope.simulate.clean import load_clean
from atomscope.simulate.dataset import World, patch
from atomscope.simulate.recording import Patch
from atomscope.train.settings import TrainingRecipe

RECIPES = Path(__file__).parent / "recipes"
ZOO = {"graphene-si": "graphene", "mos2-s": "tmd"}
SPACING = {"graphene-si": 1.42, "mos2-s": 1.824}  # Å between neighbouring columns
DOSES = (8.0, 16.0, 40.0)  # signal to noise of a typical column
WIDTHS = (0.2, 0.36)  # of a column, in spacings; a set's own where that is more
SIZE = 160  # px
APART = 70_000  # seeds: training has those of its recipes


def worlds(specimen: str, sets: Path, classes: tuple[str, ...]) -> dict[str, World]:
    """The two sources of test frames: lattices alone, all at 8 px between neighbours."""
    clean = load_clean(sets / f"{specimen}-test", classes)
    recipe = TrainingRecipe.load(RECIPES / f"{specimen}-fast.yaml")
    fast = recipe.phases[-1].world.world(classes)
    plain = World(clean=clean, snr=fast.snr)
    return {
        name: replace(world, kinds=(1.0, 0.0, 0.0), spacing_spread=0.0)
        for name, world in (("multislice", plain), ("fast", fast))
    }


def frames(world: World, snr: float, width: float, count: int) -> Iterator[Patch]:
    """Frames at one signal to noise and width; the same for all models."""
    world = replace(world, snr=(snr, snr), sigma=(width, width))
    for i in range(count):
        yield patch(np.random.default_rng((APART, round(snr), round(100 * width), i)), SIZE, world)


def score(models: dict[str, Model], world: World, args: argparse.Namespace, classes) -> None:
    """Print the rows of one source of frames."""
    for width in WIDTHS:
        for snr in DOSES:
            seen = list(frames(world, snr, width, args.views))
            for name, model in models.items():
                each = [tally(p, named_by(model, p.frame), classes) for p in seen]
                total = reduce(add, each)
                print(_row(f"{snr:g} | {width:g} | {name}", total, args.pm), flush=True)
            count = " | ".join(map(str, total.true))  # the same for all models
            print(f"| {snr:g} | {width:g} | (number) | {count} | |", flush=True)


def _row(head: str, total: Tally, pm: float) -> str:
    cells = " | ".join(f"{f:.3f}" for f in total.f1)
    return f"| {head} | {cells} | {pm * total.error:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--sets", type=Path, default=Path("sets"))
    parser.add_argument("--specimens", nargs="*", default=list(ZOO))
    parser.add_argument("--views", type=int, default=16, help="frames per signal and width")
    args = parser.parse_args()
    for specimen in args.specimens:
        models = {
            "multislice": load(str(args.runs / f"{specimen}-multislice" / "model")),
            "fast": load(str(args.runs / f"{specimen}-fast" / "model")),
            f"zoo: {ZOO[specimen]}": load(ZOO[specimen]),
        }
        classes = tuple(c.name for c in models["multislice"].card.classes)
        args.pm = 100 * SPACING[specimen] / World().spacing  # pm per px
        for source, world in worlds(specimen, args.sets, classes).items():
            print(f"\n### {specimen}, frames by {source}\n")
            head = ["SNR", "width", "learned from", *classes, "error, pm"]
            print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
            score(models, world, args, classes)


if __name__ == "__main__":
    main()
