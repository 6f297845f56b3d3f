"""From a handful of examples to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.classify.beside import Shown, beside_examples
from atomscope.classify.card import FORMAT, Calibration, Card, calibration
from atomscope.classify.classifier import Classifier, columns_of, probabilities
from atomscope.classify.distances import Floats, Ints, whitening, without_each
from atomscope.classify.embedding import Embedded, Embedder, embed, embedder
from atomscope.classify.examples import checked, matched
from atomscope.classify.objects import RADIUS, Kind, objects
from atomscope.classify.twins import (
    COMMON,
    Compared,
    Twins,
    compared,
    even_light,
    twins,
)
from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.recipe import NONE

LEVEL = 0.9
MOST = 2000  # examples: each is compared with all others
REACH = 14.0  # local spacings: atoms so near to an example are compared with it
RIM = 4.0  # of it, where surroundings are cut


def teach(
    tables: pd.DataFrame | Sequence[pd.DataFrame],
    examples: pd.DataFrame,
    *,
    images: Sequence[str] | None = None,
    name: str = "taught",
    level: float = LEVEL,
    of: Kind = "atom",
    radius: float = RADIUS,
    net: Embedder | None = None,
) -> Classifier:
    """Teach structures by examples; takes less than a second and no training.

    Args:
        tables: Atoms of one image or of several.
        examples: Rows with `label` and either `atom` or `x_px` and `y_px`; with `frame` where a
            table is a movie, with `image` where there are several. The label 'none' marks atoms
            that are none of the structures.
        images: Names of the tables, by default '0', '1', ...
        name: Of the classifier.
        level: Of the sets of labels, 0.5 to 0.99.
        of: What is marked: atoms, places, bonds or rings (by their middle).
        radius: Of places, in local spacings.
        net: That embeds; by default the one that comes with the package.

    Raises:
        UsageError: Examples are missing, contradict each other, or lie far from every atom.
    """
    if isinstance(tables, pd.DataFrame):
        tables = [tables]
    if not 0.5 <= level <= 0.99:
        raise UsageError(f"level {level}: expected 0.5 to 0.99.")
    images = [str(k) for k in range(len(tables))] if images is None else list(images)
    examples = checked(examples)
    if len(examples) > MOST:
        raise UsageError(f"{len(examples)} examples: expected {MOST} or fewer.")
    net = net or embedder()
    found = [objects(table, embed(table, net=net), of, radius) for table in tables]
    seen = [embedded for _, embedded in found]
    rows = matched(examples, [made for made, _ in found], images, [s.spacing for s in seen])
    size = len(net.scatter)
    values = np.zeros((len(examples), size))
    for part, row in zip(seen, rows, strict=True):
        values[row >= 0] = part.values[row[row >= 0]]
    labels, kind = np.unique(examples["label"].to_numpy().astype(str), return_inverse=True)
    counts = {str(n): int(c) for n, c in zip(labels, np.bincount(kind), strict=True)}
    numbers = calibration()
    names = tuple(counts)
    white = values @ whitening(values, kind.astype(np.intp), net.scatter)
    card = Card(
        format=FORMAT,
        name=name,
        labels=names,
        examples=counts,
        images=tuple(images),
        of=of,
        radius=radius,
        network=net.version,
        network_sha256=net.sha256,
        level=level,
        threshold=_threshold(white, kind.astype(np.intp), names, numbers, level),
        calibration=numbers,
    )
    made = Classifier(card, values, kind.astype(np.intp), net=net)
    shown = _shown(made, seen, rows)
    if not shown:
        return made
    known = zip(tables, seen, shown, strict=True)
    return replace(made, shown=beside_examples(shown), twins=_twins(made, list(known)))


def _shown(made: Classifier, seen: Sequence[Embedded], rows: Sequence[Ints]) -> list[Shown]:
    """Where the examples lie, and what the classifier says of all that it was shown.

    Args:
        made: What the examples alone teach.
        seen: Of each table.
        rows: (n,) of each table: row of each example, -1 where it is in another one.

    Returns:
        Of each table; none where what is taught are no atoms.
    """
    tables = []
    for part, row in zip(seen, rows, strict=True):
        if part.around is None:
            return []
        whole = np.flatnonzero(part.whole)
        said = np.full((len(part.whole), len(made.labels) + 1), np.nan)
        if len(whole):
            said[whole] = made.answers(part, whole)
        here = row >= 0
        kind = columns_of(made.card.labels)[made.kind[here]]
        tables.append(Shown(said, part.around, row[here], kind))
    return tables


def _twins(made: Classifier, known: Sequence[tuple[pd.DataFrame, Embedded, Shown]]) -> Twins:
    """Which structures differ from a common one in brightness alone, by tables of examples."""
    said = [_said(made, shown) for _, _, shown in known]
    every = np.concatenate(said)
    classes = len(made.labels)
    share = np.bincount(every[every >= 0], minlength=classes) / max(1, (every >= 0).sum())
    found = [
        one
        for (table, seen, shown), kind in zip(known, said, strict=True)
        for one in _beside_common(made, table, seen, shown, kind)
    ]
    return twins(found, classes, share[:classes] >= COMMON)


def _said(made: Classifier, shown: Shown) -> Ints:
    """Structure (N,) of all atoms of a table, NONE the last; -1 where that is not known."""
    best = np.nan_to_num(shown.found, nan=-1.0).argmax(axis=1)
    strange = best == len(made.labels) if NONE not in made.card.labels else False
    return np.where(np.isnan(shown.found[:, 0]) | strange, -1, best)


def _beside_common(
    made: Classifier, table: pd.DataFrame, seen: Embedded, shown: Shown, said: Ints
) -> list[Compared]:
    """Compare the examples of a table with the common atoms around them."""
    asked = seen.whole[shown.rows]
    examples = shown.rows[asked]
    if seen.light is None or not np.isfinite(seen.light).any() or not len(examples):
        return []
    light = even_light(seen.light, said, shown.around)
    xy = positions(table)
    apart = cKDTree(xy[examples]).query(np.nan_to_num(xy, nan=np.inf))[0] / seen.spacing
    rows = np.flatnonzero(apart < REACH)
    near = pd.DataFrame(table.iloc[rows])
    inner = np.where(apart[rows] < REACH - RIM, said[rows], -1)
    number = np.searchsorted(rows, examples)

    def values_of(factor: Floats) -> Floats:
        return embed(near.assign(intensity=near["intensity"] * factor), net=made.net).values

    kind = np.asarray(shown.kind[asked], np.intp)
    return compared(values_of, light[rows], inner, number, kind, made.net.scatter)


def _threshold(
    white: Floats, kind: Ints, labels: tuple[str, ...], numbers: Calibration, level: float
) -> float | None:
    """Least probability of the true label, for the given share of examples that are left out."""
    alone = np.bincount(kind, minlength=len(labels))[kind] < 2
    if (~alone).sum() < 2:
        return None
    p = probabilities(without_each(white, kind, len(labels)), labels, numbers)
    column = columns_of(labels)
    true = np.sort(p[np.arange(len(kind)), column[kind]][~alone])
    below = int(np.floor((len(true) + 1) * (1 - level))) - 1
    return float(true[below]) if below >= 0 else None


def suggest(table: pd.DataFrame, classifier: Classifier, count: int = 5) -> pd.DataFrame:
    """Return the places whose label would teach most: unsure, common, and unlike each other.

    Args:
        table: Atoms.
        classifier: As taught so far.
        count: How many.

    Returns:
        Rows of the table with `doubt`, the entropy of the answer in bits.
    """
    table, seen = classifier.objects(table)
    rows = np.flatnonzero(seen.whole)
    if not len(rows) or count < 1:
        return table.iloc[:0].assign(doubt=np.zeros(0))
    p = classifier.probabilities(seen.values[rows])
    doubt = -(p * np.log2(p.clip(1e-12))).sum(axis=1)
    white = seen.values[rows] @ whitening(
        classifier.values, classifier.kind, classifier.net.scatter
    )
    left, chosen = doubt + 1e-3 * p[:, -1], list[int]()
    for _ in range(min(count, len(rows))):
        chosen.append(int(np.argmax(left)))
        apart = ((white - white[chosen[-1]]) ** 2).sum(axis=1)
        left = left * (1 - np.exp(-apart / (2 * white.shape[1])))
        left[chosen] = -1.0
    return table.iloc[rows[chosen]].assign(doubt=doubt[chosen])
