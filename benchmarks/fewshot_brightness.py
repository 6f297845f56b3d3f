"""What the brightness alone tells of structures that differ in it alone, on designs held apart.

    python benchmarks/fewshot_brightness.py [--designs 30] [--still]

Worlds as in `fewshot_shares.py --clean` of about 4,000 columns, with a few foreign atoms whose log
brightness is 0.15 to 0.5 from that of the site that they take, and 5 to 10 % of noise. They push
their neighbours, or with --still they do not. 1, 5, 20 examples of each site and of what stands
there are drawn in one world, all columns of another are asked for. Macro-F1, that of the classes
with less than one column in a hundred, cross-entropy, calibration error, with and without.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
from fewshot_shares import DRAWS, SHOTS, STATES, clean, drawn, scores, sparse

from atomscope.classify import teach
from atomscope.classify.embedding import embed
from atomscope.train import environments

SEEDS = 47_000_000  # on from here
Table = pd.DataFrame


def tables(seed: int, still: bool) -> list[Table] | None:
    """Two worlds of a design, with their classes."""
    rng = np.random.default_rng(seed)
    plan = environments.design(rng)
    if plan.kind == "rebuilt" or not len(plan.foreign):
        return None
    size = rng.uniform(0.15, 0.5, len(plan.foreign)) * rng.choice([-1, 1], len(plan.foreign))
    plan = replace(plan, foreign=size, push=0.0 if still else plan.push)
    hard, gamma = rng.uniform(0.25, 0.5), rng.uniform(0.8, 1.25)
    made = []
    for _ in range(2):
        world = clean(environments.world(plan, rng), rng, hard, gamma)
        kind = world.label // STATES ** (len(plan.foreign) + 1)
        table = Table({"x_px": world.xy[:, 0], "y_px": world.xy[:, 1]})
        table["intensity"], table["truth"] = world.brightness, np.where(world.label < 0, -1, kind)
        made.append(table.assign(frame=0, atom=np.arange(len(table))))
    return made


def asked(pair: list[Table], shots: int, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    """Scores with and without."""
    first, other = pair
    counts = [table.loc[table["truth"] >= 0, "truth"].value_counts() for table in pair]
    names = sorted(set(counts[0][counts[0] > 1].index) & set(counts[1][counts[1] > 1].index))
    if len(names) < 2:
        return {}
    marks = []
    for name in names:
        rows = rng.permutation(np.flatnonzero(first["truth"] == name))
        rows = rows[: min(shots, max(1, 2 * len(rows) // 3))]
        marks.append(first.iloc[rows][["frame", "atom"]].assign(label=f"{names.index(name):03d}"))
    made = teach(first, pd.concat(marks))
    inside = np.flatnonzero(other["truth"].isin(names))
    truth = np.searchsorted(names, other["truth"].to_numpy()[inside])
    seen = embed(other)
    ways = {"without": replace(made, twins=None), "with": made}
    return {way: scores(by.answers(seen, inside), truth) for way, by in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", type=int, default=30)
    parser.add_argument("--still", action="store_true", help="foreign atoms push no neighbours")
    given = parser.parse_args()
    sparse(0.08)
    environments.SIDE = 30.0
    rows, first = [], SEEDS + 1_000_000 * given.still
    for seed, pair in drawn(lambda seed: tables(seed, given.still), first, given.designs):
        for shots in SHOTS:
            for draw in range(DRAWS):
                found = asked(pair, shots, np.random.default_rng([seed, draw]))
                rows += [{"design": seed, "shots": shots, "way": w, **s} for w, s in found.items()]
    made = pd.DataFrame(rows)
    print(made.drop(columns="design").groupby(["way", "shots"]).mean().round(3).to_string())
    each = made.groupby(["design", "shots", "way"])["rare"].mean().unstack()
    gain = (each["with"] - each["without"]).groupby("shots").agg(["mean", "sem", "min", "max"])
    print("gain of rare classes\n" + gain.round(3).to_string())


if __name__ == "__main__":
    main()
