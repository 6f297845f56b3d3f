"""Teach the classifiers of the shipped task chains by simulated mosaics; one command, from seeds.

    python benchmarks/chain_teach.py [--cache FOLDER] [--only NAME ...]

Each step gets examples of each of its labels, and of none, from columns that belong to those it
looks at; the temperature of its probabilities is that of least cross-entropy on mosaics of other
seeds. Writes src/atomscope/classify/shipped/<name>. To be run again whenever the network of
structures changes: a classifier belongs to one version of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import chain_worlds as worlds
import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar

from atomscope.classify import Classifier, teach
from atomscope.classify.beside import Shown, beside_examples
from atomscope.classify.classifier import columns_of
from atomscope.classify.embedding import Embedded, embed
from atomscope.classify.given import SHIPPED, Shipped
from atomscope.recipe import NONE

MATERIALS = {
    "tmd": ("1H-MoS2", "1H-MoSe2", "1H-WS2", "1H-WSe2", "1T-MoS2"),
    "graphene": ("graphene",),
}
FRAMES = {"tmd": (24, 12), "graphene": (5, 3)}  # to teach by and to calibrate on

Seen = tuple[pd.DataFrame, Embedded]


@dataclass(frozen=True)
class Step:
    """One taught step.

    Attributes:
        chain: tmd or graphene.
        column: Of the truth, the name of the step.
        among: What the truth of earlier steps is.
        examples: Of each label in one mosaic, at most.
        few: Of none.
        near: Of none beside something that is not.
    """

    chain: str
    column: str
    among: dict[str, tuple[str, ...]]
    examples: int = 20
    few: int = 20
    near: int = 20


PLAIN = {"dopant": (NONE,)}
STEPS = {
    "tmd-dopants": Step("tmd", "dopant", {}),
    "tmd-phases": Step("tmd", "phase", PLAIN),
    "tmd-boundaries": Step("tmd", "boundary", PLAIN, 30, 16, 12),
    "tmd-vacancies": Step("tmd", "vacancy", {**PLAIN, "boundary": (NONE,)}),
    "graphene-dopants": Step("graphene", "dopant", {}, 20, 40, 40),
}


def open_to(table: pd.DataFrame, among: dict[str, tuple[str, ...]]) -> np.ndarray:
    """Rows that belong to those a step looks at, by the truth."""
    inside = np.ones(len(table), bool)
    for column, labels in among.items():
        inside &= table[column].isin(labels).to_numpy()
    return inside


def examples_of(table: pd.DataFrame, seen: Embedded, step: Step, seed: int) -> pd.DataFrame:
    """Draw marked atoms from one mosaic."""
    rows = table[open_to(table, step.among) & seen.whole]
    parts = [
        of.sample(min(len(of), step.few if word == NONE else step.examples), random_state=seed)
        for word, of in rows.groupby(step.column)
    ]
    odd = table[(table[["dopant", "boundary", "vacancy"]] != NONE).any(axis=1)]
    away = np.linalg.norm(
        rows[["x", "y"]].to_numpy()[:, None] - odd[["x", "y"]].to_numpy(), axis=2
    ).min(axis=1, initial=np.inf)
    beside = rows[(away < 4.0) & (rows[step.column] == NONE)]  # Å
    parts.append(beside.sample(min(len(beside), step.near), random_state=seed))
    marked = pd.concat(parts)
    marked = marked[~marked.index.duplicated()]
    host = f"@{table.attrs['host']}" if step.chain == "tmd" else ""
    return marked[["frame", "atom"]].assign(label=marked[step.column] + host, image=str(seed))


@cache
def mosaics(chain: str, first: int, count: int, kept: Path | None) -> list[Seen]:
    """Measured mosaics and their embeddings."""
    made = worlds.tables(chain, first, count, kept)
    return [(t, embed(t)) for t in (worlds.measured(t, k) for k, t in enumerate(made))]


def taught(name: str, shown: Sequence[Seen]) -> Shipped:
    """Teach a step without calibration."""
    step, tables = STEPS[name], [table for table, _ in shown]
    examples = [examples_of(t, seen, step, k) for k, (t, seen) in enumerate(shown)]
    images = [str(k) for k in range(len(tables))]
    made = teach(tables, pd.concat(examples), images=images, name=name)
    values = made.values.astype(np.float32)  # half the size on disk
    card = made.card.model_copy(update={"materials": MATERIALS[step.chain]})
    return Shipped.of(replace(made, card=card, values=values, shown=stood(made, step, shown)))


def stood(made: Classifier, step: Step, shown: Sequence[Seen]) -> np.ndarray:
    """What stood next to what, by the truth of all columns that the step looks at."""
    number = dict(zip(made.card.labels, columns_of(made.card.labels), strict=True))
    tables = []
    for table, seen in shown:
        host = f"@{table.attrs['host']}" if step.chain == "tmd" else ""
        kind = np.array([number.get(word + host, -1) for word in table[step.column]])
        kind[~open_to(table, step.among)] = -1
        found = np.eye(len(set(number) - {NONE}) + 1)[kind]
        found[kind < 0] = np.nan
        rows = np.flatnonzero(kind >= 0)
        tables.append(Shown(found, seen.around, rows, kind[rows]))
    return beside_examples(tables)


def with_temperature(made: Shipped, t: float) -> Shipped:
    """Return the classifier with other softness; what is strange stays as far."""
    old = made.card.calibration
    new = old.model_copy(update={"temperature": t, "strange": old.strange * old.temperature / t})
    return replace(made, card=made.card.model_copy(update={"calibration": new}))


def loss(made: Shipped, step: Step, held: Sequence[Seen]) -> float:
    """Cross-entropy of the true labels, mean of columns and of labels alike."""
    costs, labels = [], [*made.labels, NONE]
    for table, seen in held:
        rows = np.flatnonzero(open_to(table, step.among) & seen.whole)
        around = seen.around_among(rows)
        p = made.posterior(seen.values[rows], np.ones(len(rows)), None, around)
        truth = table[step.column].to_numpy()[rows]
        column = np.array([labels.index(word) for word in truth])
        costs.append(-np.log(p[np.arange(len(rows)), column].clip(1e-9)))
    return float(np.concatenate(costs).mean())


def calibrated(name: str, made: Shipped, held: Sequence[Seen]) -> Shipped:
    """Fit the temperature on mosaics held apart."""
    best = minimize_scalar(
        lambda log: loss(with_temperature(made, float(np.exp(log))), STEPS[name], held),
        bounds=(-1.0, 2.5),
        method="bounded",
        options={"xatol": 0.05},
    )
    print(f"  temperature {np.exp(best.x):.2f}, cross-entropy {best.fun:.4f}")
    return with_temperature(made, round(float(np.exp(best.x)), 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, help="keep the mosaics here")
    parser.add_argument("--only", nargs="*", default=list(STEPS))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    started = time.process_time()
    for name in options.only:
        chain = STEPS[name].chain
        many, few = FRAMES[chain]
        first = mosaics(chain, worlds.TAUGHT, many, options.cache)
        second = mosaics(chain, worlds.HELD, few, options.cache)
        made = taught(name, first)
        print(name, made.card.examples)
        calibrated(name, made, second).save(options.out / name)
    print(f"{time.process_time() - started:.0f} s of CPU time")


if __name__ == "__main__":
    main()
