"""`atomscope simulate`: a set of images with their truth, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atomscope.apps.progress import progress_bar


def simulate_with_a_bar(recipe: str, out: Path, **options: Any) -> None:
    """Do what `simulate` does with the same options, show how far it is, say what came out."""
    from atomscope.train.sets import simulate

    with progress_bar(out.name) as progress:
        simulate(recipe, out, **options, progress=progress)
    print(report(out))


def report(folder: Path) -> str:
    """Say in one line what a set holds."""
    from atomscope.simulate.shards import read_manifest

    manifest = read_manifest(folder)
    columns = sum(entry["columns"] for entry in manifest["shards"])
    shards = len(manifest["shards"])
    return f"{folder}: {manifest['count']} images in {shards} shards, {columns} columns"
