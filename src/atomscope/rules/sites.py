"""Deviations from what should stand on the sites of the fitted lattice."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from atomscope.lattice import Lattice, empty_sites
from atomscope.rules.findings import Finding, Floats, Group, Ints, Words, joined, straight
from atomscope.rules.host import commonest

_NEAR = 1.15  # like sites that far apart, in lattice vectors, are neighbours
_SHELL = 1.3  # of the distance of the nearest atom: the first shell of an empty site
_REGION = 2.0  # times as far: what belongs to one place where the lattice is not kept
_INSIDE = 1.15  # spacings: an extra atom is that near to two of the lattice, as in a hollow


def expected(lattice: Lattice, species: Words) -> Words:
    """Return the commonest species of each sublattice.

    Args:
        lattice: Of N atoms.
        species: Of each atom, words, shape (N,); '' where unknown.

    Returns:
        Words, shape (B,); '' where the species of no atom is known.
    """
    sites = range(len(lattice.basis))
    return np.array([commonest(species[lattice.sublattice == s]) for s in sites], dtype=object)


def find_swaps(lattice: Lattice, xy: Floats, species: Words, p: Floats) -> list[Finding]:
    """Columns that are known and are not what most others on their sublattice are."""
    words = expected(lattice, species)
    site = lattice.sublattice
    wanted = np.where(site >= 0, words[site], "")
    other = np.flatnonzero((species != "") & (wanted != "") & (species != wanted))
    return [
        Finding("swaps", f"{species[i]}@{wanted[i]}", xy[i], (int(i),), float(p[i])) for i in other
    ]


def find_missing(
    lattice: Lattice, xy: Floats, species: Words, p: Floats, shape: tuple[int, int]
) -> list[Finding]:
    """Sites without an atom. Their probability is that of the atoms around having been found."""
    places = empty_sites(lattice, xy, shape)
    if len(places) == 0:
        return []
    words = expected(lattice, species)
    site = site_of(lattice, xy, places)
    distance, near = cKDTree(xy).query(places, k=min(6, len(xy)))
    found = []
    for s, place, apart, rows in zip(site, places, distance, near, strict=True):
        around = rows[apart < _SHELL * apart[0]]
        word, shell = str(words[s] or "?"), tuple(int(i) for i in around)
        found.append(Finding("missing", word, place, (), float(np.median(p[around])), shell))
    return found


def site_of(lattice: Lattice, xy: Floats, places: Floats) -> Ints:
    """Return the sublattice of places on empty sites, as their nearest members show it."""
    member = np.flatnonzero(lattice.member)
    nearest = member[cKDTree(xy[member]).query(places)[1]]
    step = (places - xy[nearest]) @ np.linalg.inv(lattice.vectors)
    inside = step + lattice.basis[lattice.sublattice[nearest]]
    off = inside[:, None] - lattice.basis[None]
    off -= np.rint(off)
    return np.asarray(np.linalg.norm(off @ lattice.vectors, axis=-1).argmin(axis=1))


def find_extra(lattice: Lattice, xy: Floats, species: Words, p: Floats) -> list[Finding]:
    """Atoms of no site that stand among those of the lattice."""
    member = np.flatnonzero(lattice.member)
    others = np.flatnonzero(~lattice.member)
    if len(member) < 3 or len(others) == 0:
        return []
    distance = cKDTree(xy[member]).query(xy[others], k=3)[0]
    among = others[distance[:, 1] < _INSIDE * lattice.spacing]
    return [Finding("extra", str(species[i] or "?"), xy[i], (int(i),), float(p[i])) for i in among]


def grouped(findings: list[Finding], single: list[bool], lattice: Lattice) -> list[Group]:
    """Join findings on neighbouring like sites; those that are marked single stay alone.

    Atoms of no site are joined with what lies somewhat farther off: where there are several, the
    lattice is not kept in between either.
    """
    if not findings:
        return []
    a, b = lattice.vectors
    steps = np.array([a, b, a + b, a - b])
    length = np.linalg.norm(steps, axis=1)
    steps = steps[length < _NEAR * max(length[:2])]
    reach = _NEAR * float(max(length[:2]))
    places = np.array([f.place for f in findings])
    far = cKDTree(places).query_pairs(_REGION * reach)
    beside = np.array([f.part == "extra" for f in findings])
    pairs = ((i, j) for i, j in far if beside[[i, j]].any() or _apart(places[[i, j]]) < reach)
    free = [(i, j) for i, j in pairs if not (single[i] or single[j])]
    both = np.concatenate([steps, -steps])
    groups = []
    for numbers in joined(len(findings), free):
        members = tuple(findings[i] for i in numbers)
        groups.append(Group(members, row=straight([m.place for m in members], both)))
    return groups


def _apart(two: Floats) -> float:
    """Distance between two places (2, 2)."""
    return float(np.hypot(*(two[1] - two[0])))
