"""The network of structures, trained on for the examples of one user.

Each step shows the frames of the examples as other days would (`views`), half of the examples
teaches and the other half is asked, and a world of the pretraining is asked beside it, so that
what was known is not forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.spatial import cKDTree

from atomscope.columns import positions
from atomscope.models.equivariant import StructureNet
from atomscope.models.store import ZOO
from atomscope.models.surroundings import surroundings
from atomscope.train.environments import World
from atomscope.train.structures import VERSION, Batch, batch, joined, loss_of, ship
from atomscope.train.views import seen

STEPS, RATE = 150, 1e-3
KEEP = 0.5  # weight of the pretraining
HARD = 0.5  # of the distortions
NEAR = 7.0  # spacings: atoms farther from every example are left out
OTHERS = 40_000_000  # seeds of the worlds of the pretraining
GAMMA = 0.1  # views differ by so much


def finetune(
    tables: Sequence[pd.DataFrame],
    labels: Sequence[NDArray[np.int64]],
    out: Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
) -> Path:
    """Train the network of structures for some examples, and write its folder.

    Takes about a minute on one core.

    Args:
        tables: Atoms of one image or of several.
        labels: For each table (N,) the class of each atom, -1 where it is no example.
        out: Folder of the network.
        steps: Of the training.
        seed: Of everything random.

    Returns:
        The folder, for `atomscope.classify.embedding.embedder`.
    """
    worlds = [w for table, label in zip(tables, labels, strict=True) for w in _worlds(table, label)]
    torch.manual_seed(seed)
    network = StructureNet()
    network.load_state_dict(load_file(ZOO / "structures" / "weights.safetensors"))
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    rng = np.random.default_rng(seed)
    log = ["step,loss"]
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        own, _ = loss_of(network, _views(worlds, rng), rng)
        other, _ = loss_of(network, batch(OTHERS + seed + step, HARD, designs=1), rng)
        loss = own + KEEP * other
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        log.append(f"{step + 1},{loss.item():.4f}")
    ship(network, out, log, version=f"{VERSION}, fine-tuned")
    return out


def _worlds(table: pd.DataFrame, label: NDArray[np.int64]) -> list[World]:
    """Atoms around the examples, of each frame that has some."""
    frame = table["frame"].to_numpy() if "frame" in table else np.zeros(len(table), int)
    return [
        _around(table[frame == number], label[frame == number])
        for number in np.unique(frame[label >= 0])
    ]


def _around(table: pd.DataFrame, label: NDArray[np.int64]) -> World:
    xy = positions(table)
    light = table["intensity"].to_numpy(float) if "intensity" in table else np.ones(len(xy))
    known = np.isfinite(light)
    # brightness without a unit: the views take logarithms; dark atoms count upside down
    light = light / np.median(light[known]) if known.any() else np.ones(len(xy))
    light = np.where(known, light, 1.0).clip(1e-3)
    finite = np.isfinite(xy).all(axis=1)
    unit = float(np.median(surroundings(xy[finite], light[finite]).spacing))
    near = np.zeros(len(xy), dtype=bool)
    near[finite] = cKDTree(xy[label >= 0]).query(xy[finite])[0] < NEAR * unit
    return World((xy[near] - xy[near].mean(axis=0)) / unit, light[near], label[near])


def _views(worlds: Sequence[World], rng: np.random.Generator) -> Batch:
    """Each world as two days see it."""
    shown = [
        seen(w, rng, HARD, float(rng.uniform(1 - GAMMA, 1 + GAMMA)))
        for w in worlds
        for _ in range(2)
    ]
    parts = [surroundings(w.xy, w.brightness) for w in shown]
    number = np.repeat(np.arange(len(shown)), [len(w.xy) for w in shown])
    return Batch(joined(parts), np.concatenate([w.label for w in shown]), number)
