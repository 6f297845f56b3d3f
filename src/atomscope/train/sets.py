"""Sets of images with their truth, from the world of a training recipe and a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from atomscope.errors import UsageError
from atomscope.simulate.dataset import patch
from atomscope.simulate.recording import Patch
from atomscope.simulate.shards import Plan, write_set
from atomscope.simulate.specimen import SpecimenRecipe, specimen_set
from atomscope.train.settings import TrainingRecipe

COLUMN = "column"  # the one class of recipes that name none
SIZES = (32, 4096)  # px
MANY, FEW = (1000, 250), (12, 2)  # images, and images per shard: of a world, by multislice


def simulate(
    recipe: str | Path | TrainingRecipe,
    out: str | Path,
    *,
    count: int | None = None,
    size: int | None = None,
    seed: int = 0,
    shard: int | None = None,
    multislice: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a set of images from the world of a training recipe, with the truth about each.

    A set that was stopped goes on where it was; the same arguments give the same bytes.

    Args:
        recipe: Name of a built-in training recipe, a YAML file, or the recipe itself; the world
            is that of its last phase. With `multislice`, name or file of a layer with defects.
        out: Folder of the set, see `atomscope.simulate.shards`.
        count: Number of images, by default 1000, with `multislice` 12.
        size: Edge of an image in px; None for that of the recipe's patches.
        seed: Seed of the set.
        shard: Images per file, by default 250, with `multislice` 2.
        multislice: Simulate noise-free frames with abTEM, see `atomscope.simulate.specimen`.
        progress: Called with the images done and their number.

    Returns:
        The folder.

    Raises:
        UsageError: There is no such recipe, a number cannot be right, or the folder holds
            something else or cannot be written.
        MissingExtraError: Multislice was asked for, and abTEM is not installed.
    """
    numbers = FEW if multislice else MANY
    count = numbers[0] if count is None else count
    shard = numbers[1] if shard is None else shard
    if multislice:
        if size is not None:
            raise UsageError(
                f"size {size} px: expected none with multislice, whose recipe gives the cell; "
                "leave it out."
            )
        plan, draw = specimen_set(SpecimenRecipe.load(str(recipe)), seed, count, shard)
    else:
        found = recipe if isinstance(recipe, TrainingRecipe) else TrainingRecipe.load(recipe)
        plan, draw = _world_set(found, count, found.size if size is None else size, seed, shard)
    write_set(Path(out), plan, draw, progress)
    return Path(out)


def _world_set(
    recipe: TrainingRecipe, count: int, size: int, seed: int, shard: int
) -> tuple[Plan, Callable[[int], Patch]]:
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"size {size} px: expected {SIZES[0]} to {SIZES[1]}.")
    settings = recipe.phases[-1].world
    world = settings.world(recipe.class_names)
    about = {"name": recipe.name, "world": settings.model_dump(mode="json")}
    plan = Plan(about, recipe.class_names or (COLUMN,), seed, count, shard, {"size": size})

    def draw(index: int) -> Patch:
        drawn = patch(np.random.default_rng((seed, index)), size, world)
        if recipe.classes:
            return drawn
        return drawn._replace(label=np.zeros(len(drawn.xy), dtype=np.int64))

    return plan, draw
