"""A taught classifier: examples and how to compare with them; a folder that can be mailed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atomscope.classify.adapt import Change, change_of, misfit_of
from atomscope.classify.beside import with_neighbours
from atomscope.classify.distances import log_likelihood, whitening
from atomscope.classify.embedding import FOLDER, Embedded, Embedder, embed, embedder, load_embedder
from atomscope.classify.examples import NONE
from atomscope.classify.objects import RADIUS, Kind, objects
from atomscope.classify.shares import with_shares
from atomscope.classify.twins import Twins, by_brightness
from atomscope.documents import fault, parse_yaml
from atomscope.errors import UsageError
from atomscope.io.write import write_whole

Floats = NDArray[np.float64]
FORMAT = 2
NETWORK = "network"  # folder of a network of its own
KNOWN = 0.5  # share of atoms like the examples from which on they tell gamma and strain
FILE = Path(__file__).with_name("calibration.yaml")


class Calibration(BaseModel):
    """From log likelihoods to probabilities, fitted on simulated worlds held apart.

    Attributes:
        temperature: Log likelihoods are divided by it.
        strange: Log likelihood, over the temperature, at which an atom is as likely to be none
            of the structures as one of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(gt=0)
    strange: float


class Card(BaseModel):
    """What a taught classifier is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    name: str
    labels: tuple[str, ...]
    examples: dict[str, int]
    images: tuple[str, ...]
    materials: tuple[str, ...] = ()  # named ones that it was taught; none where any may be shown
    of: Kind = "atom"
    radius: float = RADIUS
    network: str
    network_sha256: str
    level: float
    threshold: float | None
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Classifier:
    """Finds structures that it was shown.

    Attributes:
        card: Labels, thresholds, and the network that it was taught with.
        values: (n, D) embeddings of the examples.
        kind: (n,) number of the label of each example.
        shown: (C + 1, C + 1) by how much labels, and none of them, stood next to each other oftener
            than by chance where it was taught; None where that is not known.
        twins: Which structures differ from a common one in brightness alone; None likewise.
        net: That embeds: the one of the package, or one of its own.
    """

    card: Card
    values: Floats
    kind: NDArray[np.intp]
    shown: Floats | None = None
    twins: Twins | None = None
    net: Embedder = field(default_factory=embedder)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the structures, without that of none of them."""
        return tuple(label for label in self.card.labels if label != NONE)

    def probabilities(self, values: Floats) -> Floats:
        """Probabilities (N, C + 1) of the labels and, last, of none, for embeddings (N, D)."""
        white = whitening(self.values, self.kind, self.net.scatter)
        classes = len(self.card.labels)
        found = log_likelihood(values @ white, self.values @ white, self.kind, classes)
        return probabilities(found, self.card.labels, self.card.calibration)

    def answers(
        self, seen: Embedded, rows: NDArray[np.intp], weight: Floats | None = None
    ) -> Floats:
        """Probabilities (N, C + 1) of some rows that also know of the other rows and of twins.

        `weight` (N,) is by how much each row counts, as in `with_neighbours`.
        """
        p, around = self.probabilities(seen.values[rows]), seen.around_among(rows)
        found = with_neighbours(p, around, weight, self.shown)
        if self.twins is None or around is None or seen.light is None:
            return found
        return by_brightness(found, seen.light[rows], around, self.twins, weight)

    def see(self, table: pd.DataFrame) -> Embedded:
        """Embed the atoms of a table, or what else was taught, as `objects` gives them."""
        return self.objects(table)[1]

    def objects(self, table: pd.DataFrame) -> tuple[pd.DataFrame, Embedded]:
        """Return a table of the objects of a table of atoms, and their embeddings.

        The gamma and the strain of the examples are given to the whole table; see `adapt`.
        """
        white = whitening(self.values, self.kind, self.net.scatter)
        examples, classes = self.values @ white, len(self.card.labels)

        def misfit(part: pd.DataFrame, change: Change) -> float | None:
            seen = self._of(part, embed(part, change, self.net))[1]
            values = seen.values[seen.whole] @ white
            if not len(values):
                return None
            found = log_likelihood(values, examples, self.kind, classes)
            known = found.max(axis=1) / self.card.calibration.temperature
            if (known > self.card.calibration.strange).mean() < KNOWN:
                return None
            p = probabilities(found, (), self.card.calibration)[:, :classes]
            return misfit_of(values, examples, self.kind, with_shares(p)[0])

        return self._of(table, embed(table, change_of(table, misfit), self.net))

    def _of(self, table: pd.DataFrame, seen: Embedded) -> tuple[pd.DataFrame, Embedded]:
        return objects(table, seen, self.card.of, self.card.radius)

    def save(self, folder: str | Path) -> Path:
        """Write card.yaml, examples.npz and a network of its own; each whole or not at all."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / "examples.npz", self._write)
            if self.net.folder not in (FOLDER, folder / NETWORK):
                self._write_network(folder / NETWORK)
            text = yaml.safe_dump(self.card.model_dump(mode="json"), allow_unicode=True)
            write_whole(folder / "card.yaml", lambda p: p.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise UsageError(
                f"{folder}: cannot be written ({error.strerror or error}); "
                "give a folder that can be written."
            ) from error
        return folder

    def _write_network(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for source in self.net.folder.glob("*.*"):
            write_whole(folder / source.name, partial(copyfile, source))

    def _write(self, path: Path) -> None:
        arrays: dict[str, Any] = {"values": self.values, "kind": self.kind}
        if self.shown is not None:
            arrays["shown"] = self.shown
        if self.twins is not None:
            arrays |= {f"twin_{f.name}": getattr(self.twins, f.name) for f in fields(Twins)}
        with path.open("wb") as file:
            np.savez(file, **arrays)


def probabilities(likelihood: Floats, labels: tuple[str, ...], calibration: Calibration) -> Floats:
    """Probabilities (N, C + 1) of structures and of none, from log likelihoods (N, classes)."""
    scores = likelihood / calibration.temperature
    scores = np.column_stack([scores, np.full(len(scores), calibration.strange)])
    scores = np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if NONE in labels:  # examples of none and what is like no example are one answer
        at = labels.index(NONE)
        p[:, -1] += p[:, at]
        p = np.delete(p, at, axis=1)
    return np.asarray(p)


def columns_of(labels: tuple[str, ...]) -> NDArray[np.intp]:
    """Return the column of each label in `probabilities`; that of none is the last."""
    order = [label for label in labels if label != NONE]
    return np.array([order.index(n) if n != NONE else len(order) for n in labels], dtype=np.intp)


def calibration() -> Calibration:
    """Return the calibration that comes with the package."""
    return Calibration.model_validate(parse_yaml(FILE.read_text(encoding="utf-8")))


def load(folder: str | Path) -> Classifier:
    """Load a taught classifier.

    Raises:
        UsageError: There is none, it is damaged, or it belongs to another version.
    """
    folder = Path(folder)
    if not (folder / "card.yaml").is_file():
        raise UsageError(
            f"classifier {str(folder)!r}: no folder with card.yaml; make one with atomscope teach."
        )
    try:
        raw = parse_yaml((folder / "card.yaml").read_text(encoding="utf-8"))
        version = raw.get("format") if isinstance(raw, dict) else None
        if version != FORMAT:
            raise UsageError(
                f"{folder}: a classifier of format {version}, this version reads {FORMAT}; "
                "teach it again from its examples."
            )
        card = Card.model_validate(raw)
        with np.load(folder / "examples.npz", allow_pickle=False) as file:
            values, kind = file["values"].astype(float), file["kind"].astype(np.intp)
            shown = file["shown"].astype(float) if "shown" in file else None
            twins = _twins(file) if "twin_of" in file else None
    except (OSError, ValueError, KeyError, yaml.YAMLError, ValidationError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{folder}: not a classifier ({fault(error)}); copy the folder again."
        ) from error
    net = load_embedder(folder / NETWORK) if (folder / NETWORK).is_dir() else embedder()
    if card.network_sha256 != net.sha256:
        raise UsageError(
            f"{folder}: taught with version {card.network} of the network of structures, this is "
            f"version {net.version}; teach it again from its examples."
        )
    fits = values.shape == (len(kind), len(net.scatter)) and np.isfinite(values).all()
    if not (fits and len(kind) and kind.min() >= 0 and kind.max() < len(card.labels)):
        raise UsageError(f"{folder}: examples.npz does not fit its card; copy the folder again.")
    classes = len(set(card.labels) - {NONE}) + 1
    fits = shown is None or (shown.shape == (classes, classes) and (shown > 0).all())
    if not fits or (twins is not None and not _fits(twins, classes)):
        raise UsageError(f"{folder}: examples.npz does not fit its card; copy the folder again.")
    return Classifier(card, values, kind, shown, twins, net)


def _twins(file: Mapping[str, NDArray[Any]]) -> Twins:
    of, count = (file[f"twin_{name}"].astype(np.intp) for name in ("of", "count"))
    return Twins(of, file["twin_over"].astype(float), count)


def _fits(twins: Twins, classes: int) -> bool:
    """Whether they are of so many structures, that of none among them."""
    twin = twins.of >= 0
    same = twins.of.shape == twins.over.shape == twins.count.shape == (classes - 1,)
    return bool(
        same
        and (twins.of < classes).all()
        and (twins.count[twin] > 0).all()
        and np.isfinite(twins.over).all()
    )


def classify(table: pd.DataFrame, classifier: Classifier) -> pd.DataFrame:
    """Fill `structure` and `structure_p` of a table of atoms of one or more frames.

    A classifier of bonds or rings gives a table of those instead; see `objects`.

    `structure` is empty for atoms that are none of the structures, with the probability of
    that; at the rim of the table, where surroundings are cut, `structure_p` is empty as well.

    Raises:
        UsageError: The table has no positions.
    """
    table, seen = classifier.objects(table)
    structure = np.full(len(table), "", dtype=object)
    p = np.full(len(table), np.nan)
    rows = np.flatnonzero(seen.whole)
    if len(rows):
        found = classifier.answers(seen, rows)
        best = found.argmax(axis=1)
        names = np.array([*classifier.labels, ""], dtype=object)
        structure[rows], p[rows] = names[best], found[np.arange(len(rows)), best]
    return table.assign(structure=structure, structure_p=p)


def label_sets(table: pd.DataFrame, classifier: Classifier) -> list[tuple[str, ...]]:
    """Labels that each atom may have at the level of the classifier, NONE among them.

    Split-free conformal sets from the examples left out one by one (Vovk, Gammerman, Shafer,
    Algorithmic Learning in a Random World, 2005): the true label of an atom of the kind that was
    shown lies in its set with the stated probability. With too few examples for that level,
    every label is in every set.
    """
    seen = classifier.see(table)
    found = classifier.probabilities(np.nan_to_num(seen.values))
    names = (*classifier.labels, NONE)
    least = classifier.card.threshold
    inside: Any = found >= (0.0 if least is None else least)
    return [tuple(n for n, yes in zip(names, row, strict=True) if yes) for row in inside]
