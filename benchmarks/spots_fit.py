"""Fits the model of isolated atoms on micrographs marked by hand, and on simulated worlds.

    python benchmarks/spots_fit.py DATA

DATA is the folder of real micrographs (see benchmarks/README.md). Of each of the three sets of
single atoms the images with even places in the order of their names take part, the others are
for testing; simulated worlds have half the weight of a set. Prints the numbers for `spots` in the
recipe of the universal model, and how it does on the other images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from baselines import Frame
from real import SETS, load

from atomscope.detect import look, shown_to_network
from atomscope.detect.prepare import usable
from atomscope.detect.prominence import prominence
from atomscope.detect.tiles import maxima
from atomscope.models.store import Model, Spots
from atomscope.models.store import load as load_model
from atomscope.sampling import to_input
from atomscope.train.calibrate import Maxima, claimed, fit_spots, look_at_worlds
from atomscope.train.data import CALIBRATION
from atomscope.train.settings import TrainingRecipe
from atomscope.types import Image

LEAST_P = 0.3  # F1 is highest near half of itself, and 0.5 to 0.7 is what such images allow
SINGLE = [name for name in SETS if "HRTEM" not in name]


def seen_in(frames: list[Frame], model: Model) -> Maxima:
    """All maxima of the heat in frames with isolated atoms, and which are marked."""
    parts = []
    for frame in frames:
        view = look(Image(frame.data, pixel_size=frame.pixel_size), model)
        shown = shown_to_network(frame.data, usable(frame.data), view)
        if view.lattice or shown is None:
            print(f"{frame.name}: left out, no isolated atoms")
            continue
        found = maxima(model, shown, lattice=False)
        found = found.keep(np.argsort(-found.p))
        high = prominence(shown, model.card.sigma_px, found.xy)
        true = claimed(to_input(found.xy, view.factor), frame.truth, frame.radius)
        parts.append((found.p, high, true, len(frame.truth)))
    heat, high, true, count = zip(*parts, strict=True)
    return Maxima(np.concatenate(heat), np.concatenate(high), np.concatenate(true), sum(count))


def judged(seen: Maxima, spots: Spots) -> str:
    """F1, precision, recall, and mean p of what is kept."""
    f1, precision, recall = _f1(seen, spots)
    p = spots.probability(seen.heat, seen.prominence)
    mean = p[p >= spots.least_p].mean()
    return f"F1 {f1:.3f}, precision {precision:.3f}, recall {recall:.3f}, mean p {mean:.3f}"


def _f1(seen: Maxima, spots: Spots) -> tuple[float, float, float]:
    kept = spots.probability(seen.heat, seen.prominence) >= spots.least_p
    hits, count = int((seen.true & kept).sum()), int(kept.sum())
    return 2 * hits / max(count + seen.columns, 1), hits / max(count, 1), hits / seen.columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--patches", type=int, default=600)
    options = parser.parse_args()
    model = load_model("universal")
    recipe = TrainingRecipe.model_validate(model.card.recipe)
    simulated = look_at_worlds(model, recipe, CALIBRATION, options.patches, lattice=False)
    sets = {name: load(options.data, *SETS[name]) for name in SINGLE}
    taught = [seen_in(frames[::2], model) for frames in sets.values()]
    spots = fit_spots(simulated, *taught).model_copy(update={"least_p": LEAST_P})
    print(spots.model_dump())
    tested = {name: seen_in(frames[1::2], model) for name, frames in sets.items()}
    before = model.card.calibration.isolated
    for name, seen in tested.items():
        print(f"{name}, other images: {judged(seen, spots)}")
        print(f"    as shipped: {judged(seen, before)}")


if __name__ == "__main__":
    main()
