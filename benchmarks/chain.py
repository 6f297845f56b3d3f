"""The shipped task chains on simulated mosaics: each step, the whole chain, and its probabilities.

    python benchmarks/chain.py [--chain tmd|graphene] [--worlds N] [--dose D] [--cache FOLDER]

Mosaics of seeds that no classifier saw (`chain_worlds`): for tmd two grains of 1H-MoSe2 of which
one is partly 1T, with foreign atoms, vacancies and vacancy lines; for graphene two grains with
foreign atoms, vacancies, divacancies and turned bonds. Two ways:

* truth: the chain on true coordinates (jitter 0.02 to 0.06 Å, brightness with 4 to 10 % of noise).
* image: `atomscope.analyze` up to the chain, and the chain, on an image with the given counts in
  the peak pixel of the weakest column; columns that were not found count against the recall,
  false ones against the precision.

Beside the chain that carries its doubts, one that decides at every step (hard): its end is the
last label, its probability that of the last step alone, or the product along the way. Prints F1 of
each label in its step and at the end, and the expected calibration error of the end (15 bins).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import chain_worlds as worlds
import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope import analyze
from atomscope.classify.gates import Answer
from atomscope.pipeline.chain import Chained, chain_of, chained
from atomscope.recipe import NONE, load
from atomscope.rules import name_defects
from atomscope.simulate.imaging import render, scan_jitter
from atomscope.train.mosaics import strength
from atomscope.types import Image

PIXEL, SIGMA = 0.12, 0.42  # Å
TAIL, BACKGROUND, LINES = 0.12, 0.35, 0.25  # as in atomscope.simulate.named
NEAR = 0.75  # Å: a found column is the true one
STEPS = {"tmd": ("dopant", "phase", "boundary", "vacancy"),
         "graphene": ("dopant", "boundary", "vacancy")}  # fmt: skip
WORDS = ("dopant", "phase", "boundary", "vacancy")  # columns of the truth
BINS = 15


def truth_of(table: pd.DataFrame, chain: str) -> pd.DataFrame:
    """Words of each step behind its gate, and the last one: `end`."""
    recipe, words = load(f"{chain}-chain"), {}
    for step in recipe.steps:
        inside = np.ones(len(table), bool)
        for other, labels in step.among.items():
            inside &= np.isin(words[other], labels)
        words[step.name] = np.where(inside, table[step.name].to_numpy(object), NONE)
    end = np.full(len(table), "", dtype=object)
    for step in recipe.steps:
        end = np.where(words[step.name] != NONE, words[step.name], end)
    return pd.DataFrame({**words, "end": end})


def image_of(table: pd.DataFrame, dose: float, seed: int) -> Image:
    """Counts of a scan over the mosaic."""
    rng = np.random.default_rng([seed, 11])
    light = strength(table["species"].to_numpy(object))
    xy = table[["x", "y"]].to_numpy() / PIXEL
    width, height = (np.floor(xy.max(axis=0)) + 1).astype(int)
    weight = light / np.quantile(light, 0.1)
    clean = render(xy, weight, SIGMA / PIXEL, (int(height), int(width)), tail=TAIL)
    expected = np.maximum(scan_jitter(clean + BACKGROUND, rng, LINES), 0) * dose
    return Image(rng.poisson(expected).clip(0, 65535).astype(np.uint16), pixel_size=PIXEL,
                 modality="haadf")  # fmt: skip


def hard(found: Chained) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """End (N,) of a chain that decides at each step; p of its last step; product of all."""
    answers: Sequence[Answer] = found.answers
    count = len(found.atoms)
    words, end = {}, np.full(count, "", dtype=object)
    last, product = np.full(count, np.nan), np.ones(count)
    for answer in answers:
        inside = np.ones(count, bool)
        for other, labels in answer.among.items():
            inside &= np.isin(words[other], labels)
        names = np.array([*answer.labels, NONE], dtype=object)
        p = np.nan_to_num(answer.given)
        best, top = p.argmax(axis=1), p.max(axis=1)
        words[answer.step] = np.where(inside, names[best], NONE)
        here = inside & (words[answer.step] != NONE)
        end[here] = words[answer.step][here]
        last = np.where(here | np.isnan(last), top, last)
        product = np.where(inside, product * top, product)
    return end, last, product


def ece(p: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error in bins of equal width."""
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    return float(sum(abs((p - right)[bins == b].sum()) for b in range(BINS)) / max(1, len(p)))


def one(chain: str, seed: int, table: pd.DataFrame, dose: float | None) -> dict[str, pd.DataFrame]:
    """Truth and answers of one mosaic, row by row; a side that is missing is NaN or 'nothing'."""
    truth = truth_of(table, chain)
    plan = load(f"{chain}-chain")
    if dose is None:
        atoms = worlds.measured(table, seed).drop(columns=["species", *WORDS]).assign(p=1.0)
        shape = tuple(int(n) + 1 for n in atoms[["y_px", "x_px"]].max())
        named = name_defects(atoms, host="graphene" if chain == "graphene" else None, shape=shape)
        found = chained(named.atoms, named.defects, chain_of(plan))
        match = np.arange(len(table))
    else:
        bare = plan.model_copy(update={"stages": tuple(
            stage for stage in plan.stages if stage not in plan.steps and stage is not plan.measure
        )})  # fmt: skip
        result = analyze(image_of(table, dose, seed), recipe=bare)
        found = chained(result.atoms, result.defects, chain_of(plan))
        places = result.atoms[["x_px", "y_px"]].to_numpy() * PIXEL
        apart, match = cKDTree(table[["x", "y"]].to_numpy()).query(places)
        match[(apart > NEAR) | pd.Series(match).duplicated().to_numpy()] = -1
    rows = {step: _wide(found, step) for step in STEPS[chain]}
    end, last, product = hard(found)
    data = pd.DataFrame({
        **rows, "end": found.atoms["structure"].to_numpy(object),
        "p": found.atoms["structure_p"].to_numpy(float),
        "hard": end, "last": last, "product": product,
    })  # fmt: skip
    seen = np.isfinite(data["p"].to_numpy())
    true = pd.concat([truth, pd.DataFrame([dict.fromkeys(truth, "no atom")])], ignore_index=True)
    both = pd.concat([true.iloc[match].reset_index(drop=True).add_prefix("true "), data], axis=1)
    both = both[seen]
    missed = np.setdiff1d(_inner(table), match)
    lost = truth.iloc[missed].add_prefix("true ").assign(
        **dict.fromkeys((*STEPS[chain], "end", "hard"), "not found"))  # fmt: skip
    return {"found": both, "lost": lost}


def _inner(table: pd.DataFrame) -> np.ndarray:
    """Rows away from the rim, which must be found."""
    xy = table[["x", "y"]].to_numpy()
    low, high = xy.min(axis=0) + 4.0, xy.max(axis=0) - 4.0
    return np.flatnonzero(((xy > low) & (xy < high)).all(axis=1))


def _wide(found: Chained, step: str) -> np.ndarray:
    return found.steps.loc[found.steps["step"] == step, "label"].to_numpy(object)


def scores(every: pd.DataFrame, column: str, true: str) -> pd.DataFrame:
    """F1 and number of each word."""
    truth, said = every[f"true {true}"].to_numpy(object), every[column].to_numpy(object)
    rows = []
    for word in sorted({w for w in truth if w not in (NONE, "", "no atom")}):
        both = ((truth == word) & (said == word)).sum()
        of, in_all = (said == word).sum(), (truth == word).sum()
        f1 = 2 * both / max(1, of + in_all)
        rows.append((word, int(in_all), both / max(1, of), both / max(1, in_all), f1))
    return pd.DataFrame(rows, columns=["label", "n", "precision", "recall", "F1"])


def report(chain: str, way: str, parts: list[dict[str, pd.DataFrame]]) -> None:
    found = pd.concat([p["found"] for p in parts], ignore_index=True)
    every = pd.concat([found, *(p["lost"] for p in parts)], ignore_index=True)
    print(f"\n### {chain}, {way}: {len(parts)} mosaics, {len(found)} columns\n")
    tables = [scores(every, s, s).assign(step=s) for s in STEPS[chain]]
    tables += [scores(every, "end", "end").assign(step="end"),
               scores(every, "hard", "end").assign(step="end, hard")]  # fmt: skip
    joined = pd.concat(tables)[["step", "label", "n", "precision", "recall", "F1"]]
    print("| step | label | n | precision | recall | F1 |\n|---|---|---|---|---|---|")
    for row in joined.itertuples(index=False):
        print(f"| {row[0]} | {row[1]} | {row[2]} | {row[3]:.3f} | {row[4]:.3f} | {row[5]:.3f} |")
    for table in tables:
        print(f"macro-F1 {table['step'].iloc[0]}: {table['F1'].mean():.3f}")
    right = (found["end"] == found["true end"]).to_numpy(float)
    right_hard = (found["hard"] == found["true end"]).to_numpy(float)
    odd = found["true end"].isin(["", "1H", "1T"]).to_numpy()
    p = found["p"].to_numpy()
    print(f"ECE carried {ece(p, right):.4f} (accuracy {right.mean():.4f}; columns that are more "
          f"than their phase: {ece(p[~odd], right[~odd]):.3f})")  # fmt: skip
    for name in ("last", "product"):
        p = found[name].to_numpy()
        print(f"ECE hard, {name} {ece(p, right_hard):.4f} (accuracy {right_hard.mean():.4f}; "
              f"{ece(p[~odd], right_hard[~odd]):.3f})")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chain", choices=tuple(STEPS), default="tmd")
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--dose", type=float, help="without one, true coordinates")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    seeds = range(worlds.JUDGED, worlds.JUDGED + options.worlds)
    parts = []
    for seed in seeds:
        table = worlds.judged(options.chain, seed, options.cache)
        parts.append(one(options.chain, seed, table, options.dose))
    way = "true coordinates" if options.dose is None else f"images, {options.dose:g} counts"
    report(options.chain, way, parts)


if __name__ == "__main__":
    main()
