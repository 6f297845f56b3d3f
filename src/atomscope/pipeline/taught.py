"""Whether an image shows a lattice that the steps of a chain were taught."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from atomscope.pipeline.chain import Chain
from atomscope.pipeline.material import Known, known_material

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.lattice import Lattice
    from atomscope.species import Lattices

_OFF = 0.15  # share by which a lattice may be larger or smaller: other elements, calibration
_COMMON = 0.2  # share of the atoms that a species of the host has at least


def strange_to(
    chain: Chain, atoms: pd.DataFrame, lattices: Lattices, pixel_size: float | None
) -> tuple[str, ...]:
    """Return the steps that were taught by materials of which this image shows none.

    A lattice is strange where it is that of none of these materials, at the pixel size if that is
    known; columns, where the common ones hold none of their elements. Where no lattice was found
    and no species are known, nothing speaks against a step.
    """
    seen = [lattice for lattice in lattices.values() if lattice is not None]
    taught = {name: made.card.materials for name, made in chain.classifiers.items()}
    strange = dict.fromkeys(set(taught.values()) - {()}, False)
    for materials in strange:
        axes = [axis for name in materials for axis in known_material(name)]
        known_lattice = not seen or any(_shows(lattice, axes, pixel_size) for lattice in seen)
        strange[materials] = not (known_lattice and _holds(atoms, axes))
    return tuple(name for name, materials in taught.items() if strange.get(materials))


def _shows(lattice: Lattice, axes: Sequence[Known], pixel_size: float | None) -> bool:
    sizes = [fit.size for axis in axes for fit in axis.fits(lattice)]
    return any(pixel_size is None or abs(pixel_size / size - 1) < _OFF for size in sizes)


def _holds(atoms: pd.DataFrame, axes: Sequence[Known]) -> bool:
    """Whether some common column holds an element of the materials, or none is known."""
    share = atoms["species"].value_counts(normalize=True)
    common = [str(name) for name, part in share.items() if name and part > _COMMON]
    known = {element for axis in axes for one in axis.elements for element in _symbols(one)}
    return not common or any(known & _symbols(one) for one in common)


def _symbols(column: str) -> set[str]:
    return set(re.findall("[A-Z][a-z]?", column))
