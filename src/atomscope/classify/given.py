"""What one step of a chain says of atoms, if they belong to those that it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.classify.beside import Around, with_neighbours
from atomscope.classify.classifier import Classifier, load
from atomscope.classify.embedding import Embedded, embed
from atomscope.classify.shares import with_shares
from atomscope.errors import UsageError
from atomscope.recipe import NONE

Floats = NDArray[np.float64]
SHIPPED = Path(__file__).with_name("shipped")
AT = "@"  # between label and host


class Shipped(Classifier):
    """A classifier of the package, taught by several hosts: its labels read 'label@host'.

    Which host an image shows is one unknown for all of its atoms, so they tell it together: a dim
    column may be a vacancy in one host and a foreign atom in another.
    """

    @classmethod
    def of(cls, made: Classifier) -> Shipped:
        """Take a plain classifier for one of several hosts."""
        return cls(**{part.name: getattr(made, part.name) for part in fields(made)})

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the structures, whatever the host."""
        words = (label.partition(AT)[0] for label in self.card.labels)
        return tuple(dict.fromkeys(word for word in words if word != NONE))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of the hosts, '' where there is but one."""
        return tuple(dict.fromkeys(label.partition(AT)[2] for label in self.card.labels))

    def see(self, table: pd.DataFrame) -> Embedded:
        """Embed a table as it is: the mean of several hosts says nothing of its gamma."""
        return embed(table)

    def posterior(
        self, values: Floats, weight: Floats, host: str | None = None, around: Around | None = None
    ) -> Floats:
        """Probabilities (N, L + 1) of the labels and, last, of none.

        Args:
            values: Embeddings (N, D).
            weight: (N,) probability that an atom belongs to those that are looked at.
            host: The one that is known.
            around: Atoms around each: those next to it tell what `shown` knows of them.
        """
        p = self.probabilities(values)
        names = [label for label in self.card.labels if label != NONE]
        hosts = [host] if host in self.hosts else list(self.hosts)
        words, parts, evidence = [*self.labels, NONE], [], []
        for h in hosts:
            mine = [k for k, name in enumerate(names) if name.partition(AT)[2] == h] + [-1]
            found, share = with_shares(p[:, mine], weight)
            evidence.append(float(weight @ np.log((p[:, mine] @ share).clip(1e-300))))
            if self.shown is not None:
                shown = self.shown[np.ix_(mine, mine)]
                found = with_neighbours(p[:, mine], around, weight, shown, nearest=False)
            part = np.zeros((len(p), len(words)))
            for k, column in enumerate(mine):
                word = NONE if column == -1 else names[column].partition(AT)[0]
                part[:, words.index(word)] += found[:, k]
            parts.append(part)
        chance = np.exp(np.array(evidence) - max(evidence))
        return np.asarray(np.tensordot(chance / chance.sum(), np.array(parts), 1))


def shipped() -> tuple[str, ...]:
    """Return the names of the classifiers that come with the package."""
    return tuple(sorted(card.parent.name for card in SHIPPED.glob("*/card.yaml")))


def found(name: str | Path) -> Classifier:
    """Load a classifier by its folder, or by the name of one that comes with the package.

    Raises:
        UsageError: There is none, it is damaged, it belongs to another version, or it was taught
            by bonds or rings.
    """
    ours = str(name) in shipped() and not (Path(name) / "card.yaml").is_file()
    if not ours:
        made = load(name)
        if made.card.of in ("bond", "ring"):
            raise UsageError(
                f"{name}: tells {made.card.of}s apart, expected atoms or places; use "
                "atomscope.classify in Python."
            )
        return made
    return Shipped.of(load(SHIPPED / name))


def by_examples(
    seen: Embedded, classifier: Classifier, weight: Floats, host: str | None = None
) -> Floats:
    """Probabilities (N, L + 1) of the labels of a classifier and of none.

    Args:
        seen: N atoms.
        classifier: Taught.
        weight: (N,) probability that an atom belongs to those that are looked at: how common
            each label is, is learned from them alone.
        host: Material that the image shows, where it is known.

    Returns:
        Rows that sum to one; NaN at the rim, where surroundings are cut.
    """
    said = np.full((len(seen.whole), len(classifier.labels) + 1), np.nan)
    rows = np.flatnonzero(seen.whole)
    if len(rows):
        mine = np.nan_to_num(weight[rows])
        if isinstance(classifier, Shipped):
            around = seen.around_among(rows)
            said[rows] = classifier.posterior(seen.values[rows], mine, host, around)
        else:
            said[rows] = classifier.answers(seen, rows, mine)
    return said


def by_words(
    words: NDArray[np.object_],
    sure: Floats,
    labels: Mapping[str, Sequence[str]],
    weight: Floats,
    doubt: float = 0.0,
) -> Floats:
    """Probabilities (N, L + 1) of labels and of none, from a word for each atom.

    Where a word is wrong, the truth is taken to be as common as in the table.

    Args:
        words: (N,); '' where nothing is known.
        sure: (N,) probability that the word is right; NaN for one.
        labels: Patterns of words by label; the first that fits is taken.
        weight: (N,) probability that an atom belongs to those that are looked at.
        doubt: Share of atoms for which the rule is wrong, however sure.
    """
    names = list(labels)
    code = {str(w): _number(str(w), labels, names) for w in np.unique(words.astype(str))}
    kind = np.array([code[str(w)] for w in words], dtype=np.intp)
    one = np.eye(len(names) + 1)[kind]
    known = (words.astype(str) != "").astype(float)
    weight = np.nan_to_num(weight) * known
    share = weight @ one + 1 / max(1, len(words))
    share[-1] += 1.0  # where nothing is known, it is none
    trust = (np.nan_to_num(sure, nan=1.0) * known * (1 - doubt))[:, None]
    return np.asarray(trust * one + (1 - trust) * share / share.sum())


def _number(word: str, labels: Mapping[str, Sequence[str]], names: Sequence[str]) -> int:
    fits = (k for k, n in enumerate(names) if any(fnmatchcase(word, p) for p in labels[n]))
    return next(fits, len(names))


def words_by(
    column: str, atoms: pd.DataFrame, defects: pd.DataFrame
) -> tuple[NDArray[np.object_], Floats]:
    """Words (N,) of atoms in a column, and how sure they are; atoms of no defect are 'perfect'."""
    if column != "defect":
        values = atoms[column]
        words = values.astype("string").fillna("").to_numpy(dtype=object)
        sure = f"{column}_p"
        p = atoms[sure].to_numpy(float) if sure in atoms else np.full(len(atoms), np.nan)
        return words, p
    named = defects.drop_duplicates(["frame", "defect"]).set_index(["frame", "defect"])
    number = atoms["defect"].astype("Int64").fillna(-1).astype(int).to_numpy()
    rows = named.index.get_indexer(pd.MultiIndex.from_arrays([atoms["frame"], number]))
    words = np.append(named["name"].to_numpy(object), "perfect")[rows]
    p = np.append(named["p"].to_numpy(float), np.nan)[rows]
    return words.astype(object), p
