"""`atomscope simulate`: a set of images with their truth, from a recipe and a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atomscope.errors import UsageError

if TYPE_CHECKING:
    from atomscope.simulate.recording import Patch
    from atomscope.simulate.shards import Plan
    from atomscope.train.settings import TrainingRecipe

COLUMN = "column"  # the one class of recipes that name none
SIZES = (32, 4096)  # px


def simulate(
    recipe: str | TrainingRecipe,
    out: str | Path,
    *,
    count: int = 1000,
    size: int | None = None,
    seed: int = 0,
    shard: int = 250,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a set of images from the world of a training recipe, with the truth about each.

    A set that was stopped goes on where it was; the same arguments give the same bytes.

    Args:
        recipe: Name of a built-in training recipe, a YAML file, or the recipe itself; the world
            is that of its last phase.
        out: Folder of the set, see `atomscope.simulate.shards`.
        count: Number of images.
        size: Edge of an image in px; None for that of the recipe's patches.
        seed: Seed of the set.
        shard: Images per file.
        progress: Called with the images done and their number.

    Returns:
        The folder.

    Raises:
        UsageError: There is no such recipe, a number cannot be right, or the folder holds
            something else or cannot be written.
    """
    from atomscope.apps.train import plan_of
    from atomscope.simulate.shards import write_set

    found = plan_of(recipe, None, "001") if isinstance(recipe, str) else recipe
    plan, draw = _world_set(found, count, size or found.size, seed, shard)
    write_set(Path(out), plan, draw, progress)
    return Path(out)


def _world_set(
    recipe: TrainingRecipe, count: int, size: int, seed: int, shard: int
) -> tuple[Plan, Callable[[int], Patch]]:
    from atomscope.simulate.dataset import patch
    from atomscope.simulate.shards import Plan

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


def report(folder: Path) -> str:
    """Say in one line what a set holds."""
    from atomscope.simulate.shards import read_manifest

    manifest = read_manifest(folder)
    columns = sum(entry["columns"] for entry in manifest["shards"])
    shards = len(manifest["shards"])
    return f"{folder}: {manifest['count']} images in {shards} shards, {columns} columns"
