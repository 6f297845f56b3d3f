"""`atomscope info` and `atomscope models`: what is in a file, what is in the zoo."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import yaml

from atomscope.errors import UsageError


def show_file(path: Path, *, as_json: bool) -> None:
    """Print the images of a file, best candidate marked with *.

    Raises:
        InputError: The file cannot be read.
    """
    from atomscope.io import list_images

    entries = list_images(path)
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return
    for entry in entries:
        size = " x ".join(str(n) for n in reversed(entry.shape))
        scale = f"{entry.pixel_size:.5g} Å/px" if entry.pixel_size else "pixel size unknown"
        kind = entry.modality if entry.is_image else f"not taken: {entry.reason}"
        mark = "*" if entry.best else " "
        print(f"{mark} {entry.index}  {entry.name}  {size}  {entry.dtype}  {scale}  {kind}")


def show_models() -> None:
    """Print what each model of the package finds, and its scores on its own world."""
    from atomscope.models.store import names, read_card

    for name in names():
        card, _ = read_card(name)
        scores = (f"{k.replace('_', ' ')} {v:.3f}" for k, v in card.scores.items())
        print(f"{card.name} {card.version}: {card.description}")
        print(f"    {', '.join(scores)}")


def show_card(name: str) -> None:
    """Print the whole card of a model.

    Raises:
        UsageError: There is no such model.
    """
    from atomscope.models.store import read_card

    card, folder = read_card(name)
    print(f"# {folder}")
    print(yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")


def export_model(name: str, out: Path) -> None:
    """Copy the folder of a model: to keep with a paper, to send, or to change.

    Raises:
        UsageError: There is no such model, the folder exists, or it cannot be written.
    """
    from atomscope.io.folders import whole_folder
    from atomscope.models.store import read_card

    _, folder = read_card(name)
    if out.exists():
        raise UsageError(f"{out}: exists already; expected a new folder. Give another with -o.")
    try:
        with whole_folder(out) as draft:
            shutil.copytree(folder, draft, dirs_exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written ({error.strerror or 'disk full?'}); give another folder."
        ) from error
    print(out)
