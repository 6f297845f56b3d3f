"""Image networks taught by marked atoms: U-Net and patch classifier (torch); used by other scripts.

Both see random turns and mirrors of crops about the examples and train for a given CPU time. What
is not marked is no part of the loss. Classes are drawn alike, however many examples they have.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

IGNORED = -100
DISC = 2.5  # px: radius of the mark of an atom
CROP, PATCH = 48, 40  # px
BATCH = 8  # U-Net; twice as many patches
RATE = 1e-3


@dataclass(frozen=True)
class Picture:
    """A rendered frame with marked atoms.

    Attributes:
        image: (y, x) of zero mean and unit spread.
        xy: (N, 2) positions of all atoms in px.
        rows: (n,) numbers of the atoms that are marked.
        kind: (n,) their classes.
    """

    image: np.ndarray
    xy: np.ndarray
    rows: np.ndarray
    kind: np.ndarray


class UNet(nn.Module):
    """Pixel-wise classes from four halvings; 5.4 million parameters at the default widths."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (16, 32, 64, 192, 512)) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [twice(i, o) for i, o in zip((1, *widths[:-1]), widths, strict=True)]
        )
        self.up = nn.ModuleList([nn.ConvTranspose2d(w, v, 2, 2) for v, w in pairwise(widths)])
        self.join = nn.ModuleList([twice(2 * w, w) for w in widths[:-1]])
        self.last = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes, y, x) of images (B, 1, y, x), sides multiples of 16."""
        kept = []
        for k, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if k else x)
            kept.append(x)
        for k in reversed(range(len(self.join))):
            x = self.join[k](torch.cat([kept[k], self.up[k](x)], 1))
        return self.last(x)


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions with batch norm."""
    layers: list[nn.Module] = []
    for n in (inputs, outputs):
        conv = nn.Conv2d(n, outputs, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """The basic block of He et al. (CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs) for _ in range(2)])
        same = inputs == outputs and stride == 1
        self.short = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.norms[1](self.second(functional.relu(self.norms[0](self.first(x)))))
        return functional.relu(y + self.short(x))


class ResNet(nn.Sequential):
    """ResNet-10: one block each of 64, 128, 256 and 512 channels; 4.9 million parameters."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        stem = nn.Conv2d(1, widths[0], 3, 2, 1, bias=False)
        blocks = [
            Residual(i, o, 1 if k == 0 else 2)
            for k, (i, o) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True))
        ]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes)]
        super().__init__(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(), *blocks, *head)


def crops(
    picture: Picture, rng: np.random.Generator, count: int, size: int, shift: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw turned and mirrored crops about examples.

    Returns:
        Images (count, 1, size, size), marks (count, size, size), classes (count,) of the middles.
    """
    classes = [np.flatnonzero(picture.kind == c) for c in np.unique(picture.kind)]
    chosen = [int(rng.choice(classes[k])) for k in rng.integers(len(classes), size=count)]
    centre = picture.xy[picture.rows[chosen]] + rng.uniform(-shift, shift, (count, 2))
    angle, flip = rng.uniform(0, 2 * np.pi, count), rng.choice([-1.0, 1.0], count)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([c, -s * flip], -1), np.stack([s, c * flip], -1)], -2)
    at = np.arange(size) - (size - 1) / 2
    grid = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    places = centre[:, None] + grid @ turn.transpose(0, 2, 1)  # (count, size², 2) in the picture
    height, width = picture.image.shape
    unit = 2 * (places + 0.5) / (width, height) - 1
    source = torch.from_numpy(picture.image.astype(np.float32))[None, None]
    flat = torch.from_numpy(unit.astype(np.float32)).reshape(1, count * size, size, 2)
    seen = functional.grid_sample(source, flat, padding_mode="reflection", align_corners=False)
    marks = np.full((count, size * size), IGNORED)
    for row, kind in zip(picture.rows, picture.kind, strict=True):
        near = np.abs(centre - picture.xy[row]).max(axis=1) < size
        for k in np.flatnonzero(near):
            apart = ((places[k] - picture.xy[row]) ** 2).sum(axis=1)
            marks[k, apart < DISC**2] = kind
    kinds = torch.from_numpy(picture.kind[chosen].astype(np.int64))
    shape = (count, size, size)
    return seen.reshape(count, 1, size, size), torch.from_numpy(marks).reshape(shape), kinds


def fit(net: nn.Module, picture: Picture, seconds: float, seed: int, *, whole: bool) -> int:
    """Train for so many seconds of CPU; `whole`: on marks of pixels, else on the middles.

    Returns:
        Number of steps; the rate falls along a cosine of the time.
    """
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE)
    batch = BATCH if whole else 2 * BATCH
    net.train()
    start, steps = time.process_time(), 0
    while (spent := (time.process_time() - start) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = RATE * (0.02 + 0.49 * (1 + np.cos(np.pi * spent)))
        size, shift = (CROP, 8.0) if whole else (PATCH, 0.7)
        seen, marks, kinds = crops(picture, rng, batch, size, shift)
        loss = functional.cross_entropy(net(seen), marks if whole else kinds, ignore_index=IGNORED)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        steps += 1
    net.eval()
    return steps


@torch.no_grad()
def unet_answers(net: nn.Module, image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Classes (N,) at atoms: the probabilities of the pixels of their discs, added up."""
    height, width = image.shape
    padded = np.pad(image, ((0, -height % 16), (0, -width % 16)), mode="reflect")
    found = net(torch.from_numpy(padded.astype(np.float32))[None, None])[0].softmax(0).numpy()
    return at_atoms(found, xy).argmax(axis=1)


def at_atoms(maps: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Mean (N, C) of maps (C, y, x) over the discs of atoms."""
    reach = int(np.ceil(DISC))
    way = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), -1).reshape(-1, 2)
    way = way[(way**2).sum(axis=1) <= DISC**2]
    col, row = (np.rint(xy)[:, None].astype(int) + way).transpose(2, 0, 1)
    inside = maps[:, row.clip(0, maps.shape[1] - 1), col.clip(0, maps.shape[2] - 1)]
    return np.asarray(inside.mean(axis=2).T)


@torch.no_grad()
def resnet_answers(net: nn.Module, image: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Classes (N,) of the patches about atoms."""
    half = PATCH // 2
    padded = np.pad(image, half + 1, mode="reflect").astype(np.float32)
    at = np.rint(xy).astype(int) + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH))
    found = []
    for start in range(0, len(at), 256):
        col, row = at[start : start + 256].T
        found.append(net(torch.from_numpy(windows[row, col].copy())[:, None]).argmax(1).numpy())
    return np.concatenate(found)


def size_of(net: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in net.parameters())
