"""Which host an image shows: named by the user, or learned from its commonest atoms."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd

from atomscope.columns import positions
from atomscope.errors import UsageError
from atomscope.formula import EXPONENT, parse
from atomscope.lattice import Lattice
from atomscope.rules.book import Book, load, names
from atomscope.rules.findings import Floats, Words
from atomscope.rules.pairing import pairs_up

_LATTICE = 0.85  # share of the atoms that an unknown lattice must hold to have defects
_HOST = 0.7  # share of the atoms that the species of a host have at least


def choose_book(host: str | None, table: pd.DataFrame) -> Book | None:
    """Return the rules for a table of atoms.

    Args:
        host: Name of a book or a YAML file; None learns it from species and labels.
        table: Atoms.

    Returns:
        The book, or None where no host is known.

    Raises:
        UsageError: There is no such book.
    """
    if host is not None:
        return load(host)
    best: tuple[float, bool, Book | None] = (0.0, False, None)
    if not (table[["species", "label"]] != "").to_numpy().any():
        return None
    for name in names():
        book = load(name)
        if not book.columns:
            continue  # for want of a better one: see `sites_of`
        words = words_of(table, book)
        known = words[words != ""]
        if len(known) < max(1, 0.5 * len(words)) or not book.known(set(known)):
            continue
        share = float(np.mean(np.isin(known, list(book.usual))))
        if share < _HOST or (share, book.paired) <= best[:2]:
            continue
        if not book.paired or _pairs_up(table, words, book):
            best = (share, book.paired, book)
    return best[2]


def _pairs_up(table: pd.DataFrame, words: Words, book: Book) -> bool:
    """Whether most metal atoms of the first frame do."""
    first = (table["frame"] == table["frame"].iloc[0]).to_numpy()
    return pairs_up(positions(table[first]), words[first], book)


def words_of(table: pd.DataFrame, book: Book) -> Words:
    """Return for each atom its species, or what its label stands for; '' where unknown.

    Labels are words of the book (M, X2, X). Where the species that plays a role is known from
    other atoms, it takes the place of the word: X2 becomes S2.
    """
    species = table["species"].to_numpy(object)
    label = table["label"].to_numpy(object)
    played = {
        role: commonest(species[np.isin(species, words)]) for role, words in book.columns.items()
    }
    meant = {name: played.get(word) or word for name, word in book.labels.items()}
    number, given = pd.factorize(label)  # few words, many atoms
    words = np.array([*(meant.get(str(word), "") for word in given), ""], dtype=object)[number]
    return np.where(species != "", species, words).astype(object)


def sites_of(lattice: Lattice | None, count: int) -> Words | None:
    """Name atoms site-0, site-1, ... by their sublattice; None where few are of one.

    The numbers are those of the table's column `sublattice`, the brightest first; letters would
    read as elements (V_B: no boron).

    Args:
        lattice: Of the frame.
        count: Number of atoms.
    """
    if lattice is None or lattice.member.mean() < _LATTICE:
        return None
    names_of = np.array([*(f"site-{i}" for i in range(len(lattice.basis))), ""], dtype=object)
    words = names_of[lattice.sublattice]
    return words if len(words) == count else None


def strengths(species: Words) -> Floats:
    """Return how bright columns are in dark field, as far as elements tell, shape (N,).

    The sum of Z**1.64 (Krivanek et al., Nature 464, 571 (2010)); NaN for words that are none.
    """
    known = {str(w): _strength(str(w)) for w in set(species)}
    return np.array([known[str(w)] for w in species], dtype=float)


def _strength(word: str) -> float:
    try:
        return parse([word])[0].strength(EXPONENT) if word else np.nan
    except UsageError:
        return np.nan


def named_p(rows: pd.DataFrame, otherwise: Floats) -> Floats:
    """Probability of the species, or else of the label, or else what is given, shape (N,)."""
    p = otherwise
    for name in ("label_p", "species_p"):
        known = rows[name].to_numpy(float)
        p = np.where(np.isfinite(known), known, p)
    return np.asarray(p)


def commonest(words: Words) -> str:
    """Return the commonest known species, '' where there is none."""
    known = Counter(str(w) for w in words if w)
    return known.most_common(1)[0][0] if known else ""
