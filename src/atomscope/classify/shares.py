"""How common each class is among the atoms that are asked for, and which stand beside which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FEWEST = 0.01  # share of atoms added to each class
TRUST = 0.85  # exponent of the shares, from designs held apart: see with_shares
BESIDE = 0.7  # exponent of what neighbours say, from designs held apart
ADDED = 0.2  # pairs of each two classes, as if they did not know of each other
MOST = 16.0  # times oftener: a few wrong decisions must not carry the next ones along
ROUNDS = 3  # of asking the neighbours
TINY = 1e-300


def with_shares(p: Floats, weight: Floats | None = None, rounds: int = 30) -> tuple[Floats, Floats]:
    """Probabilities (N, C) that know how common each class is among these atoms.

    The shares are those of most likelihood, found by expectation and maximisation (Saerens,
    Latinne, Decaestecker, Neural Computation 14, 21 (2002)), with one atom in a hundred added to
    each class: where defects are rare, the odd perfect atom must not pass for one, and a class
    whose atoms look a little different here must not vanish. Likelihoods are tempered because atoms
    of one frame differ from the examples alike, not each on its own; the shares rest on the same
    evidence, so they count a little less. (At full weight, sharper likelihoods from more examples
    made rare faint classes worse.)

    Args:
        p: Probabilities where all classes are as common.
        weight: (N,) by how much each atom counts, 0 to 1; by default all do.
        rounds: Of expectation and maximisation.

    Returns:
        The probabilities, and the shares (C,) that they were made with.
    """
    weight = np.ones(len(p)) if weight is None else weight
    total = float(weight.sum())
    share = np.full(p.shape[1], 1 / p.shape[1])
    found, before, added = p, share, max(1.0, FEWEST * total)
    for _ in range(rounds):
        before = share
        found = p * share**TRUST
        found = found / found.sum(axis=1, keepdims=True).clip(TINY)
        share = (weight @ found + added) / (total + added * p.shape[1])
    return np.asarray(found), before


def with_neighbours(
    p: Floats, near: NDArray[np.int64] | None, weight: Floats | None = None
) -> Floats:
    """Probabilities (N, C + 1) that also know which classes stand beside which.

    The atoms of a defect stand together, and a foreign atom beside its host: how often each pair of
    classes meets is counted among these very atoms, and goes into what each atom is told by those
    beside it, over and over (a Markov random field whose parameters are found on the way: Besag,
    J. R. Stat. Soc. B 48, 259 (1986)). Neighbours see the same surroundings, so n of them count as
    the root of n. They tell which class, not whether it is one at all: noise in an empty column
    must not pass for what usually stands there.

    Args:
        p: Probabilities where all classes are as common; the last is that of none of them.
        near: (N, K) numbers of the atoms beside each, -1 where there are fewer; None: only the
            shares are known.
        weight: (N,) by how much each atom counts, 0 to 1; those below half tell nothing.
    """
    found, share = with_shares(p, weight)
    if near is None or not near.size:
        return found
    if weight is not None:
        near = np.where((near >= 0) & (weight[near] >= 0.5), near, -1)
    beside = near >= 0
    count = np.sqrt(beside.sum(axis=1).clip(1))[:, None]
    alone = np.log(p.clip(TINY)) + TRUST * np.log(share)
    for _ in range(ROUNDS):
        oftener = _oftener(found.argmax(axis=1), near, p.shape[1])
        told = np.zeros_like(found)
        for k in range(near.shape[1]):
            rows = beside[:, k]
            told[rows] += np.log(found[near[rows, k]] @ oftener)
        score = (alone + BESIDE * told / count)[:, :-1]
        of = np.exp(score - score.max(axis=1, keepdims=True))
        found[:, :-1] = of / of.sum(axis=1, keepdims=True) * (1 - found[:, -1:])
    return np.asarray(found)


def _oftener(kind: NDArray[np.intp], near: NDArray[np.int64], classes: int) -> Floats:
    """By how much each two classes (C, C) meet oftener than if they knew nothing of each other.

    Doubts are not counted: many atoms of one kind with the same small doubt would confirm it.
    """
    row, slot = np.nonzero(near >= 0)
    pairs = np.zeros((classes, classes))
    np.add.at(pairs, (kind[row], kind[near[row, slot]]), 1.0)
    pairs = (pairs + pairs.T) / 2
    each = pairs.sum(axis=1)
    found = (pairs + ADDED) / (np.outer(each, each) / max(each.sum(), 1.0) + ADDED)
    found[-1] = found[:, -1] = 1  # what is none of the classes may be anything
    return np.asarray(found.clip(1 / MOST, MOST))
