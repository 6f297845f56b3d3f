"""Mosaics for teaching the shipped task chains and for judging them; seeds tell them apart."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd

from atomscope.train.mosaics import Plan, imaged, mosaic

TAUGHT, HELD, JUDGED = 41_000, 52_000, 63_000  # first seeds
DICHALCOGENIDES = ("1H-MoS2", "1H-MoSe2", "1H-WS2", "1H-WSe2")
FOREIGN = {"Mo": ("W", "V", "Re"), "W": ("Mo", "V", "Nb"), "S": ("Se", "O"), "Se": ("S", "Te")}


def dichalcogenide(host: str, rng: np.random.Generator, kind: int) -> Plan:
    """Plan of a layer with grains (0), phases (1), or both (2)."""
    metal, x = host[3:].replace("2", "").partition("S")[0], "Se" if "Se" in host else "S"
    points = [
        *(f"{f}@{metal}" for f in FOREIGN[metal] for _ in range(2)),
        *(f"{f}@{x}" for f in FOREIGN[x] for _ in range(2)),
        *[f"vacancy {x} one"] * 6,
        *[f"vacancy {x}2"] * 2,
        *[f"vacancy {metal}"] * 2,
        *[f"line {n} {x}" for n in rng.integers(3, 7, 2)],
    ]
    return Plan(
        host,
        (100.0, 60.0) if kind == 2 else (75.0, 60.0),
        0.0 if kind == 1 else float(rng.choice([rng.uniform(10, 50), 60.0])),
        float(rng.uniform(0, 60)),
        1.0 if kind == 0 else float(rng.uniform(0.68, 0.74) if kind == 2 else 0.5),
        tuple(points),
    )


def graphene(rng: np.random.Generator) -> Plan:
    """Plan of two grains of graphene with point defects."""
    points = (
        *("Si@C", "Si@C", "N@C", "N@C", "N@C", "B@C", "B@C", "P@C"),
        *["vacancy C"] * 2,
        *["divacancy"] * 2,
        *["Stone-Wales"] * 2,
    )
    turn = float(rng.uniform(0, 60))
    return Plan("graphene", (64.0, 46.0), float(rng.uniform(12, 30)), turn, 1.0, points)


def tables(
    chain: str, first_seed: int, count: int, cache: Path | None = None
) -> list[pd.DataFrame]:
    """Columns of mosaics; of several hosts in turn, with grains, phases and both."""
    made = []
    for k in range(count):
        rng = np.random.default_rng(first_seed + k)
        plan = dichalcogenide(DICHALCOGENIDES[k % 4], rng, k // 4 % 3)
        made.append(_kept(plan if chain == "tmd" else graphene(rng), rng, cache, first_seed + k))
    return made


def judged(chain: str, seed: int, cache: Path | None = None) -> pd.DataFrame:
    """Columns of one mosaic that a chain is judged by; of dichalcogenides 1H-MoSe2 with all."""
    rng = np.random.default_rng(seed)
    plan = dichalcogenide("1H-MoSe2", rng, 2) if chain == "tmd" else graphene(rng)
    return _kept(plan, rng, cache, seed)


def _kept(plan: Plan, rng: np.random.Generator, cache: Path | None, seed: int) -> pd.DataFrame:
    """Build a mosaic, or take it from the folder where it was kept."""
    path = cache / f"{plan.host}-{seed}.pkl" if cache else None
    if path and path.is_file():
        return pickle.loads(path.read_bytes())
    made = mosaic(plan, rng)
    made.attrs["host"] = plan.host
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(made))
    return made


def measured(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the table as some microscope and detector give it."""
    rng = np.random.default_rng([seed, 7])
    return imaged(
        table,
        rng,
        jitter=rng.uniform(0.02, 0.06),
        noise=rng.uniform(0.04, 0.1),
        exponent=rng.uniform(1.55, 1.75),
    )
