"""The published graph network, written anew from its description.

E(n)-equivariant message passing (Satorras, Hoogeboom, Welling, ICML 2021) with two layers of width
16; each atom brings the nine raw grey values of the pixels about its whole-pixel position, and
messages pass between atoms within a cut-off in px (Luo et al. 2024). 4,308 parameters with four
classes. Grey values are those of an 8-bit image over 255, distances are in px over the cut-off:
constants that change nothing of what it depends on.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional

WIDTH, LAYERS = 16, 2
REACH = 1.3  # the cut-off in spacings of the metal columns of the frame that is taught
RATE = 3e-3


class EquivariantLayer(nn.Module):
    """One layer with update of the coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = perceptron(2 * WIDTH + 1, WIDTH, last=True)
        self.node = perceptron(2 * WIDTH, WIDTH)
        self.coordinate = nn.Sequential(
            nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1, bias=False)
        )

    def forward(self, h: Tensor, x: Tensor, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, 16) and coordinates (N, 2) after messages from j to i."""
        away = x[i] - x[j]
        message = self.edge(torch.cat([h[i], h[j], (away**2).sum(1, keepdim=True)], 1))
        count = torch.zeros(len(x)).index_add(0, i, torch.ones(len(i))).clamp(min=1)
        moved = torch.zeros_like(x).index_add(0, i, away * self.coordinate(message))
        total = torch.zeros_like(h).index_add(0, i, message)
        return h + self.node(torch.cat([h, total], 1)), x + moved / count[:, None]


def perceptron(inputs: int, outputs: int, *, last: bool = False) -> nn.Sequential:
    """Two linear layers."""
    layers = [nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, outputs)]
    return nn.Sequential(*layers, *([nn.SiLU()] if last else []))


class PublishedNet(nn.Module):
    """Classes of atoms from grey values and positions."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(9, WIDTH)
        self.layers = nn.ModuleList([EquivariantLayer() for _ in range(LAYERS)])
        self.last = perceptron(WIDTH, classes)

    def forward(self, grey: Tensor, x: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """Return logits (N, classes)."""
        h = self.first(grey)
        for layer in self.layers:
            h, x = layer(h, x, i, j)
        return self.last(h)


def inputs_of(image: np.ndarray, xy: np.ndarray, cut_off: float) -> tuple[Tensor, ...]:
    """Grey values (N, 9), positions and pairs; atoms sit on whole pixels, as published."""
    at = np.rint(xy).astype(int)
    way = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    col, row = (at[:, None] + way).transpose(2, 0, 1)
    grey = image[row.clip(0, image.shape[0] - 1), col.clip(0, image.shape[1] - 1)] / 255
    pairs = cKDTree(at).query_pairs(cut_off, output_type="ndarray")
    both = torch.from_numpy(np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64))
    place = torch.from_numpy((at / cut_off).astype(np.float32))
    return torch.from_numpy(grey.astype(np.float32)), place, both[:, 0], both[:, 1]


def taught(
    image: np.ndarray,
    xy: np.ndarray,
    rows: np.ndarray,
    kind: np.ndarray,
    cut_off: float,
    *,
    seconds: float,
    seed: int,
) -> PublishedNet:
    """Train on the marked atoms `rows` of a frame; classes weigh alike, grey values are turned."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    grey, place, i, j = inputs_of(image, xy, cut_off)
    grey, place, i, j, rows = _about(grey, place, i, j, rows)
    y = torch.from_numpy(kind.astype(np.int64))
    count = torch.bincount(y).float()
    net = PublishedNet(len(count))
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    start = time.process_time()
    while (spent := (time.process_time() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * (0.02 + 0.49 * (1 + np.cos(np.pi * spent)))
        square = grey.reshape(-1, 3, 3).rot90(int(rng.integers(4)), (1, 2))
        square = square.flip(1) if rng.random() < 0.5 else square
        out = net(square.reshape(-1, 9), place, i, j)[rows]
        loss = functional.cross_entropy(out, y, weight=1 / count)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


def _about(
    grey: Tensor, place: Tensor, i: Tensor, j: Tensor, rows: np.ndarray
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Leave out what no message brings to the marked atoms."""
    near = torch.zeros(len(grey), dtype=torch.bool)
    near[torch.from_numpy(rows.astype(np.int64))] = True
    for _ in range(LAYERS):
        near = near.index_put((j[near[i]],), torch.tensor(True))
    number = near.cumsum(0) - 1
    kept = near[i] & near[j]
    marked = number[torch.from_numpy(rows.astype(np.int64))]
    return grey[near], place[near], number[i[kept]], number[j[kept]], marked


@torch.no_grad()
def answers(net: PublishedNet, image: np.ndarray, xy: np.ndarray, cut_off: float) -> np.ndarray:
    """Classes (N,) of atoms."""
    return net(*inputs_of(image, xy, cut_off)).argmax(1).numpy()
