"""What each atom is: labels, species, and what deviates from the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atomscope.detect.view import View
from atomscope.models.store import Model
from atomscope.pipeline.calibration import size_doubt
from atomscope.pipeline.clock import Clock
from atomscope.pipeline.material import Levels, levels_of
from atomscope.pipeline.naming import named
from atomscope.pipeline.periodic import with_vacancies
from atomscope.pipeline.zoo import labelled, species_of, told
from atomscope.recipe import Recipe
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.species import Lattices

# Contrast that rises with the atomic number, or may.
_Z_CONTRAST = ("unknown", "haadf", "adf")


@dataclass(frozen=True)
class Chemistry:
    """Atoms with labels, species and defects; what the run card says of these; warnings."""

    atoms: pd.DataFrame
    defects: pd.DataFrame
    zoo: dict[str, Any]
    species: dict[str, Any]
    named: dict[str, Any]
    warnings: tuple[str, ...]


def chemistry_of(
    image: Image,
    atoms: pd.DataFrame,
    lattices: Lattices,
    plan: Recipe,
    detector: Model,
    view: View,
    hosts: tuple[str, ...],
    clock: Clock,
) -> Chemistry:
    """Say what each atom is, and what deviates from the host."""
    atoms, defects, classes, zoo = labelled(image, atoms, lattices, plan, detector, view)
    with clock.stage("identify", ran=plan.identify is not None):
        hosts = hosts or species_of(classes, atoms)
        atoms, species, doubts = _identified(atoms, lattices, image, plan, hosts)
        atoms = told(classes, atoms)
    if plan.detect.periodic:
        defects = with_vacancies(defects, image, atoms, lattices)
    with clock.stage("name"):
        atoms, defects, facts, lines = named(image, atoms, defects, lattices, plan)
    return Chemistry(atoms, defects, zoo, species, facts, (*doubts, *lines))


def _identified(
    atoms: pd.DataFrame,
    lattices: Lattices,
    image: Image,
    plan: Recipe,
    hosts: tuple[str, ...],
) -> tuple[pd.DataFrame, dict[str, Any], tuple[str, ...]]:
    """Fill sublattices and species."""
    if plan.identify is None:
        return atoms, {}, ()
    from atomscope.species import study

    elements, doubts = plan.identify.elements, tuple[str, ...]()
    if elements and image.modality not in _Z_CONTRAST:
        elements, doubts = (
            (),
            (
                f"Species are left unknown: the brightness of {image.modality.upper()} images does "
                "not rise with the atomic number in a known way.",
            ),
        )
    found = study(atoms, elements=elements, lattices=lattices, hosts=hosts, shape=image.frame_shape)
    return found.atoms, found.facts, (*doubts, *found.warnings)


def composed(facts: dict[str, Any], atoms: pd.DataFrame) -> dict[str, Any]:
    """Facts about species with the composition of the table as it is in the end."""
    from atomscope.species import composition

    before = facts.get("composition", {})
    return facts | composition(atoms, {name: row["intensity"] for name, row in before.items()})


def brightness_of(image: Image, atoms: pd.DataFrame, lattices: Lattices) -> Levels:
    """Brightness of the sublattices, where it rises with the atomic number."""
    return levels_of(atoms, lattices) if image.modality in _Z_CONTRAST else {}


def doubt_of_size(
    image: Image, plan: Recipe, lattices: Lattices, chemistry: Chemistry
) -> tuple[str, ...]:
    """Say so where the host's lattice asks for another pixel size."""
    atoms, rules = chemistry.atoms, plan.naming.rules if plan.naming else None
    host = rules or str(chemistry.named.get("host", ""))
    return size_doubt(
        atoms, lattices, brightness_of(image, atoms, lattices), host, image.pixel_size
    )
