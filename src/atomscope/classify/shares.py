"""How common each class is among the atoms that are asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomscope import shares

Floats = NDArray[np.float64]
FEWEST = 0.01  # share of atoms added to each class


def with_shares(p: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Probabilities (N, C) that know how common each class is among these atoms.

    One atom in a hundred is added to each class: where defects are rare, the odd perfect atom must
    not pass for one, and a class whose atoms look a little different here must not vanish. See
    `atomscope.shares.with_shares`.

    Args:
        p: Probabilities where all classes are as common.
        weight: (N,) by how much each atom counts, 0 to 1; by default all do.

    Returns:
        The probabilities, and the shares (C,) that they were made with.
    """
    classes = p.shape[1]
    total = float(len(p) if weight is None else weight.sum())
    added = classes * max(1.0, FEWEST * total)
    known = np.full(classes, 1 / classes)
    found, share = shares.with_shares(p, known, added, weight=weight)
    return found, share[0]
