"""A defect cut out as a periodic cell that a calculator can relax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.formula import parse
from atomscope.lattice import Lattice
from atomscope.rules.findings import Floats

if TYPE_CHECKING:
    from ase import Atoms

# Å: heights of the atoms of a column over the middle plane. MoS2: half the distance of the sulphur
# planes, 3.13 Å (Wyckoff, Crystal Structures (1963)); others scale with the covalent radius.
_PAIR_HEIGHT = 1.56
_SULPHUR_RADIUS = 1.05


def defect_cell(
    atoms: pd.DataFrame,
    centre: tuple[float, float],
    lattice: Lattice,
    pixel_size: float,
    *,
    repeat: int = 6,
    vacuum: float = 15.0,
) -> Atoms:
    """Cut a rhombus of the host around a defect, periodic in the plane.

    Positions are those of the image, in Å, with y upwards so that handedness is kept; a smooth
    share of the misfit at the rim is taken off, so that the box closes on the lattice. Columns of
    two atoms (S2) become one above and one below the plane.

    Args:
        atoms: Of one frame, with species.
        centre: Of the defect, (x_px, y_px).
        lattice: Of the frame, in px.
        pixel_size: Å per px.
        repeat: Edge of the box in primitive cells.
        vacuum: Å, above and below.

    Raises:
        UsageError: A species is not known, or the box has no atoms.
    """
    from ase import Atoms

    if repeat < 2:
        raise UsageError(f"repeat {repeat}: expected at least 2 cells.")
    xy = positions(atoms)
    box = repeat * lattice.vectors
    fraction = _fractions(lattice, xy, np.asarray(centre, float)) / repeat
    inside = np.all((fraction >= -0.5) & (fraction < 0.5), axis=1)
    if not inside.any():
        raise UsageError(f"no atom lies within {repeat} cells of {centre}; is it in the frame?")
    species = atoms["species"].to_numpy(object)[inside]
    if (species == "").any():
        raise UsageError(
            f"{int((species == '').sum())} of {len(species)} atoms of the cell have no species; "
            "name the elements first."
        )
    plane = (fraction[inside] @ box) * pixel_size * [1, -1]
    cell = np.zeros((3, 3))
    cell[:2, :2] = box * pixel_size * [1, -1]
    cell[2, 2] = 2 * vacuum
    if np.linalg.det(cell) < 0:
        cell[[0, 1]] = cell[[1, 0]]
    symbols, places = _stacked(species, plane)
    result = Atoms(symbols, positions=places, cell=cell, pbc=(True, True, False))
    result.positions += cell[:2].sum(axis=0) / 2 + [0, 0, vacuum]
    result.wrap()
    return result


def _fractions(lattice: Lattice, xy: Floats, centre: Floats) -> Floats:
    """Places in units of the cell from the centre; of members without the drift of the lattice."""
    inverse = np.linalg.inv(lattice.vectors)
    plain = (xy - centre) @ inverse
    member = np.flatnonzero(lattice.member)
    if len(member) < 3:
        return np.asarray(plain)
    ideal = lattice.cell[member] + lattice.basis[lattice.sublattice[member]]
    near = member[np.argsort(np.linalg.norm(xy[member] - centre, axis=1))[:12]]
    rank = {int(m): k for k, m in enumerate(member)}
    offset = np.mean(plain[near] - ideal[[rank[int(m)] for m in near]], axis=0)
    fitted = plain.copy()
    distance = np.linalg.norm(plain[member], axis=1)
    share = np.clip(distance / max(distance.max(), 1e-9) * 2, 0, 1)[:, None]
    fitted[member] = (1 - share) * plain[member] + share * (ideal + offset)
    return fitted


def _stacked(species: np.ndarray, plane: Floats) -> tuple[list[str], Floats]:
    """Atoms of each column with their heights."""
    from ase.data import chemical_symbols, covalent_radii

    symbols: list[str] = []
    places: list[tuple[float, float, float]] = []
    pairs = any(sum(n for _, n in parse([str(s)])[0].atoms) == 2 for s in set(species))
    for word, (x, y) in zip(species, plane, strict=True):
        numbers = [z for z, n in parse([str(word)])[0].atoms for _ in range(n)]
        single = pairs and len(numbers) == 1 and chemical_symbols[numbers[0]] in ("S", "Se", "Te")
        for k, z in enumerate(numbers):
            height = _PAIR_HEIGHT * covalent_radii[z] / _SULPHUR_RADIUS
            up = 0.0 if len(numbers) == 1 and not single else (1 - 2 * k) * height
            symbols.append(chemical_symbols[z])
            places.append((float(x), float(y), up))
    return symbols, np.array(places)
