"""Kinds of defects by host: how each is built, and what it is called.

A name says what is there: in graphene 'V1', 'V2(5-8-5)', 'SW(55-77)', and MxCy for x foreign
atoms that are bonded to each other and to y carbon atoms; elsewhere '<what is there>_<site>',
where V is a vacancy: 'V_S', 'C_B', 'Mo_S2'. Vanadium on tungsten is written 'V(W)'.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from atomscope.simulate import defects, named_rings
from atomscope.simulate.scene import Floats
from atomscope.simulate.sheets import Sheet, noted, without

Build = Callable[[Sheet, int], Sheet]
LINES = (3, 4, 5)  # vacancies in a row
CLOSURE = 0.03  # share by which the rows beside a line of single vacancies close up
DUMBBELL = 1.02  # Å: half the bond of two sulphur atoms (S8: 2.05 Å)


@dataclass(frozen=True)
class Kind:
    """A kind of defect in one host.

    Attributes:
        name: What it is called.
        sheet_name: What `simulate.defects` calls it.
        site: Element of the site that it is built at.
        builds: Ways to build it, all of which have this name.
    """

    name: str
    sheet_name: str
    site: str
    builds: tuple[Build, ...]


def _chain(sheet: Sheet, atom: int, length: int) -> list[int]:
    """Return a zigzag of bonded atoms: each bond is parallel to the last but one."""
    chain = [atom, sheet.neighbours(atom)[0]]
    bonds = [sheet.away(atom)[chain[1]]]
    while len(chain) < length:
        ahead = [i for i in sheet.neighbours(chain[-1]) if i != chain[-2]]
        away = sheet.away(chain[-1])[ahead]
        best = int(np.argmax(np.round(away @ bonds[-2:][0], 3)))
        chain.append(ahead[best])
        bonds.append(away[best])
    return chain


def _vacancy(sheet: Sheet, atom: int, count: int = 1) -> Sheet:
    return defects.vacancy(sheet, _chain(sheet, atom, 2)[:count])


def _empty_column(sheet: Sheet, atom: int) -> Sheet:
    return defects.vacancy(sheet, sheet.column(atom))


def _divacancy(sheet: Sheet, atom: int) -> Sheet:
    return defects.divacancy(sheet, atom, sheet.neighbours(atom)[0])


def _turned_divacancy(sheet: Sheet, atom: int) -> Sheet:
    return defects.divacancy(sheet, atom, sheet.neighbours(atom)[0], "555-777")


def _stone_wales(sheet: Sheet, atom: int) -> Sheet:
    return defects.stone_wales(sheet, atom, sheet.neighbours(atom)[0])


def _put(sheet: Sheet, atom: int, symbol: str, sites: tuple[int, ...] = (1,)) -> Sheet:
    """Put a row of foreign atoms on so many sites each, along a zigzag of bonded sites."""
    chain = sheet.atoms.arrays["site"][_chain(sheet, atom, max(2, sum(sites)))]
    for start, count in zip(np.cumsum((0, *sites)), sites, strict=False):
        now = sheet.atoms.arrays["site"].tolist()  # indices shift where atoms go, sites do not
        taken = [now.index(site) for site in chain[start : start + count]]
        sheet = defects.substitute(sheet, taken, symbol)
    return sheet


def _star(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """Put foreign atoms on a site and on its three neighbours."""
    for site in (atom, *sheet.neighbours(atom)):
        sheet = defects.substitute(sheet, [site], symbol)
    return sheet


def _triangle(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """Put foreign atoms on the three neighbours of a site, bonded over the empty site."""
    three = sheet.neighbours(atom)
    host, empty = sheet.defects, sheet.atoms.positions[atom].copy()
    for site in three:
        sheet = defects.substitute(sheet, [site], symbol)
    pairs = np.sort([[three[i - 1], three[i]] for i in range(3)], axis=1)
    joined = replace(sheet, bonds=np.concatenate([sheet.bonds, pairs]), defects=host)
    left, index = without(joined, [atom])
    return noted(left, f"{symbol}3C6", [int(index[i]) for i in three], empty)


def _adatom(sheet: Sheet, atom: int, symbol: str, bridge: bool) -> Sheet:
    """Lay an atom over the middle of a bond or of a hexagon."""
    ring = sheet.ring(atom, sheet.neighbours(atom)[0])
    over = sheet.away(atom)[ring[:2] if bridge else ring].mean(axis=0)
    x, y, _ = sheet.atoms.positions[atom] + over
    return defects.adatom(sheet, (float(x), float(y)), symbol)


def _next(sheet: Sheet, atom: int) -> int:
    """Return a nearest atom of the same element and height."""
    away = sheet.away(atom)
    other = (sheet.atoms.numbers != sheet.atoms.numbers[atom]) | (np.abs(away[:, 2]) > 0.1)
    distance = np.where(other, np.inf, np.linalg.norm(away, axis=1))
    distance[atom] = np.inf
    return int(np.argmin(np.round(distance, 3)))


def _pair(sheet: Sheet, atom: int, across: bool) -> Sheet:
    """Take one chalcogen atom out of each of two neighbouring columns."""
    other = _next(sheet, atom)
    if across:
        other = next(i for i in sheet.column(other) if i != other)
    symbol = sheet.atoms.symbols[atom]
    return _called(defects.vacancy(sheet, [atom, other]), f"vacancy {symbol}+{symbol}")


def _line(sheet: Sheet, atom: int, count: int) -> Sheet:
    """Take the upper atoms out of a row of chalcogen columns."""
    symbol, after = sheet.atoms.symbols[atom], _next(sheet, atom)
    line = defects.vacancy_line(sheet, atom, after, count, closure=CLOSURE, pairs=False)
    return _called(line, f"vacancy line {count}{symbol}")


def _on_pair(sheet: Sheet, atom: int, metal: str) -> Sheet:
    return defects.substitute(sheet, sheet.column(atom), metal)


def _dumbbell(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    """Put an upright pair of chalcogen atoms in place of a metal atom; it is held there."""
    atoms, metal = sheet.atoms.copy(), sheet.atoms.symbols[atom]
    atoms.symbols[atom] = symbol
    atoms.append(symbol)
    atoms.positions[-1] = atoms.positions[atom] - [0, 0, DUMBBELL]
    atoms.positions[atom, 2] += DUMBBELL
    for name in ("label", "host"):
        atoms.arrays[name][-1] = symbol
    atoms.arrays["held"][[atom, -1]] = True
    bonds = sheet.bonds[~(sheet.bonds == atom).any(axis=1)]
    both, middle = [atom, len(atoms) - 1], sheet.atoms.positions[atom]
    return noted(replace(sheet, atoms=atoms, bonds=bonds), f"{symbol}2@{metal}", both, middle)


def _called(sheet: Sheet, name: str) -> Sheet:
    """Give the last defect another name."""
    last, before = sheet.defects[-1], sheet.defects[:-1]
    centre: Floats = np.array(last.centre)
    return noted(replace(sheet, defects=before), name, list(last.atoms), centre, last.empty)


def _foreign(name: str, symbol: str, *sites: int) -> Kind:
    """A kind of foreign atoms in graphene; `sites` are those that each of them takes."""
    sheet_name = name.replace("1C", "C")
    return Kind(name, sheet_name, "C", (partial(_put, symbol=symbol, sites=sites),))


def _of(name: str, sheet_name: str, site: str, *builds: Build) -> Kind:
    return Kind(name, sheet_name, site, builds)


def _dichalcogenide(metal: str, x: str, dopants: str, tops: str) -> tuple[Kind, ...]:
    """Kinds of a 1H layer: dopants on the metal, and single atoms on one half of a column."""
    m = metal
    return (
        _of(f"V_{x}", f"vacancy {x}", x, lambda s, a: defects.vacancy(s, [a])),
        _of(f"V_{x}2", f"vacancy {x}2", x, _empty_column),
        _of(f"V_{m}", f"vacancy {m}", m, lambda s, a: defects.vacancy(s, [a])),
        _of(f"{m}_{x}2", f"{m}@{x}2", x, partial(_on_pair, metal=m)),
        _of(f"{x}2_{m}", f"{x}2@{m}", m, partial(_dumbbell, symbol=x)),
        *(
            _of(f"{d}({m})" if d == "V" else f"{d}_{m}", f"{d}@{m}", m, partial(_on_one, symbol=d))
            for d in dopants.split()
        ),
        *(_of(f"{t}_{x}", f"{t}@{x}", x, partial(_on_one, symbol=t)) for t in tops.split()),
        _of(
            f"2V_{x}",
            f"vacancy {x}+{x}",
            x,
            partial(_pair, across=False),
            partial(_pair, across=True),
        ),
        *(
            _of(f"V_{x} line {n}", f"vacancy line {n}{x}", x, partial(_line, count=n))
            for n in LINES
        ),
    )


def _on_one(sheet: Sheet, atom: int, symbol: str) -> Sheet:
    return defects.substitute(sheet, [atom], symbol)


GRAPHENE = (
    _of("V1", "vacancy C", "C", _vacancy),
    _of("V1(5-9)", "vacancy 5-9", "C", named_rings.closed_vacancy),
    _of("V2(5-8-5)", "divacancy 5-8-5", "C", _divacancy),
    _of("V2(555-777)", "divacancy 555-777", "C", _turned_divacancy),
    _of("SW(55-77)", "Stone-Wales 55-77", "C", _stone_wales),
    _of("5-7", "dislocation 5-7", "C", named_rings.dislocations),
    _of("ad-dimer C2", "ad-dimer C2", "C", named_rings.ad_dimer),
    _of(
        "adatom Si",
        "adatom Si",
        "C",
        partial(_adatom, symbol="Si", bridge=True),
        partial(_adatom, symbol="Si", bridge=False),
    ),
    *(_foreign(f"{m}1C3", m, 1) for m in ("Si", "N", "B", "P", "Al", "Ge", "Fe", "Pt")),
    *(_foreign(f"{m}1C4", m, 2) for m in ("Si", "S", "Cr", "Fe", "W")),
    _foreign("N2C4", "N", 1, 1),
    _foreign("B2C4", "B", 1, 1),
    _foreign("Si2C4", "Si", 1, 1),
    _foreign("Si2C5", "Si", 1, 2),
    _foreign("Si2C6", "Si", 2, 2),
    _of("Si3C6", "Si3C6", "C", partial(_triangle, symbol="Si")),
    _of("Si4C6", "Si4C6", "C", partial(_star, symbol="Si")),
)
NITRIDE = (
    _of("V_B", "vacancy B", "B", _vacancy),
    _of("V_N", "vacancy N", "N", _vacancy),
    _of("V_BN", "vacancy BN", "B", partial(_vacancy, count=2)),
    _of("C_N", "C@N", "N", partial(_on_one, symbol="C")),
    _of("C_B", "C@B", "B", partial(_on_one, symbol="C")),
    _of("Si_B", "Si@B", "B", partial(_on_one, symbol="Si")),
)
HOSTS: Mapping[str, tuple[Kind, ...]] = {
    "graphene": GRAPHENE,
    "hBN": NITRIDE,
    "1H-MoS2": _dichalcogenide("Mo", "S", "W Re", "O Se"),
    # without Re on W: 2 % more signal, which no image of usual dose can show
    "1H-WSe2": _dichalcogenide("W", "Se", "V Mo", "S Te"),
}
NAMES: Mapping[str, Mapping[str, str]] = {
    host: {kind.sheet_name: kind.name for kind in kinds} for host, kinds in HOSTS.items()
}
