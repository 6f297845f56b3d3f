"""Probabilities that know how common each class is here, not only where they were learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TRUST = 0.85  # exponent of the shares, from designs held apart: see with_shares
ROUNDS = 30  # of expectation and maximisation
TINY = 1e-300


def with_shares(
    p: Floats,
    known: Floats,
    added: float,
    *,
    weight: Floats | None = None,
    group: NDArray[np.int64] | None = None,
    trust: float = TRUST,
) -> tuple[Floats, Floats]:
    """Move probabilities (N, C) from the shares that they were learned with to those found here.

    The shares are those of most likelihood, found by expectation and maximisation (Saerens,
    Latinne, Decaestecker, Neural Computation 14, 21 (2002)). Likelihoods are tempered because atoms
    of one frame differ from the examples alike, not each on its own; the shares rest on the same
    evidence, so they count a little less. (At full weight, sharper likelihoods from more examples
    made rare faint classes worse.)

    Args:
        p: Probabilities where the classes are as common as `known` says.
        known: Share of each class there, (C,), above 0.
        added: Atoms with these shares that are counted beside those that are there: a class whose
            atoms look a little different here must not vanish.
        weight: (N,) by how much each atom counts, 0 to 1; by default all do.
        group: (N,) from 0. Where it is given, the shares of each group are those of all others: the
            rest of a movie, for frames whose noise misleads all of their own atoms alike.
        trust: Exponent of the shares.

    Returns:
        The probabilities, and the shares that they were made with, (G, C); one row without groups.
    """
    weight = np.ones(len(p)) if weight is None else weight
    share, found, before = known, p, known
    for _ in range(ROUNDS):
        before = share
        found = _moved(p, (share / known) ** trust)
        share = (weight @ found + added * known) / (float(weight.sum()) + added)
    if group is None or len(p) == 0:
        return found, before[None]
    held = np.stack([np.bincount(group, weight * each) for each in found.T], axis=1)
    others = (held.sum(axis=0) - held).clip(0) + added * known
    others /= others.sum(axis=1, keepdims=True)
    return _moved(p, ((others / known) ** trust)[group]), others


def _moved(p: Floats, oftener: Floats) -> Floats:
    found = p * oftener
    return np.asarray(found / found.sum(axis=1, keepdims=True).clip(TINY))
