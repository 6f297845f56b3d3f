"""Straight lines between domains of one crystal, and the domain of a distorted phase.

Rows of atoms are laid parallel to the line, which runs along y in the middle of the field.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atomscope.errors import UsageError
from atomscope.simulate.bonds import rule_of
from atomscope.simulate.boundaries import MARGIN, cropped, phase_border
from atomscope.simulate.relax import relax
from atomscope.simulate.sheets import Sheet, bonded, noted

if TYPE_CHECKING:
    from ase import Atoms

Edges = tuple[float, float]
REACH = 1.45  # bonds across a line before relaxation, in units of the ideal
WALL = 3.5  # Å from a line: atoms that are told to be of it
# Å between the rows of metal atoms beside a line, where they stay: springs know no metal bonds,
# and would bring those of rings of four nearer than in the metal (Mo 2.7 Å)
TWINS = {"4|4P": 2.8, "4|4E": 2.0, "8": 3.6}
DIMER, STRUT = 1.40, 1.30  # Å: pairs on the line of 5-8-5, and rows of atoms beside them
PAIRING = (
    0.23  # Å: metal rows of 1T'; bonds of 2.77 Å in MoS2 (Eda et al., ACS Nano 6, 7311 (2012))
)
GAP = 0.65  # Å that two AO planes stand farther apart: 2.6 Å in Sr2TiO4 (Ruddlesden, Popper,
# Acta Cryst. 10, 538 (1957)) against 1.95 Å in SrTiO3


@dataclass(frozen=True)
class Row:
    """Atoms of one element in a row along y: (x, start + n period, height)."""

    symbol: str
    x: float
    start: float
    height: float


def pentagon_line(unit: Atoms, edges: Edges = (40.0, 40.0)) -> Sheet:
    """Join two grains of graphene by pairs of atoms: rings 5-5-8 in turn along a zigzag row.

    Lahiri et al., Nat. Nanotechnol. 5, 326 (2010). The grains are mirror images, and have the same
    orientation.
    """
    period = float(np.linalg.norm(unit.cell[0]))
    symbol, bond = unit.get_chemical_symbols()[0], period / np.sqrt(3)
    rows = []
    for sign in (-1, 1):
        for k in range(int((edges[0] / 2 + MARGIN) / (1.5 * bond)) + 1):
            x, start = STRUT + 1.5 * k * bond, 0.5 * k * period
            rows.append(Row(symbol, sign * x, start, 0.0))
            rows.append(Row(symbol, sign * (x + bond / 2), start + period / 2, 0.0))
    atoms = _laid(unit, rows, period, edges)
    away = (period - DIMER) / 2
    pairs = [Row(symbol, 0.0, y, 0.0) for y in (away, period - away)]
    atoms += _laid(unit, pairs, 2 * period, edges)
    return _settled(atoms, unit, "line 5-8-5", edges, 2.6)


def mirror_twin(unit: Atoms, edges: Edges = (40.0, 40.0), *, kind: str = "4|4P") -> Sheet:
    """Join a 1H layer to its mirror image along a zigzag row.

    '4|4P': both grains share a row of chalcogens; rings of four atoms that share points.
    '4|4E': the second grain is turned by 180°; rings of four that share edges. (Zhou et al., Nano
    Lett. 13, 2615 (2013).) '8': they share a row of chalcogens that has one metal atom on each
    side; rings of eight.

    Raises:
        UsageError: There is no such kind, or the layer is not 1H.
    """
    if kind not in TWINS:
        raise UsageError(f"twin boundary {kind!r}: expected one of {', '.join(TWINS)}.")
    metal, other, height = _prisms(unit)
    period = float(np.linalg.norm(unit.cell[0]))
    bond = period / np.sqrt(3)
    # the third bond of a metal atom leads to the line, or the two others do
    side = -1 if kind == "4|4P" else 1
    shared = kind != "4|4E"
    half = TWINS[kind] / 2
    rows = []
    for sign in (-1, 1):
        for k in range(int((edges[0] / 2 + MARGIN) / (1.5 * bond)) + 1):
            turned = 0.5 if sign > 0 and not shared else 0.0
            x, start = half + 1.5 * k * bond, (0.5 * k + turned) * period
            rows.append(Row(metal, sign * x, start, 0.0))
            beside = x + side * bond / 2
            if not (shared and side < 0 and k == 0):
                rows += _pair(other, sign * beside, start + period / 2, height)
    if shared:
        rows += _pair(other, 0.0, period / 2 if side < 0 else 0.0, height)
    atoms = _laid(unit, rows, period, edges)
    return _settled(atoms, unit, f"mirror twin boundary {kind}", edges, WALL, (metal,))


def antiphase(unit: Atoms, edges: Edges = (40.0, 40.0), *, gap: float = GAP) -> Sheet:
    """Shift the right half of a cubic perovskite by half a cell along both of its edges.

    Two AO planes meet at the line, as in a fault of Ruddlesden and Popper.

    Args:
        unit: Cell of the perovskite, A in the corner.
        edges: Width and height of the field in Å, not periodic.
        gap: Distance of the two planes beyond half a cell, Å.
    """
    period = float(unit.cell[0, 0])
    count = int((max(edges) + 2 * MARGIN) / period) + 2
    block = unit.repeat((count, count, 1))
    block.positions[:, :2] -= (count // 2) * period
    left = block[block.positions[:, 0] < 0.1]
    right = block.copy()
    right.positions[:, :2] += [period / 2 + gap, period / 2]
    right = right[right.positions[:, 0] > period / 2 + gap - 0.1]
    left.positions[:, 0] -= (period / 2 + gap) / 2
    right.positions[:, 0] -= (period / 2 + gap) / 2
    return _settled(
        left + right, unit, "antiphase boundary", edges, WALL, unit.get_chemical_symbols()
    )


def distorted(unit: Atoms, edges: Edges = (40.0, 40.0), *, share: float = 0.5) -> Sheet:
    """Turn the right part of a 1H layer into 1T': 1T whose metal rows move together in pairs.

    The rows are parallel to the border. In projection chalcogens hardly move, by 0.06 Å or less in
    WTe2 (Mar, Jobic, Ibers, J. Am. Chem. Soc. 114, 8963 (1992)).
    """
    sheet = phase_border(unit, edges, share=share, inclination=30.0)
    atoms = sheet.atoms.copy()
    metal, _, _ = _prisms(unit)
    mine = np.array(atoms.get_chemical_symbols()) == metal
    mine &= atoms.arrays["phase"] == "1T"
    apart = float(np.linalg.norm(unit.cell[0])) * np.sqrt(0.75)
    x = atoms.positions[mine, 0]
    row = np.rint((x - x.min()) / apart).astype(int)
    atoms.positions[mine, 0] += np.where(row % 2 == 0, PAIRING, -PAIRING)
    atoms.arrays["phase"][atoms.arrays["phase"] == "1T"] = "1T'"
    return Sheet(atoms, sheet.bonds, sheet.rule, sheet.defects)


def _pair(symbol: str, x: float, start: float, height: float) -> list[Row]:
    return [Row(symbol, x, start, sign * height) for sign in (-1, 1)]


def _prisms(unit: Atoms) -> tuple[str, str, float]:
    """Metal, chalcogen and its height over the metal, of a 1H layer."""
    symbols, z = unit.get_chemical_symbols(), unit.positions[:, 2]
    single = [s for s in dict.fromkeys(symbols) if symbols.count(s) == 1]
    double = [s for s in dict.fromkeys(symbols) if symbols.count(s) == 2]
    if len(single) == len(double) == 1:
        pair = [i for i, s in enumerate(symbols) if s == double[0]]
        if np.ptp(unit.positions[pair, :2], axis=0).max() < 1e-3:
            return single[0], double[0], float(np.ptp(z[pair])) / 2
    raise UsageError("twin boundary: expected a 1H layer, for example that of 1H-MoS2.")


def _laid(unit: Atoms, rows: list[Row], period: float, edges: Edges) -> Atoms:
    """Atoms of rows that are longer than the field, about x = 0."""
    from ase import Atoms

    reach = edges[1] / 2 + MARGIN
    steps = np.arange(-np.ceil(reach / period) - 1, np.ceil(reach / period) + 2) * period
    places = [(row.x, row.start + y, row.height) for row in rows for y in steps]
    symbols = [row.symbol for row in rows for _ in steps]
    inside = np.abs(np.array(places)[:, 1]) <= reach
    return Atoms(symbols, positions=places, cell=unit.cell, pbc=False)[inside]


def _settled(
    atoms: Atoms, unit: Atoms, name: str, edges: Edges, wall: float, hold: Collection[str] = ()
) -> Sheet:
    """Bond what lies about x = 0, relax what is near the line, and cut the margin off.

    Elements that are named in `hold` do not move.
    """
    middle = np.array(edges) / 2
    inner = np.abs(atoms.positions[:, 1]) < middle[1] + MARGIN / 2
    near = np.flatnonzero((np.abs(atoms.positions[:, 0]) < wall) & inner)
    atoms.positions[:, :2] += middle
    atoms.set_cell([*edges, unit.cell[2, 2]])
    atoms.pbc = False
    rigid = np.isin(atoms.get_chemical_symbols(), list(hold))
    atoms.set_array("held", ~inner | rigid)  # ends of the rows lack neighbours
    sheet = bonded(atoms, rule_of(unit), REACH)
    sheet = noted(sheet, name, [int(i) for i in near], np.array([*middle, 0.0]))
    return cropped(relax(sheet), edges)
