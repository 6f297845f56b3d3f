"""Defects of a three-fold layer that are other rings: 5-9, ad-dimers, pairs of dislocations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from atomscope.simulate.defects import rings_at, stone_wales, turn_bond, vacancy
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import Sheet, noted

GLIDES = 5  # steps of 2.46 Å in graphene that two dislocations are moved apart
BLISTER = 0.0  # Å: start of a dimer above the layer


def closed_vacancy(sheet: Sheet, atom: int) -> Sheet:
    """Take out an atom and bond two of the three open ones: a pentagon beside a ring of nine.

    El-Barbary et al., Phys. Rev. B 68, 144107 (2003).
    """
    empty = sheet.atoms.positions[atom].copy()
    left = vacancy(sheet, [atom])
    pair = sorted(left.defects[-1].atoms)[:2]
    left = replace(left, bonds=np.concatenate([left.bonds, [pair]]), defects=left.defects[:-1])
    return noted(left, "vacancy 5-9", rings_at(left, [pair]), empty, empty)


def ad_dimer(sheet: Sheet, atom: int) -> Sheet:
    """Put two atoms into two opposite bonds of a hexagon, bonded to each other.

    Two pentagons between two heptagons, the inverse Stone-Wales defect (Lusk and Carr, Phys.
    Rev. Lett. 100, 175503 (2008)).
    """
    hexagon = sheet.ring(atom, sheet.neighbours(atom)[0])
    atoms = sheet.atoms.copy()
    centre = atoms.positions[atom] + sheet.away(atom)[hexagon].mean(axis=0)
    opened = [(hexagon[0], hexagon[1]), (hexagon[3], hexagon[4])]
    first = len(atoms)
    for a, b in opened:
        middle = atoms.positions[a] + sheet.away(a)[b] / 2
        atoms.append(atoms.symbols[atom])
        atoms.positions[-1] = centre + 0.6 * (middle - centre) + [0, 0, BLISTER]
        for name in ("label", "host"):
            atoms.arrays[name][-1] = atoms.symbols[atom]
    kept = [bond for bond in sheet.bonds.tolist() if tuple(sorted(bond)) not in _sorted(opened)]
    fresh = [(end, first + k) for k, pair in enumerate(opened) for end in pair]
    bonds = np.array([*kept, *fresh, (first, first + 1)], dtype=np.intp)
    changed = replace(sheet, atoms=atoms, bonds=bonds)
    core = rings_at(changed, [*fresh, (first, first + 1)])
    return noted(changed, f"ad-dimer {atoms.symbols[atom]}2", core, centre)


def _sorted(pairs: list[tuple[int, int]]) -> set[tuple[int, ...]]:
    return {tuple(sorted(pair)) for pair in pairs}


def dislocations(sheet: Sheet, atom: int, steps: int = GLIDES) -> Sheet:
    """Make two dislocations, each a pentagon beside a heptagon, and move them apart.

    A turned bond is two of them side by side; each further turned bond lets one glide by a
    lattice vector (compare Warner et al., Science 337, 209 (2012)).
    """
    turned = stone_wales(sheet, atom, sheet.neighbours(atom)[0])
    start = turned.defects[-1]
    now = replace(turned, defects=turned.defects[:-1])
    now = relax(noted(now, "", list(start.atoms), np.zeros(3)), radius=6.0)
    odd = _odd_rings(now, list(start.atoms))
    fixed = [next(r for r in odd if len(r) == n) for n in (5, 7)]
    moving = [next(r for r in odd if len(r) == n and r not in fixed) for n in (5, 7)]
    for _ in range(steps):
        now, moving = _glide(now, moving, fixed)
    label = sheet.atoms.arrays["label"][atom]
    now.atoms.arrays["label"][:] = np.where(now.atoms.arrays["label"] == "", label, "")
    now = replace(now, defects=sheet.defects)
    for pair in (fixed, moving):
        core = sorted(set(pair[0]) | set(pair[1]))
        centre = now.atoms.positions[core[0]] + now.away(core[0])[core].mean(axis=0)
        now = noted(now, "dislocation 5-7", core, centre)
    return now


def _glide(
    sheet: Sheet, moving: list[list[int]], fixed: list[list[int]]
) -> tuple[Sheet, list[list[int]]]:
    """Move one dislocation away from the other; return its new rings too."""
    pentagon, heptagon = moving
    from_here = sheet.away(fixed[0][0])
    middle = from_here[[*fixed[0], *fixed[1]]].mean(axis=0)
    ways = [
        (s, t)
        for s in set(pentagon) & set(heptagon)
        for t in sheet.neighbours(s)
        if t in heptagon and t not in pentagon
    ]
    s, t = max(ways, key=lambda way: float(np.linalg.norm(from_here[way[1]] - middle)))
    turned = turn_bond(sheet, s, t)
    near = [s, t, *turned.neighbours(s), *turned.neighbours(t)]
    turned = relax(noted(turned, "", near, np.zeros(3)), radius=6.0)
    odd = [r for r in _odd_rings(turned, near) if set(r) not in map(set, fixed)]
    return turned, [next(r for r in odd if len(r) == n) for n in (5, 7)]


def _odd_rings(sheet: Sheet, atoms: list[int]) -> list[list[int]]:
    """Return the rings at some atoms that are not hexagons, each once."""
    found = {}
    for i in atoms:
        for j in sheet.neighbours(i):
            ring = sheet.ring(i, j)
            found[frozenset(ring)] = ring
    return [ring for ring in found.values() if len(ring) != 6]
