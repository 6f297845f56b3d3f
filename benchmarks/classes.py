"""Scores of columns with classes, for the benchmarks of networks that name what they find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.detect.tiles import columns
from atomscope.evaluate import match
from atomscope.models.normalise import normalise
from atomscope.models.store import Model
from atomscope.simulate.recording import Patch

Floats = NDArray[np.float64]
RADIUS = 2.5  # px between a column and its truth, at 8 px between neighbours
RIM = 8.0  # px of the border that do not count: AtomAI leaves out 5


@dataclass(frozen=True)
class Named:
    """Found columns and empty sites of one frame: places (N, 2) in px, names (N,)."""

    xy: Floats
    name: NDArray[np.object_]


@dataclass(frozen=True)
class Tally:
    """Counts over frames; they add up.

    Attributes:
        hits, called, true: Per class: right in place and class, called so, truly so; shape (K,).
        square: Sum of squared distances in px² of found columns that are no empty sites.
        pairs: Their number.
    """

    hits: NDArray[np.int64]
    called: NDArray[np.int64]
    true: NDArray[np.int64]
    square: float
    pairs: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.hits + other.hits,
            self.called + other.called,
            self.true + other.true,
            self.square + other.square,
            self.pairs + other.pairs,
        )

    @property
    def f1(self) -> Floats:
        """F1 of each class."""
        return 2 * self.hits / np.maximum(self.called + self.true, 1)

    @property
    def error(self) -> float:
        """Root mean square distance in px."""
        return float(np.sqrt(self.square / max(self.pairs, 1)))


def tally(truth: Patch, found: Named, classes: Sequence[str], vacancy: str = "vacancy") -> Tally:
    """Compare one frame with its truth, one to one; a hit needs the place and the class."""
    names = np.array(classes, dtype=object)
    true = names[truth.label]
    pairs = match(truth.xy, found.xy, RADIUS)
    size = len(truth.frame)
    counted = _inside(truth.xy, size)
    # what was found counts where its true partner lies, else where it lies itself
    called = _inside(found.xy, size)
    called[pairs.found] = counted[pairs.truth]
    kept = counted[pairs.truth]
    one, other = true[pairs.truth][kept], found.name[pairs.found][kept]
    column = (one != vacancy) & (other != vacancy)
    return Tally(
        np.array([np.sum((one == n) & (other == n)) for n in names]),
        np.array([np.sum(found.name[called] == n) for n in names]),
        np.array([np.sum(true[counted] == n) for n in names]),
        float((pairs.distances[kept][column] ** 2).sum()),
        int(column.sum()),
    )


def named_by(model: Model, frame: NDArray[np.float32]) -> Named:
    """What a model finds in a frame at its own sampling, at p = 0.5."""
    found = columns(model, normalise(frame))
    found = found.keep(found.p >= 0.5)
    names = np.array([c.name for c in model.card.classes], dtype=object)
    return Named(found.xy, names[found.label.argmax(1)])


def _inside(xy: Floats, size: int) -> NDArray[np.bool_]:
    return np.asarray(np.all((xy >= RIM) & (xy <= size - 1 - RIM), axis=1))
