"""Score the classes of finished models again, on the worlds held apart; the cards say so.

python -m atomscope.train.rescore FOLDER... --commit HASH
"""

from __future__ import annotations

import argparse
from pathlib import Path

from atomscope.models.store import Card, load
from atomscope.train.classes import class_scores
from atomscope.train.settings import TrainingRecipe
from atomscope.train.ship import write_card


def rescore(folder: Path, *, commit: str, patches: int = 600) -> Card:
    """Write the scores of the classes of a model into its card, and return that.

    Args:
        folder: Model folder whose card holds its recipe.
        commit: Of the code that measures the scores.
        patches: Frames that they are measured on.
    """
    model = load(str(folder))
    found = class_scores(model, TrainingRecipe.model_validate(model.card.recipe), patches)
    scores = {**model.card.scores, **found}
    card = model.card.model_copy(update={"scores": scores, "scored_at_commit": commit})
    write_card(card, folder)
    return card


def main() -> None:
    """Score the models of some folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--commit", required=True)
    given = parser.parse_args()
    for folder in given.folders:
        print(folder, rescore(folder, commit=given.commit).scores, flush=True)


if __name__ == "__main__":
    main()
