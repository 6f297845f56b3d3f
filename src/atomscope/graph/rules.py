"""How long a bond may be: by pair of elements, by covalent radii, by the lattice itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.errors import UsageError
from atomscope.formula import parse

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

# Å. C-C: half way between the first and the second shell of graphene is 1.94; 1.75 leaves room
# for 23 % of noise and strain. Si-C is 1.76 with three neighbours, 1.85-1.95 with four.
GRAPHENE = {"C-C": 1.75, "C-Si": 2.10, "Si-Si": 2.50}
CHALCOGENS = ("O", "S", "Se", "Te")
# In projection the chalcogens over and under a 1T layer come as near as a bond.
NO_CHALCOGEN_BONDS = {f"{a}-{b}": 0.0 for n, a in enumerate(CHALCOGENS) for b in CHALCOGENS[n:]}
NAMED: dict[str, dict[str, float]] = {
    "graphene": GRAPHENE,
    "chalcogenide": NO_CHALCOGEN_BONDS,
    "radii": {},
}
COMMON = 0.1  # share of the atoms from which on a species is one of the host


@dataclass(frozen=True)
class BondRules:
    """Longest bonds.

    Attributes:
        longest: Longest bond in Å by pair of elements, such as {'C-C': 1.75}; 0 forbids it.
        scale: All other pairs may be this many times the sum of their covalent radii apart
            (Cordero et al., Dalton Trans. 2832 (2008)), in a lattice only within its first shell.

    Raises:
        UsageError: No such element, not a pair, or a length that cannot be.
    """

    longest: Mapping[str, float] = field(default_factory=lambda: dict(GRAPHENE))
    scale: float = 1.2

    def __post_init__(self) -> None:
        """Check elements and lengths."""
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"scale {self.scale!r}: expected a number above 0, such as 1.2.")
        for pair, length in self.longest.items():
            _pair(pair)
            if not (isinstance(length, int | float) and np.isfinite(length) and length >= 0):
                raise UsageError(f"bond {pair!r}: longest {length!r}; expected Å, 0 or more.")

    @classmethod
    def named(cls, name: str) -> BondRules:
        """Return built-in rules: 'graphene', 'chalcogenide', or 'radii' alone.

        Raises:
            UsageError: There are none of this name.
        """
        if name not in NAMED:
            raise UsageError(f"bond rules {name!r}: expected one of {', '.join(NAMED)}.")
        return cls(dict(NAMED[name]))

    def given(self) -> dict[frozenset[str], float]:
        """Longest bonds by the set of the two elements."""
        return {frozenset(_pair(pair)): float(length) for pair, length in self.longest.items()}


def rules_of(rules: BondRules | Mapping[str, float] | str | None) -> BondRules:
    """Return rules from rules, lengths by pair, a name, or nothing (the built-in lengths)."""
    if rules is None:
        return BondRules()
    if isinstance(rules, str):
        return BondRules.named(rules)
    return rules if isinstance(rules, BondRules) else BondRules(dict(rules))


def _pair(text: str) -> tuple[str, str]:
    from ase.data import atomic_numbers

    parts = str(text).split("-")
    if len(parts) != 2 or any(atomic_numbers.get(part, 0) == 0 for part in parts):
        raise UsageError(
            f"bond {text!r}: expected two chemical symbols joined by a hyphen, such as C-Si."
        )
    return parts[0], parts[1]


@dataclass(frozen=True)
class Windows:
    """Longest bonds of the species of one table.

    Attributes:
        code: Species of each atom as a number, shape (N,).
        longest: Longest bond by two species, shape (S, S), in the unit of the positions.
        host: Which species are common, shape (S,).
    """

    code: Ints
    longest: Floats
    host: Bools

    @property
    def reach(self) -> Floats:
        """Longest bond (N,) of each atom to an atom of the host."""
        return np.asarray(self.longest[:, self.host].max(axis=1, initial=0.0)[self.code])


def windows(
    species: NDArray[Any], rules: BondRules, shell: float, near: tuple[Ints, Ints], angstrom: bool
) -> Windows:
    """Return the longest bonds of all pairs of species in a table.

    In Å a length that the rules give wins. Else common species are bonded within the first shell
    of the lattice (in projection a layer has shorter bonds than radii say), and others
    within the same multiple of their radii as the host, at most `scale`. Pairs with an unknown
    species are bonded within the first shell. In px no length of the rules has a say.

    Args:
        species: Formula or symbol of each atom (N,), '' where unknown.
        rules: Given lengths and the scale.
        shell: Radius that parts the first shell from the second.
        near: The two atoms (P,), (P,) of pairs within that radius.
        angstrom: Whether `shell` is in Å.
    """
    code, names = pd.factorize(species, sort=True)
    elements = [_elements(str(name)) for name in names]
    radius = np.array([_radius(e) for e in elements])
    host = np.bincount(code, minlength=len(names)) >= COMMON * max(len(code), 1)
    first, second = code[near[0]], code[near[1]]
    told = host[first] & host[second] & (radius[first] > 0) & (radius[second] > 0)
    sums = (radius[first] + radius[second])[told]
    share = shell / sums.mean() if len(sums) else np.inf
    if angstrom:
        share = min(share, rules.scale)
    both = radius[:, None] + radius[None]
    by_radii = share * both if np.isfinite(share) else np.full_like(both, shell)
    in_host = np.minimum(rules.scale * both, shell) if angstrom else np.full_like(both, shell)
    longest = np.where(host[:, None] & host[None], in_host, by_radii)
    known = radius > 0
    longest[~(known[:, None] & known[None])] = shell
    if angstrom:
        _give(longest, elements, rules)
    return Windows(code.astype(np.intp), longest, host)


def _give(longest: Floats, elements: list[tuple[str, ...]], rules: BondRules) -> None:
    """Write the lengths that the rules give; of mixed columns the longest counts."""
    given = rules.given()
    for i, first in enumerate(elements):
        for j, second in enumerate(elements):
            found = [given.get(frozenset((a, b))) for a in first for b in second]
            lengths = [length for length in found if length is not None]
            if lengths and len(lengths) == len(found):
                longest[i, j] = max(lengths)


def _elements(species: str) -> tuple[str, ...]:
    from ase.data import chemical_symbols

    if not species:
        return ()
    return tuple(chemical_symbols[z] for z, _ in parse([species])[0].atoms)


def _radius(elements: tuple[str, ...]) -> float:
    from ase.data import atomic_numbers, covalent_radii

    return float(max((covalent_radii[atomic_numbers[e]] for e in elements), default=0.0))
