"""A recipe names the stages of an analysis and their parameters; unknown keys are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, groupby
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atomscope.documents import fault, parse_yaml
from atomscope.errors import UsageError
from atomscope.recipe.stages import (
    ClassifyStage,
    DetectStage,
    DiscoverStage,
    IdentifyStage,
    MeasureStage,
    NameStage,
    RefineStage,
    SortStage,
    TrackStage,
)

__all__ = [
    "NONE",
    "ClassifyStage",
    "DetectStage",
    "DiscoverStage",
    "IdentifyStage",
    "MeasureStage",
    "NameStage",
    "Recipe",
    "RefineStage",
    "SortStage",
    "Stage",
    "StepStage",
    "TrackStage",
    "check_steps",
    "load",
    "names",
]

FOLDER = Path(__file__).parents[1] / "recipes"
NONE = "none"  # what examples and steps say of atoms that are none of the labels

StepStage = ClassifyStage | SortStage
Stage = Annotated[
    DetectStage
    | RefineStage
    | IdentifyStage
    | NameStage
    | StepStage
    | TrackStage
    | MeasureStage
    | DiscoverStage,
    Field(discriminator="stage"),
]
_ORDER = ("detect", "refine", "identify", "name", "step", "track", "measure", "discover")
_STEPS = ("classify", "sort")  # as many as one likes
_T = TypeVar("_T", RefineStage, IdentifyStage, NameStage, TrackStage, MeasureStage, DiscoverStage)


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
        DiscoverStage(),
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

    @property
    def measure(self) -> MeasureStage | None:
        """Return the stage of the statistics, or None where the recipe has none."""
        return self._stage(MeasureStage)

    @property
    def discover(self) -> DiscoverStage | None:
        """Return the stage that looks for what has no name, or None where there is none."""
        return self._stage(DiscoverStage)

    @property
    def steps(self) -> tuple[StepStage, ...]:
        """Return the steps of the task chain, in order."""
        return tuple(s for s in self.stages if isinstance(s, ClassifyStage | SortStage))

    def _stage(self, kind: type[_T]) -> _T | None:
        return next((s for s in self.stages if isinstance(s, kind)), None)

    def without(self, *kinds: str) -> Recipe:
        """Return the recipe without the stages of some kinds."""
        stages = tuple(s for s in self.stages if s.stage not in kinds)
        return self.model_copy(update={"stages": stages})

    def with_rules(self, rules: str | None) -> Recipe:
        """Return the recipe with another rule book; None changes nothing."""
        if rules is None:
            return self
        naming = (self.naming or NameStage()).model_copy(update={"rules": rules})
        return self._with(naming)

    def with_classifiers(self, folders: Sequence[str | Path]) -> Recipe:
        """Return the recipe with taught classifiers at the end of its chain.

        Each of them looks at what those given before it left without a structure.
        """
        recipe, taken, among = self, {step.name for step in self.steps}, dict[str, tuple[str]]()
        for folder in folders:
            base = Path(folder).name or str(folder)
            name = next(n for n in _numbered(base) if n not in taken)
            step = ClassifyStage(classifier=str(folder), step=name, among=dict(among))
            recipe = recipe._with(step)
            taken.add(name)
            among[name] = (NONE,)
        return recipe

    def _with(self, stage: Stage) -> Recipe:
        """Put a stage in its place, instead of the one of its kind; steps are added."""
        others = (s for s in self.stages if s.stage != stage.stage or s.stage in _STEPS)
        stages = sorted((*others, stage), key=lambda s: _ORDER.index(_kind(s)))
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
        """Return the recipe with parameters of the detection changed; None changes nothing.

        Raises:
            UsageError: One of them is unknown or cannot be so.
        """
        given = {k: v for k, v in changes.items() if v is not None}
        try:
            detect = DetectStage.model_validate({**self.detect.model_dump(), **given})
        except ValidationError as error:
            raise UsageError(f"{fault(error)}.") from error
        return self._with(detect)


def _kind(stage: Stage) -> str:
    return "step" if stage.stage in _STEPS else stage.stage


def _numbered(base: str) -> Iterator[str]:
    """A name, and the same with a number, from 2."""
    yield base
    yield from (f"{base}-{n}" for n in count(2))


def check_steps(recipe: Recipe) -> None:
    """See that the steps of a chain have names of their own and look back at earlier ones.

    Raises:
        UsageError: They have not, or do not.
    """
    earlier: list[str] = []
    for step in recipe.steps:
        where = f"recipe {recipe.name}: step {step.name!r}"
        if step.name in earlier:
            raise UsageError(f"{where} is there twice; give each step a name of its own.")
        for other in step.among:
            if other not in earlier:
                known = ", ".join(earlier) or "none, as it is the first"
                raise UsageError(
                    f"{where} looks among step {other!r}, which is not before it; the steps "
                    f"before it are: {known}."
                )
        if isinstance(step, SortStage) and NONE in step.labels:
            raise UsageError(f"{where} has a label {NONE!r}, which is what is left; leave it out.")
        earlier.append(step.name)


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
        recipe = Recipe.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            f"recipe {str(name)!r}: neither a built-in one ({', '.join(names())}) nor a file."
        ) from error
    except ValidationError as error:
        raise UsageError(f"recipe {path}: {fault(error)}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"recipe {path}: not a YAML file ({fault(error)}).") from error
    kinds = [_kind(s) for s in recipe.stages]
    once = [k for k, _ in groupby(kinds)]
    alone = len(once) == len(kinds) - max(0, kinds.count("step") - 1)
    if once != [k for k in _ORDER if k in kinds] or "detect" not in kinds or not alone:
        raise UsageError(
            f"recipe {path}: the stages are {[s.stage for s in recipe.stages]}; expected 'detect', "
            "then at most once each and in this order: refine, identify, name, steps of a chain "
            "(classify, sort; as many as you like), track, measure, discover."
        )
    recipe = _beside(recipe, path)
    check_steps(recipe)
    return recipe if recipe.identify is None else recipe.with_elements(recipe.identify.elements)


def _beside(recipe: Recipe, path: Path) -> Recipe:
    """Find classifiers that lie beside the file of the recipe, wherever the program runs."""
    stages = tuple(
        s.model_copy(update={"classifier": str(path.parent / s.classifier), "step": s.name})
        if isinstance(s, ClassifyStage) and (path.parent / s.classifier / "card.yaml").is_file()
        else s
        for s in recipe.stages
    )
    return recipe.model_copy(update={"stages": stages})
