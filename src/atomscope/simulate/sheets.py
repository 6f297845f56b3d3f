"""Pieces of a layer or crystal as a network of bonds, with a label for each atom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import UsageError
from atomscope.simulate.bonds import SHELL, Bonds, Rule, bonds_of, rule_of, wrapped
from atomscope.simulate.crystals import MERGE, formula, merged
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from ase import Atoms

LEAST = 12.0  # Å: in smaller periodic cells a defect would be bonded to its own image

LONGEST_RING = 30


@dataclass(frozen=True)
class Defect:
    """A named defect.

    Attributes:
        name: What it is: 'vacancy C', 'divacancy 5-8-5', 'SiC3', 'V@W', ...
        centre: Its middle (x, y) in Å.
        atoms: Indices of the atoms that it is made of.
        empty: Positions (V, 3) in Å of the sites that lost their atom.
    """

    name: str
    centre: tuple[float, float]
    atoms: tuple[int, ...]
    empty: Floats = field(default_factory=lambda: np.zeros((0, 3)))


@dataclass(frozen=True)
class Sheet:
    """A piece of a crystal, periodic in its plane or not.

    Attributes:
        atoms: Its atoms, with the arrays `label` (the element, or the name of the defect that
            the atom belongs to), `host` (element of the perfect crystal at this site) and
            `held` (True for atoms that relaxation leaves in place).
        bonds: Pairs of bonded atoms, shape (B, 2).
        rule: Ideal bond lengths and angles.
        defects: What is in it.
    """

    atoms: Atoms
    bonds: Bonds
    rule: Rule
    defects: tuple[Defect, ...] = ()

    def neighbours(self, atom: int) -> list[int]:
        """Return the atoms bonded to one."""
        first, second = self.bonds.T
        return [int(i) for i in np.concatenate([second[first == atom], first[second == atom]])]

    def away(self, atom: int) -> Floats:
        """Return the vectors (N, 3) from an atom to all others, to their nearest images."""
        return wrapped(self.atoms, self.atoms.positions - self.atoms.positions[atom])

    def column(self, atom: int) -> list[int]:
        """Return the atoms over and under one, itself among them."""
        return [int(i) for i in np.flatnonzero(np.hypot(*self.away(atom)[:, :2].T) < MERGE)]

    def ring(self, start: int, then: int) -> list[int]:
        """Return the ring of bonds on the left of the bond from one atom to another.

        A walk that always takes the bond most to the left; for flat layers.
        """
        walk, last, here = [start], start, then
        while here != start and len(walk) < LONGEST_RING:
            walk.append(here)
            away = self.away(here)
            back = np.arctan2(away[last, 1], away[last, 0])
            turns = {
                i: np.mod(back - np.arctan2(away[i, 1], away[i, 0]), 2 * np.pi)
                for i in self.neighbours(here)
                if i != last
            }
            if not turns:
                break
            last, here = here, min(turns, key=lambda i: float(turns[i]))
        return walk

    def nearest(self, xy: tuple[float, float], species: str | None = None) -> int:
        """Return the atom nearest to a place in the plane, the upper one of a column."""
        here = np.array([*xy, self.atoms.positions[:, 2].max()])
        apart = wrapped(self.atoms, self.atoms.positions - here)
        distance = np.linalg.norm(apart * [1.0, 1.0, 1e-3], axis=1)
        if species is not None:
            distance[np.array(self.atoms.get_chemical_symbols()) != species] = np.inf
        found = int(np.argmin(distance))
        if not np.isfinite(distance[found]):
            raise UsageError(f"species {species!r}: there is none in this sheet.")
        return found


@dataclass(frozen=True)
class SheetColumns:
    """The columns of a sheet in projection.

    Attributes:
        xy: Positions (N, 2) in Å.
        numbers: Atomic numbers of the atoms in each column.
        label: Name of the defect that the column belongs to, otherwise its formula.
    """

    xy: Floats
    numbers: tuple[tuple[int, ...], ...]
    label: tuple[str, ...]

    @property
    def species(self) -> tuple[str, ...]:
        """Formula of each column: C, Mo, S2."""
        return tuple(formula(n) for n in self.numbers)


def supercell(unit: Atoms, edges: tuple[float, float] = (30.0, 30.0)) -> Sheet:
    """Repeat a cell in its plane to at least the given edges in Å, with a right angle if it can.

    The directions are those of the cell, which is not turned: a along x for named materials.

    Raises:
        UsageError: An edge is below 12 Å.
    """
    from ase.build import make_supercell

    if min(edges) < LEAST:
        raise UsageError(f"edges {edges} Å: expected {LEAST:g} Å or more.")
    cell = np.asarray(unit.cell[:2])
    ratio = -2 * (cell[0] @ cell[1]) / (cell[0] @ cell[0])
    box = unit
    if abs(ratio - round(ratio)) < 1e-3 and abs(ratio) > 0.5:  # hexagonal: b + 2b makes 90°
        box = make_supercell(unit, [[1, 0, 0], [round(ratio), 2, 0], [0, 0, 1]])
        box.pbc = unit.pbc
    height = abs(np.linalg.det(box.cell[:2, :2])) / np.linalg.norm(box.cell[:2], axis=1)[::-1]
    repeat = np.ceil(np.array(edges) / height - 1e-9).astype(int)
    atoms = box.repeat((*repeat, 1))
    return bonded(atoms, rule_of(unit))


def bonded(atoms: Atoms, rule: Rule, reach: float = SHELL) -> Sheet:
    """Return the sheet of some atoms; bonds are up to `reach` times as long as the ideal."""
    atoms = atoms.copy()
    symbols = np.array(atoms.get_chemical_symbols(), dtype="<U32")
    for name, values in (
        ("label", symbols),
        ("host", symbols),
        ("held", np.zeros(len(atoms), bool)),
    ):
        if name not in atoms.arrays:
            atoms.new_array(name, values)
    return Sheet(atoms, bonds_of(atoms, rule, reach), rule)


def without(sheet: Sheet, gone: list[int]) -> tuple[Sheet, NDArray[np.intp]]:
    """Take out atoms; also return the new index (N,) of each old one, -1 for those taken."""
    keep = np.ones(len(sheet.atoms), dtype=bool)
    keep[gone] = False
    index = np.where(keep, np.cumsum(keep) - 1, -1)
    bonds = index[sheet.bonds]
    defects = tuple(
        replace(d, atoms=tuple(int(index[i]) for i in d.atoms if keep[i])) for d in sheet.defects
    )
    left = replace(
        sheet, atoms=sheet.atoms[keep], bonds=bonds[np.all(bonds >= 0, axis=1)], defects=defects
    )
    return left, index


def noted(
    sheet: Sheet, name: str, atoms: list[int], centre: Floats, empty: Floats | None = None
) -> Sheet:
    """Write a defect into the list, and its name on its atoms."""
    labelled = sheet.atoms.copy()
    label = labelled.arrays["label"].astype("<U32")
    label[atoms] = name
    labelled.set_array("label", None)
    labelled.set_array("label", label)
    sites = np.zeros((0, 3)) if empty is None else np.reshape(empty, (-1, 3))
    defect = Defect(name, (float(centre[0]), float(centre[1])), tuple(atoms), sites)
    return replace(sheet, atoms=labelled, defects=(*sheet.defects, defect))


def columns_of(sheet: Sheet) -> SheetColumns:
    """Return the sheet in projection; atoms that lie over each other make one column."""
    xy, groups = merged(sheet.atoms.positions[:, :2], sheet.atoms.numbers)
    numbers = tuple(tuple(sorted(int(z) for z in sheet.atoms.numbers[g])) for g in groups)
    label, symbols = sheet.atoms.arrays["label"], np.array(sheet.atoms.get_chemical_symbols())
    named = [[str(label[i]) for i in g if label[i] != symbols[i]] for g in groups]
    return SheetColumns(
        xy, numbers, tuple(n[0] if n else formula(z) for n, z in zip(named, numbers, strict=True))
    )
