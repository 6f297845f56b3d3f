"""Covariance of each column, with neighbours and background left free.

The plane is cut into square cells; each cell's columns are taken with all columns of
the eight cells around it, and the normal matrix of this cluster is factored. What lies
further away than a cell's edge hardly matters: at three widths between
neighbours the errors come out within one percent of those of the whole matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from atomscope.refine.normal import Normal
from atomscope.refine.windows import Floats, Ints
from atomscope.types import FloatArray

_BATCH = 3_000_000  # matrix entries worked on at a time


@dataclass(frozen=True)
class Clusters:
    """Members of each cluster; the columns of the cell itself come last.

    Attributes:
        members: Columns, right-aligned and padded in front by -1, shape (C, M).
        inside: Number of columns of the cell itself, shape (C,).
    """

    members: Ints
    inside: Ints


def marginal(normal: Normal, xy: Floats, edge: float) -> Floats:
    """Covariance of each column's parameters, shape (N, p, p); NaN where it has none.

    `edge` is that of a cell in px: columns further apart take no note of each other.
    """
    count, p = normal.own.shape[:2]
    result = np.full((count, p, p), np.nan)
    if count == 0:
        return result
    scale = 1 / np.sqrt(np.maximum(np.einsum("nii->ni", normal.own), 1e-300))
    links = _Links.of(normal, scale)
    for clusters in _clusters(xy, edge, p):
        matrix = links.matrices(clusters.members)
        last = p * int(clusters.inside.max())
        factor = _cholesky(matrix)[:, -last:, -last:].astype(np.float64)
        root = np.linalg.inv(factor)
        inverse = (root.transpose(0, 2, 1) @ root).reshape(len(root), last // p, p, last // p, p)
        own = np.einsum("cmamb->cmab", inverse)
        tail = clusters.members[:, -(last // p) :]
        inside = np.arange(last // p) >= last // p - clusters.inside[:, None]
        result[tail[inside]] = own[inside]
    return np.asarray(result * scale[:, :, None] * scale[:, None, :])


@dataclass(frozen=True)
class _Links:
    """The normal matrix, scaled to a unit diagonal, as lists that clusters are filled from."""

    own: Floats
    start: Ints
    other: Ints
    block: Floats
    nodes: Ints
    under: Floats
    ground: Floats

    @classmethod
    def of(cls, normal: Normal, scale: Floats) -> _Links:
        count = len(scale)
        own = normal.own * scale[:, :, None] * scale[:, None, :]
        i, j = normal.first, normal.second
        cross = normal.cross * scale[i][:, :, None] * scale[j][:, None, :]
        source = np.concatenate([i, j])
        order = np.argsort(source, kind="stable")
        other = np.concatenate([j, i])[order]
        block = np.concatenate([cross, cross.transpose(0, 2, 1)])[order]
        start = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=count))])
        ground = normal.ground.toarray()
        node_scale = 1 / np.sqrt(np.maximum(ground.diagonal(), 1e-300))
        ground = ground * node_scale * node_scale[:, None]
        under = normal.under * scale[:, :, None] * node_scale[normal.nodes][:, None, :]
        return cls(own, start, other, block, normal.nodes, under, ground)

    def matrices(self, members: Ints) -> FloatArray:
        """Matrices of clusters: nodes first, then columns; padding is the identity."""
        batch, most = members.shape
        p = self.own.shape[1]
        c, slot = np.nonzero(members >= 0)
        column = members[c, slot]
        place = np.full((batch, len(self.own)), -1, dtype=np.int64)
        place[c, column] = slot
        nodes, node_place = self._nodes(c, column, batch)
        ahead = nodes.shape[1]
        size = ahead + most * p
        matrix = np.zeros((batch, size, size), dtype=np.float32)
        both = (nodes[:, :, None] >= 0) & (nodes[:, None, :] >= 0)
        matrix[:, :ahead, :ahead] = self.ground[nodes[:, :, None], nodes[:, None, :]] * both
        axis = np.arange(p)

        def rows(which: Ints) -> Ints:
            return np.asarray(ahead + which[:, None] * p + axis)

        here = rows(slot)
        matrix[c[:, None, None], here[:, :, None], here[:, None, :]] = self.own[column]
        repeat = self.start[column + 1] - self.start[column]
        link = np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat)
        link += np.repeat(self.start[column], repeat)
        c2, row = np.repeat(c, repeat), np.repeat(here, repeat, axis=0)
        target = place[c2, self.other[link]]
        keep = target >= 0
        c2, row, there = c2[keep], row[keep], rows(target[keep])
        matrix[c2[:, None, None], row[:, :, None], there[:, None, :]] = self.block[link[keep]]
        below = node_place[c[:, None], self.nodes[column]]
        under = self.under[column]
        matrix[c[:, None, None], here[:, :, None], below[:, None, :]] = under
        matrix[c[:, None, None], below[:, :, None], here[:, None, :]] = under.transpose(0, 2, 1)
        diagonal = np.einsum("cii->ci", matrix)
        diagonal[diagonal == 0] = 1.0
        return matrix

    def _nodes(self, c: Ints, column: Ints, batch: int) -> tuple[Ints, Ints]:
        """Nodes under each cluster, (batch, m) padded by -1, and where each node stands there."""
        total = len(self.ground)
        key = np.unique(c[:, None] * total + self.nodes[column])
        owner, node = key // total, key % total
        number = np.bincount(owner, minlength=batch)
        rank = np.arange(len(key)) - np.repeat(np.cumsum(number) - number, number)
        nodes = np.full((batch, int(number.max(initial=0))), -1, dtype=np.int64)
        nodes[owner, rank] = node
        place = np.zeros((batch, total), dtype=np.int64)
        place[owner, node] = rank
        return nodes, place


def _clusters(xy: Floats, edge: float, p: int) -> Iterator[Clusters]:
    """Batches of clusters of similar size."""
    cell = np.floor((xy - xy.min(axis=0)) / edge).astype(np.int64) + 1
    stride = int(cell[:, 1].max()) + 2
    key = cell[:, 0] * stride + cell[:, 1]
    order = np.argsort(key, kind="stable")
    cells, start, inside = np.unique(key[order], return_index=True, return_counts=True)
    around = np.array([a * stride + b for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b] + [0])
    wanted = cells[:, None] + around
    found = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
    number = np.where(cells[found] == wanted, inside[found], 0)
    total = number.sum(axis=1)
    by_size = np.argsort(total, kind="stable")
    first = 0
    while first < len(cells):
        # Sizes grow along the list: judge the batch by where it would end.
        guess = max(1, _BATCH // (p * int(total[by_size[first]]) + 16) ** 2)
        last = min(first + guess, len(cells))
        chosen = by_size[first:last]
        most = int(total[chosen].max())
        yield Clusters(_aligned(order, start[found[chosen]], number[chosen], most), inside[chosen])
        first = last


def _aligned(order: Ints, start: Ints, number: Ints, most: int) -> Ints:
    """Lists of columns of the nine cells, one row per cluster, right-aligned."""
    members = np.full((len(start), most), -1, dtype=np.int64)
    end = most - number[:, ::-1].cumsum(axis=1)[:, ::-1]  # where each cell's list begins
    flat = number.ravel()
    step = np.arange(flat.sum()) - np.repeat(np.cumsum(flat) - flat, flat)
    row = np.repeat(np.repeat(np.arange(len(start)), number.shape[1]), flat)
    members[row, np.repeat(end.ravel(), flat) + step] = order[np.repeat(start.ravel(), flat) + step]
    return members


def _cholesky(matrix: FloatArray) -> FloatArray:
    """Factor a batch; matrices that rounding made indefinite get a little on their diagonal."""
    diagonal = np.einsum("cii->ci", matrix)
    for ridge in (1e-5, 3e-4, 3e-3, 0.03, 0.3):
        diagonal += ridge
        try:
            return np.asarray(np.linalg.cholesky(matrix))
        except np.linalg.LinAlgError:
            continue
    return np.broadcast_to(np.full_like(matrix[:1], np.nan), matrix.shape)
