"""A network made from a structure file beside AtomAI, trained in its world for the same time.

    atomscope train --structure mos2.cif --zone 001 -o runs/mos2
    python benchmarks/lattice_specific.py runs/mos2/model CACHE --peers peers/bin/python \\
        --minutes 14.9

The world of the recipe in the model's card (same classes, same patches) teaches AtomAI's default
U-Net for so many minutes of CPU time on one thread, from random weights, since AtomAI brings no
others; ours starts from the universal model. Both then look at the same frames of that world, with
seeds kept apart, at their own sampling. Prints Markdown: F1 of each class (place and class) and the
error of the positions, as the networks give them. What lies within 8 px of the border does not
count. CACHE keeps AtomAI's weights.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from classes import Named, named_by, tally

from atomscope.models.store import load
from atomscope.simulate.dataset import World, patch
from atomscope.simulate.recording import Patch
from atomscope.train.settings import TrainingRecipe

HERE = Path(__file__).parent
DOSES = (8.0, 15.0, 30.0, 60.0)  # signal to noise of a typical column
SIZE = 256  # px
APART = 71_000  # seeds
SPACING = 1.824  # Å between Mo and S in the projection of 1H-MoS2
PEER = {"PYTHONPATH": str(HERE.parent / "src"), "OMP_NUM_THREADS": "1"}


def teach_atomai(recipe: TrainingRecipe, world: World, args: argparse.Namespace) -> dict:
    """Train AtomAI, unless the cache has its weights; return what it says of the training."""
    said = args.cache / "settings.json"
    if not said.exists():
        args.cache.mkdir(parents=True, exist_ok=True)
        job = {
            "world": world,
            "classes": recipe.class_names,
            "size": recipe.size,
            "batch": recipe.batch,
            "seed": recipe.phases[-1].seed,
            "minutes": args.minutes,
        }
        path = args.cache / "job.pkl"
        path.write_bytes(pickle.dumps(job))
        script = HERE / "atomai_classes.py"
        subprocess.run([args.peers, script, path, args.cache], check=True, env=PEER)
    return json.loads(said.read_text(encoding="utf-8"))


def atomai(seen: Sequence[Patch], classes: Sequence[str], args: argparse.Namespace) -> list[Named]:
    """What AtomAI finds, frame by frame."""
    jobs = {f"frame_{i}": p.frame for i, p in enumerate(seen)}
    jobs |= {f"factor_{i}": np.array(1.0) for i in range(len(seen))}
    ask, answer = args.cache / "frames.npz", args.cache / "found.npz"
    np.savez(ask, count=len(seen), stacked=False, **jobs)
    command = [args.peers, HERE / "peers.py", "atomai", ask, answer, "--weights", args.cache]
    subprocess.run([*command, "--threads", "1"], check=True, env=PEER)
    names = np.array(classes, dtype=object)
    with np.load(answer) as found:
        return [Named(found[f"xy_{i}"], names[found[f"class_{i}"]]) for i in range(len(seen))]


def frames(world: World, snr: float, tidy: float, count: int) -> list[Patch]:
    """Frames at one signal to noise, all at 8 px between neighbours."""
    world = replace(world, kinds=(1.0, 0.0, 0.0), snr=(snr, snr), spacing_spread=0.0, tidy=tidy)
    return [
        patch(np.random.default_rng((APART, round(snr), round(tidy), i)), SIZE, world)
        for i in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", help="folder that atomscope train --structure made")
    parser.add_argument("cache", type=Path)
    parser.add_argument("--peers", help="Python of the peers' environment; without it ours alone")
    parser.add_argument("--minutes", type=float, default=14.9, help="CPU time for AtomAI")
    parser.add_argument("--frames", type=int, default=8, help="frames of each kind")
    args = parser.parse_args()
    model = load(args.model)
    recipe = TrainingRecipe.model_validate(model.card.recipe)
    classes = recipe.class_names
    world = recipe.phases[-1].world.world(classes)
    if args.peers:
        print(teach_atomai(recipe, world, args), "\n")
    head = ["frames", "SNR", "network", *classes, "error, pm"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, tidy in (("even background", 1.0), ("uneven", 0.0)):
        for snr in DOSES:
            seen = frames(world, snr, tidy, args.frames)
            found = {"atomscope": [named_by(model, p.frame) for p in seen]}
            if args.peers:
                found["AtomAI"] = atomai(seen, classes, args)
            for network, each in found.items():
                total = reduce(add, map(lambda p, f: tally(p, f, classes), seen, each))
                cells = " | ".join(f"{f:.3f}" for f in total.f1)
                error = 100 * SPACING / world.spacing * total.error
                print(f"| {name} | {snr:g} | {network} | {cells} | {error:.1f} |", flush=True)


if __name__ == "__main__":
    main()
