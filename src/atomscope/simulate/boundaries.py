"""Grains, phases, steps and stacks: sheets made of several crystals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import UsageError
from atomscope.simulate.bonds import Rule, rule_of
from atomscope.simulate.scene import Floats
from atomscope.simulate.sheets import Sheet, bonded, noted, supercell, without

if TYPE_CHECKING:
    from ase import Atoms

CLASH = 0.78  # atoms of two grains nearer than this share of a bond cannot both stay
REACH = 1.25  # bonds at a grain boundary before relaxation, in units of the ideal
SHIFTS = 6  # steps of the grid of shifts along each vector of the cell
STRIP = 10.0  # Å on each side of a boundary on which shifts are compared
MARGIN = 8.0  # Å that are cut off at last, where the ends of the crystal are


def grain_boundary(
    unit: Atoms,
    misorientation: float,
    edges: tuple[float, float] = (40.0, 40.0),
    *,
    inclination: float = 0.0,
    shift: tuple[float, float] | None = None,
) -> Sheet:
    """Join two grains of a layer along x = half the width of the field.

    The left grain is turned by minus, the right one by plus half the misorientation. The grains
    overlap by half a bond; of two atoms that clash the right one goes and the left one takes
    the middle. Relax the sheet afterwards.

    Args:
        unit: Cell of the layer.
        misorientation: Angle between the grains in degrees.
        edges: Width and height of the field in Å, not periodic.
        inclination: Angle of the mean crystal to the boundary in degrees.
        shift: Shift of the right grain in Å before it is cut; None for the one, of a grid of
            36, that leaves the fewest atoms with too many or too few bonds.

    Returns:
        A sheet whose atoms have the array `grain`, 0 or 1; the defect 'grain boundary' is made
        of the atoms that are bonded across or have lost a bond.
    """
    rule = rule_of(unit)
    left, right = (
        _patch(unit, edges, inclination + sign * misorientation / 2, np.zeros(2))
        for sign in (-1.0, 1.0)
    )
    if shift is None:
        grid = [(i, j) for i in range(SHIFTS) for j in range(SHIFTS)]
        trials = [np.array(g) / SHIFTS @ unit.cell[:2, :2] for g in grid]
        best = [_unsaturated(_joined(left, right, t, edges, rule, STRIP)) for t in trials]
        shift = trials[int(np.argmin(best))]
    sheet = _joined(left, right, np.asarray(shift), edges, rule, np.inf)
    grain = sheet.atoms.arrays["grain"]
    across = sheet.bonds[np.ptp(grain[sheet.bonds], axis=1) > 0]
    wall = np.union1d(across.ravel(), _lacking(sheet, edges[0] / 2))
    return _framed(sheet, "grain boundary", wall, edges)


def _joined(
    left: Atoms, right: Atoms, shift: Floats, edges: tuple[float, float], rule: Rule, strip: float
) -> Sheet:
    """Join two grains; of `strip` Å on both sides of their boundary only."""
    bond = rule.shortest
    parts = []
    for number, atoms in enumerate((left, right)):
        moved = atoms.copy()
        moved.positions[:, :2] += number * shift
        x = moved.positions[:, 0] - edges[0] / 2
        beyond = (x > -bond / 4) if number else (x < bond / 4)
        parts.append(moved[beyond & (np.abs(x) < strip)])
        parts[-1].set_array("grain", np.full(len(parts[-1]), number))
    sheet = _trimmed(bonded(_without_clashes(parts[0] + parts[1], CLASH * bond), rule, REACH))
    loose = np.bincount(sheet.bonds.ravel(), minlength=len(sheet.atoms)) < 2
    return without(sheet, list(np.flatnonzero(loose)))[0]


def _unsaturated(sheet: Sheet) -> int:
    """Count the wrong bonds near the middle of a strip; those at its ends are as many always."""
    x = sheet.atoms.positions[:, 0]
    inner = np.abs(x - (x.min() + x.max()) / 2) < STRIP / 2
    return int(np.abs(_valence(sheet)[inner]).sum())


def _trimmed(sheet: Sheet) -> Sheet:
    """Drop the longest bonds of atoms that have too many."""
    vector = sheet.atoms.positions[sheet.bonds[:, 1]] - sheet.atoms.positions[sheet.bonds[:, 0]]
    excess = _valence(sheet)
    keep = np.ones(len(sheet.bonds), dtype=bool)
    for k in np.argsort(-np.linalg.norm(vector, axis=1)):
        if not (excess > 0).any():
            break
        if excess[sheet.bonds[k]].max() > 0:
            keep[k] = False
            excess[sheet.bonds[k]] -= 1
    return replace(sheet, bonds=sheet.bonds[keep])


def phase_border(
    unit: Atoms,
    edges: tuple[float, float] = (40.0, 40.0),
    *,
    share: float = 0.5,
    inclination: float = 30.0,
) -> Sheet:
    """Turn the right part of a 1H layer into 1T: its lower chalcogens glide to the free sites.

    They glide away from the border, so that no two come too near; the phases keep one lattice,
    as they do in MoS2 (Lin et al., Nat. Nanotechnol. 9, 391 (2014)).

    Args:
        unit: Cell of a 1H layer.
        edges: Width and height of the field in Å, not periodic.
        share: Part of the width that stays 1H.
        inclination: Turn of the crystal in degrees; 30 puts a row of metal atoms along the
            border, 0 across.

    Returns:
        A sheet whose atoms have the array `phase`, '1H' or '1T'; the defect 'border 1H|1T' is
        made of the atoms beside the border that have lost a bond.

    Raises:
        UsageError: The layer is not 1H.
    """
    metal, gone = _prism(unit)
    atoms = _patch(unit, edges, inclination, np.zeros(2))
    x = atoms.positions[:, 0]
    c, s = np.cos(np.deg2rad(inclination)), np.sin(np.deg2rad(inclination))
    turned = [v @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]]) for v in gone]
    right = x > share * edges[0]
    symbols = np.array(atoms.get_chemical_symbols())
    lower = (symbols != metal) & (atoms.positions[:, 2] < unit.positions[:, 2].mean() - 0.5)
    atoms.positions[right & lower] += max(turned, key=lambda v: float(v[0]))
    atoms.set_array("phase", np.where(right, "1T", "1H"))
    sheet = bonded(atoms, rule_of(unit))
    return _framed(sheet, "border 1H|1T", _lacking(sheet, share * edges[0]), edges)


def cut(
    sheet: Sheet, point: tuple[float, float], angle: float, *, layer: int | None = None
) -> Sheet:
    """Take away what lies beyond a straight line: an edge, or in one layer of a stack a step.

    Args:
        sheet: To cut.
        point: A point of the line in Å.
        angle: Direction in degrees, from x to y, to the side that goes.
        layer: Number of the layer that is cut, None for all.
    """
    out = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    gone = (sheet.atoms.positions[:, :2] - point) @ out > 0
    if layer is not None:
        gone &= sheet.atoms.arrays["layer"] == layer
    lost = np.unique(sheet.bonds[gone[sheet.bonds].sum(axis=1) == 1])
    left, index = without(sheet, list(np.flatnonzero(gone)))
    rim = [int(index[i]) for i in lost if index[i] >= 0]
    if not rim:
        raise UsageError(f"cut at {point} Å: the line does not pass through the sheet.")
    name = "edge" if layer is None else "step"
    return noted(left, name, rim, left.atoms.positions[rim].mean(axis=0))


def stack(
    lower: Atoms,
    upper: Atoms,
    spacing: float,
    edges: tuple[float, float] = (40.0, 40.0),
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    twist: float = 0.0,
) -> Sheet:
    """Lay one layer on another; `cut` it to get a step.

    Args:
        lower: Cell of the lower layer.
        upper: Cell of the upper layer.
        spacing: Distance of their middle planes in Å (half of c in 2H crystals).
        edges: Width and height of the field in Å, not periodic.
        shift: Shift of the upper layer in Å.
        twist: Turn of the upper layer about the middle of the field, in degrees.

    Returns:
        A sheet whose atoms have the array `layer`, 0 or 1, without defects.
    """
    parts = []
    for number, unit in enumerate((lower, upper)):
        atoms = _patch(unit, edges, twist * number, np.array(shift) * number)
        middle = atoms.positions[:, 2].max() + atoms.positions[:, 2].min()
        atoms.positions[:, 2] += number * spacing - middle / 2
        atoms.set_array("layer", np.full(len(atoms), number))
        parts.append(bonded(atoms, rule_of(unit)))
    rules = [part.rule for part in parts]
    both = replace(
        rules[0],
        lengths={**rules[1].lengths, **rules[0].lengths},
        cosines={**rules[1].cosines, **rules[0].cosines},
        bonds={**rules[1].bonds, **rules[0].bonds},
        flat=all(rule.flat for rule in rules),
    )
    bonds = np.concatenate([parts[0].bonds, parts[1].bonds + len(parts[0].atoms)])
    atoms = parts[0].atoms + parts[1].atoms
    return cropped(Sheet(atoms, bonds, both), edges)


def _patch(unit: Atoms, edges: tuple[float, float], turn: float, shift: Floats) -> Atoms:
    """A turned piece of a layer, not periodic, that covers the field and a margin around it."""
    reach = float(np.hypot(*edges)) + 2 * MARGIN + 2 * float(np.linalg.norm(shift))
    atoms = supercell(unit, (reach, reach)).atoms
    atoms.pbc = False
    middle = atoms.cell[:2, :2].sum(axis=0) / 2
    # Start from an atom, so that the pattern does not depend on the size of the field.
    middle = atoms.positions[np.argmin(np.linalg.norm(atoms.positions[:, :2] - middle, axis=1)), :2]
    c, s = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    flat = (atoms.positions[:, :2] - middle) @ np.array([[c, s], [-s, c]])
    atoms.positions[:, :2] = flat + np.array(edges) / 2 + shift
    atoms.set_cell([*edges, unit.cell[2, 2]])
    out = np.abs(atoms.positions[:, :2] - np.array(edges) / 2) > np.array(edges) / 2 + MARGIN
    return atoms[~out.any(axis=1)]


def _without_clashes(atoms: Atoms, least: float) -> Atoms:
    """Replace pairs of atoms of the same element that are too near by one in their middle."""
    from scipy.spatial import cKDTree

    atoms = atoms.copy()
    pairs = cKDTree(atoms.positions).query_pairs(least, output_type="ndarray")
    distance = np.linalg.norm(np.diff(atoms.positions[pairs], axis=1)[:, 0], axis=1)
    keep = np.ones(len(atoms), dtype=bool)
    for i, j in np.sort(pairs[np.argsort(distance)], axis=1):
        if keep[i] and keep[j]:
            keep[j] = False
            if atoms.numbers[i] == atoms.numbers[j]:
                atoms.positions[i] = (atoms.positions[i] + atoms.positions[j]) / 2
    return atoms[keep]


def _valence(sheet: Sheet) -> NDArray[np.int64]:
    """Bonds that each atom has more than in the perfect crystal."""
    counts = np.bincount(sheet.bonds.ravel(), minlength=len(sheet.atoms))
    usual = np.array([sheet.rule.bonds[s] for s in sheet.atoms.get_chemical_symbols()])
    return np.asarray(counts - usual)


def _lacking(sheet: Sheet, x: float) -> NDArray[np.intp]:
    """Atoms near a vertical line that have not the bonds of the perfect crystal."""
    near = np.abs(sheet.atoms.positions[:, 0] - x) < 3 * sheet.rule.longest
    return np.flatnonzero(near & (_valence(sheet) != 0))


def _framed(sheet: Sheet, name: str, atoms: NDArray[np.intp], edges: tuple[float, float]) -> Sheet:
    """Name a border and cut the margin off."""
    inside = _inside(sheet, edges)
    chosen = [int(i) for i in atoms if inside[i]]
    centre = sheet.atoms.positions[chosen].mean(axis=0)
    return cropped(noted(sheet, name, chosen, centre), edges)


def _inside(sheet: Sheet, edges: tuple[float, float]) -> NDArray[np.bool_]:
    xy = sheet.atoms.positions[:, :2]
    return np.asarray(np.all((xy >= 0) & (xy < edges), axis=1))


def cropped(sheet: Sheet, edges: tuple[float, float]) -> Sheet:
    """Return what lies within the field."""
    return without(sheet, list(np.flatnonzero(~_inside(sheet, edges))))[0]


def _prism(unit: Atoms) -> tuple[str, list[Floats]]:
    """Return the metal of a 1H layer, and the steps of a chalcogen to the free sites."""
    rule = rule_of(unit)
    metals = [s for s, count in rule.bonds.items() if count == 6]
    heights = np.unique(np.round(unit.positions[:, 2], 3))
    sheet = supercell(unit, (15.0, 15.0))
    if len(metals) == 1 and len(heights) == 3:
        metal = sheet.nearest((7.5, 7.5), metals[0])
        away = sheet.away(metal)[sheet.neighbours(metal)]
        steps = [np.array([*v[:2], 0.0]) for v in away if v[2] < 0]
        upper = [np.array([*v[:2], 0.0]) for v in away if v[2] > 0]
        if np.allclose(np.sort(steps, axis=0), np.sort(upper, axis=0), atol=1e-3):
            return metals[0], steps
    raise UsageError("phase border: expected a 1H layer, for example that of 1H-MoS2.")
