"""Batches of the training world, one per step, the same for the same seed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from atomscope.detect.prepare import level
from atomscope.models.normalise import normalise
from atomscope.models.targets import to_maps
from atomscope.simulate.dataset import World, patch
from atomscope.simulate.imaging import Frame
from atomscope.train.settings import TrainingPhase, TrainingRecipe

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
TRAINING, VALIDATION, CALIBRATION = 0, 1, 2  # streams of seeds that never meet
COUNTED = 8  # batches that tell how rare a class is


class Batches(Dataset[Batch]):
    """Batch number i of a stream: frames, heat, offset, near (B, c, y, x), label (B, y, x)."""

    def __init__(
        self,
        recipe: TrainingRecipe,
        phase: TrainingPhase,
        stream: int,
        first: int,
        last: int,
        rank: int = 0,
    ) -> None:
        """Name the batches from `first` up to `last`; each rank has patches of its own."""
        self.recipe, self.seed, self.stream = recipe, phase.seed, stream
        self.first, self.last, self.rank = first, last, rank
        self.world = phase.world.world(recipe.class_names)

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.last - self.first

    def __getitem__(self, index: int) -> Batch:
        """Draw one batch."""
        size = self.recipe.size
        frames = np.empty((self.recipe.batch, 2, size, size), dtype=np.float32)
        heat = np.empty((self.recipe.batch, 1, size, size), dtype=np.float32)
        near = np.empty(heat.shape, dtype=np.bool_)
        offset = np.empty((self.recipe.batch, 2, size, size), dtype=np.float32)
        label = np.empty((self.recipe.batch, size, size), dtype=np.int64)
        for i in range(self.recipe.batch):
            number = self.rank * self.recipe.batch + i  # as if all ranks drew one large batch
            key = (self.seed, self.stream, self.first + index, number)
            rng = np.random.default_rng(key)
            frame, xy, classes = patch(rng, size, self.world)
            frames[i] = shown(frame, self.world)
            # a patch is part of a larger frame, whose typical spread may be another
            frames[i, 1] = np.arcsinh(np.sinh(frames[i, 1]) * np.exp(rng.normal(0, 0.3)))
            heat[i, 0], offset[i], near[i, 0], label[i] = to_maps(xy, (size, size), classes)
        first, second, third, fourth, fifth = map(
            torch.from_numpy, (frames, heat, offset, near, label)
        )
        return first, second, third, fourth, fifth


def shown(frame: Frame, world: World) -> Frame:
    """Return a drawn frame (y, x) as the network sees such frames, (2, y, x)."""
    return normalise(level(frame) if world.modality == "stm" else frame)


def class_balance(recipe: TrainingRecipe, phase: TrainingPhase) -> Tensor:
    """Return a weight per class (K,) that makes rare ones count as much as common ones.

    The shares are counted in a few batches; no class gets more than `phase.most_weight` times
    the weight of the commonest. What this does to the probabilities is undone after the training.
    """
    if not recipe.classes:
        return torch.ones(0)
    batches = Batches(recipe, phase, TRAINING, 0, COUNTED)
    label = torch.cat([batches[i][4].flatten() for i in range(COUNTED)])
    count = torch.bincount(label[label >= 0], minlength=len(recipe.classes)).float()
    return (count.max() / count.clamp(min=1)).clamp(max=phase.most_weight)
