"""`atomscope models`: what is in the zoo."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from atomscope.errors import UsageError

models_app = App(name="models", help="Show the models that come with the package.")


@models_app.command(name="list")
def show_models() -> int:
    """List the models with what they find, and their scores on their own worlds."""
    from atomscope.models.store import names, read_card

    for name in names():
        card, _ = read_card(name)
        scores = (f"{k.replace('_', ' ')} {v:.3f}" for k, v in card.scores.items())
        print(f"{card.name} {card.version}: {card.description}")
        print(f"    {', '.join(scores)}")
    return 0


@models_app.command(name="show")
def show_card(name: str) -> int:
    """Show the card of a model.

    Parameters
    ----------
    name
        Name of a model, or its folder.
    """
    import yaml

    from atomscope.models.store import read_card

    card, folder = read_card(name)
    print(f"# {folder}")
    print(yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False, allow_unicode=True), end="")
    return 0


@models_app.command(name="export")
def export_model(name: str, *, out: Annotated[Path, Parameter(name=["--out", "-o"])]) -> int:
    """Copy the folder of a model, to keep with a paper, to send, or to change.

    Parameters
    ----------
    name
        Name of a model, or its folder.
    out
        Folder that is made; `--model FOLDER` takes it.
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
    return 0
