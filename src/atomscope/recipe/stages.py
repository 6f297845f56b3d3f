"""Stages of a recipe and their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DetectStage(BaseModel):
    """Find the columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["detect"] = "detect"
    model: str = Field(
        "auto",
        description="name or folder of the detector; auto takes universal, or stm for topographs, "
        "and a model with classes where one knows the lattice",
    )
    contrast: Literal["auto", "bright", "dark"] = "auto"
    factor: float | None = Field(
        None, gt=0, description="canonical px per px of the image; found from it when empty"
    )
    min_p: float | None = Field(
        None,
        ge=0,
        le=1,
        description="least probability that is kept; when empty 0.5, and for isolated atoms "
        "half of the F1 that can be expected, but no less than the model's card says",
    )
    periodic: bool = Field(
        False,
        description="one atom per site of the fitted lattice, vacancies where there is none; "
        "see `atomscope.lattice.enforce`",
    )


class RefineOptions(BaseModel):
    """Options of `refine`; the defaults are meant for any image of atoms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: Literal["own", "shared"] = Field(
        "own",
        description="'own': each column has its width, drawn towards the typical one as far as "
        "the spread of the widths allows; 'shared': one width for the whole frame",
    )
    elliptical: bool = Field(False, description="fit the ellipticity of each column too")
    weights: Literal["auto", "poisson", "gaussian"] = Field(
        "auto",
        description="'auto': noise variance linear in brightness, read from the image; "
        "'poisson': the values are counts; 'gaussian': the same variance in every pixel",
    )
    max_shift: float = Field(
        0.5, gt=0, le=1, description="largest shift, in distances to the nearest neighbour"
    )
    iterations: int = Field(20, ge=1, le=200, description="most Gauss-Newton steps")


class RefineStage(RefineOptions):
    """Fit all columns together."""

    stage: Literal["refine"] = "refine"


class IdentifyStage(BaseModel):
    """Tell sublattices and species apart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["identify"] = "identify"
    elements: tuple[str, ...] = Field(
        (), description="what columns may be, such as C, Si or S2 for two atoms in one column"
    )


class NameStage(BaseModel):
    """Name defects by rules of chemistry."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["name"] = "name"
    rules: str | None = Field(
        None, description="rule book or YAML file; the host is recognised when empty"
    )
    joint: bool = Field(
        True, description="the lattice vetoes impossible atoms and brings missed ones back"
    )


class ClassifyStage(BaseModel):
    """Find taught structures, among the atoms that earlier steps chose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["classify"] = "classify"
    classifier: str = Field(
        min_length=1, description="folder that teach wrote, or the name of one in the package"
    )
    step: str = Field("", description="name of the step, by default that of the classifier")
    among: dict[str, tuple[str, ...]] = Field(
        {}, description="labels that earlier steps gave the atoms that this one looks at"
    )

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.step or Path(self.classifier).name


class SortStage(BaseModel):
    """Sort atoms by what a rule has said of them, among those that earlier steps chose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["sort"] = "sort"
    step: str = Field(min_length=1, description="name of the step")
    by: Literal["species", "label", "sublattice", "defect"] = Field(
        description="column of the atoms; of a defect its name"
    )
    labels: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="patterns of the words that make each label, with * and ?"
    )
    doubt: float = Field(0.0, ge=0, lt=1, description="share of atoms for which the rule is wrong")
    among: dict[str, tuple[str, ...]] = Field(
        {}, description="labels that earlier steps gave the atoms that this one looks at"
    )

    @property
    def name(self) -> str:
        """Name of the step."""
        return self.step


class TrackStage(BaseModel):
    """Follow atoms and defects through a movie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["track"] = "track"


class MeasureStage(BaseModel):
    """Statistics of the structures; options as in `atomscope.measure`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["measure"] = "measure"
    phases: tuple[str, ...] = Field(
        (), description="structures that are phases; all that do not read like a defect when empty"
    )
    vacancies: tuple[str, ...] = Field(
        (), description="defects and structures that are vacancies; those that read so when empty"
    )
    dose: float | None = Field(None, gt=0, description="of one frame in e/Å²")


class DiscoverStage(BaseModel):
    """Look for configurations that recur and have no name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["discover"] = "discover"
