"""What could not be told about species, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from atomscope.formula import EXPONENT, Formula
from atomscope.species.contrast import Naming
from atomscope.species.levels import Levels

_RIVAL = 0.9  # probability of the best naming below which it is in doubt
_MANY = 0.02  # share of the atoms in a class without a name that is worth a line
_ODD_EXPONENT = 0.25  # from the usual one
_FITS = 0.1  # relative: a number of atoms in a column that would explain a class


def dark_lines(formulas: Sequence[Formula]) -> tuple[str, ...]:
    """Say why dark atoms have no species."""
    if not formulas:
        return ()
    return (
        "Species are left unknown: atoms are dark here, and dark contrast does not rise "
        "with the atomic number in a known way. Use the dark-field image of the same scan.",
    )


def doubt_lines(levels: Levels, naming: Naming, formulas: Sequence[Formula]) -> tuple[str, ...]:
    """Say what is in doubt about names, and what to do."""
    names = ", ".join(f.text for f in formulas)
    lines = list(_nameless(levels, naming, formulas))
    if naming.rivals[0] < _RIVAL:
        lines.insert(
            0,
            f"Species are in doubt: {len(levels.free.mean)} class(es) of brightness can be given "
            f"the names {names} in more than one way (the best has p = {naming.rivals[0]:.2f}). "
            "Name only what is in this image.",
        )
    elif abs(naming.exponent - EXPONENT) > _ODD_EXPONENT:
        lines.append(
            f"Brightness grows as Z^{naming.exponent:.2f} if the columns are {names}; dark-field "
            f"images have about Z^{EXPONENT:.1f}. Are these the elements?"
        )
    return tuple(lines)


def _nameless(levels: Levels, naming: Naming, formulas: Sequence[Formula]) -> Iterator[str]:
    share = levels.free.posterior(levels.data).mean(axis=0)
    for k in np.flatnonzero(naming.classes < 0):
        if share[k] < _MANY:
            continue
        line = (
            f"{share[k]:.0%} of the atoms have a brightness of about "
            f"{levels.free.mean[k] * levels.unit:.3g} counts px, which none of the named has; "
            "their species is left unknown."
        )
        ratio = levels.free.mean[k] / naming.mean
        likely = [
            f"{f.text}{round(r)}"
            for f, r in zip(formulas, ratio, strict=True)
            if 2 <= round(r) <= 4
            and abs(r / round(r) - 1) < _FITS
            and f.text.isalpha()
            and len(f.atoms) == 1
            and f.atoms[0][1] == 1
        ]
        yield line + (f" {likely[0]} would fit." if likely else "")
