"""Point and line defects of a sheet: each takes a sheet and returns a new one.

They change atoms, bonds and labels, and place atoms roughly; `relax.relax` lets all settle.
Take the indices of atoms anew after each step: atoms that are gone shift those behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from atomscope.errors import UsageError
from atomscope.simulate.bonds import wrapped
from atomscope.simulate.crystals import formula
from atomscope.simulate.relax import relax
from atomscope.simulate.scene import Floats
from atomscope.simulate.sheets import Sheet, noted, without

LIFT = 0.3  # Å: start of an atom that is too large for its place in a flat layer
TIGHT = 1.1  # too large: ideal bonds are this much longer than the room


def vacancy(sheet: Sheet, sites: Sequence[int]) -> Sheet:
    """Take out one or more atoms; the open bonds stay open.

    Named by what is gone: 'vacancy C', 'vacancy S', 'vacancy S2' (`sheet.column` gives both
    atoms of a chalcogen pair), 'vacancy MoS6'.
    """
    gone = _sites(sheet, sites)
    empty = sheet.atoms.positions[gone]
    name = f"vacancy {formula(tuple(int(z) for z in sheet.atoms.numbers[gone]))}"
    around = {i for g in gone for i in (*sheet.neighbours(g), *sheet.column(g))} - set(gone)
    left, index = without(sheet, gone)
    return noted(left, name, [int(index[i]) for i in sorted(around)], _middle(sheet, gone), empty)


def divacancy(
    sheet: Sheet, first: int, second: int, kind: Literal["5-8-5", "555-777"] = "5-8-5"
) -> Sheet:
    """Take out two bonded atoms of a three-fold layer and close the bonds to rings.

    5-8-5: on each side the two open atoms join, two pentagons around an octagon. 555-777: one
    bond of the octagon is turned as well, three pentagons and three heptagons (Banhart,
    Kotakoski, Krasheninnikov, ACS Nano 5, 26 (2011)).

    Raises:
        UsageError: The atoms are not bonded, or not three-fold.
    """
    if kind not in ("5-8-5", "555-777"):
        raise UsageError(f"divacancy {kind!r}: expected '5-8-5' or '555-777'.")
    ends = _three_fold(sheet, first, second)
    gone = [first, second]
    empty, centre = sheet.atoms.positions[gone], _middle(sheet, gone)
    left, index = without(sheet, gone)
    pairs = [[int(index[i]) for i in pair] for pair in ends]
    left = replace(left, bonds=np.concatenate([left.bonds, np.sort(pairs, axis=1)]))
    changed = [tuple(p) for p in pairs]
    if kind == "555-777":
        turned = _far_bond(left, pairs)
        left = turn_bond(left, *turned)
        changed += [(u, i) for u in turned for i in left.neighbours(u)]
    return noted(left, f"divacancy {kind}", rings_at(left, changed), centre, empty)


def stone_wales(sheet: Sheet, first: int, second: int) -> Sheet:
    """Turn a bond of a three-fold layer by 90°: two pentagons and two heptagons.

    Stone, Wales, Chem. Phys. Lett. 128, 501 (1986).

    Raises:
        UsageError: The atoms are not bonded, or not three-fold.
    """
    _three_fold(sheet, first, second)
    centre = _middle(sheet, [first, second])
    turned = turn_bond(sheet, first, second)
    changed = [(u, i) for u in (first, second) for i in turned.neighbours(u)]
    return noted(turned, "Stone-Wales 55-77", rings_at(turned, changed), centre)


def substitute(sheet: Sheet, sites: Sequence[int], symbol: str) -> Sheet:
    """Put one atom of an element in the place of one or more atoms, bonded to all they were.

    In a layer of one element it is named by what it is bonded to: 'SiC3' on one site of
    graphene, 'SiC4' on two bonded sites, 'Si2C4' for two neighbours, 'Si2C6' for two that take
    two sites each. Elsewhere by what it replaces, antisites too: 'V@W', 'Se@S', 'Mo@S2'.

    Raises:
        UsageError: There is no such element.
    """
    from ase.data import atomic_numbers

    if symbol not in atomic_numbers or symbol == "X":
        raise UsageError(f"element {symbol!r}: expected a chemical symbol, for example Si.")
    taken = _sites(sheet, sites)
    around = sorted({i for s in taken for i in sheet.neighbours(s)} - set(taken))
    replaced = formula(tuple(int(z) for z in sheet.atoms.numbers[taken]))
    middle = _middle(sheet, taken)
    changed = sheet.atoms.copy()
    changed.positions[taken[0]] = middle
    changed.symbols[taken[0]] = symbol
    room = wrapped(changed, changed.positions[around] - middle)
    needed = [sheet.rule.length(symbol, changed.symbols[i]) for i in around]
    if np.abs(room[:, 2]).max(initial=0) < 1e-3 and np.any(
        needed > TIGHT * np.linalg.norm(room, axis=1)
    ):
        changed.positions[taken[0], 2] += LIFT
    kept = sheet.bonds[~np.isin(sheet.bonds, taken).any(axis=1)]
    fresh = np.sort([[taken[0], i] for i in around], axis=1).reshape(-1, 2)
    bonds = np.concatenate([kept, fresh]).astype(np.intp)
    result, index = without(replace(sheet, atoms=changed, bonds=bonds), taken[1:])
    here = int(index[taken[0]])
    if len({*sheet.atoms.arrays["host"]}) > 1:
        return noted(result, f"{symbol}@{replaced}", [here], middle)
    return _note_cluster(result, here)


def adatom(sheet: Sheet, xy: tuple[float, float], symbol: str) -> Sheet:
    """Put an atom on top of the sheet, where it begins to touch: 5 % over the bond length.

    Raises:
        UsageError: No atom is below it.
    """
    away = wrapped(sheet.atoms, np.array([*xy, 0.0]) - sheet.atoms.positions * [1, 1, 0])
    bond = [sheet.rule.length(symbol, s) for s in sheet.atoms.get_chemical_symbols()]
    reach = sheet.rule.apart * np.array(bond)
    flat = np.hypot(away[:, 0], away[:, 1])
    touched = flat < reach
    if not touched.any():
        raise UsageError(f"adatom at {xy} Å: there is no atom below it.")
    rise = np.sqrt(reach[touched] ** 2 - flat[touched] ** 2)
    z = float((sheet.atoms.positions[touched, 2] + rise).max())
    atoms = sheet.atoms.copy()
    atoms.append(symbol)
    atoms.positions[-1] = [*xy, z]
    for name in ("label", "host"):
        atoms.arrays[name][-1] = symbol
    return noted(replace(sheet, atoms=atoms), f"adatom {symbol}", [len(atoms) - 1], np.array(xy))


def vacancy_line(
    sheet: Sheet, start: int, after: int, count: int, *, closure: float = 0.2, pairs: bool = True
) -> Sheet:
    """Take out a row of like atoms; the rows beside it close up.

    Args:
        sheet: To change.
        start: First atom of the row.
        after: Second atom of the row.
        count: Length of the row.
        closure: The atoms that were bonded to the row come nearer to its line by this share of
            their distance, and are held there.
        pairs: Also take the atoms over and under them.

    Raises:
        UsageError: The row leaves the sheet, or the share is not within 0 to 0.5.
    """
    if not 0 <= closure <= 0.5:
        raise UsageError(f"closure {closure}: expected a share from 0 to 0.5.")
    step = sheet.away(start)[after]
    row = [_at(sheet, sheet.atoms.positions[start] + k * step, start) for k in range(count)]
    gone = sorted({i for r in row for i in (sheet.column(r) if pairs else [r])})
    beside = sorted({i for g in gone for i in sheet.neighbours(g)} - set(gone))
    normal = np.array([-step[1], step[0], 0.0]) / np.hypot(step[0], step[1])
    closed = sheet.atoms.copy()
    distance = sheet.away(start)[beside] @ normal
    closed.positions[beside] -= closure * distance[:, None] * normal
    closed.arrays["held"][beside] = True
    result = vacancy(replace(sheet, atoms=closed), gone)
    last = result.defects[-1]
    name = last.name.split()[1].rstrip("0123456789")
    result = replace(result, defects=result.defects[:-1])
    centre = sheet.atoms.positions[start] + step * (count - 1) / 2
    return noted(result, f"vacancy line {name}", list(last.atoms), centre, last.empty)


def _sites(sheet: Sheet, sites: Sequence[int]) -> list[int]:
    chosen = [int(s) for s in dict.fromkeys(sites)]
    if not chosen or min(chosen) < 0 or max(chosen) >= len(sheet.atoms):
        raise UsageError(f"sites {list(sites)}: expected indices from 0 to {len(sheet.atoms) - 1}.")
    return chosen


def _at(sheet: Sheet, place: Floats, like: int) -> int:
    """Return the atom of the same element that stands at a place."""
    apart = np.linalg.norm(wrapped(sheet.atoms, sheet.atoms.positions - place), axis=1)
    apart[sheet.atoms.numbers != sheet.atoms.numbers[like]] = np.inf
    found = int(np.argmin(apart))
    if apart[found] > 0.5:
        raise UsageError("vacancy line: the row has no atom at one of its places; make it shorter.")
    return found


def _middle(sheet: Sheet, atoms: Sequence[int]) -> Floats:
    """Mean position (3,) of atoms that are near to each other."""
    return np.asarray(
        sheet.atoms.positions[atoms[0]] + sheet.away(atoms[0])[list(atoms)].mean(axis=0)
    )


def _three_fold(sheet: Sheet, first: int, second: int) -> list[list[int]]:
    """Return the two other neighbours of each of two bonded atoms."""
    around = [sheet.neighbours(first), sheet.neighbours(second)]
    if second not in around[0] or len(around[0]) != 3 or len(around[1]) != 3:
        raise UsageError(
            f"atoms {first} and {second}: expected two bonded atoms with three bonds each."
        )
    return [[i for i in around[0] if i != second], [i for i in around[1] if i != first]]


def _far_bond(sheet: Sheet, pairs: list[list[int]]) -> tuple[int, int]:
    """Return a bond of the octagon both of whose atoms are in no pentagon."""
    ring = max((sheet.ring(*p) for p in (pairs[0], pairs[0][::-1])), key=len)
    taken = {i for pair in pairs for i in pair}
    steps = zip(ring, ring[1:] + ring[:1], strict=True)
    return next((u, v) for u, v in steps if not {u, v} & taken)


def turn_bond(sheet: Sheet, u: int, v: int) -> Sheet:
    """Turn a bond by +90° in the plane; u and v exchange the neighbours that they turn from."""
    bond = sheet.away(u)[v]
    left = np.array([-bond[1], bond[0], 0.0])
    of_u = max((i for i in sheet.neighbours(u) if i != v), key=lambda i: sheet.away(u)[i] @ left)
    of_v = min((i for i in sheet.neighbours(v) if i != u), key=lambda i: sheet.away(v)[i] @ left)
    swapped = [{u, of_u}, {v, of_v}]
    kept = [bond for bond in sheet.bonds if set(bond.tolist()) not in swapped]
    fresh = [sorted((u, of_v)), sorted((v, of_u))]
    atoms = sheet.atoms.copy()
    middle = atoms.positions[u] + bond / 2
    atoms.positions[u], atoms.positions[v] = middle - left / 2, middle + left / 2
    return replace(sheet, atoms=atoms, bonds=np.array([*kept, *fresh], dtype=np.intp))


def rings_at(sheet: Sheet, bonds: Sequence[Sequence[int]]) -> list[int]:
    """Return the atoms of the rings at some bonds that are not hexagons."""
    # Which bond comes next around an atom is only sure when they have settled.
    changed = sorted({i for bond in bonds for i in bond})
    settled = relax(noted(sheet, "", changed, np.zeros(2)), radius=4.0)
    rings = [settled.ring(*way) for a, b in bonds for way in ((a, b), (b, a))]
    return sorted({i for ring in rings if len(ring) != 6 for i in ring})


def _note_cluster(sheet: Sheet, atom: int) -> Sheet:
    """Name the foreign atoms that are bonded to each other, with the host atoms around them."""
    symbols, host = sheet.atoms.get_chemical_symbols(), sheet.atoms.arrays["host"]
    cluster, front = {atom}, [atom]
    while front:
        grown = [i for i in sheet.neighbours(front.pop()) if symbols[i] != host[i]]
        front += [i for i in grown if i not in cluster]
        cluster.update(grown)
    around = {i for c in cluster for i in sheet.neighbours(c)} - cluster
    foreign = formula(tuple(int(sheet.atoms.numbers[i]) for i in cluster))
    name = foreign + formula(tuple(int(sheet.atoms.numbers[i]) for i in around))
    others = tuple(d for d in sheet.defects if not cluster & set(d.atoms) or " " in d.name)
    atoms = sorted(cluster)
    return noted(replace(sheet, defects=others), name, atoms, _middle(sheet, atoms))
