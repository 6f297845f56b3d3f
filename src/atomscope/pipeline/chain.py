"""The task chain of a recipe: its steps in order, with doubts carried through."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.classify import Classifier
from atomscope.classify.embedding import Embedded
from atomscope.classify.gates import Answer, ends, marginal, opened
from atomscope.classify.given import Shipped, by_examples, by_words, found, words_by
from atomscope.columns import STEPS, conform, empty
from atomscope.errors import UsageError
from atomscope.recipe import NONE, ClassifyStage, Recipe, SortStage, StepStage, check_steps

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """Steps that can be run.

    Attributes:
        steps: In order.
        classifiers: By the name of their step.
    """

    steps: tuple[StepStage, ...] = ()
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)


@dataclass(frozen=True)
class Chained:
    """What a chain says.

    Attributes:
        atoms: The table with `structure` and `structure_p`.
        steps: Table of `atomscope.columns.STEPS`.
        facts: For the run card, empty without any step.
        warnings: One line for each step that could not be told.
        answers: Whole distributions, step by step.
    """

    atoms: pd.DataFrame
    steps: pd.DataFrame
    facts: dict[str, Any]
    warnings: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()


def chain_of(recipe: Recipe) -> Chain:
    """Load the classifiers of a recipe, and see that its steps fit each other.

    Raises:
        UsageError: A classifier is missing or damaged, or a step looks among labels that are
            not there.
    """
    check_steps(recipe)
    classifiers = {
        s.name: found(s.classifier) for s in recipe.steps if isinstance(s, ClassifyStage)
    }
    labels: dict[str, tuple[str, ...]] = {}
    for step in recipe.steps:
        for other, wanted in step.among.items():
            unknown = [label for label in wanted if label not in (*labels[other], NONE)]
            if unknown:
                raise UsageError(
                    f"recipe {recipe.name}: step {step.name!r} looks among {unknown[0]!r} of step "
                    f"{other!r}; expected some of {', '.join((*labels[other], NONE))}."
                )
        own = step.labels if isinstance(step, SortStage) else classifiers[step.name].labels
        labels[step.name] = tuple(own)
    return Chain(recipe.steps, classifiers)


def chained(
    atoms: pd.DataFrame,
    defects: pd.DataFrame,
    chain: Chain,
    host: str | None = None,
    strange: Collection[str] = (),
) -> Chained:
    """Ask the steps of a chain one after the other.

    Args:
        atoms: Of all frames.
        defects: Named, of all frames.
        chain: From `chain_of`.
        host: Material that the image shows, where it is known.
        strange: Steps that were taught by other lattices than the one shown; they say nothing.
    """
    if not chain.steps:
        return Chained(atoms, empty(STEPS), {})
    answers, warnings = list[Answer](), _strange_line(chain, strange)
    plain: Embedded | None = None  # the same for all classifiers of the package
    for step in chain.steps:
        weight = opened(answers, step.among, len(atoms))
        if isinstance(step, SortStage):
            given, labels, line = _sorted(step, atoms, defects, weight)
            warnings += line
        elif step.name in strange:
            labels = chain.classifiers[step.name].labels
            given = np.full((len(atoms), len(labels) + 1), np.nan)
        else:
            classifier = chain.classifiers[step.name]
            if isinstance(classifier, Shipped):
                seen = plain = plain or classifier.see(atoms)
            else:
                seen = classifier.see(atoms)
            given, labels = by_examples(seen, classifier, weight, host), classifier.labels
        answers.append(Answer(step.name, labels, given, step.among))
    atoms = _ended(atoms, answers)
    steps = _table(atoms, answers)
    return Chained(atoms, steps, _facts(atoms, steps, chain), tuple(warnings), tuple(answers))


def _strange_line(chain: Chain, strange: Collection[str]) -> list[str]:
    """Say which steps know nothing of the lattice shown."""
    steps = [step.name for step in chain.steps if step.name in strange]
    if not steps:
        return []
    materials = {name: None for step in steps for name in chain.classifiers[step].card.materials}
    return [
        f"Steps {', '.join(steps)} say nothing: the lattice seen is none of those that they were "
        f"taught ({', '.join(materials)}); take another recipe, or teach one with atomscope teach."
    ]


def _sorted(
    step: SortStage, atoms: pd.DataFrame, defects: pd.DataFrame, weight: Floats
) -> tuple[Floats, tuple[str, ...], list[str]]:
    """Probabilities and labels of a rule, and a line where its column is empty."""
    words, sure = words_by(step.by, atoms, defects)
    given = by_words(words, sure, step.labels, weight, step.doubt)
    line = (
        f"Step {step.name}: no {step.by} is known of any atom, so it says none; give elements or "
        "the material."
    )
    unknown = len(words) > 0 and not (words != "").any()
    return given, tuple(step.labels), [line] if unknown else []


def _ended(atoms: pd.DataFrame, answers: list[Answer]) -> pd.DataFrame:
    """Fill `structure` with the label that is most likely an atom's last."""
    pairs, p = ends(answers, len(atoms))
    words = np.array([*(label for _, label in pairs), ""], dtype=object)
    best, top = _best(p)
    return atoms.assign(
        structure=np.where(np.isnan(top), "", words[best]).astype(object), structure_p=top
    )


def _best(p: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Number (N,) and value (N,) of the largest of each row; NaN where it is not known."""
    unknown = np.asarray(np.isnan(p).any(axis=1))
    best = np.where(unknown[:, None], 0.0, p).argmax(axis=1)
    top = np.where(unknown, np.nan, p[np.arange(len(p)), best])
    return best, top


def _table(atoms: pd.DataFrame, answers: list[Answer]) -> pd.DataFrame:
    """Return the likeliest answer of every step for every atom."""
    parts = []
    for number, answer in enumerate(answers):
        best, top = _best(marginal(answers, number, len(atoms)))
        words = np.array([*answer.labels, NONE], dtype=object)
        data = {
            "frame": atoms["frame"].to_numpy(),
            "atom": atoms["atom"].to_numpy(),
            "step": answer.step,
            "label": np.where(np.isnan(top), "", words[best]).astype(object),
            "p": top,
        }
        parts.append(pd.DataFrame(data))
    return conform(pd.concat(parts, ignore_index=True), STEPS)


def _facts(atoms: pd.DataFrame, steps: pd.DataFrame, chain: Chain) -> dict[str, Any]:
    structure = atoms.loc[atoms["structure"] != "", "structure"]
    return {
        "classifiers": [c.card.name for c in chain.classifiers.values()],
        "found": _counts(structure),
        "steps": {
            step.name: _counts(steps.loc[(steps["step"] == step.name), "label"])
            for step in chain.steps
        },
    }


def _counts(words: pd.Series) -> dict[str, int]:
    return {str(name or "not seen"): int(n) for name, n in words.value_counts().items()}
