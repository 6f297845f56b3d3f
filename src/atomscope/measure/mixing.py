"""How species mix on a sublattice: Warren-Cowley short-range order, dopants beside dopants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import ndtri

from atomscope.intervals import binomial_interval
from atomscope.lattice import Lattice
from atomscope.measure.field import Field
from atomscope.rules.findings import Floats, Ints, Words
from atomscope.rules.host import commonest

SHELLS = 3
_REPEATS = 4  # lattice vectors along each axis among which shells are looked for
_ALIKE = 1.08  # ratio of two distances of the same shell
_OFF = 0.15  # spacings of the sublattice: how far a neighbour may be from its shell
_FEWEST = 8  # atoms on a sublattice


@dataclass(frozen=True, eq=False)
class Shell:
    """Pairs of sites of one sublattice at one distance.

    Attributes:
        number: From 1.
        pairs: Sites of each pair, shape (E, 2).
        degree: Pairs that each site is in, shape (n,).
        whole: Neighbours that a site far from the border has.
    """

    number: int
    pairs: Ints
    degree: Ints
    whole: int


def shells(lattice: Lattice, xy: Floats, count: int = SHELLS) -> list[Shell]:
    """Find the pairs of the first shells of a sublattice.

    Args:
        lattice: Its vectors say which distances there are.
        xy: Sites, px, shape (n, 2).
        count: Of shells.
    """
    distance, whole = _distances(lattice, count)
    slack = _OFF * distance[0]
    found, edges = cKDTree(xy), []
    pairs = found.query_pairs(distance[-1] + slack, output_type="ndarray").reshape(-1, 2)
    apart = np.hypot(*(xy[pairs[:, 0]] - xy[pairs[:, 1]]).T)
    nearest = np.abs(apart[:, None] - distance).argmin(axis=1) if len(pairs) else np.zeros(0, int)
    for k in range(len(distance)):
        here = pairs[(nearest == k) & (np.abs(apart - distance[k]) < slack)]
        degree = np.bincount(here.ravel(), minlength=len(xy))
        edges.append(Shell(k + 1, here.astype(np.intp), degree, whole[k]))
    return edges


def _distances(lattice: Lattice, count: int) -> tuple[Floats, list[int]]:
    """Distances in px of the first shells of lattice points, and the neighbours in each."""
    steps = np.arange(-_REPEATS, _REPEATS + 1)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    length = np.sort(np.hypot(*(grid[np.any(grid != 0, axis=1)] @ lattice.vectors).T))
    ends = np.flatnonzero(length[1:] > _ALIKE * length[:-1]) + 1
    groups = np.split(length, ends)[:count]
    return np.array([g.mean() for g in groups]), [len(g) for g in groups]


def warren_cowley(
    species: Words, shell: Shell, level: float = 0.95
) -> Iterator[tuple[str, str, float, float, float, int]]:
    """Yield the Warren-Cowley parameter of each pair of species in a shell.

    α = 1 - P(ab) / (c_a c_b), P(ab) the share of ordered pairs of sites that are a and b, c the
    shares of the species (Cowley, J. Appl. Phys. 21, 24 (1950)): 0 where species are mixed at
    random, negative where unlike ones seek each other (a ≠ b). In a field with a border
    this is the symmetric form, α_ab = α_ba.

    The interval has the width that random mixing of the same species on the same sites gives:
    the exact variance of join counts over all permutations (Cliff, Ord, Spatial Processes, 1981,
    chapter 2; see `_join_variance`) and the normal distribution, widened by one pair for
    counts that are few. So 0 lies outside in at most about 1 - level of random alloys.

    Args:
        species: Of each site, words, shape (n,).
        shell: Pairs of sites.
        level: Of the interval.

    Yields:
        Species a and b (a before b by name), α, low, high, number of pairs.
    """
    n, edges = len(species), len(shell.pairs)
    names, code, counts = np.unique(species.astype(str), return_inverse=True, return_counts=True)
    if edges == 0 or len(names) < 2 or n < 4:
        return
    i, j = code.reshape(-1)[shell.pairs].T
    forks = int((shell.degree * (shell.degree - 1)).sum())
    z = float(ndtri(0.5 + level / 2))
    for a, b in combinations_with_replacement(range(len(names)), 2):
        joins = int((((i == a) & (j == b)) | ((i == b) & (j == a))).sum())
        times = 1 if a == b else 2  # ordered pairs of sites per join, halved
        usual = times * edges * counts[a] * counts[b] / n**2
        spread = np.sqrt(_join_variance(n, edges, forks, int(counts[a]), int(counts[b]), a == b))
        half = (z * spread + times) / usual
        alpha = 1 - joins / usual
        yield str(names[a]), str(names[b]), alpha, alpha - half, alpha + half, joins


def _join_variance(n: int, edges: int, forks: int, a: int, b: int, same: bool) -> float:
    """Variance of the number of joins when species are permuted over the sites.

    From the chances that two joins are both between the two species: of one join (2 sites), of two
    that share a site (a fork, 3), of two apart (4).
    """
    apart = edges**2 - edges - forks
    two, three, four = n * (n - 1), n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3)
    if same:
        one = a * (a - 1) / two
        fork, both = one * (a - 2) * two / three, one * (a - 2) * (a - 3) * two / four
    else:
        one = 2 * a * b / two
        fork, both = a * b * (a + b - 2) / three, 4 * a * (a - 1) * b * (b - 1) / four
    mean = edges * one
    return max(edges * one + forks * fork + apart * both - mean**2, 0.0)


def dopant_neighbours(
    species: Words, shell: Shell, level: float = 0.95
) -> Iterator[dict[str, Any]]:
    """Yield how many foreign neighbours the foreign atoms of a sublattice have.

    Foreign is what is not the commonest species. Only atoms whose shell is whole are counted, so
    that the border hides no neighbours. The intervals are exact binomial ones.

    Yields:
        Rows of `tables.NUMBERS`: the share of foreign atoms with `at` foreign neighbours.
    """
    foreign = species != commonest(species)
    i, j = shell.pairs.T
    near = np.bincount(i, foreign[j], len(species)) + np.bincount(j, foreign[i], len(species))
    whole = foreign & (shell.degree == shell.whole)
    if not whole.any():
        return
    counts = np.bincount(near[whole].astype(int))
    total = int(counts.sum())
    for number, count in enumerate(counts.tolist()):
        low, high = binomial_interval(count, total, level)
        yield {
            "quantity": "foreign neighbours", "at": number, "value": count / total,
            "low": low, "high": high, "n": total,
        }  # fmt: skip


def mixing_rows(field: Field, level: float = 0.95) -> Iterator[dict[str, Any]]:
    """Yield the rows of `tables.NUMBERS` on mixing for one frame.

    Quantities: 'Warren-Cowley' (group 'a|b on s', s the sublattice, `at` the shell) and 'foreign
    neighbours'. Only sublattices with more than one species have any.
    """
    lattice = field.lattice
    if lattice is None:
        return
    words = field.atoms["species"].astype(object).fillna("").astype(str).to_numpy(object)
    for site in range(len(lattice.basis)):
        rows = np.flatnonzero((lattice.sublattice == site) & (words != ""))
        species = words[rows]
        if len(rows) < _FEWEST or len(set(species)) < 2:
            continue
        for shell in shells(lattice, field.xy[rows]):
            for a, b, alpha, low, high, n in warren_cowley(species, shell, level):
                yield {
                    "quantity": "Warren-Cowley", "group": f"{a}|{b} on {site}", "at": shell.number,
                    "value": alpha, "low": low, "high": high, "n": n, "unit": "",
                }  # fmt: skip
            for row in dopant_neighbours(species, shell, level):
                group = f"on {site}, shell {shell.number}"
                yield {**row, "group": group, "unit": ""}
