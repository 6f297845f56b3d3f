"""The card of a taught classifier: what it is, and how its likelihoods become probabilities."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atomscope.classify.objects import RADIUS, Kind
from atomscope.documents import fault, parse_yaml
from atomscope.errors import UsageError

FORMAT = 2
FILE = Path(__file__).with_name("calibration.yaml")


class Calibration(BaseModel):
    """From log likelihoods to probabilities, fitted on simulated worlds held apart.

    Attributes:
        temperature: Log likelihoods are divided by it.
        strange: Log likelihood, over the temperature, at which an atom is as likely to be none
            of the structures as one of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(gt=0)
    strange: float


class Card(BaseModel):
    """What a taught classifier is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    name: str
    labels: tuple[str, ...]
    examples: dict[str, int]
    images: tuple[str, ...]
    materials: tuple[str, ...] = ()  # named ones that it was taught; none where any may be shown
    of: Kind = "atom"
    radius: float = RADIUS
    network: str
    network_sha256: str
    level: float
    threshold: float | None
    calibration: Calibration


def calibration() -> Calibration:
    """Return the calibration that comes with the package."""
    return Calibration.model_validate(parse_yaml(FILE.read_text(encoding="utf-8")))


def read_card(folder: Path) -> Card:
    """Read the card in the folder of a classifier.

    Raises:
        UsageError: There is none, it is damaged, or it belongs to another version.
    """
    path = folder / "card.yaml"
    if not path.is_file():
        raise UsageError(
            f"classifier {str(folder)!r}: no folder with card.yaml; make one with atomscope teach."
        )
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise damaged(folder, error) from error
    version = raw.get("format") if isinstance(raw, dict) else None
    if version != FORMAT:
        raise UsageError(
            f"{folder}: a classifier of format {version}, this version reads {FORMAT}; "
            "teach it again from its examples."
        )
    try:
        return Card.model_validate(raw)
    except ValidationError as error:
        raise damaged(folder, error) from error


def damaged(folder: Path, error: Exception) -> UsageError:
    """Return the line for a folder whose files cannot be read."""
    return UsageError(f"{folder}: not a classifier ({fault(error)}); copy the folder again.")
