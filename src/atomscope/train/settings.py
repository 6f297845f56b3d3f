"""What a training recipe may say; unknown keys are refused."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atomscope.errors import UsageError


class WorldSettings(BaseModel):
    """Ranges of the training world, see `atomscope.simulate.dataset.World`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spacing: float = Field(8.0, gt=3, lt=30, description="median column spacing, px")
    spacing_spread: float = Field(0.22, ge=0, lt=1, description="spread of its logarithm")
    kinds: tuple[float, float, float] = Field(
        (0.58, 0.30, 0.12), description="share of lattices, isolated atoms, empty frames"
    )
    snr: tuple[float, float] = Field((3.0, 80.0), description="matched-filter SNR in lattices")
    isolated_snr: tuple[float, float] = Field((2.5, 80.0), description="SNR of isolated atoms")
    support: tuple[float, float] = Field((0.02, 0.3), description="speckle under isolated atoms")


class TrainingPhase(BaseModel):
    """A part of a run with its own world; each goes on from the best weights before it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    steps: int = Field(12_000, gt=0)
    learning_rate: float = Field(3e-3, gt=0)
    balance: float | None = Field(
        None,
        gt=0,
        description="weight patches by 1 / (mean heat + this), so that a few isolated atoms count "
        "as much as a full lattice; None weights all pixels alike",
    )
    world: WorldSettings = WorldSettings()


class TrainingRecipe(BaseModel):
    """One training run, from its first seed on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str = "1"
    task: str = "columns"
    phases: tuple[TrainingPhase, ...] = Field((TrainingPhase(),), min_length=1)
    batch: int = Field(16, gt=0)
    size: int = Field(128, multiple_of=16, description="edge of a patch, px")
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)
    offset_weight: float = Field(0.05, gt=0, description="weight of the offset loss, per px")
    average: float = Field(0.999, description="decay of the running average of the weights")
    validate_every: int = 500
    validation_batches: int = 24

    @classmethod
    def load(cls, path: Path) -> TrainingRecipe:
        """Read a recipe from a YAML file.

        Raises:
            UsageError: The file is missing, is not YAML, or says something unknown.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            detail = "; ".join(str(error).splitlines()[:3])
            raise UsageError(f"{path}: not a training recipe ({detail}).") from error
