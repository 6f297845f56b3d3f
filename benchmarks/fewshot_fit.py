"""Calibration of taught classifiers: temperature, and the likelihood of what is strange.

    python benchmarks/fewshot_fit.py --designs 100

Designs with seeds that training never drew: their classes are taught by 1 to 20 examples in one
world, and the columns of another are asked for, with the shares of classes found there. The
temperature is that of least cross-entropy, the mean of that over columns and of that over classes;
strange is the likelihood that one column in fifty of a taught class stays below. --write puts both
into the package.
"""

from __future__ import annotations

import argparse

import numpy as np
import yaml
from scipy.optimize import minimize_scalar

from atomscope.classify.card import FILE, Calibration
from atomscope.classify.classifier import probabilities
from atomscope.classify.distances import log_likelihood, whitening
from atomscope.classify.embedding import embedder
from atomscope.classify.shares import with_shares
from atomscope.models.surroundings import surroundings
from atomscope.train.environments import design, world
from atomscope.train.views import gammas, seen

SEEDS = 30_000_000  # on from here
LOST = 0.02  # share of a taught class that may be called strange
NEVER = -1e9
Trial = tuple[np.ndarray, np.ndarray]


def trial(seed: int) -> Trial | None:
    """Log likelihoods (N, C) and classes (N,) of the columns of one world."""
    rng = np.random.default_rng(seed)
    plan = design(rng)
    pair = [seen(world(plan, rng), rng, rng.uniform(0.1, 0.7), g) for g in gammas(rng)]
    net = embedder()
    values = [net.run(surroundings(w.xy, w.brightness).inputs()).astype(float) for w in pair]
    common = np.intersect1d(pair[0].label, pair[1].label)
    common = common[common >= 0]
    if len(common) < 2:
        return None
    shots = int(rng.choice([1, 2, 5, 10, 20]))
    parts = [rng.permutation(np.flatnonzero(pair[0].label == c))[:shots] for c in common]
    shown = values[0][np.concatenate(parts)]
    kind = np.repeat(np.arange(len(common)), [len(p) for p in parts])
    rows = np.isin(pair[1].label, common)
    white = whitening(shown, kind, net.scatter)
    found = log_likelihood(values[1][rows] @ white, shown @ white, kind, len(common))
    return found, np.searchsorted(common, pair[1].label[rows])


def answer(found: np.ndarray, made: Calibration) -> np.ndarray:
    return with_shares(probabilities(found, (), made))[0]


def loss(log_t: float, trials: list[Trial]) -> float:
    made = Calibration(temperature=float(np.exp(log_t)), strange=NEVER)
    total = []
    for found, truth in trials:
        cost = -np.log(answer(found, made)[np.arange(len(truth)), truth].clip(1e-6))
        alike = [cost[truth == c].mean() for c in np.unique(truth)]
        total.append((cost.mean() + np.mean(alike)) / 2)
    return float(np.mean(total))


def error_of_calibration(made: Calibration, trials: list[Trial]) -> tuple[float, float]:
    """Expected calibration error of the answer in ten bins, and accuracy."""
    every = [answer(found, made) for found, _ in trials]
    p = np.concatenate([a.max(axis=1) for a in every])
    pairs = zip(every, trials, strict=True)
    yes = np.concatenate([a.argmax(axis=1) == truth for a, (_, truth) in pairs])
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [abs((p - yes)[bins == b].sum()) for b in range(10)]
    return float(sum(gaps) / len(p)), float(yes.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = [trial(SEEDS + k) for k in range(options.designs)]
    trials = [t for t in found if t is not None]
    fit, held = trials[::2], trials[1::2]
    best = minimize_scalar(loss, bounds=(-1, 3), args=(fit,), method="bounded")
    t = float(np.exp(best.x))
    true = np.concatenate([f[np.arange(len(y)), y] for f, y in fit])
    made = Calibration(temperature=t, strange=float(np.quantile(true / t, LOST)))
    print(made, "loss", best.fun, "held apart", loss(best.x, held))
    print("error of calibration and accuracy, held apart:", error_of_calibration(made, held))
    if options.write:
        head = FILE.read_text().splitlines()[0]
        data = {k: round(v, 3) for k, v in made.model_dump().items()}
        FILE.write_text(head + "\n" + yaml.safe_dump(data))


if __name__ == "__main__":
    main()
