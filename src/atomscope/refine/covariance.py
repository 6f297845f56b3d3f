"""Covariance of each column, with neighbours and background left free.

The plane is cut into square cells of a few columns. The columns of a cell are taken with all
within a reach around it and the background nodes under them, and the normal matrix of this
cluster is factored. What lies further away hardly matters: at three widths between
neighbours the errors come out within one percent of those of the whole matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from atomscope.refine.normal import Links, Normal
from atomscope.refine.windows import PEAK, Floats, Ints
from atomscope.types import FloatArray

_BATCH = 2_000_000  # matrix entries worked on at a time
_SEEN = 1e-4  # share of the usual information below which a column (behind a mask) has no errors
_COLUMNS = 4  # in a cell: smaller clusters cost more time for overhead than for arithmetic


def marginal(normal: Normal, xy: Floats, reach: float) -> Floats:
    """Covariance of each column's parameters, shape (N, p, p); NaN where it has none.

    Columns further apart than `reach` px take no note of each other.
    """
    count, p = normal.own.shape[:2]
    result = np.full((count, p, p), np.nan)
    if count == 0:
        return result
    blocks = _Blocks.of(normal)
    for clusters in _clusters(normal.links, xy, reach):
        inner = p * clusters.inside
        inverse = np.full((len(inner), int(inner.max()), int(inner.max())), np.nan)
        for k, matrix in enumerate(blocks.matrices(clusters)):
            inverse[k, : inner[k], : inner[k]] = _corner_of_inverse(matrix, int(inner[k]))
        most = int(clusters.inside.max())
        own = np.einsum("cmamb->cmab", inverse.reshape(-1, most, p, most, p))
        tail = clusters.slot >= (clusters.total - clusters.inside)[clusters.owner]
        result[clusters.column[tail]] = own[np.arange(most) < clusters.inside[:, None]]
    upper = np.triu(result)
    result = upper + np.triu(upper, 1).transpose(0, 2, 1)
    result *= blocks.scale[:, :, None] * blocks.scale[:, None, :]
    result[blocks.scale[:, PEAK] == 0] = np.nan
    return result


def _corner_of_inverse(matrix: FloatArray, size: int) -> FloatArray:
    """Last rows and columns of the inverse of a symmetric matrix; only its upper triangle.

    Of `matrix` only the lower triangle is read. A matrix that rounding or blocks left out
    have made indefinite gets a little on its diagonal.
    """
    diagonal = np.einsum("ii->i", matrix)
    for ridge in (1e-6, 1e-5, 3e-4, 3e-3, 0.03, 0.3):
        diagonal += ridge
        factor, failed = lapack.spotrf(matrix.T, lower=0, clean=0)  # LAPACK counts by columns
        if not failed:
            return np.asarray(lapack.spotri(factor[-size:, -size:], lower=0)[0])
    return np.full((size, size), np.nan)


@dataclass(frozen=True)
class Clusters:
    """Columns and background nodes of a batch of C clusters; columns as one flat list.

    Attributes:
        owner: Cluster of each entry, ascending, shape (E,).
        column: Column of each entry; those of the cell itself come last in their cluster.
        slot: Place of each entry in its cluster.
        total: Number of columns of each cluster, shape (C,).
        inside: Number of columns of the cell itself, shape (C,).
        corner: Row and column of a cluster's first node, shape (2, C).
        extent: Number of its node rows and node columns, shape (2, C).
    """

    owner: Ints
    column: Ints
    slot: Ints
    total: Ints
    inside: Ints
    corner: Ints
    extent: Ints


@dataclass(frozen=True)
class _Blocks:
    """The normal matrix, scaled to a unit diagonal, as lists that clusters are filled from.

    Attributes:
        scale: Scale of each column's parameters, shape (N, p); 0 for columns that are not seen.
        own: Blocks of the columns, shape (N, p, p).
        block: Blocks with their neighbours, shape (2 P, p, p).
        under: Blocks with the nodes, shape (N, p, m).
        start: Where the neighbours of a column begin in `other` and `block`, shape (N + 1,).
        other: Neighbours, shape (2 P,).
        node: Row and column of the first node under each column, shape (2, N).
        keep: Node rows and node columns under a column.
        grid: Node rows and node columns of the tile.
        ground: Matrix of the nodes, by its diagonals: offset to entries by column, (K,).
    """

    scale: Floats
    own: FloatArray
    block: FloatArray
    under: FloatArray
    start: Ints
    other: Ints
    node: Ints
    keep: tuple[int, int]
    grid: tuple[int, int]
    ground: dict[int, Floats]

    @classmethod
    def of(cls, normal: Normal) -> _Blocks:
        information = np.einsum("nii->ni", normal.own)
        peak = information[:, PEAK]
        seen = (information > 0).all(axis=1) & (peak > _SEEN * np.median(peak))
        scale = np.where(seen[:, None], 1 / np.sqrt(np.maximum(information, 1e-300)), 0.0)
        own = normal.own * scale[:, :, None] * scale[:, None, :]
        diagonal = np.einsum("nii->ni", own)
        diagonal[diagonal == 0] = 1.0
        links, across = normal.links, normal.links.across
        source = np.repeat(np.arange(len(scale)), np.diff(across.indptr))
        block = across.data * scale[source][:, :, None] * scale[across.indices][:, None, :]
        node_scale = 1 / np.sqrt(np.maximum(links.ground.diagonal(), 1e-300))
        under = links.under * scale[:, :, None] * node_scale[links.nodes][:, None, :]
        ground = {}
        for offset, line in zip(links.ground.offsets, links.ground.data, strict=True):
            ground[int(offset)] = line * node_scale * np.roll(node_scale, offset)
        ground[0][ground[0] == 0] = 1.0
        return cls(
            scale,
            own.astype(np.float32),
            block.astype(np.float32),
            under.astype(np.float32),
            across.indptr,
            across.indices,
            np.stack(np.divmod(links.nodes[:, 0], links.grid.shape[1])),
            (min(3, links.grid.shape[0]), min(3, links.grid.shape[1])),
            links.grid.shape,
            ground,
        )

    def matrices(self, clusters: Clusters) -> Iterator[FloatArray]:
        """Lower triangles of the clusters' matrices: nodes first, then columns."""
        p = self.own.shape[1]
        ahead = clusters.extent.prod(axis=0)
        size = ahead + p * clusters.total
        begin = np.concatenate([[0], np.cumsum(size**2)])
        flat = np.zeros(begin[-1], dtype=np.float32)
        owner, column = clusters.owner, clusters.column
        place = ahead[owner] + p * clusters.slot
        stride = size[owner]
        row = begin[owner] + place * stride
        axis = np.arange(p)
        _put(flat, row + place, stride, axis, self.own[column])
        where = np.full((len(size), len(self.own)), -1, dtype=np.int32)
        where[owner, column] = place
        entry, link = _runs(self.start[column], np.diff(self.start)[column])
        target = where[owner[entry], self.other[link]]
        earlier = (target >= 0) & (target < place[entry])
        entry, link, target = entry[earlier], link[earlier], target[earlier]
        _put(flat, row[entry] + target, stride[entry], axis, self.block[link])
        self._put_nodes(flat, clusters, begin, size)
        node = self.node[:, column] - clusters.corner[:, owner]
        down, right = np.divmod(np.arange(self.under.shape[2]), self.keep[1])
        wide = clusters.extent[1][owner]
        offset = wide[:, None] * down + right
        _put(flat, row + node[0] * wide + node[1], stride, offset[:, None], self.under[column])
        for k, n in enumerate(size):
            yield flat[begin[k] : begin[k + 1]].reshape(n, n)

    def _put_nodes(self, flat: FloatArray, clusters: Clusters, begin: Ints, size: Ints) -> None:
        high, wide = clusters.extent
        owner, number = _runs(np.zeros_like(high), high * wide)
        down, right = np.divmod(number, wide[owner])
        columns = self.grid[1]
        node = (down + clusters.corner[0][owner]) * columns + right + clusters.corner[1][owner]
        address = begin[owner] + number * size[owner] + number
        for dy, dx in ((0, 0), (0, -1), (-1, -1), (-1, 0), (-1, 1)):
            line = self.ground.get(dy * columns + dx)
            if line is None:
                continue
            inside = (down + dy >= 0) & (right + dx >= 0) & (right + dx < wide[owner])
            to = node[inside] + dy * columns + dx
            flat[address[inside] + dy * wide[owner[inside]] + dx] = line[to]


def _put(flat: FloatArray, address: Ints, stride: Ints, across: Ints, blocks: FloatArray) -> None:
    """Write blocks (L, p, q) into matrices that lie one behind the other."""
    rows = address[:, None] + stride[:, None] * np.arange(blocks.shape[1])
    flat[(rows[:, :, None] + across).ravel()] = blocks.ravel()


def _runs(start: Ints, number: Ints) -> tuple[Ints, Ints]:
    """Runs of `number` successive integers: which run each belongs to, and the integers."""
    run = np.repeat(np.arange(len(number)), number)
    step = np.arange(len(run)) - np.repeat(np.cumsum(number) - number, number)
    return run, start[run] + step


def _clusters(links: Links, xy: Floats, reach: float) -> Iterator[Clusters]:
    """Batches of clusters."""
    p = links.under.shape[1]
    columns = links.grid.shape[1]
    low = xy.min(axis=0)
    area = float(np.prod(xy.max(axis=0) - low))
    few = min(np.sqrt(_COLUMNS * area / len(xy)), 2 * links.grid.spacing)
    edge = max(reach, float(few))
    cell = np.floor((xy - low) / edge).astype(np.int64) + 1
    stride = int(cell[:, 1].max()) + 2
    key = cell[:, 0] * stride + cell[:, 1]
    order = np.argsort(key, kind="stable")
    cells, start, inside = np.unique(key[order], return_index=True, return_counts=True)
    around = np.array([a * stride + b for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b] + [0])
    found = np.minimum(np.searchsorted(cells, cells[:, None] + around), len(cells) - 1)
    number = np.where(cells[found] == cells[:, None] + around, inside[found], 0)
    run, place = _runs(start[found].ravel(), number.ravel())
    owner, column = run // len(around), order[place]
    centre = low + (np.stack(np.divmod(cells, stride), axis=1) - 0.5) * edge
    gap = np.maximum(np.abs(xy[column] - centre[owner]) - edge / 2, 0.0)
    near = np.hypot(gap[:, 0], gap[:, 1]) < reach
    owner, column = owner[near], column[near]
    total = np.bincount(owner)
    first = np.cumsum(total) - total
    node = np.stack(np.divmod(links.nodes[:, [0, -1]], columns))[:, column]
    corner = np.minimum.reduceat(node[:, :, 0], first, axis=1)
    extent = np.maximum.reduceat(node[:, :, 1], first, axis=1) - corner + 1
    ends = np.cumsum((extent.prod(axis=0) + p * total) ** 2) // _BATCH
    slot = np.arange(len(owner)) - first[owner]
    for batch in range(int(ends[-1]) + 1):
        c = slice(*np.searchsorted(ends, [batch, batch + 1]))
        if c.start == c.stop:
            continue
        e = slice(*np.searchsorted(owner, [c.start, c.stop]))
        yield Clusters(
            owner[e] - c.start, column[e], slot[e], total[c], inside[c], corner[:, c], extent[:, c]
        )
