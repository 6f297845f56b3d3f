"""What deviates from the host, and which deviations belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
Words = NDArray[np.object_]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as in the host.

    Attributes:
        part: foreign, rings, missing, swaps, extra, walls or paired.
        word: Species, size of a ring, 'found@site', or kind of a border.
        place: Position in px, shape (2,).
        atoms: Rows of the table that belong to it.
        p: Probability that it is there.
        shell: Rows of the atoms around an empty site.
    """

    part: str
    word: str
    place: Floats
    atoms: tuple[int, ...]
    p: float
    shell: tuple[int, ...] = ()


@dataclass(frozen=True)
class Group:
    """Deviations that belong together: one defect.

    Attributes:
        findings: At least one.
        shell: Species of the host atoms around its core, counted.
        fused: Bonds that two of its rings share, counted by their sizes: '5-7'.
        row: Whether the findings stand in one straight row of neighbouring sites.
    """

    findings: tuple[Finding, ...]
    shell: Counter[str] = field(default_factory=Counter)
    fused: Counter[str] = field(default_factory=Counter)
    row: bool = False

    @property
    def parts(self) -> dict[str, Counter[str]]:
        """What it is made of: a count of words for each part."""
        found: dict[str, Counter[str]] = {}
        for finding in self.findings:
            found.setdefault(finding.part, Counter())[finding.word] += 1
        return found

    @property
    def atoms(self) -> tuple[int, ...]:
        """Rows of the table, ascending."""
        return tuple(sorted({i for finding in self.findings for i in finding.atoms}))

    def of_rows(self, rows: Ints) -> Group:
        """Return the group with the rows (N,) of a larger table in place of 0 to N - 1."""
        if len(rows) and rows[-1] == len(rows) - 1:
            return self
        moved = (
            replace(
                f,
                atoms=tuple(int(rows[i]) for i in f.atoms),
                shell=tuple(int(rows[i]) for i in f.shell),
            )
            for f in self.findings
        )
        return replace(self, findings=tuple(moved))

    @property
    def place(self) -> Floats:
        """Mean position in px, shape (2,): of foreign atoms and empty sites before rings."""
        core = [f.place for f in self.findings if f.part != "rings"]
        places = core or [f.place for f in self.findings]
        return np.asarray(np.mean(places, axis=0))

    @property
    def p(self) -> float:
        """Probability that all of it is there."""
        return float(np.prod([finding.p for finding in self.findings]))


def joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected sets of the numbers 0 to count - 1, in order of their first one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.array(list(pairs), dtype=np.intp).reshape(-1, 2)
    ones = np.ones(len(edges), dtype=bool)
    label = connected_components(coo_array((ones, edges.T), shape=(count, count)), directed=False)[
        1
    ]
    sets: dict[int, list[int]] = {}
    for number, one in enumerate(label):
        sets.setdefault(int(one), []).append(number)
    return list(sets.values())


def straight(places: Sequence[Floats], steps: Floats) -> bool:
    """Whether places follow each other in steps of one and the same lattice vector.

    Args:
        places: Positions in px.
        steps: Vectors (S, 2) in px between like sites that are neighbours.
    """
    xy = np.asarray(places)
    if len(xy) < 2:
        return False
    if len(steps) == 0:
        return False
    centred = xy - xy.mean(axis=0)
    along = np.linalg.svd(centred, full_matrices=False)[2][0]
    order = np.argsort(xy @ along)
    between = np.diff(xy[order], axis=0)
    off = np.linalg.norm(between[:, None] - steps[None], axis=-1)
    allowed = 0.25 * np.linalg.norm(steps, axis=1).min()
    return bool((off < allowed).all(axis=0).any())
