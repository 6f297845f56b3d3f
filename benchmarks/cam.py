"""Class activation maps against the pixel-wise network: what each finds of atoms and defects.

    python benchmarks/cam.py [--seconds S] [--tiles N] [--seed S]

An image-level classifier learns from the name of a tile alone (pristine, vacancy, dopant in
1H-WSe2) and shows where it looked (Zhou et al., CVPR 2016): a map per class, whose maxima are taken
for defects. The network 'tmd' of the zoo learned from the position and class of every column. Both
see the same tiles, drawn by the training world with seeds that neither saw. Thresholds of the maps
are tuned on tiles of their own; the pixel-wise network has its usual p of 0.5. Prints Markdown.
Needs torch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from baselines import Array
from scipy import ndimage
from torch import Tensor, nn

from atomscope.detect import find
from atomscope.detect.view import View
from atomscope.evaluate import match
from atomscope.models.normalise import normalise
from atomscope.models.store import load
from atomscope.scale import Scale
from atomscope.simulate.dataset import World, patch
from atomscope.train.settings import (
    ChangeSettings,
    HostSettings,
    WorldSettings,
)

SIZE, SPACING = 64, 8.0  # px: of a tile, and between columns; the sampling of both networks
NEAR = 0.5 * SPACING  # px: farther from a true place, nothing is taken for it
CLASSES = ("metal", "chalcogen pair", "chalcogen single", "vacancy", "metal dopant")  # of 'tmd'
VACANCY, DOPANT = CLASSES.index("vacancy"), CLASSES.index("metal dopant")
NAMES = ("pristine", "vacancy", "dopant")
OF_NAME = (None, VACANCY, DOPANT)
BATCH = 16
CHANGES = (
    (),
    (ChangeSettings(at="chalcogen pair", becomes="vacancy", share=(0.02, 0.08), weight=(0, 0)),),
    (ChangeSettings(at="metal", becomes="metal dopant", share=(0.02, 0.08), weight=(0.12, 0.5)),),
)


@dataclass(frozen=True)
class Tile:
    """A frame (SIZE, SIZE), its name, and the place (N, 2) and class (N,) of its sites in px."""

    frame: Array
    name: int
    xy: Array
    label: Array


def worlds() -> tuple[World, ...]:
    """One world per name: a lattice that a good day gives, with one kind of defect or none."""
    host = HostSettings(structure="1H-WSe2", sites={"W": "metal", "Se2": "chalcogen pair"})
    world = WorldSettings(
        kinds=(1.0, 0.0, 0.0), snr=(12.0, 60.0), sigma=(0.16, 0.28), spacing=SPACING,
        spacing_spread=0.08, tidy=1.0, hosts=(host,),
    )  # fmt: skip
    return tuple(world.model_copy(update={"changes": c}).world(CLASSES) for c in CHANGES)


def tile(key: tuple[int, ...], name: int, world: World) -> Tile:
    """Draw a tile; one that should have a defect is drawn until it has one well inside."""
    rng = np.random.default_rng(key)
    while True:
        drawn = patch(rng, SIZE, world)
        inside = np.all((drawn.xy > NEAR) & (drawn.xy < SIZE - 1 - NEAR), axis=1)
        wanted = OF_NAME[name]
        if wanted is None or (drawn.label[inside] == wanted).any():
            return Tile(np.asarray(drawn.frame, np.float32), name, drawn.xy, drawn.label)


def tiles(stream: int, count: int, seed: int) -> list[Tile]:
    """As many tiles of each name, in turn."""
    drawn = worlds()
    return [tile((seed, stream, i), i % 3, drawn[i % 3]) for i in range(count)]


class Classifier(nn.Module):
    """Names a tile from the mean of its last features; 0.33 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        widths, strides = (2, 32, 64, 96, 128, 128), (2, 1, 2, 1, 1)
        blocks: list[nn.Module] = []
        for i, stride in enumerate(strides):
            kernel = 5 if i == 0 else 3
            blocks += [
                nn.Conv2d(widths[i], widths[i + 1], kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(widths[i + 1]),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*blocks)
        self.last = nn.Linear(widths[-1], len(NAMES))

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the names (B, 3), and the map of each name (B, 3, y/4, x/4)."""
        seen = self.features(frames)
        maps = torch.einsum("bcyx,nc->bnyx", seen, self.last.weight)
        return maps.mean((2, 3)) + self.last.bias, maps


def trained(seconds: float, seed: int) -> tuple[Classifier, int]:
    """Train on new tiles for a CPU time in seconds, drawing included; returns the steps, too."""
    torch.manual_seed(seed)
    network, drawn = Classifier(), worlds()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    began, step, spent = time.process_time(), 0, 0.0
    while spent < seconds:
        some = [tile((seed, 0, step, i), i % 3, drawn[i % 3]) for i in range(BATCH)]
        frames = torch.from_numpy(np.stack([normalise(t.frame) for t in some]))
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * spent / seconds)) + 1e-5
        logits, _ = network(frames)
        loss = nn.functional.cross_entropy(logits, torch.tensor([t.name for t in some]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step, spent = step + 1, time.process_time() - began
        if step % 50 == 0:
            print(f"step {step}, {spent:.0f} s, loss {float(loss.detach()):.3f}", flush=True)
    return network.eval(), step


@torch.no_grad()
def looked(network: Classifier, seen: Tile) -> tuple[int, Array]:
    """Name of a tile, and the map of each name at the tile's own size (3, y, x)."""
    logits, maps = network(torch.from_numpy(normalise(seen.frame))[None])
    full = nn.functional.interpolate(maps, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return int(logits.argmax()), full[0].numpy()


def maxima(image: Array) -> tuple[Array, Array]:
    """Places (K, 2) in px and heights (K,) of the local maxima within half a spacing."""
    best = image == ndimage.maximum_filter(image, footprint=_disc(NEAR))
    y, x = np.nonzero(best)
    return np.stack([x, y], axis=1).astype(float), image[y, x]


def _disc(radius: float) -> Array:
    step = np.arange(-int(radius), int(radius) + 1)
    return np.hypot(step, step[:, None]) <= radius


@dataclass(frozen=True)
class Counts:
    """Places that were found, found wrongly, and missed."""

    true: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.true + other.true, self.false + other.false, self.missed + other.missed)

    @property
    def f1(self) -> float:
        return 2 * self.true / max(2 * self.true + self.false + self.missed, 1)

    def __str__(self) -> str:
        share = self.true / max(self.true + self.missed, 1)
        right = self.true / max(self.true + self.false, 1)
        return f"{share:.3f} | {right:.3f} | {self.f1:.3f}"


def count(truth: Array, found: Array) -> Counts:
    """Compare places; those nearer to the border than half a spacing are not judged."""
    pairs = match(truth, found, NEAR)
    true = np.zeros(len(truth), dtype=bool)
    true[pairs.truth] = True
    return Counts(
        int((true & _inside(truth)).sum()),
        int((~pairs.is_true & _inside(found)).sum()),
        int((~true & _inside(truth)).sum()),
    )


def _inside(xy: Array) -> Array:
    return np.all((xy > NEAR) & (xy < SIZE - 1 - NEAR), axis=1)


def best_height(pairs: list[tuple[Array, Array, Array]]) -> float:
    """Height of the maxima above which F1 over (truth, places, heights) is the highest."""
    every = np.concatenate([heights for _, _, heights in pairs])

    def f1(least: float) -> float:
        parts = (count(truth, xy[heights >= least]) for truth, xy, heights in pairs)
        return sum(parts, Counts()).f1

    return float(max(np.quantile(every, np.linspace(0, 0.99, 25)), key=f1))


@dataclass(frozen=True)
class Heights:
    """Least heights of maxima: of each kind of defect; map, sign and height for atoms."""

    defect: dict[int, float]
    atoms: tuple[int, float, float]


def tuned(network: Classifier, some: list[Tile]) -> Heights:
    """Tune all thresholds, and which map shows atoms best, on tiles of their own."""
    maps = [looked(network, t)[1] for t in some]
    defect = {}
    for name in (1, 2):
        own = [(t, m) for t, m in zip(some, maps, strict=True) if t.name == name]
        pairs = [(t.xy[t.label == OF_NAME[name]], *maxima(m[name])) for t, m in own]
        defect[name] = best_height(pairs)
    trials = []
    for name in range(len(NAMES)):
        for sign in (1.0, -1.0):
            pairs = [(_atoms(t), *maxima(sign * m[name])) for t, m in zip(some, maps, strict=True)]
            least = best_height(pairs)
            f1 = sum((count(a, xy[h >= least]) for a, xy, h in pairs), Counts()).f1
            trials.append((f1, (name, sign, least)))
    return Heights(defect, max(trials)[1])


def _atoms(seen: Tile) -> Array:
    return seen.xy[seen.label != VACANCY]


@dataclass(frozen=True)
class Answer:
    """What a method says of a tile: its name; places (N, 2) of atoms and of each defect."""

    name: int
    atoms: Array
    defect: dict[int, Array]


def by_map(network: Classifier, heights: Heights) -> Callable[[Tile], Answer]:
    """Maxima of the map of the name that the tile was given."""

    def ask(seen: Tile) -> Answer:
        name, maps = looked(network, seen)
        which, sign, least = heights.atoms
        xy, height = maxima(sign * maps[which])
        found = {1: np.empty((0, 2)), 2: np.empty((0, 2))}
        if name:
            places, high = maxima(maps[name])
            found[name] = places[high >= heights.defect[name]]
        return Answer(name, xy[height >= least], found)

    return ask


def by_pixel() -> Callable[[Tile], Answer]:
    """Columns and empty sites of the network 'tmd'."""
    model = load("tmd")
    view = View(model.card.spacing_px / SPACING, False, Scale(SPACING, 0.9, 0.2 * SPACING))

    def ask(seen: Tile) -> Answer:
        got = find(seen.frame, model, view)
        dopant = got.found.xy[got.found.label.argmax(1) == DOPANT]
        found = {1: got.vacant.xy, 2: dopant}
        inside = [int(_inside(found[n]).sum()) for n in (1, 2)]
        name = 0 if max(inside) == 0 else 1 + int(np.argmax(inside))
        return Answer(name, got.found.xy, found)

    return ask


def lines(ask: Callable[[Tile], Answer], some: list[Tile], label: str) -> Iterator[str]:
    """Markdown: one line per thing to find."""
    began = time.process_time()
    answers = [ask(t) for t in some]
    each = (time.process_time() - began) / len(some)
    right = np.mean([a.name == t.name for a, t in zip(answers, some, strict=True)])
    both = list(zip(answers, some, strict=True))
    atoms = sum((count(_atoms(t), a.atoms) for a, t in both), Counts())
    yield f"| {label} | atoms | {atoms} |"
    for name in (1, 2):
        truth = [t.xy[t.label == OF_NAME[name]] for _, t in both]
        found = (count(x, a.defect[name]) for x, (a, _) in zip(truth, both, strict=True))
        yield f"| {label} | {NAMES[name]} | {sum(found, Counts())} |"
    yield f"| {label} | name of the tile | {right:.3f} of {len(some)} | | {1000 * each:.1f} ms |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="of CPU time for the training")
    parser.add_argument("--tiles", type=int, default=300, help="tiles that are judged")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    network, steps = trained(args.seconds, args.seed)
    parameters = sum(p.numel() for p in network.parameters())
    heights = tuned(network, tiles(1, args.tiles // 4, args.seed))
    judged = tiles(2, args.tiles, args.seed)
    print(f"\n{parameters} parameters, {steps} steps of {BATCH} tiles, {args.seconds:g} s of CPU\n")
    print("| method | what | share found | share true | F1 |\n|---|---|---|---|---|")
    for line in lines(by_map(network, heights), judged, "class activation map"):
        print(line)
    for line in lines(by_pixel(), judged, "pixel-wise network"):
        print(line)


if __name__ == "__main__":
    main()
