"""Which model of the zoo knows the lattice of an image, and what it says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atomscope.columns import DEFECTS, conform, of_frame, positions
from atomscope.detect.label import Labels, judged_together, labels_at, sites_in
from atomscope.detect.view import View
from atomscope.models.store import ColumnClass, Model, load, names
from atomscope.pipeline.frames import in_angstrom
from atomscope.recipe import Recipe
from atomscope.types import Image

if TYPE_CHECKING:
    from atomscope.lattice import Lattice
    from atomscope.species import Lattices

Classes = tuple[ColumnClass, ...]
AUTO = "auto"
SQUARE, HEXAGONAL = 90.0, 120.0
DEGREES = 4.0  # how far an angle may be off: drift and scan errors
_COMMON = 0.2  # share of the atoms that a class of the host has at least
STRETCH = 1.08  # and the ratio of two equal edges


@dataclass(frozen=True)
class Choice:
    """A model of the zoo for one image, and the reason; no name where none fits."""

    name: str | None
    why: str


def choose_model(lattice: Lattice | None, atoms: pd.DataFrame, pixel_size: float | None) -> Choice:
    """Choose the model with classes that fits the lattice of a frame.

    Args:
        lattice: Lattice of the frame, if it has one.
        atoms: Its columns, with intensities, in the order of the lattice's.
        pixel_size: Å per px, or None.
    """
    if lattice is None:
        return Choice(None, "no lattice")
    if pixel_size is None:
        return Choice(None, "pixel size unknown: give --pixel-size or --model")
    cell = _cell(lattice, pixel_size)
    found = f"{cell.a:.2f} × {cell.b:.2f} Å, {cell.angle:.0f}°, {cell.sites} sites"
    weaker = _brightness(lattice, atoms)
    honeycomb = cell.equal and abs(cell.angle - HEXAGONAL) < DEGREES and cell.sites == 2
    square = cell.equal and abs(cell.angle - SQUARE) < DEGREES
    rules = {
        "graphene": honeycomb and 2.33 < cell.a < 2.60 and weaker > 0.8,
        "tmd": honeycomb and 2.85 < cell.a < 3.75 and weaker < 0.85,
        "perovskite": square and 3.7 < cell.a < 4.2 and _centred(lattice),
        "dumbbell": cell.sites == 2 and 1.15 < cell.spacing < 1.7 and 9 < cell.area < 19,
    }
    name = next((name for name, fits in rules.items() if fits), None)
    return Choice(name, f"lattice {found}" if name else f"no model knows this lattice: {found}")


@dataclass(frozen=True)
class _Cell:
    """A primitive cell: edges and shortest column spacing in Å, angle in degrees, sites."""

    a: float
    b: float
    angle: float
    area: float
    spacing: float
    sites: int

    @property
    def equal(self) -> bool:
        """Whether the edges are equal."""
        return max(self.a, self.b) / min(self.a, self.b) < STRETCH


def _cell(lattice: Lattice, pixel_size: float) -> _Cell:
    vectors = lattice.vectors * pixel_size
    a, b = (float(edge) for edge in np.linalg.norm(vectors, axis=1))
    angle = float(np.degrees(np.arccos(np.clip(vectors[0] @ vectors[1] / (a * b), -1, 1))))
    angle = max(angle, 180 - angle)  # either pair of vectors spans the lattice
    area = float(abs(np.linalg.det(vectors)))
    return _Cell(a, b, angle, area, lattice.spacing * pixel_size, len(lattice.basis))


def _brightness(lattice: Lattice, atoms: pd.DataFrame) -> float:
    """Median intensity of the weaker of the first two sublattices in units of the other's."""
    intensity = atoms["intensity"].to_numpy(float)
    typical = [
        float(np.nanmedian(intensity[lattice.sublattice == site]))
        for site in range(min(len(lattice.basis), 2))
        if np.isfinite(intensity[lattice.sublattice == site]).any()
    ]
    return min(typical) / max(typical) if len(typical) == 2 and max(typical) > 0 else 1.0


def _centred(lattice: Lattice) -> bool:
    """Whether a site lies in the middle between four of another."""
    away = np.abs((lattice.basis - lattice.basis[0]) % 1 - 0.5).max(1)
    return bool((away < 0.08).any())


def detector_for(plan: Recipe, image: Image) -> str:
    """Return the detector that the recipe asks for, or the one for the kind of image."""
    if plan.detect.model != AUTO:
        return plan.detect.model
    return "stm" if image.modality == "stm" and "stm" in names() else "universal"


def labelled(
    image: Image,
    atoms: pd.DataFrame,
    lattices: Lattices,
    plan: Recipe,
    detector: Model,
    view: View,
) -> tuple[pd.DataFrame, pd.DataFrame, Classes, dict[str, Any]]:
    """Let a model with classes name the columns, where one knows the lattice.

    Returns:
        The atoms with label and label_p, the empty sites, the classes of the model, and for the
        run card which model was used and why.
    """
    none = conform(pd.DataFrame(), DEFECTS)
    if plan.detect.model != AUTO:
        if not detector.card.classes:
            return atoms, none, (), {"model": None, "why": "chosen by the user"}
        choice = Choice(plan.detect.model, "chosen by the user")
    else:
        number = int(atoms["frame"].min()) if len(atoms) else image.first_frame
        first = of_frame(atoms, number)
        choice = choose_model(lattices.get(number), first, image.pixel_size)
        if choice.name not in names():
            choice = Choice(None, choice.why)
    facts = {"model": choice.name, "why": choice.why}
    if choice.name is None:
        return atoms, none, (), facts
    model = load(choice.name)
    return *label_all(image, atoms, model, view), model.card.classes, facts


def label_all(
    image: Image, atoms: pd.DataFrame, model: Model, view: View
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table with label and label_p filled, and the table of empty sites."""
    frames = [sites_in(frame, model, view) for frame in image.frames()]
    tables, empty = [], []
    told = judged_together(frames, model.card.classes)
    for number, sites in zip(image.numbers, told, strict=True):
        rows = atoms[atoms["frame"] == number]
        found = labels_at(positions(rows), sites, model, view)
        tables.append(_labelled(rows, found, model))
        empty.append(_vacancies(number, found, model, image.pixel_size))
    return pd.concat(tables, ignore_index=True), pd.concat(empty, ignore_index=True)


def _labelled(rows: pd.DataFrame, found: Labels, model: Model) -> pd.DataFrame:
    names = np.array([*(c.name for c in model.card.classes), ""], dtype=object)
    return rows.assign(label=names[found.label], label_p=found.p)


def species_of(classes: Classes, atoms: pd.DataFrame) -> tuple[str, ...]:
    """Species of the classes that a fair part of the atoms have, as the model's card says."""
    share = atoms["label"].value_counts(normalize=True)
    common = [c for c in classes if share.get(c.name, 0.0) > _COMMON]
    return tuple(c.species for c in common if c.species)


def told(classes: Classes, atoms: pd.DataFrame) -> pd.DataFrame:
    """Fill species from labels where a class says what a column is and nothing else does."""
    meant = {c.name: c.species for c in classes if c.species}
    if not meant:
        return atoms
    species = np.array([meant.get(str(label), "") for label in atoms["label"]], dtype=object)
    unknown = atoms["species"].to_numpy(object) == ""
    fill = unknown & (species != "") & (atoms["label_p"].to_numpy(float) >= 0.5)
    return atoms.assign(
        species=np.where(fill, species, atoms["species"]),
        species_p=np.where(fill, atoms["label_p"], atoms["species_p"]),
    )


def _vacancies(frame: int, found: Labels, model: Model, pixel_size: float | None) -> pd.DataFrame:
    count = len(found.vacant)
    columns: dict[str, Any] = {
        "frame": frame,
        "defect": np.arange(count),
        "name": np.array([c.name for c in model.card.classes], dtype=object)[found.vacant_label],
        "x_px": found.vacant[:, 0],
        "y_px": found.vacant[:, 1],
        "p": found.vacant_p,
        "rule": f"model {model.card.name}",
        "known": True,
    }
    return conform(in_angstrom(pd.DataFrame(columns), pixel_size), DEFECTS)
