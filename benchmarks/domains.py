"""The universal detector beside lattice-specific ones, in their domain and out of it.

    python benchmarks/domains.py [--seeds N]

The same frames of graphene, 1H-MoS2 and 1H-WSe2 with two defects each
(`atomscope.simulate.named`), at two doses, given to the universal model and to those of the zoo for
graphene and for dichalcogenides. F1 and root mean square error of the positions before refinement,
one to one within 0.4 Å.
"""

from __future__ import annotations

import argparse

import numpy as np

from atomscope import detect
from atomscope.evaluate import match
from atomscope.simulate.named import LOW, MEDIUM, NamedFrame, named_frame
from atomscope.types import Image

RADIUS = 0.4  # Å
LATER = 95_000  # seeds: apart from those of tests and other benchmarks
MODELS = ("universal", "graphene", "tmd")
WORLDS = {
    "graphene": ("V1", "Si1C3"),
    "1H-MoS2": ("V_S", "V_Mo"),
    "1H-WSe2": ("V_Se", "V_W"),
}


def score(frames: list[NamedFrame], model: str) -> tuple[float, float]:
    """F1 and error in pm, pooled."""
    truth = found = pairs = 0
    square = 0.0
    for frame in frames:
        image = Image(frame.image, pixel_size=frame.pixel_size)
        xy = detect(image, model=model)[["x_px", "y_px"]].to_numpy() * frame.pixel_size
        true = frame.atoms[["x", "y"]].to_numpy()
        paired = match(true, xy, RADIUS)
        truth, found, pairs = truth + len(true), found + len(xy), pairs + len(paired.truth)
        square += float((paired.offsets**2).sum())
    return 2 * pairs / (truth + found), 100 * float(np.sqrt(square / max(2 * pairs, 1)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args()
    print(f"| frames | counts | {' | '.join(MODELS)} |\n|---|---|---|---|---|", flush=True)
    for host, kinds in WORLDS.items():
        for dose in (LOW, MEDIUM):
            seeds = range(LATER, LATER + args.seeds)
            frames = [named_frame(host, kinds, seed=s, dose=dose) for s in seeds]
            cells = [score(frames, model) for model in MODELS]
            text = " | ".join(f"{f1:.3f}, {error:.1f} pm" for f1, error in cells)
            print(f"| {host} | {dose:g} | {text} |", flush=True)


if __name__ == "__main__":
    main()
