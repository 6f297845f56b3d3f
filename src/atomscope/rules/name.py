"""From a table of atoms to a table of named defects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope.columns import DEFECTS, by_frame, conform, is_placed, joined, positions
from atomscope.errors import UsageError
from atomscope.graph import AtomGraph
from atomscope.lattice import Lattice, fit_lattice
from atomscope.rules.blind import blind_of
from atomscope.rules.book import Book, load
from atomscope.rules.canonical import canonical_label
from atomscope.rules.extent import Atoms, extent
from atomscope.rules.findings import Bools, Finding, Group, Words
from atomscope.rules.host import choose_book, named_p, sites_of, strengths, words_of
from atomscope.rules.match import joinable, name_of
from atomscope.rules.network import bonded, find_groups
from atomscope.rules.pairing import around_pairs, find_pairing
from atomscope.rules.sites import find_extra, find_missing, find_swaps, grouped
from atomscope.rules.walls import WHOLE, find_walls, off_borders
from atomscope.species import Lattices

Shape = tuple[int, int]
_ANY = "lattice"  # the book for hosts that no other one knows
_OTHER = -2  # the domain of atoms that are not of the host
_MOST = 0.4  # share of atoms in defects, beyond which the host is in doubt


@dataclass(frozen=True)
class NamedDefects:
    """What `name_defects` found.

    Attributes:
        atoms: The table with `defect` and `coordination` filled.
        defects: Table of `atomscope.columns.DEFECTS`.
        host: Name of the rule book, empty where no host was recognised.
        warnings: One line for each thing that could not be told.
    """

    atoms: pd.DataFrame
    defects: pd.DataFrame
    host: str = ""
    warnings: tuple[str, ...] = field(default=())


def name_defects(
    atoms: pd.DataFrame,
    *,
    host: str | None = None,
    lattices: Lattices | None = None,
    shape: Shape | None = None,
    pixel_size: float | None = None,
    good: Callable[[int], Bools] | None = None,
) -> NamedDefects:
    """Name all that deviates from the host, by rules of chemistry.

    Args:
        atoms: Refined atoms of one or more frames, with species or labels where known.
        host: Name of a rule book or a YAML file; learned from the commonest atoms by default.
        lattices: Lattice of each frame, fitted here by default.
        shape: Of the frames (y, x); by default all atoms are within.
        pixel_size: Å per px; without it lengths are counted in spacings of the lattice.
        good: Gives the pixels (y, x) of a frame that hold data; by default all do. What is missing
            where there are none was not seen, and is no vacancy.

    Raises:
        UsageError: The table has no positions, or some are not finite; there is no such book.
    """
    _check(atoms)
    table = conform(atoms)
    table["atom"] = table["atom"] if table["atom"].any() else _numbered(table)
    known = choose_book(host, table)
    book = known or load(_ANY)
    species = words_of(table, book)
    tables, rows = [], []
    for frame, here in by_frame(table):
        part = here.reset_index(drop=True)
        lattice = (
            lattices.get(frame)
            if lattices is not None
            else _fitted(part, book, species[here.index.to_numpy()])
        )
        words = species[here.index.to_numpy()] if book.columns else sites_of(lattice, len(part))
        if words is None:
            tables.append(part)
            continue
        seen = None if good is None else good(frame)
        named, found = _name_frame(part, words, book, lattice, shape, pixel_size, seen)
        tables.append(named)
        rows.append(found)
    if not rows:
        why = "no host was recognised: name the species (elements), the material or the rules."
        found = joined(tables) if tables else table
        warnings = () if known else (why,)
        return NamedDefects(found, conform(pd.DataFrame(), DEFECTS), book.name, warnings)
    defects = conform(pd.concat(rows, ignore_index=True), DEFECTS)
    done = joined(tables)
    share = _deviating(done, defects, book)
    doubt = (
        f"{share:.0%} of the atoms deviate from {book.name}: it may not be the host, or lie in "
        "several layers; its names mean little here."
    )
    warnings = (doubt,) if share > _MOST else ()
    return NamedDefects(done, defects, book.name, warnings)


def _deviating(atoms: pd.DataFrame, defects: pd.DataFrame, book: Book) -> float:
    """Share of the atoms that are in defects; domains of the host and their borders are none."""
    domains = [f"{book.name}:{n}" for n, r in enumerate(book.rules, 1) if r.walls or r.paired]
    others = defects.loc[~defects["rule"].isin(domains), ["frame", "defect"]]
    keys = atoms[["frame", "defect"]].fillna({"defect": -1}).astype(np.int64)
    inside = pd.MultiIndex.from_frame(keys).isin(pd.MultiIndex.from_frame(others))
    return float(np.mean(inside))


def _check(atoms: pd.DataFrame) -> None:
    if not is_placed(atoms).all():
        raise UsageError("some positions are not finite; drop these rows, or measure them again.")


def _numbered(table: pd.DataFrame) -> Any:
    return table.groupby("frame").cumcount().to_numpy()


def _fitted(rows: pd.DataFrame, book: Book, species: Words) -> Lattice | None:
    """Lattice of the atoms; where brightness is unknown, elements tell columns apart."""
    if book.sense != "sites":
        return None
    bright = rows["intensity"].to_numpy(float)
    if not np.isfinite(bright).any() and book.columns:
        bright = strengths(species)
    return fit_lattice(positions(rows), bright)


def _name_frame(
    rows: pd.DataFrame,
    species: Words,
    book: Book,
    lattice: Lattice | None,
    shape: Shape | None,
    pixel_size: float | None,
    good: Bools | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    if len(rows) < 2:
        return rows, pd.DataFrame()
    if book.sense == "rings":
        groups, graph = find_groups(rows, species, book, shape, pixel_size)
    else:
        elements = species if book.columns else np.full(len(rows), "", dtype=object)
        graph = bonded(rows, elements, book, shape, pixel_size)
        groups = _site_groups(rows, species, book, lattice, shape, graph.border)
    xy = positions(rows)
    blind = None if good is None else blind_of(good, xy)
    if blind is not None:
        groups = [group for group in groups if not blind.hides(group, xy)]
        graph = replace(graph, border=graph.border | blind.near(xy))
    groups.sort(key=lambda group: (group.place[1], group.place[0]))
    atoms = [_with_shell(group, graph) for group in groups]
    found = _rows(rows, groups, atoms, graph, species, book, pixel_size)
    return _members(rows, graph, atoms), found


def _site_groups(
    rows: pd.DataFrame,
    species: Words,
    book: Book,
    lattice: Lattice | None,
    shape: Shape | None,
    border: Bools,
) -> list[Group]:
    xy = positions(rows)
    p = rows["p"].to_numpy(float)
    sure = p * named_p(rows, np.ones(len(rows)))
    walls = find_walls(xy, species, book, sure)
    phases, domain = [], walls.domain.copy()
    if any(rule.paired for rule in book.rules):
        phases = find_pairing(xy, species, book, sure)
    if phases:
        domain[around_pairs(xy, species, book, phases)] = _OTHER
    borders = np.concatenate([walls.places, xy[domain == _OTHER]])
    groups = walls.groups + phases
    if lattice is None:
        return groups
    if shape is None:
        far = np.ceil(xy.max(axis=0)).astype(int) + 1
        shape = (int(far[1]), int(far[0]))
    whole = bool((domain == WHOLE).all())
    if len(borders):  # what stands beside a border tells nothing of the lattice of its domain
        domain[cKDTree(borders).query(xy)[0] <= walls.reach] = _OTHER
    for number in np.unique(domain[domain != _OTHER]):
        here = np.flatnonzero(domain == number)
        own = lattice if whole else _fitted(rows.iloc[here], book, species[here])
        if own is not None:
            found = _off_sites(rows.iloc[here], species[here], own, shape, border[here])
            found = off_borders(found, borders, walls.reach)
            single = [not joinable(book, f.part, f.word) for f in found]
            groups += [g.of_rows(here) for g in grouped(found, single, own)]
    return groups


def _off_sites(
    rows: pd.DataFrame, species: Words, lattice: Lattice, shape: Shape, border: Bools
) -> list[Finding]:
    """All that deviates from the sites of a lattice."""
    xy = positions(rows)
    p = rows["p"].to_numpy(float)
    inner = np.where(border, "", species)  # half a neighbourhood tells too little of brightness
    findings = find_swaps(lattice, xy, inner, named_p(rows, p))
    findings += find_missing(lattice, xy, species, p, shape)
    extra = find_extra(lattice, xy, species, p)
    return findings + [f for f in extra if not border[list(f.atoms)].any()]


def _members(rows: pd.DataFrame, graph: AtomGraph, atoms: list[list[int]]) -> pd.DataFrame:
    defect = np.full(len(rows), -1, dtype=np.int64)
    for number in sorted(range(len(atoms)), key=lambda n: -len(atoms[n])):
        defect[atoms[number]] = number  # of an atom in two, the smaller one
    border = np.asarray(graph.border, dtype=bool)
    bonds = np.asarray(graph.coordination, dtype=np.int64)
    return rows.assign(
        defect=pd.arrays.IntegerArray(defect, defect < 0),
        coordination=pd.arrays.IntegerArray(bonds, border),
    )


def _with_shell(group: Group, graph: AtomGraph) -> list[int]:
    """Atoms of a defect: its core with the first shell; rings alone are whole by themselves."""
    members = set(group.atoms)
    for finding in group.findings:
        if finding.part in ("foreign", "swaps", "extra"):
            core = list(finding.atoms)
            members |= {int(i) for i in graph.neighbours[core][graph.mask[core]]}
        members |= set(finding.shell)
    return sorted(members)


def _rows(
    rows: pd.DataFrame,
    groups: list[Group],
    atoms: list[list[int]],
    graph: AtomGraph,
    species: Words,
    book: Book,
    pixel_size: float | None,
) -> pd.DataFrame:
    number = rows["atom"].to_numpy()
    around = Atoms(positions(rows))
    found = []
    for index, (group, members) in enumerate(zip(groups, atoms, strict=True)):
        named, place = name_of(group, book), group.place
        found.append(
            {
                "frame": int(rows["frame"].iloc[0]),
                "defect": index,
                "name": named[0] if named else canonical_label(group, graph, species),
                "formula": _formula(group),
                "x_px": place[0],
                "y_px": place[1],
                "x": place[0] * pixel_size if pixel_size else np.nan,
                "y": place[1] * pixel_size if pixel_size else np.nan,
                "n_atoms": len(members),
                "atoms": " ".join(str(number[i]) for i in members),
                "p": group.p,
                "rule": f"{book.name}:{named[1] + 1}" if named else "",
                "known": named is not None and not book.rules[named[1]].general,
                **extent(group, around),
            }
        )
    return pd.DataFrame(found)


def _formula(group: Group) -> str:
    """What is missing, added or exchanged: '-S2', '+Si', 'S@S2', 'Si', rings as 5-8-5."""
    sign = {"missing": "-", "extra": "+"}
    parts = group.parts
    words = [
        f"{sign.get(part, '')}{word}{f'x{n}' if n > 1 else ''}"
        for part in ("foreign", "swaps", "missing", "extra")
        for word, n in sorted(parts.get(part, {}).items())
    ]
    sizes = "-".join(sorted(parts["rings"].elements(), key=int)) if "rings" in parts else ""
    return " ".join([*words, *([sizes] if sizes else [])])
