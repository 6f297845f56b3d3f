"""What the joint sense of picture and lattice gains: atoms and names with it and without.

    python benchmarks/joint.py [--seeds N]

Frames of `atomscope.simulate.named` with three defects each, at low dose, the same ones both ways.
Missed and false atoms per 1,000, one to one within 0.4 Å; defects right as in `defects.py`.
"""

from __future__ import annotations

import argparse

import numpy as np

from atomscope import analyze
from atomscope.evaluate import match
from atomscope.recipe import NameStage, load
from atomscope.simulate.named import LOW, kinds_of, named_frame

RADIUS = 0.4  # Å
LATER = 90_000  # seeds: apart from those of tests and of defects.py
HOSTS = {"graphene": "C,Si", "1H-MoS2": "Mo,S2,S"}
PLAIN = {
    "graphene": ("V1", "V2(5-8-5)", "SW(55-77)", "Si1C3", "Si1C4", "Si2C6"),
    "1H-MoS2": ("V_S", "V_S2", "V_Mo", "Mo_S2", "2V_S"),
}


def scores(host: str, joint: bool, dose: float, seeds: int) -> tuple[float, float, float]:
    """Missed and false atoms per 1,000, and the share of defects with the right name."""
    plan = load("columns")
    kept = [s for s in plan.stages if s.stage != "name"]
    plan = plan.model_copy(update={"stages": (*kept[:3], NameStage(joint=joint), *kept[3:])})
    true = missed = false = right = planted = 0
    for seed in range(seeds):
        rng = np.random.default_rng(LATER + seed)
        kinds = tuple(str(k) for k in rng.choice(PLAIN[host], 3, replace=False))
        assert set(kinds) <= set(kinds_of(host))
        frame = named_frame(host, kinds, seed=LATER + seed, dose=dose)
        found = analyze(frame.image, pixel_size=frame.pixel_size, elements=HOSTS[host], recipe=plan)
        inside = frame.atoms[["x_px", "y_px"]].to_numpy()
        radius = RADIUS / frame.pixel_size
        pairs = match(inside, found.atoms[["x_px", "y_px"]].to_numpy(), radius)
        true += len(inside)
        missed += len(inside) - len(pairs.truth)
        false += len(found.atoms) - len(pairs.truth)
        for _, defect in frame.defects.iterrows():
            rows = found.defects
            apart = np.hypot(rows["x"] - defect["x"], rows["y"] - defect["y"])
            right += rows["name"][apart < 2.0].tolist() == [defect["name"]]
            planted += 1
    return 1000 * missed / true, 1000 * false / true, right / planted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    print("| host | counts in the peak | joint | missed ‰ | false ‰ | names right |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for host in HOSTS:
        for dose in (LOW / 2, LOW):
            for joint in (False, True):
                missed, false, right = scores(host, joint, dose, args.seeds)
                state = "on" if joint else "off"
                print(
                    f"| {host} | {dose:g} | {state} | {missed:.1f} | {false:.1f} | {right:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
