"""Of two bonds that cross, only one can be in a flat sheet."""

from __future__ import annotations

import itertools

import numpy as np

from atomscope.graph.atomgraph import AtomGraph, Bools, Floats, Ints

_TURNS = 3  # bonds beside a bond, at each of its ends, that may cross over it
_ROUNDS = 4  # dropping a bond can bring others side by side


def planar(graph: AtomGraph) -> AtomGraph:
    """Drop the less probable of two bonds that cross; the longer one if both are as probable.

    Two bonds that cross are looked for beside each bond that joins an end of one with an end of
    the other: where bonds are within a common length, the ends of a crossing are that near.
    """
    for _ in range(_ROUNDS):
        first, second = _crossings(graph)
        if len(first) == 0:
            break
        graph = graph.keep(~_losers(graph, first, second))
    return graph


def _crossings(graph: AtomGraph) -> tuple[Ints, Ints]:
    """Pairs of bonds that cross, each as its flat index in the padded arrays, lower end first."""
    width = graph.neighbours.shape[1]
    if width == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    degree = graph.coordination
    angle = np.arctan2(graph.vectors[..., 1], graph.vectors[..., 0])
    atom, slot = np.nonzero(graph.mask)
    # A crossing beside the bond from `atom` to `other`: two sides of a triangle over it.
    other, back = graph.neighbours[atom, slot], graph.twins[atom, slot]
    near = _over(angle, degree, atom, slot, other, back, 1) < np.pi
    atom, slot, other, back = atom[near], slot[near], other[near], back[near]
    # Where the next bonds meet in an atom, only those behind both of them can cross.
    apart = (
        graph.neighbours[atom, (slot + 1) % degree[atom]]
        != graph.neighbours[other, (back - 1) % degree[other]]
    )
    near = apart | (_over(angle, degree, atom, slot, other, back, 2) < np.pi)
    atom, slot, other, back = atom[near], slot[near], other[near], back[near]
    turns = range(1, min(_TURNS + 1, width))
    left = [_turned(angle, degree, atom, slot, a) for a in turns]
    right = [_turned(angle, degree, other, back, -b) for b in turns]
    pairs = [np.zeros((0, 2), np.intp)]
    for a, b in itertools.product(turns, turns):
        near = left[a - 1] + right[b - 1] < np.pi
        i, k = atom[near], other[near]
        s, r = (slot[near] + a) % degree[i], (back[near] - b) % degree[k]
        pairs.append(_crossing(graph, i, s, k, r))
    found = np.unique(np.concatenate(pairs), axis=0)
    return found[:, 0], found[:, 1]


def _turned(angle: Floats, degree: Ints, atom: Ints, slot: Ints, by: int) -> Floats:
    """Angle from a bond to the one `by` places on around an atom; 2π where it comes round."""
    to = (slot + by) % degree[atom]
    turn = np.sign(by) * (angle[atom, to] - angle[atom, slot])
    turn[turn < 0] += 2 * np.pi
    turn[degree[atom] <= abs(by)] = 2 * np.pi
    return np.asarray(turn)


def _over(angle: Floats, degree: Ints, i: Ints, s: Ints, k: Ints, r: Ints, by: int) -> Floats:
    """Sum of the angles over the bond i -> k, to the bonds `by` places on at its two ends."""
    return np.asarray(_turned(angle, degree, i, s, by) + _turned(angle, degree, k, r, -by))


def _crossing(graph: AtomGraph, i: Ints, s: Ints, k: Ints, r: Ints) -> Ints:
    """Pairs (C, 2) of those bonds, s of atom i and r of atom k, that cross."""
    apart = graph.neighbours[i, s] != graph.neighbours[k, r]
    i, s, k, r = i[apart], s[apart], k[apart], r[apart]
    u, v = graph.vectors[i, s], graph.vectors[k, r]
    w = graph.positions[k] - graph.positions[i]
    # i + t u = k + q v
    cross = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (w[:, 0] * v[:, 1] - w[:, 1] * v[:, 0]) / cross
        q = (w[:, 0] * u[:, 1] - w[:, 1] * u[:, 0]) / cross
    inside = (t > 0) & (t < 1) & (q > 0) & (q < 1)
    one = _flat(graph, i[inside], s[inside])
    two = _flat(graph, k[inside], r[inside])
    return np.stack([np.minimum(one, two), np.maximum(one, two)], axis=1)


def _flat(graph: AtomGraph, atom: Ints, slot: Ints) -> Ints:
    """Flat index of a bond, counted from its lower end."""
    other, back = graph.neighbours[atom, slot], graph.twins[atom, slot]
    width = graph.neighbours.shape[1]
    return np.asarray(np.minimum(atom * width + slot, other * width + back))


def _losers(graph: AtomGraph, first: Ints, second: Ints) -> Bools:
    """Bonds (N, K) to drop so that none of the given crossings is left."""
    p, length = graph.bond_p.ravel(), graph.padded_lengths.ravel()
    better = (p[first] > p[second]) | ((p[first] == p[second]) & (length[first] <= length[second]))
    win, lose = np.where(better, first, second), np.where(better, second, first)
    dropped = np.zeros(graph.mask.size, dtype=bool)
    while len(win):
        beaten = np.zeros(graph.mask.size, dtype=bool)
        beaten[lose] = True
        dropped[lose[~beaten[win]]] = True
        left = ~(dropped[win] | dropped[lose])
        win, lose = win[left], lose[left]
    both = dropped.reshape(graph.mask.shape)
    atom, slot = np.nonzero(both)
    both[graph.neighbours[atom, slot], graph.twins[atom, slot]] = True
    return both
