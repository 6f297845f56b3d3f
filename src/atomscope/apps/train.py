"""`atomscope train`: from a recipe to a model folder."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atomscope.errors import UsageError

if TYPE_CHECKING:
    from atomscope.train.settings import TrainingRecipe


@dataclass(frozen=True)
class Resources:
    """What a training run may use: drawing processes, threads, torch device."""

    workers: int
    threads: int
    device: str


def plan_of(recipe: str | None, structure: str | None, zone: str) -> TrainingRecipe:
    """Return the recipe of that name or file, or that of a network for one structure.

    Raises:
        UsageError: There is no such recipe or structure, or none or both are given.
    """
    from atomscope.train.settings import TrainingRecipe
    from atomscope.train.structure import parse_zone, recipe_for

    if (recipe is None) == (structure is None):
        raise UsageError("give either a recipe (a name or a YAML file) or --structure.")
    if structure is not None:
        return recipe_for(structure, parse_zone(zone))
    return TrainingRecipe.load(str(recipe))


def need_torch(what: str) -> None:
    """Import what makes networks and writes them, before hours of work.

    Raises:
        MissingExtraError: Some of it is not installed.
    """
    from atomscope.io.extras import need

    for package in ("torch", "safetensors", "onnx", "onnxscript"):
        need(package, what, "'atomscope[train]'")


def train_and_ship(plan: TrainingRecipe, out: Path, resources: Resources) -> None:
    """Train, calibrate and write `out`/model.

    Raises:
        MissingExtraError: torch or its exporter is not installed.
    """
    need_torch("training")
    from atomscope.plot import curves
    from atomscope.train.launch import is_first
    from atomscope.train.run import train
    from atomscope.train.ship import ship

    try:
        weights = train(
            plan, out, workers=resources.workers, threads=resources.threads, device=resources.device
        )
        if not is_first():  # of several processes one ships
            return
        card = ship(plan, weights, out / "model", commit=_commit())
        curves(sorted(out.glob("phase-*/metrics.csv")), out / "curves.png")
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written ({error.strerror or error}); make room there and start the "
            "same command again: the run goes on from its last checkpoint."
        ) from error
    print(f"{out / 'model'}: {card.scores}")


def _commit() -> str:
    """Commit of the code in use, where it runs from a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
