"""How much the shares of classes, and neighbours, may count, on simulated designs held apart.

    python benchmarks/fewshot_shares.py [--designs 30] [--kept 0.2] [--clean | --rings]
        [--neighbours | --next]

Worlds of 2,200 to 4,000 columns of designs that training never drew, with so large a part of their
vacancies and foreign atoms kept. A class is a site with what stands there; 1, 5, 20 examples of
each are drawn in one world, all columns of another of the same design and gamma are asked for.
Macro-F1, that of the classes with less than one column in a hundred, cross-entropy, and expected
calibration error, means over designs and two draws. --clean: jitter and noise in brightness alone.
--rings: sheets of three-fold atoms with rebuilt rings, whose classes are defects, by the rings of
all atoms that belong to one. --neighbours, --next: exponents of what the nearest say, and of what
the next nearest do by the examples, instead of those of shares.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from atomscope.classify import beside, card, classifier, shares
from atomscope.classify.distances import log_likelihood, whitening
from atomscope.classify.embedding import Embedded, embed, embedder
from atomscope.train import environments
from atomscope.train.rebuilt import rebuilt
from atomscope.train.views import seen

SEEDS = 33_000_000  # on from here; clean ones from a million later on, sheets from two
EXPONENTS = {
    "TRUST": (1.0, 0.85, 0.7, 0.5, 0.0),
    "BESIDE": (0.0, 0.3, 0.5, 0.7, 1.0),
    "NEXT": (0.0, 0.3, 0.6, 0.8, 1.0),
}
SHOTS, DRAWS = (1, 5, 20), 2
STATES = 13  # factor between the parts of a label, see `environments`
World = environments.World
View = tuple[Embedded, np.ndarray]
Made = TypeVar("Made")


def sparse(kept: float) -> None:
    """Let worlds have but a part of their changed sites."""
    every = environments._changed

    def some(plan, xy, site, rng):  # type: ignore[no-untyped-def]
        state = every(plan, xy, site, rng)
        state[rng.random(len(state)) >= kept] = 0
        return state

    environments._changed = some


def clean(found: World, rng: np.random.Generator, hard: float, gamma: float) -> World:
    xy = found.xy + rng.normal(0, 0.06 * hard, found.xy.shape)
    log = gamma * np.log(found.brightness) + rng.normal(0, 0.2 * hard, len(xy))
    return replace(found, xy=xy, brightness=np.exp(log))


def sheet(kinds: tuple[str, ...], rng: np.random.Generator) -> World:
    """Rebuilt rings: atoms of rings that are no hexagons, bonded, are one defect and one class."""
    side = environments.SIDE
    xy, rings = rebuilt(side + environments.MARGIN, 0.0, kinds * 3, rng)
    odd = (rings != 6).any(axis=1)
    pairs = cKDTree(xy).query_pairs(1.25, output_type="ndarray")
    pairs = pairs[odd[pairs].all(axis=1)]
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(xy), len(xy)))
    part = connected_components(graph, directed=False)[1]
    label = np.zeros(len(xy), np.int64)
    for number in np.unique(part[odd]):
        rows = np.flatnonzero(odd & (part == number))
        label[rows] = 1 + hash(tuple(sorted(rings[rows].ravel().tolist()))) % 1_000_003
    label[np.abs(xy).max(axis=1) > side] = -1
    return World(xy, np.ones(len(xy)), label)


def trial(seed: int, given: argparse.Namespace) -> list[View] | None:
    """Embeddings and classes of two worlds of a design."""
    rng = np.random.default_rng(seed)
    plan = environments.design(rng)
    if plan.kind == "rebuilt" and not given.rings:  # slow to build at this size
        return None
    hard = rng.uniform(0.05, 0.4) if not (given.clean or given.rings) else rng.uniform(0.1, 0.5)
    gamma = rng.uniform(0.8, 1.25)
    kinds = tuple(str(k) for k in rng.choice(environments.RINGS, 2, replace=False))
    pair = []
    for _ in range(2):
        view = clean if given.clean or given.rings else seen
        made = sheet(kinds, rng) if given.rings else environments.world(plan, rng)
        made = view(made, rng, hard, gamma)
        table = {"x_px": made.xy[:, 0], "y_px": made.xy[:, 1], "intensity": made.brightness}
        whole = made.label
        if not given.rings:  # without what stands around
            whole = whole // STATES ** (len(plan.foreign) + 1)
        pair.append((embed(pd.DataFrame(table)), np.where(made.label >= 0, whole, -1)))
    return pair


def scores(p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    said, sure = p.argmax(axis=1), p.max(axis=1)
    count = np.bincount(truth)
    f1 = np.array(
        [
            2 * ((truth == c) & (said == c)).sum() / (count[c] + (said == c).sum())
            for c in range(len(count))
        ]
    )
    bins = np.minimum((sure * 10).astype(int), 9)
    gap = sum(abs((sure - (said == truth))[bins == b].sum()) for b in range(10)) / len(truth)
    rare = count < 0.01 * len(truth)
    entropy = -np.log(p[np.arange(len(truth)), truth].clip(1e-6)).mean()
    return {
        "macro": f1.mean(),
        "rare": f1[rare].mean() if rare.any() else np.nan,
        "entropy": entropy,
        "ece": gap,
    }


def asked(
    pair: list[View], shots: int, rng: np.random.Generator, what: str
) -> dict[float, dict[str, float]] | None:
    """Scores by exponent."""
    (taught, label), (told, other) = pair
    common = [
        c for c in np.intersect1d(label, other)
        if c >= 0 and (label == c).sum() > 1 and (other == c).sum() > 1
    ]  # fmt: skip
    if len(common) < 2:
        return None
    rows = [rng.permutation(np.flatnonzero(label == c)) for c in common]
    rows = [r[: min(shots, max(1, 2 * len(r) // 3))] for r in rows]
    kind, chosen = np.repeat(np.arange(len(rows)), [len(r) for r in rows]), np.concatenate(rows)
    shown = taught.values[chosen]
    white = whitening(shown, kind, embedder().scatter)

    def said(seen: Embedded, which: np.ndarray) -> np.ndarray:
        found = log_likelihood(seen.values[which] @ white, shown @ white, kind, len(common))
        return classifier.probabilities(found, (), card.calibration())

    inside, truth = np.flatnonzero(np.isin(other, common)), other[np.isin(other, common)]
    p, around, lift = said(told, inside), None, None
    if what != "TRUST":
        around = told.around_among(inside)
    if what == "NEXT":
        whole = np.flatnonzero(taught.whole)
        every = np.full((len(label), len(common) + 1), np.nan)
        every[whole] = beside.with_neighbours(said(taught, whole), taught.around_among(whole))
        lift = beside.beside_examples([beside.Shown(every, taught.around, chosen, kind)])
    made = {}
    for exponent in EXPONENTS[what]:
        for part in (shares, beside):
            setattr(part, what, exponent)
        found = beside.with_neighbours(p, around, None, lift)
        made[exponent] = scores(found, np.searchsorted(common, truth))
    return made


def drawn(make: Callable[[int], Made | None], first: int, count: int) -> Iterator[tuple[int, Made]]:
    """So many pairs of worlds, from the seeds that give one, each with the number of the next."""
    found = ((seed + 1, make(seed)) for seed in itertools.count(first))
    return itertools.islice(((seed, pair) for seed, pair in found if pair is not None), count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", type=int, default=30)
    parser.add_argument("--kept", type=float, default=0.2, help="part of the changed sites")
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--rings", action="store_true")
    parser.add_argument("--neighbours", action="store_true")
    parser.add_argument("--next", action="store_true")
    given = parser.parse_args()
    sparse(given.kept)
    environments.SIDE = 16.0 if given.rings else 30.0 if given.clean else 22.0
    what = "NEXT" if given.next else "BESIDE" if given.neighbours else "TRUST"
    rows, first = [], SEEDS + 1_000_000 * (given.clean + 2 * given.rings)
    for seed, pair in drawn(lambda seed: trial(seed, given), first, given.designs):
        for shots in SHOTS:
            for draw in range(DRAWS):
                found = asked(pair, shots, np.random.default_rng([seed, draw]), what) or {}
                rows += [{"shots": shots, "exponent": e, **s} for e, s in found.items()]
    table = pd.DataFrame(rows).groupby(["exponent", "shots"]).mean().unstack()
    print(table.sort_index(ascending=False).round(3).to_string())


if __name__ == "__main__":
    main()
