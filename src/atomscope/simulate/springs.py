"""Springs on bonds and angles, and their energy with its gradient; the rule is in `relax`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atomscope.simulate.bonds import Bonds, close_pairs, wrapped
from atomscope.simulate.scene import Floats

if TYPE_CHECKING:
    from atomscope.simulate.sheets import Sheet

# From the elasticity of graphene: shear modulus 9.1 and area modulus 12.8 eV/Å² (of 340 N/m,
# Lee et al., Science 321, 385 (2008), with Poisson's ratio 0.17), bending rigidity 1.4 eV.
BETA = 0.12
GAMMA = 0.036
WATCH = 4.0  # Å: atoms that are this far apart at first do not come to touch


@dataclass(frozen=True)
class Springs:
    """Springs of a network of bonds.

    Attributes:
        bonds: Pairs (B, 2); a bond is the vector from its first atom to its second.
        image: Shift (B, 3) in Å of the second atom to the image that is bonded.
        length: Ideal lengths (B,) in Å.
        ends: Bonds (H,) as seen from an end whose angles count.
        centre: The atom (H,) at that end.
        sign: +1.0 where that is the first atom of the bond, -1.0 where it is the second.
        angles: Pairs (A, 2) of ends at the same atom.
        cosine: Ideal cosines (A,).
        bend: Weight of the bonds that leave the plane.
        bonded: Number of the first of `bonds` that are bonds; the others are contacts of atoms
            that are not bonded, which only push.
    """

    bonds: Bonds
    image: Floats
    length: Floats
    ends: Bonds
    centre: Bonds
    sign: Floats
    angles: Bonds
    cosine: Floats
    bend: float
    bonded: int

    def energy(self, positions: Floats) -> tuple[float, Floats]:
        """Return the energy and its gradient (N, 3)."""
        first, second = self.bonds.T
        vector = positions[second] + self.image - positions[first]
        r = np.linalg.norm(vector, axis=1)
        unit = vector / r[:, None]
        stretch = r / self.length - 1
        stretch[self.bonded :] = np.minimum(stretch[self.bonded :], 0.0)
        out = unit[self.ends] * self.sign[:, None]  # unit vectors from the centres
        a, b = self.angles.T
        cosine = np.einsum("ij,ij->i", out[a], out[b])
        turn = cosine - self.cosine
        tilt = np.bincount(self.centre, out[:, 2], minlength=len(positions))
        value = 0.5 * (stretch @ stretch + BETA * turn @ turn + self.bend * tilt @ tilt)
        # Derivatives by the unit vectors, then by the positions.
        to_out = np.zeros_like(out)
        np.add.at(to_out, a, BETA * turn[:, None] * out[b])
        np.add.at(to_out, b, BETA * turn[:, None] * out[a])
        to_out[:, 2] += self.bend * tilt[self.centre]
        to_unit = np.zeros_like(unit)
        np.add.at(to_unit, self.ends, to_out * self.sign[:, None])
        across = to_unit - np.einsum("ij,ij->i", to_unit, unit)[:, None] * unit
        pull = (stretch / self.length)[:, None] * unit + across / r[:, None]
        gradient = np.zeros_like(positions)
        np.add.at(gradient, second, pull)
        np.add.at(gradient, first, -pull)
        return float(value), gradient


def springs_of(sheet: Sheet, free: NDArray[np.bool_]) -> Springs:
    """Return the springs that act on the free atoms (N,)."""
    atoms, rule = sheet.atoms, sheet.rule
    # A bond matters if an end of it moves, and also if it makes an angle with one that does.
    reached = free.copy()
    for _ in range(2):
        reached[sheet.bonds[reached[sheet.bonds].any(axis=1)]] = True
    bonds = sheet.bonds[reached[sheet.bonds].all(axis=1)]
    pairs = np.concatenate([bonds, _contacts(sheet, free)])
    straight = atoms.positions[pairs[:, 1]] - atoms.positions[pairs[:, 0]]
    vector = wrapped(atoms, straight)
    length = rule.lengths_of(atoms, pairs)
    length[len(bonds) :] *= rule.apart
    centre, ends, sign = _ends(sheet, bonds)
    angles = _pairs(centre)
    out = vector[ends] * (sign / np.linalg.norm(vector[ends], axis=1))[:, None]
    cosine = np.einsum("ij,ij->i", out[angles[:, 0]], out[angles[:, 1]])
    host = atoms.arrays["host"][centre[angles[:, 0]]]
    for symbol, known in rule.cosines.items():
        mine = host == symbol
        cosine[mine] = known[np.abs(cosine[mine][:, None] - known).argmin(axis=1)]
    bend = GAMMA if rule.flat else 0.0
    return Springs(
        pairs, vector - straight, length, ends, centre, sign, angles, cosine, bend, len(bonds)
    )


def _ends(sheet: Sheet, bonds: Bonds) -> tuple[Bonds, Bonds, Floats]:
    """Return atoms whose angles count, sorted, their bonds, and the signs of these."""
    centre = bonds.T.ravel()
    ends = np.tile(np.arange(len(bonds)), 2)
    sign = np.repeat([1.0, -1.0], len(bonds))
    count = len(sheet.atoms)
    valence = np.bincount(sheet.bonds.ravel(), minlength=count)
    usual = np.array([sheet.rule.bonds.get(symbol, 0) for symbol in sheet.atoms.arrays["host"]])
    # Atoms at the rim of the springs, some of whose bonds are left out, have no angles.
    counts = (np.bincount(centre, minlength=count) == valence) & (valence <= usual)
    order = np.flatnonzero(counts[centre])
    order = order[np.argsort(centre[order], kind="stable")]
    return centre[order], ends[order], sign[order]


def _contacts(sheet: Sheet, free: NDArray[np.bool_]) -> Bonds:
    """Pairs of atoms that may touch while the free ones move, but are not bonded."""
    pairs, _ = close_pairs(sheet.atoms, WATCH)
    pairs = pairs[free[pairs].any(axis=1)]
    count = len(sheet.atoms)
    known = np.sort(sheet.bonds, axis=1) @ [count, 1]
    return pairs[~np.isin(pairs @ [count, 1], known)]


def _pairs(centre: Bonds) -> Bonds:
    """Return all pairs (A, 2) of places in a sorted list that hold the same number."""
    found = []
    for step in range(1, int(np.bincount(centre).max(initial=1))):
        start = np.flatnonzero(centre[:-step] == centre[step:])
        found.append(np.stack([start, start + step], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.intp)
