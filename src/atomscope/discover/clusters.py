"""Objects that are alike but for noise are occurrences of one configuration.

The dissimilarity of two objects is the cost of turning one into the other: atoms are matched by
their embeddings, and those left over are compared with the host (the assignment of Kuhn, Naval
Research Logistics 2, 83 (1955), with the host as a partner that is always free). In units of what
noise alone costs it is 1 on average for two occurrences of one configuration.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import ClusterNode, linkage, to_tree
from scipy.spatial.distance import squareform

from atomscope.discover.novelty import Floats, Ints

CUT = 2.0  # mean dissimilarity within a cluster, in units of what noise costs
FINE, TIMES, HALF = 1.2, 1.5, 3  # also where halves of so many differ so much more than within
MOST = 400  # objects that are compared with each other; all others with these


def whitening(covariance: Floats) -> Floats:
    """Matrix (D, D) that makes a covariance the unit matrix."""
    size, axes = np.linalg.eigh(covariance)
    return np.asarray(axes / np.sqrt(size.clip(1e-12 * size[-1])))


def dissimilarity(a: Floats, b: Floats, host_a: Floats, host_b: Floats) -> float:
    """Cost per matched number of turning one object into another; about 1 where noise differs.

    Args:
        a: Whitened embeddings (n, D) of one object.
        b: Those (m, D) of the other.
        host_a: Squared distances (n,) of the atoms of one from the host, beyond what noise makes.
        host_b: Those (m,) of the other.
    """
    square = (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)
    gain = (host_a[:, None] + host_b - square.clip(0)).clip(0)
    from scipy.optimize import linear_sum_assignment

    matched = gain[linear_sum_assignment(gain, maximize=True)].sum()
    cost = host_a.sum() + host_b.sum() - matched
    size = a.shape[1]
    count = (host_a / (host_a + 2 * size)).sum() + (host_b / (host_b + 2 * size)).sum()
    return float(cost / (size * max(count, 1.0)))  # atoms at the rim hardly count


def compared(
    values: Floats, from_host: Floats, first: Sequence[Ints], second: Sequence[Ints]
) -> Floats:
    """Dissimilarities (n, m) of objects, given by their rows."""
    found = np.zeros((len(first), len(second)))
    mirrored = first is second
    for i, a in enumerate(first):
        for j in range(i + 1 if mirrored else 0, len(second)):
            b = second[j]
            found[i, j] = dissimilarity(values[a], values[b], from_host[a], from_host[b])
    return found + found.T if mirrored else found


def clustered(
    values: Floats, from_host: Floats, objects: Sequence[Ints], rng: np.random.Generator
) -> tuple[NDArray[np.intp], Floats, Ints]:
    """Cluster objects by average linkage, cut where noise no longer explains a difference.

    Args:
        values: Whitened embeddings (N, D) of all atoms.
        from_host: Their squared distances (N,) from the host.
        objects: Rows of each of the n objects.
        rng: Picks those that are compared with each other, where there are very many.

    Returns:
        Cluster (n,) of each object, dissimilarities (n, m) from those compared with each other,
        and their numbers (m,).
    """
    count = len(objects)
    chosen = np.sort(rng.choice(count, min(MOST, count), replace=False)).astype(np.intp)
    some = [objects[i] for i in chosen]
    inner = compared(values, from_host, some, some)
    label = _cut(inner)
    if count == len(chosen):
        return label, inner, chosen
    apart = np.zeros((count, len(chosen)))
    apart[chosen] = inner
    others = np.setdiff1d(np.arange(count), chosen)
    apart[others] = compared(values, from_host, [objects[i] for i in others], some)
    means = np.stack([apart[:, label == c].mean(axis=1) for c in np.unique(label)], axis=1)
    all_labels = means.argmin(axis=1)
    lone = means.min(axis=1) > CUT
    all_labels[lone] = means.shape[1] + np.arange(lone.sum())
    all_labels[chosen] = label
    return all_labels.astype(np.intp), apart, chosen


def _cut(apart: Floats) -> Ints:
    """Clusters (n,) of a tree of average linkage."""
    label = np.zeros(len(apart), np.intp)
    if len(apart) < 2:
        return label
    nodes: list[ClusterNode] = [to_tree(linkage(squareform(apart, checks=False), "average"))]
    count = 0
    while nodes:
        node = nodes.pop()
        if node.is_leaf() or not _splits(node, apart):
            label[node.pre_order()] = count
            count += 1
        else:
            nodes += [node.right, node.left]
    return label


def _splits(node: ClusterNode, apart: Floats) -> bool:
    """Whether the halves of a node differ by more than noise, or than each within itself."""
    if node.dist > CUT:
        return True
    halves = [half.pre_order() for half in (node.left, node.right)]
    if node.dist < FINE or min(map(len, halves)) < HALF:
        return False
    within = [apart[np.ix_(h, h)].sum() / (len(h) * (len(h) - 1)) for h in halves]
    return bool(node.dist > TIMES * max(within))
