"""What a training recipe may say; unknown keys are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from atomscope.documents import load_named
from atomscope.errors import UsageError
from atomscope.models.store import Spots
from atomscope.simulate.classed import Change, Host
from atomscope.simulate.clean import load_clean
from atomscope.simulate.crystals import project
from atomscope.simulate.dataset import World
from atomscope.simulate.materials import structure
from atomscope.simulate.scene import OTHER

RECIPES = Path(__file__).parent / "recipes"
Range = tuple[float, float]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HostSettings(_Strict):
    """A structure whose columns have classes."""

    structure: str = Field(description="name of a material, or a file that ASE reads")
    zone: tuple[int, int, int] = (0, 0, 1)
    sites: dict[str, str] = Field(description="class of the columns with each formula")
    exponent: Range = Field((1.2, 2.0), description="power of Z of a column's strength")


class ChangeSettings(_Strict):
    """How columns of one class become another; see `atomscope.simulate.classed.Change`."""

    at: str
    becomes: str
    share: Range = (0.0, 0.08)
    weight: Range
    push: Range = (0.0, 0.0)


class ClassSettings(_Strict):
    """A class of columns: its name, its formula where it is known, whether nothing is there."""

    name: str
    species: str = ""
    vacant: bool = False


class WorldSettings(_Strict):
    """Ranges of the training world, see `atomscope.simulate.dataset.World`."""

    modality: Literal["stem", "stm"] = "stem"
    spacing: float = Field(8.0, gt=3, lt=30, description="median column spacing, px")
    spacing_spread: float = Field(0.22, ge=0, lt=1, description="spread of its logarithm")
    kinds: tuple[float, float, float] = Field(
        (0.58, 0.30, 0.12), description="share of lattices, isolated atoms, empty frames"
    )
    snr: Range = Field((3.0, 80.0), description="matched-filter SNR in lattices")
    isolated_snr: Range = Field((2.5, 80.0), description="SNR of isolated atoms")
    support: Range = Field((0.02, 0.3), description="speckle under isolated atoms")
    sigma: Range = Field((0.13, 0.43), description="width of columns in lattices, in spacings")
    tidy: float = Field(0.0, ge=0, le=1, description="share of lattices on an even background")
    crystals: float = Field(0.0, ge=0, le=1, description="share of named materials in lattices")
    apart: tuple[str, ...] = Field((), description="named materials kept for tests")
    hosts: tuple[HostSettings, ...] = ()
    changes: tuple[ChangeSettings, ...] = ()
    clean: str | None = Field(
        None, description="folder of noise-free frames (atomscope simulate NAME --multislice)"
    )

    def world(self, classes: tuple[str, ...] = ()) -> World:
        """Build the world; `classes` are the names of the classes in their order."""
        index = {name: i for i, name in enumerate(classes)}
        plain = self.model_dump(exclude={"hosts", "changes", "clean"})
        changes = tuple(
            Change(index[c.at], index[c.becomes], c.share, c.weight, c.push) for c in self.changes
        )
        hosts = tuple(_host(h, index) for h in self.hosts)
        clean = load_clean(Path(self.clean), classes) if self.clean else ()
        return World(**plain, hosts=hosts, changes=changes, clean=clean)


def _host(settings: HostSettings, index: dict[str, int]) -> Host:
    basis = project(structure(settings.structure), settings.zone)
    unknown = set(settings.sites) - set(basis.species)
    if unknown:
        raise UsageError(
            f"{settings.structure}: no column of {', '.join(sorted(unknown))} along "
            f"{settings.zone}; it has {', '.join(dict.fromkeys(basis.species))}."
        )
    label = (index[settings.sites[s]] if s in settings.sites else OTHER for s in basis.species)
    return Host(basis, tuple(label), settings.exponent)


class TrainingPhase(_Strict):
    """A part of a run with its own world; each goes on from the best weights before it."""

    seed: int = 0
    steps: int = Field(12_000, gt=0)
    learning_rate: float = Field(3e-3, gt=0)
    balance: float | None = Field(
        None,
        gt=0,
        description="weight patches by 1 / (mean heat + this), so that a few isolated atoms count "
        "as much as a full lattice; None weights all pixels alike",
    )
    fold: bool = Field(
        False,
        description="work the batch norms into the convolutions first: fine-tuning without them "
        "is faster and does not depend on the batch",
    )
    most_weight: float = Field(
        15.0,
        ge=1,
        description="weight of a rare class in units of the commonest one's, at most; the nearer "
        "to 1, the nearer to the true shares the classes are told apart best",
    )
    world: WorldSettings = WorldSettings()


class TrainingRecipe(_Strict):
    """One training run, from its first seed on."""

    name: str
    version: str = "1"
    task: str = "columns"
    description: str = "Finds bright columns of any lattice and isolated atoms on a support."
    start: str | None = Field(None, description="model whose weights are fine-tuned")
    classes: tuple[ClassSettings, ...] = ()
    phases: tuple[TrainingPhase, ...] = Field((TrainingPhase(),), min_length=1)
    batch: int = Field(16, gt=0)
    size: int = Field(128, multiple_of=16, description="edge of a patch, px")
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)
    offset_weight: float = Field(0.05, gt=0, description="weight of the offset loss, per px")
    class_weight: float = Field(0.1, gt=0, description="weight of the loss of the classes")
    spots: Spots | None = Field(
        None,
        description="model of isolated atoms, fitted on micrographs marked by hand as well "
        "(benchmarks/spots_fit.py); when empty it is fitted on simulated ones alone",
    )
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="decay per step of the running average of the weights: 1 / (1 - it) steps "
        "should be a few per cent of the shortest phase, or much of its start is left",
    )
    eight_bit: bool = Field(
        False, description="ship weights of 8 bits; those it was trained to are kept for finetuning"
    )
    validate_every: int = 500
    validation_batches: int = 24

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in their order."""
        return tuple(c.name for c in self.classes)

    @model_validator(mode="after")
    def _known_classes(self) -> TrainingRecipe:
        """Every class that a world speaks of is declared."""
        for phase in self.phases:
            used = {name for h in phase.world.hosts for name in h.sites.values()}
            used |= {name for c in phase.world.changes for name in (c.at, c.becomes)}
            if used - set(self.class_names):
                missing = ", ".join(sorted(used - set(self.class_names)))
                raise ValueError(f"classes {missing} are used but not declared under 'classes'")
            if self.start and not phase.fold:
                raise ValueError("with 'start', every phase needs fold: true")
        return self

    @classmethod
    def load(cls, name: str | Path) -> TrainingRecipe:
        """Read the built-in recipe of that name, or a YAML file.

        Raises:
            UsageError: There is none, it is not YAML, or it says something unknown.
        """
        return load_named(cls, name, RECIPES, "a training recipe")
