"""Steps of a task chain as one joint probability: what an earlier step doubts, a later one does.

A step gives labels to those atoms that earlier steps sent to it (its gate) and 'none' to all
others. Given the gate, steps are taken as independent of each other, so the chain is a Bayesian
network (Pearl, Probabilistic Reasoning in Intelligent Systems, 1988) whose sums over all earlier
answers are exact: nothing is decided before the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from atomscope.recipe import NONE

Floats = NDArray[np.float64]
Wanted = Mapping[str, frozenset[str]]


@dataclass(frozen=True, eq=False)
class Answer:
    """What one step says.

    Attributes:
        step: Its name.
        labels: L words, without none.
        given: (N, L + 1) probabilities of the labels and, last, of none, for atoms that belong
            to those the step looks at; NaN where it cannot tell.
        among: Labels that the atoms must have from earlier steps, by the step; any without.
    """

    step: str
    labels: tuple[str, ...]
    given: Floats
    among: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def gate(self) -> Wanted:
        """What opens the step."""
        return {step: frozenset(labels) for step, labels in self.among.items()}


def holds(answers: Sequence[Answer], wanted: Wanted, count: int) -> Floats:
    """Probability (N,) that every step says one of the labels wanted of it.

    P(W, X in A) = P(W, gate) q(A) + [none in A] (P(W) - P(W, gate)), where X is the last step, q
    what it says behind its gate, and W what is wanted of the steps before.

    Args:
        answers: Of all steps, in order.
        wanted: Labels by step, none among them where it may be none; any label without.
        count: N.
    """
    if not answers or not wanted:
        return np.ones(count)
    *before, last = answers
    if last.step not in wanted:
        return holds(before, wanted, count)
    rest = {step: labels for step, labels in wanted.items() if step != last.step}
    words = (*last.labels, NONE)
    inside = last.given[:, [k for k, word in enumerate(words) if word in wanted[last.step]]]
    opened = holds(before, _both(rest, last.gate), count)
    with np.errstate(invalid="ignore"):
        found = np.where(opened == 0, 0.0, opened * inside.sum(axis=1))
    if NONE in wanted[last.step]:
        found = found + holds(before, rest, count) - opened
    return np.asarray(found)


def _both(first: Wanted, second: Wanted) -> Wanted:
    steps = {**first, **second}
    return {
        step: first.get(step, second.get(step, labels)) & second.get(step, labels)
        for step, labels in steps.items()
    }


def opened(answers: Sequence[Answer], among: Mapping[str, tuple[str, ...]], count: int) -> Floats:
    """Probability (N,) that atoms belong to those that a further step looks at."""
    gate = {step: frozenset(labels) for step, labels in among.items()}
    return holds(answers, gate, count)


def marginal(answers: Sequence[Answer], number: int, count: int) -> Floats:
    """Probabilities (N, L + 1) of the labels of one step, and of none, of all atoms."""
    upto, step = answers[: number + 1], answers[number]
    columns = [holds(upto, {step.step: frozenset([word])}, count) for word in (*step.labels, NONE)]
    return np.stack(columns, axis=1)


def ends(answers: Sequence[Answer], count: int) -> tuple[tuple[tuple[str, str], ...], Floats]:
    """Where atoms end: at the last step that has a label for them.

    Returns:
        E pairs of step and label, and probabilities (N, E + 1); the last column is that of atoms
        for which every step says none. Rows sum to one.
    """
    pairs, columns = list[tuple[str, str]](), list[Floats]()
    after: dict[str, frozenset[str]] = {}
    for answer in reversed(answers):
        for label in answer.labels:
            pairs.append((answer.step, label))
            wanted = {answer.step: frozenset([label]), **after}
            columns.append(holds(answers, wanted, count))
        after[answer.step] = frozenset([NONE])
    columns.append(holds(answers, after, count))
    return tuple(pairs), np.stack(columns, axis=1)
