"""What a named material tells of an image: its columns, and through them the pixel size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomscope.lattice import Lattice
from atomscope.simulate.crystals import project
from atomscope.simulate.materials import material
from atomscope.species import Lattices

_OFF = 0.1  # share by which a given pixel size may differ from the lattice's before it is said
_MULTIPLES = (1, 2, 3, 4)  # a fitted cell may hold so many primitive ones
_FITS = 0.12  # share by which the shortest distance of columns may be off


@dataclass(frozen=True)
class Known:
    """A material along its usual zone axis.

    Attributes:
        name: Of the material.
        elements: Formulas of its columns.
        area: Of the primitive cell of the projection in Å².
        distances: Between columns, Å, those up to twice the shortest.
    """

    name: str
    elements: tuple[str, ...]
    area: float
    distances: tuple[float, ...]

    def pixel_size(self, lattice: Lattice) -> float | None:
        """Å per px that makes the lattice that of the material; None where none does.

        The area of the cell is compared, so columns too weak to be found do no harm; the distance
        of the columns that were found tells how many primitive cells the fitted one holds.
        """
        area = float(abs(np.linalg.det(lattice.vectors)))
        for multiple in _MULTIPLES:
            scale = float(np.sqrt(multiple * self.area / area))
            off = np.abs(np.array(self.distances) / (scale * lattice.spacing) - 1)
            if off.min() < _FITS:
                return scale
        return None


def known_material(name: str) -> Known:
    """Look a material up.

    Raises:
        UsageError: There is no such material; the nearest names are given.
    """
    found = material(name)
    basis = project(found.atoms, found.zones[0])
    words = dict.fromkeys(basis.species)
    shift = np.array([[i, j] for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)])
    apart = (basis.sites[:, None, None] - basis.sites[None, :, None] + shift) @ basis.cell
    distance = np.unique(np.round(np.linalg.norm(apart, axis=-1), 3))
    distance = distance[distance > 0.1]
    near = distance[distance < 2 * distance[0]]
    area = float(abs(np.linalg.det(basis.cell)))
    return Known(found.name, tuple(words), area, tuple(float(d) for d in near))


def measured(
    known: Known, lattices: Lattices, given: float | None, name: str
) -> tuple[float | None, tuple[str, ...]]:
    """Return the pixel size, and lines for the user.

    Args:
        known: The material.
        lattices: Of the frames.
        given: Å per px that is known already.
        name: Of the image.
    """
    sizes = [known.pixel_size(lattice) for lattice in lattices.values() if lattice is not None]
    found = [size for size in sizes if size is not None]
    if not found:
        line = f"{name}: its lattice is not that of {known.name}; the pixel size was not measured."
        return given, (line,)
    size = float(np.median(found))
    if given is None:
        line = f"Pixel size {size:.4f} Å, measured from the lattice of {known.name}."
        return size, (line,)
    if abs(size / given - 1) > _OFF:
        line = f"Pixel size {given:.4g} Å given; the lattice of {known.name} asks for {size:.4g} Å."
        return given, (line,)
    return given, ()
