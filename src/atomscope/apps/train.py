"""`atomscope train`: from a recipe to a model folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from atomscope.errors import MissingExtraError

RECIPES = Path(__file__).parents[1] / "train" / "recipes"


def train_and_ship(recipe: str, out: Path, *, workers: int, threads: int, device: str) -> None:
    """Train, calibrate and write `out`/model.

    Raises:
        MissingExtraError: torch or its exporter is not installed.
        UsageError: There is no such recipe.
    """
    # drawing processes must not fight with the training for the cores
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from atomscope.train.run import train
        from atomscope.train.settings import TrainingRecipe
        from atomscope.train.ship import ship
    except ImportError as error:
        raise MissingExtraError(
            f"training needs {error.name}, which is not installed: pip install 'atomscope[train]'"
        ) from error
    path = RECIPES / f"{recipe}.yaml"
    plan = TrainingRecipe.load(path if path.is_file() else Path(recipe))
    weights = train(plan, out, workers=workers, threads=threads, device=device)
    card = ship(plan, weights, out / "model", commit=_commit())
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
