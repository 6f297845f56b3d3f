"""Multislice sets of layers with defects: what a recipe may say, and its noise-free frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from atomscope.documents import load_named
from atomscope.errors import UsageError
from atomscope.simulate.defects import substitute, vacancy
from atomscope.simulate.materials import structure
from atomscope.simulate.multislice import Microscope, need_abtem, scan
from atomscope.simulate.recording import Patch
from atomscope.simulate.relax import relax
from atomscope.simulate.scene import OTHER, Floats
from atomscope.simulate.shards import PACKAGES, Plan
from atomscope.simulate.sheets import Sheet, columns_of, supercell
from atomscope.simulate.slabs import PADDING

if TYPE_CHECKING:
    from ase import Atoms

RECIPES = Path(__file__).parent / "specimens"
EMPTY = "empty"  # what a column without atoms is called in a recipe
APART = 4.5  # Å between two changes, so that each keeps its name
SHARED = 0.75  # Å: an empty site nearer than this to a column is a part of it


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SiteChange(_Strict):
    """Some columns of one formula lose atoms, or get another one in place of one."""

    at: str = Field(description="formula of the columns")
    put: str | None = Field(None, description="element that takes the place of one atom")
    remove: int = Field(0, ge=0, description="atoms that go")
    count: tuple[int, int] = Field(description="least and largest number in a frame")

    @model_validator(mode="after")
    def _one_thing(self) -> SiteChange:
        if (self.put is None) == (self.remove == 0):
            raise ValueError("a change needs either 'put' or 'remove'")
        return self


class SpecimenRecipe(_Strict):
    """A layer with defects and the microscope that looks at it."""

    name: str
    structure: str = Field(description="name of a layer, or a file that ASE reads")
    edges: tuple[float, float] = Field((25.0, 25.0), description="least edges of the frame, Å")
    classes: tuple[str, ...] = Field(min_length=1)
    columns: dict[str, str] = Field(description="class of columns by formula; 'empty' for none")
    changes: tuple[SiteChange, ...] = ()
    energy: float = Field(80e3, description="eV")
    semiangle: float = Field(30.0, description="mrad")
    defocus: tuple[float, float] = Field((0.0, 0.0), description="range, Å")
    detector: tuple[float, float] = Field(description="inner and outer angle, mrad")
    interpolation: int = Field(1, ge=1, le=4, description="of PRISM")
    pixel_size: float = Field(0.15, gt=0.02, lt=0.5, description="Å")

    @model_validator(mode="after")
    def _known_classes(self) -> SpecimenRecipe:
        missing = set(self.columns.values()) - set(self.classes)
        if missing:
            raise ValueError(f"classes {', '.join(sorted(missing))} are used but not declared")
        return self

    @classmethod
    def load(cls, name: str) -> SpecimenRecipe:
        """Read the recipe of that name, or a YAML file.

        Raises:
            UsageError: There is none, it is not YAML, or it says something unknown.
        """
        return load_named(cls, name, RECIPES, "a recipe for multislice")


def specimen(recipe: SpecimenRecipe, rng: np.random.Generator) -> Sheet:
    """Draw a layer with the changes of a recipe, relaxed.

    Raises:
        UsageError: There is no such structure or element, or too little room for the changes.
    """
    sheet = supercell(structure(recipe.structure), recipe.edges)
    taken: list[Floats] = []
    for change in recipe.changes:
        for _ in range(rng.integers(change.count[0], change.count[1] + 1)):
            atom = _free_site(sheet, change.at, taken, rng)
            taken.append(sheet.atoms.positions[atom])
            column = sheet.column(atom)
            if change.put is not None:
                sheet = substitute(sheet, [atom], change.put)
            else:
                sheet = vacancy(sheet, column[: change.remove])
    return relax(sheet)


def truth(sheet: Sheet, recipe: SpecimenRecipe) -> tuple[Floats, np.ndarray]:
    """Return positions (N, 2) in Å, y up, and classes (N,) of columns and empty sites."""
    columns = columns_of(sheet)
    gone = [d.empty[:, :2] for d in sheet.defects if len(d.empty)]
    empty = np.concatenate(gone) if gone else np.zeros((0, 2))
    if len(empty):  # both atoms of a pair left one empty site; half a pair left none
        empty = np.unique(np.round(empty, 2), axis=0)
        apart = empty[:, None] - columns.xy
        edges = sheet.atoms.cell.lengths()[:2]
        apart -= np.round(apart / edges) * edges
        empty = empty[np.linalg.norm(apart, axis=-1).min(axis=1) > SHARED]
    index = {formula: recipe.classes.index(name) for formula, name in recipe.columns.items()}
    label = [index.get(formula, OTHER) for formula in columns.species]
    label += [index.get(EMPTY, OTHER)] * len(empty)
    return np.concatenate([columns.xy, empty]), np.array(label, dtype=np.int64)


def specimen_set(
    recipe: SpecimenRecipe, seed: int, count: int, shard: int
) -> tuple[Plan, Callable[[int], Patch]]:
    """Return what a multislice set is, and the function that simulates its frame number i.

    Its frames are noise-free shares of the beam and repeat themselves at their borders.

    Raises:
        MissingExtraError: abTEM is not installed.
    """
    need_abtem()
    cell = supercell(structure(recipe.structure), recipe.edges).atoms
    edges = cell.cell.lengths()[1::-1]  # (y, x)
    shape = (round(edges[0] / recipe.pixel_size), round(edges[1] / recipe.pixel_size))
    pixel = (float(edges[0] / shape[0]), float(edges[1] / shape[1]))
    notes = {"pixel_size_angstrom": pixel, "periodic": True}
    about = recipe.model_dump(mode="json")
    plan = Plan(about, recipe.classes, seed, count, shard, notes, (*PACKAGES, "ase", "abtem"))

    def draw(index: int) -> Patch:
        rng = np.random.default_rng((seed, index))
        sheet = specimen(recipe, rng)
        microscope = Microscope(
            recipe.energy,
            recipe.semiangle,
            float(rng.uniform(*recipe.defocus)),
            {"detector": recipe.detector},
        )
        found = scan(
            _slab(sheet.atoms), microscope, method="prism", interpolation=recipe.interpolation
        )
        xy, label = truth(sheet, recipe)
        places, which = found.places(xy, pixel, shape)
        frame = found.image("detector", pixel, shape)
        return Patch(frame, places, label[which])

    return plan, draw


def _free_site(sheet: Sheet, formula: str, taken: list[Floats], rng: np.random.Generator) -> int:
    """Draw an atom of an unchanged column with that formula, away from all changes."""
    columns = columns_of(sheet)
    places = columns.xy[np.array([s == formula for s in columns.species])]
    edges = sheet.atoms.cell.lengths()[:2]
    for place in taken:
        apart = places - place[:2]
        apart -= np.round(apart / edges) * edges
        places = places[np.linalg.norm(apart, axis=1) > APART]
    if len(places) == 0:
        raise UsageError(f"specimen: no free column {formula} is left; expected fewer changes.")
    x, y = places[rng.integers(len(places))]
    return sheet.nearest((float(x), float(y)))


def _slab(atoms: Atoms) -> Atoms:
    slab = atoms.copy()
    slab.center(vacuum=PADDING, axis=2)
    return slab
