"""How well a network tells classes of columns apart, and how sure it may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from atomscope.detect.tiles import columns
from atomscope.models.store import Model
from atomscope.models.unet import UNet
from atomscope.simulate.dataset import patch
from atomscope.train.data import CALIBRATION, VALIDATION, Batches, shown
from atomscope.train.settings import TrainingRecipe

RADIUS = 2.5  # px between a column and its truth
BATCHES = 12


def calibrate_classes(network: UNet, recipe: TrainingRecipe) -> None:
    """Scale and shift the logits of the classes in place, so that they are calibrated.

    One slope, and one shift per class that gives the classes their true shares again, make
    the likelihood largest on worlds held apart (vector scaling, Guo et al., Proc. ICML 2017).
    """
    if network.classes is None:
        return
    batches = Batches(recipe, recipe.phases[-1], CALIBRATION, 0, BATCHES)
    logits, labels = [], []
    with torch.no_grad():
        for i in range(len(batches)):
            frames, _, _, _, label = batches[i]
            maps = network(frames)[:, 3:].movedim(1, -1)
            logits.append(maps[label >= 0])
            labels.append(label[label >= 0])
    every, truth = torch.cat(logits), torch.cat(labels)
    slope = torch.ones(1, requires_grad=True)
    shift = torch.zeros(len(recipe.classes), requires_grad=True)
    optimiser = torch.optim.LBFGS([slope, shift], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = functional.cross_entropy(every * slope + shift, truth)
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        head = network.classes.last
        head.weight *= slope
        head.bias *= slope
        head.bias += shift.repeat_interleave(4)  # four pixels of the shuffle per class


def class_shares(recipe: TrainingRecipe) -> tuple[float, ...]:
    """Return the share of each class among the pixels that calibrate the classes."""
    if not recipe.classes:
        return ()
    batches = Batches(recipe, recipe.phases[-1], CALIBRATION, 0, BATCHES)
    label = torch.cat([batches[i][4].flatten() for i in range(len(batches))])
    count = torch.bincount(label[label >= 0], minlength=len(recipe.classes))
    return tuple(round(float(share), 4) for share in count / count.sum())


def class_scores(model: Model, recipe: TrainingRecipe, count: int) -> dict[str, float]:
    """Return F1 per class over lattices held apart: a hit needs the place and the class."""
    if not recipe.classes:
        return {}
    last = recipe.phases[-1]
    world = replace(last.world.world(recipe.class_names), kinds=(1.0, 0.0, 0.0))
    size = len(recipe.classes)
    counts: NDArray[np.int64] = np.zeros((size, 3), dtype=np.int64)  # hits, called, true
    for i in range(count):
        rng = np.random.default_rng((last.seed, VALIDATION, 2 * 10**6 + i))
        frame, xy, label = patch(rng, recipe.size, world)
        found = columns(model, shown(frame, world))
        found = found.keep(found.p >= 0.5)
        called = found.label.argmax(1)
        counts[:, 1] += np.bincount(called, minlength=size)
        counts[:, 2] += np.bincount(label[label >= 0], minlength=size)
        if len(xy) and len(called):
            distance, index = cKDTree(xy).query(found.xy)
            hit = (distance < RADIUS) & (label[index] == called)
            counts[:, 0] += np.bincount(called[hit], minlength=size)
    f1 = 2 * counts[:, 0] / np.maximum(counts[:, 1] + counts[:, 2], 1)
    return {f"f1 {c.name}": round(float(v), 4) for c, v in zip(recipe.classes, f1, strict=True)}
