"""From the table of atoms of one frame to their graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.spatial import ConvexHull, QhullError, cKDTree
from scipy.special import ndtr

from atomscope.errors import UsageError
from atomscope.graph.atomgraph import AtomGraph, Bools, Floats, Ints, pack, spread_along, twins
from atomscope.graph.rules import BondRules, Windows, rules_of, windows
from atomscope.graph.shell import NEAR, shell_radius

_SAMPLE = 20_000  # atoms whose bonds tell how long bonds are beside the sum of radii
_Unit = Literal["Å", "px"]


def connect(
    atoms: pd.DataFrame,
    rules: BondRules | Mapping[str, float] | str | None = None,
    *,
    shape: tuple[int, int] | None = None,
    pixel_size: float | None = None,
    max_neighbours: int = 8,
    least_p: float = 0.05,
) -> AtomGraph:
    """Find the bonds between the atoms of one frame.

    Lengths are in Å where the table has `x` and `y` or a pixel size is given, else in px. A bond
    is a pair not farther apart than the rules allow (see `BondRules`); where they or the species
    say nothing, the first shell of the lattice itself does.

    Args:
        atoms: Table of one frame; of its columns `x`, `y` or `x_px`, `y_px` are needed, and
            `species` and the errors are used.
        rules: Longest bonds: rules, lengths by pair ({'C-C': 1.75}) or a name.
        shape: Height and width of the frame in px. Without it the frame ends where the atoms do:
            at their convex hull.
        pixel_size: Å per px, for tables without `x` and `y`.
        max_neighbours: Of each atom at most so many nearest ones are looked at.
        least_p: A pair that is longer than the rules allow, but within the first shell of the
            lattice, is bonded where errors of position account for it: where the probability
            that its true distance is allowed is at least this. 0.5 holds all to the rules.

    Returns:
        The graph, its atoms in the order of the table.

    Raises:
        UsageError: More than one frame, positions that are missing or not finite, all atoms in
            one place, a species that is no formula, or an option that cannot be.
    """
    _check(atoms, max_neighbours, least_p)
    rules = rules_of(rules)
    xy, errors, unit, pixel = _positions(atoms, pixel_size)
    species = _species(atoms)
    if len(xy) < 2:
        return _without_bonds(xy, species, errors, unit)
    distance, near = _nearest(xy, max(max_neighbours, NEAR))
    shell = shell_radius(distance)
    if shell <= 0:
        raise UsageError(f"atoms: all {len(xy)} are in one place; expected positions that differ.")
    window = windows(species, rules, shell, _some_pairs(distance, near, shell), unit == "Å")
    distance, near = distance[:, :max_neighbours], near[:, :max_neighbours]
    mask, neighbours, vectors, bond_p = _bonds(xy, errors, distance, near, window, shell, least_p)
    border = _border(xy, window.reach, shape, pixel)
    return AtomGraph(xy, species, neighbours, mask, vectors, bond_p, errors, border, unit)


def _check(atoms: pd.DataFrame, max_neighbours: int, least_p: float) -> None:
    if max_neighbours < 1:
        raise UsageError(f"max_neighbours {max_neighbours}: expected 1 or more.")
    if not 0 < least_p <= 0.5:
        raise UsageError(f"least_p {least_p}: expected a probability above 0, at most 0.5.")
    if not isinstance(atoms, pd.DataFrame):
        raise UsageError(f"atoms: {type(atoms).__name__}; expected a table (pandas.DataFrame).")
    if "frame" in atoms and atoms["frame"].nunique() > 1:
        raise UsageError(
            f"atoms: {atoms['frame'].nunique()} frames; expected one: atoms[atoms.frame == 0]."
        )


def _positions(
    atoms: pd.DataFrame, pixel_size: float | None
) -> tuple[Floats, Floats, _Unit, float | None]:
    """Positions and errors (N, 2), their unit, and its worth of a pixel where that is known."""
    if pixel_size is not None and not (np.isfinite(pixel_size) and pixel_size > 0):
        raise UsageError(f"pixel_size {pixel_size!r}: expected Å per px, above 0.")
    in_px, in_a = (_numbers(atoms, names) for names in (("x_px", "y_px"), ("x", "y")))
    if in_a is not None and (in_px is None or np.isfinite(in_a).any()):
        xy, unit, errors = in_a, "Å", _numbers(atoms, ("x_err", "y_err"))
        pixel = pixel_size if pixel_size is not None else _pixel(in_a, in_px)
    elif in_px is not None:
        unit, pixel = ("px", 1.0) if pixel_size is None else ("Å", pixel_size)
        errors = _numbers(atoms, ("x_err_px", "y_err_px"))
        xy, errors = in_px * pixel, None if errors is None else errors * pixel
    else:
        raise UsageError("atoms: no positions; expected columns x, y (Å) or x_px, y_px.")
    bad = int((~np.isfinite(xy)).any(axis=1).sum())
    if bad:
        raise UsageError(
            f"atoms: {bad} of {len(xy)} positions are not finite; leave these rows out."
        )
    if errors is None:
        errors = np.zeros_like(xy)
    return xy, np.where(np.isfinite(errors), errors, 0.0), unit, pixel  # type: ignore[return-value]


def _numbers(atoms: pd.DataFrame, names: tuple[str, str]) -> Floats | None:
    if not all(name in atoms for name in names):
        return None
    try:
        columns = [
            pd.to_numeric(atoms[name]).to_numpy(np.float64, na_value=np.nan) for name in names
        ]
    except (TypeError, ValueError):
        raise UsageError(f"atoms: {' or '.join(names)} holds words; expected numbers.") from None
    return np.stack(columns, axis=1)


def _pixel(in_a: Floats, in_px: Floats | None) -> float | None:
    """Å per px from a table that has both."""
    if in_px is None:
        return None
    used = np.isfinite(in_a) & np.isfinite(in_px) & (np.abs(in_px) > 1.0)
    return float(np.median(in_a[used] / in_px[used])) if used.any() else None


def _species(atoms: pd.DataFrame) -> Any:
    if "species" not in atoms:
        return np.full(len(atoms), "", dtype=object)
    return atoms["species"].astype(object).fillna("").to_numpy(dtype=object)


def _without_bonds(xy: Floats, species: Any, errors: Floats, unit: _Unit) -> AtomGraph:
    n = len(xy)
    none = np.zeros((n, 0))
    return AtomGraph(
        positions=xy,
        species=species,
        neighbours=none.astype(np.intp),
        mask=none.astype(bool),
        vectors=np.zeros((n, 0, 2)),
        bond_p=none,
        errors=errors,
        border=np.ones(n, dtype=bool),
        unit=unit,
    )


def _nearest(xy: Floats, count: int) -> tuple[Floats, Ints]:
    """Distances and numbers (N, k) of the nearest other atoms, inf and own number if too few.

    A fixed number per atom keeps time and memory linear whatever the scale of the positions is.
    """
    k = min(count + 1, len(xy))
    distance, near = cKDTree(xy).query(xy, k=k)
    own = near == np.arange(len(xy))[:, None]
    # Among more atoms in one place than are looked at, an atom may miss itself.
    own[~own.any(axis=1), -1] = True
    others = np.argsort(own, axis=1, kind="stable")[:, :-1]
    return (
        np.take_along_axis(distance, others, axis=1),
        np.take_along_axis(near, others, axis=1).astype(np.intp),
    )


def _some_pairs(distance: Floats, near: Ints, radius: float) -> tuple[Ints, Ints]:
    """Both atoms (P,), (P,) of pairs within a radius, of a sample of the atoms."""
    step = max(1, len(distance) // _SAMPLE)
    row, column = np.nonzero(distance[::step] <= radius)
    return row * step, near[::step][row, column]


def _bonds(
    xy: Floats,
    errors: Floats,
    distance: Floats,
    near: Ints,
    window: Windows,
    shell: float,
    least_p: float,
) -> tuple[Bools, Ints, Floats, Floats]:
    """Mask, neighbours, vectors and probabilities, neighbours sorted by angle."""
    longest = window.longest[window.code[:, None], window.code[near]]
    atom, column = np.nonzero((distance <= np.maximum(longest, shell)) & (longest > 0))
    other, room = near[atom, column], (longest - distance)[atom, column]
    sigma = spread_along(xy[other] - xy[atom], errors[atom], errors[other])
    score = np.divide(room, sigma, out=np.where(room >= 0, np.inf, -np.inf), where=sigma > 0)
    p = ndtr(score)
    likely = (room >= 0) | (p >= least_p)
    mask, neighbours, bond_p = _padded(len(xy), atom[likely], other[likely], p[likely])
    vectors = np.where(mask[..., None], xy[neighbours] - xy[:, None], 0.0)
    angle = np.arctan2(vectors[..., 1], vectors[..., 0])
    order = np.argsort(np.where(mask, angle, np.inf), axis=1)
    neighbours = np.take_along_axis(neighbours, order, axis=1)
    vectors = np.take_along_axis(vectors, order[..., None], axis=1)
    bond_p = np.take_along_axis(bond_p, order, axis=1)
    both = twins(neighbours, mask) >= 0
    if np.array_equal(both, mask):
        return mask, neighbours, vectors, bond_p
    return pack(both, neighbours, vectors, bond_p)


def _padded(count: int, atom: Ints, other: Ints, p: Floats) -> tuple[Bools, Ints, Floats]:
    """Write pairs, sorted by atom, into rows of the same length."""
    degree = np.bincount(atom, minlength=count)
    slot = np.arange(len(atom)) - (np.cumsum(degree) - degree)[atom]
    mask = np.arange(int(degree.max(initial=0))) < degree[:, None]
    neighbours = np.full(mask.shape, -1, dtype=np.intp)
    bond_p = np.zeros(mask.shape)
    neighbours[atom, slot], bond_p[atom, slot] = other, p
    return mask, neighbours, bond_p


def _border(xy: Floats, reach: Floats, shape: tuple[int, int] | None, pixel: float | None) -> Bools:
    """Where the frame ends within reach (N,) of an atom."""
    if shape is None:
        return _near_hull(xy, reach)
    if pixel is None:
        raise UsageError("shape is in px and positions are in Å: give pixel_size as well.")
    height, width = shape
    low, high = -0.5 * pixel, (np.array([width, height]) - 0.5) * pixel
    return np.asarray(((xy - low < reach[:, None]) | (high - xy < reach[:, None])).any(axis=1))


def _near_hull(xy: Floats, reach: Floats) -> Bools:
    try:
        facets = ConvexHull(xy).equations
    except (QhullError, ValueError):  # on one line, or fewer than three: all are at the border
        return np.ones(len(xy), dtype=bool)
    near = np.zeros(len(xy), dtype=bool)
    for normal_x, normal_y, offset in facets:
        near |= xy[:, 0] * normal_x + xy[:, 1] * normal_y + offset > -reach
    return near
