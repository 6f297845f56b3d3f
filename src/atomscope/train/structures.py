"""Pretraining of the network of structures by episodes, and its folder in the zoo.

    python -m atomscope.train.structures RUN_FOLDER --minutes 15

An episode shows a few atoms of each class of a design in one world and asks for those of
another: softmax over the distances to the means of the shown (Snell, Swersky, Zemel, Prototypical
networks, NeurIPS 2017).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from atomscope.io.write import write_whole
from atomscope.models.equivariant import StructureNet
from atomscope.models.surroundings import Surroundings, surroundings
from atomscope.train.checkpoint import plain, save
from atomscope.train.environments import World, design, world
from atomscope.train.rounds import sha256_of, write_rounds
from atomscope.train.views import gammas, seen

VERSION = "2"
LAST = "last.safetensors"
DESIGNS = 3  # per step
SHOTS, ASKED = 8, 40  # at most, atoms of a class that are shown and asked for
WAYS = 14  # classes of an episode, at most
RATE = 4e-3
EASY = 0.2  # share of the time over which distortions grow to full
HELD = 10_000_000  # seeds from here on are for validation


@dataclass(frozen=True)
class Batch:
    """Two worlds each of some designs as one graph.

    Attributes:
        inputs: Of the network, in order.
        label: (N,) class within its design, -1 for none.
        world: (N,) number of the world; 2i and 2i + 1 are of design i.
    """

    inputs: tuple[Tensor, ...]
    label: NDArray[np.int64]
    world: NDArray[np.int64]


def batch(seed: int, hard: float = 1.0, designs: int = DESIGNS) -> Batch:
    """Draw the worlds of one step."""
    rng = np.random.default_rng(seed)
    worlds: list[World] = []
    for _ in range(designs):
        plan = design(rng)
        worlds += [seen(world(plan, rng), rng, hard, gamma) for gamma in gammas(rng)]
    parts = [surroundings(w.xy, w.brightness) for w in worlds]
    counts = [len(w.xy) for w in worlds]
    number = np.repeat(np.arange(len(worlds)), counts)
    return Batch(joined(parts), np.concatenate([w.label for w in worlds]), number)


def joined(parts: list[Surroundings]) -> tuple[Tensor, ...]:
    """Return the inputs of several graphs as those of one."""
    starts = np.cumsum([0, *(len(p.node) for p in parts)])
    joined = []
    for name in parts[0].inputs():
        values = [p.inputs()[name] for p in parts]
        if name == "index":
            values = [v + start for v, start in zip(values, starts, strict=False)]
        joined.append(torch.from_numpy(np.concatenate(values)))
    return tuple(joined)


def episode(
    embedding: Tensor, data: Batch, number: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor] | None:
    """Return logits (Q, C) and classes (Q,) of one world; None where it has but one class.

    The examples are those of the other world of the same design.
    """
    shown, asked = (np.flatnonzero(data.world == k) for k in (number ^ 1, number))
    common = np.intersect1d(data.label[shown], data.label[asked])
    common = rng.permutation(common[common >= 0])[:WAYS]
    if len(common) < 2:
        return None
    shots = int(rng.integers(1, SHOTS + 1))
    means, rows, truth = [], [], []
    for c, label in enumerate(common):
        examples = rng.permutation(shown[data.label[shown] == label])[:shots]
        questions = rng.permutation(asked[data.label[asked] == label])[:ASKED]
        means.append(embedding[torch.from_numpy(examples)].mean(0))
        rows.append(questions)
        truth.append(np.full(len(questions), c))
    asked_for = embedding[torch.from_numpy(np.concatenate(rows))]
    logits = -torch.cdist(asked_for, torch.stack(means)).square()
    return logits, torch.from_numpy(np.concatenate(truth))


def loss_of(network: StructureNet, data: Batch, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Mean cross-entropy over the worlds of a batch, and accuracy, both weighted by class."""
    embedding = network(*data.inputs)
    losses, right = [embedding.square().mean() * 1e-4], []
    for number in range(int(data.world.max()) + 1):
        found = episode(embedding, data, number, rng)
        if found is None:
            continue
        logits, truth = found
        # between all classes alike and all atoms alike: the common ones have the false answers
        weight = torch.bincount(truth).float()[truth] ** -0.5
        each = torch.nn.functional.cross_entropy(logits, truth, reduction="none")
        losses.append((each * weight).sum() / weight.sum())
        right.append(float((((logits.argmax(1) == truth).float()) * weight).sum() / weight.sum()))
    return torch.stack(losses).sum() / max(len(right), 1), float(np.mean(right)) if right else 1.0


def pretrain(out: Path, minutes: float, seed: int = 0) -> StructureNet:
    """Train for some minutes of CPU time; a checkpoint and log.csv are kept up in `out`.

    A run goes on from the checkpoint that it finds there; with 0 minutes that is what is returned.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    network = StructureNet()
    if (out / LAST).is_file():
        network.load_state_dict(load_file(out / LAST))
    if minutes <= 0:
        return network
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    held = [batch(HELD + k, designs=8) for k in range(2)]
    rng = np.random.default_rng(seed)
    lines, losses, hits = ["step,train_loss,train_accuracy,held_accuracy,seconds"], [], []
    start, step, told = time.process_time(), 0, 0.0
    while (share := (time.process_time() - start) / (60 * minutes)) < 1:
        rate = RATE * min(1, (step + 1) / 50) * (0.02 + 0.98 * np.cos(np.pi / 2 * share) ** 2)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss, accuracy = loss_of(network, batch(seed + step, min(1, 0.3 + share / EASY)), rng)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        hits.append(accuracy)
        step += 1
        if share - told > 0.03:
            told = share
            lines.append(_line(network, held, step, losses, hits, time.process_time() - start))
            losses, hits = [], []
            write_whole(out / "log.csv", lambda path: path.write_text("\n".join(lines) + "\n"))
            save(plain(network), out / LAST)
            print(lines[-1], flush=True)
    save(plain(network), out / LAST)
    return network


def _line(
    network: StructureNet,
    held: list[Batch],
    step: int,
    losses: list[float],
    hits: list[float],
    seconds: float,
) -> str:
    network.eval()
    with torch.no_grad():
        scores = [loss_of(network, data, np.random.default_rng(0))[1] for data in held]
    network.train()
    means = np.mean(losses), np.mean(hits), np.mean(scores)
    return ",".join([str(step), *(f"{m:.4f}" for m in means), f"{seconds:.0f}"])


def scatter(network: StructureNet, designs: int = 60) -> NDArray[np.float64]:
    """Covariance (D, D) of embeddings about the mean of their class, over designs held apart.

    Both worlds of a design share the means: what another gamma or shear does is scatter as well,
    since what is taught on one image is asked of others.
    """
    parts = []
    for k in range(designs):
        data = batch(HELD + 1000 + k, 0.5, designs=1)
        with torch.no_grad():
            embedding = network(*data.inputs).numpy().astype(float)
        for label in np.unique(data.label[data.label >= 0]):
            rows = np.random.default_rng(k).permutation(embedding[data.label == label])[:80]
            if len(rows) > 4:
                parts.append((rows - rows.mean(axis=0)) * np.sqrt(len(rows) / (len(rows) - 1)))
    return np.asarray(np.cov(np.concatenate(parts).T))


def ship(
    network: StructureNet, folder: Path, log: list[str], *, commit: str = "", version: str = VERSION
) -> None:
    """Write the folder of a trained network.

    It holds first.onnx and second.onnx, a graph for each round of messages, test_pair.npz,
    structures.yaml, training/, and weights.safetensors, from which fine-tuning starts.

    Args:
        network: Trained.
        folder: Is made.
        log: Lines of CSV, the first names the columns.
        commit: Of the code that trained.
        version: Of the network.
    """
    network.eval()
    folder.mkdir(parents=True, exist_ok=True)
    data = batch(HELD + 5000, designs=1)
    names = list(surroundings(np.zeros((0, 2)), np.zeros(0)).inputs())
    rounds = write_rounds(network, data.inputs, folder)
    with torch.no_grad():
        embedding = network(*data.inputs).numpy()
    pair = {name: t.numpy() for name, t in zip(names, data.inputs, strict=True)}
    write_whole(
        folder / "test_pair.npz",
        lambda path: _save(path, embedding=embedding, scatter=scatter(network), **pair),
    )
    save(plain(network), folder / "weights.safetensors")
    card = {
        "name": "structures",
        "version": version,
        "task": "embedding of atoms",
        "parameters": sum(p.numel() for p in network.parameters()),
        "trained": dict(zip(log[0].split(","), log[-1].split(","), strict=True)),
        "commit": commit,
        "weights_sha256": sha256_of(folder / "weights.safetensors"),
        "rounds_sha256": rounds,
        "licence": "MIT",
    }
    write_whole(folder / "structures.yaml", lambda p: p.write_text(yaml.safe_dump(card)))
    (folder / "training").mkdir(exist_ok=True)
    write_whole(folder / "training" / "phase-1.csv", lambda p: p.write_text("\n".join(log) + "\n"))


def _save(path: Path, **arrays: NDArray[np.generic]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def main() -> None:
    """Train and ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commit", default="")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = pretrain(options.out, options.minutes, options.seed)
    log = (options.out / "log.csv").read_text(encoding="utf-8").splitlines()
    ship(network, options.out / "structures", log, commit=options.commit)


if __name__ == "__main__":
    main()
