"""What a column may be: an element, or the atoms that lie above each other in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from atomscope.errors import UsageError

_PART = re.compile(r"([A-Z][a-z]?)(\d{0,2})")
_MOST = 12
EXPONENT = 1.64  # of Z, at 60 to 200 mrad (Krivanek et al., Nature 464, 571 (2010))


@dataclass(frozen=True)
class Formula:
    """A column as it is written, with the atoms in it.

    Attributes:
        text: As given, such as 'S2'.
        atoms: Atomic number and count of each element.
    """

    text: str
    atoms: tuple[tuple[int, int], ...]

    @property
    def elements(self) -> frozenset[int]:
        """Atomic numbers."""
        return frozenset(z for z, _ in self.atoms)

    def strength(self, exponent: float) -> float:
        """Dark-field signal in units of hydrogen: the sum of Z^n over the atoms.

        An annular detector sees a column of a thin specimen about so, n from 1.2 to 2 with the
        inner angle, 1.64 at 60 to 200 mrad (Krivanek et al., Nature 464, 571 (2010)).
        """
        return float(sum(count * z**exponent for z, count in self.atoms))

    def slope(self, exponent: float) -> float:
        """Derivative of the logarithm of `strength` by the exponent."""
        terms = [count * z**exponent for z, count in self.atoms]
        logs = [np.log(z) for z, _ in self.atoms]
        return float(np.dot(terms, logs) / sum(terms))


def parse(elements: str | Sequence[str]) -> tuple[Formula, ...]:
    """Read formulas such as 'C', 'S2' or 'TiO', from a list or a text with commas.

    Raises:
        UsageError: One of them is no formula of known elements, or comes twice.
    """
    if not isinstance(elements, Iterable):
        raise UsageError(f"elements {elements!r}: expected a text such as 'C,Si', or a list.")
    words = elements.split(",") if isinstance(elements, str) else list(elements)
    words = [str(word).strip() for word in words]
    found = tuple(_parse_one(word) for word in words)
    same = [f.text for i, f in enumerate(found) if f.atoms in [g.atoms for g in found[:i]]]
    if same:
        raise UsageError(f"elements {','.join(words)!r}: {same[0]} comes twice; name it once.")
    if len(found) > _MOST:
        raise UsageError(f"elements: {len(found)} given; expected at most {_MOST}.")
    return found


def _parse_one(word: str) -> Formula:
    from ase.data import atomic_numbers

    parts = _PART.findall(word)
    counts: dict[int, int] = {}
    for symbol, number in parts:
        z = atomic_numbers.get(symbol, 0)
        counts[z] = counts.get(z, 0) + int(number or 1)
    if not parts or "".join(a + b for a, b in parts) != word or 0 in counts or 0 in counts.values():
        raise UsageError(
            f"element {word!r}: expected symbols with the number of atoms in the column where it "
            f"is above 1, separated by commas, for example {_capital(word) or 'C,Si or Mo,S2,S'}."
        )
    return Formula(word, tuple(sorted(counts.items())))


def _capital(word: str) -> str:
    """The word with a capital, where that makes a formula of it; else nothing."""
    from ase.data import atomic_numbers

    symbol = re.fullmatch(r"([a-zA-Z]{1,2})(\d*)", word)
    name = symbol[1].capitalize() if symbol else ""
    return f"{name}{symbol[2]}" if symbol and name in atomic_numbers else ""
