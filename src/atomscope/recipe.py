"""A recipe names the stages of an analysis and their parameters; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atomscope.errors import UsageError

FOLDER = Path(__file__).parent / "recipes"


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
    min_p: float = Field(0.5, ge=0, le=1, description="least probability that is kept")
    periodic: bool = Field(
        False,
        description="one atom per site of the fitted lattice, vacancies where there is none; "
        "see `atomscope.lattice.enforce`",
    )


class RefineStage(BaseModel):
    """Fit all columns together; options as in `atomscope.refine.RefineOptions`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["refine"] = "refine"
    width: Literal["own", "shared"] = "own"
    elliptical: bool = False
    weights: Literal["auto", "poisson", "gaussian"] = "auto"
    max_shift: float = Field(0.5, gt=0, le=1, description="in distances to the nearest neighbour")
    iterations: int = Field(12, ge=1, le=200)


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


class TrackStage(BaseModel):
    """Follow atoms and defects through a movie."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Literal["track"] = "track"


Stage = Annotated[
    DetectStage | RefineStage | IdentifyStage | NameStage | TrackStage,
    Field(discriminator="stage"),
]
_ORDER = ("detect", "refine", "identify", "name", "track")
_T = TypeVar("_T", RefineStage, IdentifyStage, NameStage, TrackStage)


class Recipe(BaseModel):
    """The stages of one analysis, in order; detection comes first, and once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "columns"
    stages: tuple[Stage, ...] = (
        DetectStage(),
        RefineStage(),
        IdentifyStage(),
        NameStage(),
        TrackStage(),
    )

    @property
    def detect(self) -> DetectStage:
        """Return the detection stage."""
        return next(s for s in self.stages if isinstance(s, DetectStage))

    @property
    def refine(self) -> RefineStage | None:
        """Return the refinement stage, or None where the recipe has none."""
        return self._stage(RefineStage)

    @property
    def identify(self) -> IdentifyStage | None:
        """Return the stage of the species, or None where the recipe has none."""
        return self._stage(IdentifyStage)

    @property
    def naming(self) -> NameStage | None:
        """Return the stage that names defects, or None where the recipe has none."""
        return self._stage(NameStage)

    @property
    def track(self) -> TrackStage | None:
        """Return the stage of the movie, or None where the recipe has none."""
        return self._stage(TrackStage)

    def _stage(self, kind: type[_T]) -> _T | None:
        return next((s for s in self.stages if isinstance(s, kind)), None)

    def with_rules(self, rules: str | None) -> Recipe:
        """Return the recipe with another rule book; None changes nothing."""
        if rules is None:
            return self
        naming = (self.naming or NameStage()).model_copy(update={"rules": rules})
        return self._with(naming)

    def _with(self, stage: Stage) -> Recipe:
        """Put a stage in its place, instead of the one of its kind."""
        others = (s for s in self.stages if s.stage != stage.stage)
        stages = sorted((*others, stage), key=lambda s: _ORDER.index(s.stage))
        return self.model_copy(update={"stages": tuple(stages)})

    def with_elements(self, elements: str | Sequence[str] | None) -> Recipe:
        """Return the recipe with what columns may be; None changes nothing.

        Raises:
            UsageError: There are no such elements.
        """
        if elements is None:
            return self
        from atomscope.formula import parse

        texts = tuple(formula.text for formula in parse(elements))
        return self._with(IdentifyStage(elements=texts))

    def with_detect(self, **changes: object) -> Recipe:
        """Return the recipe with parameters of the detection changed; None changes nothing."""
        given = {k: v for k, v in changes.items() if v is not None}
        detect = DetectStage.model_validate({**self.detect.model_dump(), **given})
        return self._with(detect)


def names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.yaml")))


def load(name: str | Path) -> Recipe:
    """Load a recipe by the name of a built-in one, or from a YAML file.

    Raises:
        UsageError: There is no such recipe, or it says something unknown.
    """
    path = FOLDER / f"{name}.yaml" if str(name) in names() else Path(name)
    try:
        recipe = Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            f"recipe {str(name)!r}: neither a built-in one ({', '.join(names())}) nor a file."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"recipe {path}: {place}: {first['msg']} (given {first['input']!r:.60})."
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        line = " ".join(str(error).split())[:120]
        raise UsageError(f"recipe {path}: not a YAML file ({line}).") from error
    kinds = [s.stage for s in recipe.stages]
    if kinds != [k for k in _ORDER if k in kinds] or "detect" not in kinds:
        raise UsageError(
            f"recipe {path}: the stages are {kinds}; expected 'detect', then at most once each "
            f"and in this order: {', '.join(_ORDER[1:])}."
        )
    return recipe if recipe.identify is None else recipe.with_elements(recipe.identify.elements)
