"""From a cell and a seed to a crystal: indices are handed from neighbour to neighbour.

Each new point is compared with the lattice as its indexed neighbours show it (an affine fit of
their positions), so that strain, rotation and drift are followed as far as they are smooth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from atomscope.lattice.vectors import Bools, Floats, Ints, Near

NEAR = 20  # neighbours that are looked at
_LEAST = 3  # of them must be indexed before a point is
_STIFF = 0.5  # cells²: pull of the local vectors towards the mean ones
_PATCH = (64, 250)  # points among which the sites of the cell are looked for
_BENT = 0.17  # largest relative change of the vectors within a grain: a turn of 10 degrees
_CLOSE = 8  # nearest neighbours that vouch for a point
_COMPANY = 0.35  # least share of these with an index: a corner of a grain has it
_ROUGH = 0.5  # of the reach: largest rms deviation around a point; at random it is 0.7
_CHUNK = 16_384  # places whose neighbours are held in memory at a time
_RARE = 0.3  # of the points of the fullest sublattice: with fewer it is none


@dataclass(frozen=True)
class Crystal:
    """Indexed points.

    Attributes:
        vectors: Mean vectors as rows, px, shape (2, 2).
        basis: Fractional positions of the sites of a cell, shape (B, 2).
        site: Sublattice of each point, -1 for none, shape (N,).
        cell: Cell of each point, shape (N, 2); 0 where it has none.
    """

    vectors: Floats
    basis: Floats
    site: Ints
    cell: Ints

    def coordinates(self, points: Ints) -> Floats:
        """Fractional coordinates (..., 2) that points (...) would have in the perfect lattice."""
        return np.asarray(self.cell[points] + self.basis[self.site[points]])


@dataclass(frozen=True)
class Local:
    """The lattice as it is around M places: x = middle + (c - origin) @ vectors.

    Attributes:
        origin: Mean coordinates of the neighbours, shape (M, 2).
        middle: Their mean position in px, shape (M, 2).
        vectors: Local vectors as rows, px, shape (M, 2, 2).
    """

    origin: Floats
    middle: Floats
    vectors: Floats

    def coordinates(self, xy: Floats) -> Floats:
        """Fractional coordinates (M, 2) of positions (M, 2)."""
        inverse = np.linalg.inv(self.vectors)
        return np.asarray(self.origin + np.einsum("mi,mij->mj", xy - self.middle, inverse))

    def resembles(self, vectors: Floats) -> Bools:
        """Whether the local vectors are strained or turned by no more than a crystal can be."""
        off = np.linalg.norm(self.vectors - vectors, axis=(1, 2))
        return np.asarray(off < _BENT * np.linalg.norm(vectors))

    def positions(self, coordinates: Floats) -> Floats:
        """Positions (M, 2) of fractional coordinates (M, 2)."""
        steps = np.einsum("mi,mij->mj", coordinates - self.origin, self.vectors)
        return np.asarray(self.middle + steps)


def neighbours(xy: Floats, tree: cKDTree) -> Near:
    """Return the nearest other points of each, at most `NEAR`, the nearest first: (N, k)."""
    k = min(NEAR + 1, len(xy))
    near = np.empty((len(xy), k - 1), dtype=np.int32)  # of a million points it is 80 MB
    for i in range(0, len(xy), _CHUNK):
        near[i : i + _CHUNK] = tree.query(xy[i : i + _CHUNK], k=k)[1][:, 1:]
    return near


def around(xy: Floats, crystal: Crystal, near: Near, known: Bools) -> Local:
    """Fit the lattice to the known neighbours of each of M places.

    Args:
        xy: Positions of all points in px, shape (N, 2).
        crystal: Their indices; few neighbours are pulled towards its mean vectors.
        near: Neighbours of each place, shape (M, k).
        known: Which of these take part, shape (M, k); none of them without an index.
    """
    if len(near) > _CHUNK:
        parts = range(0, len(near), _CHUNK)
        return _joined(
            [around(xy, crystal, near[i : i + _CHUNK], known[i : i + _CHUNK]) for i in parts]
        )
    share, site = known.astype(np.float64), crystal.site[near]
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1)
    fields = [
        *(crystal.cell[:, k][near] + crystal.basis[:, k][site] for k in (0, 1)),
        *(xy[:, k][near] for k in (0, 1)),
    ]
    means = [_dot(share, field) for field in fields]
    u, v, x, y = (field - mean[:, None] for field, mean in zip(fields, means, strict=True))
    u, v = u * known, v * known
    pull = _STIFF * crystal.vectors
    uu, uv, vv = _dot(u, u) + _STIFF, _dot(u, v), _dot(v, v) + _STIFF
    right = [[_dot(c, place) for place in (x, y)] for c in (u, v)]
    first, second = (
        np.stack([right[k][0] + pull[k, 0], right[k][1] + pull[k, 1]], axis=1) for k in (0, 1)
    )
    uu, uv, vv = uu[:, None], uv[:, None], vv[:, None]
    solved = [vv * first - uv * second, uu * second - uv * first]
    vectors = np.stack(solved, axis=1) / (uu * vv - uv * uv)[:, :, None]
    return Local(np.stack(means[:2], axis=1), np.stack(means[2:], axis=1), vectors)


def _joined(parts: list[Local]) -> Local:
    if len(parts) == 1:
        return parts[0]
    names = ("origin", "middle", "vectors")
    return Local(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _dot(a: Floats, b: Floats) -> Floats:
    """Sums over neighbours: (M, k), (M, k) -> (M,)."""
    return np.asarray(np.einsum("mk,mk->m", a, b))


def grow(xy: Floats, near: Near, crystal: Crystal, reach: float) -> Crystal:
    """Index all points that can be reached from those that are indexed.

    Args:
        xy: Positions in px, shape (N, 2).
        near: Neighbours of each point, shape (N, k).
        crystal: To begin with.
        reach: Largest distance (px) between a point and its site.
    """
    crystal = replace(crystal, site=crystal.site.copy(), cell=crystal.cell.copy())
    seen = np.zeros(len(xy), dtype=np.int64)  # indexed neighbours when last tried
    fresh = np.flatnonzero(crystal.site >= 0)
    while len(fresh):
        front = np.unique(near[fresh])
        front = front[crystal.site[front] < 0]
        count = (crystal.site[near[front]] >= 0).sum(axis=1)
        ready = (count >= _LEAST) & (count > seen[front])
        front = front[ready]
        seen[front] = count[ready]
        local = around(xy, crystal, near[front], crystal.site[near[front]] >= 0)
        site, cell, miss = nearest_site(xy[front], local, crystal.basis)
        won = (miss <= reach) & local.resembles(crystal.vectors)
        fresh = front[won]
        crystal.site[fresh], crystal.cell[fresh] = site[won], cell[won]
    return crystal


def germinate(xy: Floats, tree: cKDTree, vectors: Floats, start: int, tol: float) -> Crystal:
    """Index the surroundings of a point and find the sites of the cell there.

    First the sublattice of the point itself is followed, by the vectors alone. The others are
    where further points pile up when all are brought into one cell.

    Args:
        xy: Positions in px, shape (N, 2).
        tree: KD-tree of them.
        vectors: Primitive vectors.
        start: A point that has its neighbours.
        tol: Tolerance of a translation in px.
    """
    site, cell = np.full(len(xy), -1), np.zeros((len(xy), 2), dtype=np.int64)
    steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 2)
    distance, met = tree.query(xy[start] + steps @ vectors, distance_upper_bound=tol)
    there = np.isfinite(distance)
    site[met[there]], cell[met[there]] = 0, steps[there]
    sites = abs(float(np.linalg.det(vectors))) / (np.pi * tree.query(xy[start], k=20)[0][-1] ** 2)
    size = int(min(np.clip(25 * 20 * sites, *_PATCH), len(xy)))
    patch = np.asarray(tree.query(xy[start], k=size)[1])
    some = xy[patch]
    near = cKDTree(some).query(some, k=min(60, size))[1][:, 1:]
    one = Crystal(vectors, np.zeros((1, 2)), site[patch], cell[patch])
    one = grow(some, near, one, tol)
    known = one.site[near] >= 0
    local = around(some, one, near, known)
    enough = known.sum(axis=1) >= _LEAST
    basis = _sites(local.coordinates(some)[enough], vectors, tol)
    full = Crystal(vectors, basis, np.full(len(xy), -1), np.zeros((len(xy), 2), dtype=np.int64))
    found, cells, miss = nearest_site(some, local, basis)
    good = enough & (miss <= tol)
    full.site[patch[good]], full.cell[patch[good]] = found[good], cells[good]
    return full


def deviations(xy: Floats, near: Near, crystal: Crystal) -> Floats:
    """Return how far each point lies from the lattice that its neighbours show, without itself.

    In px, shape (N, 2); NaN without an index, with too few neighbours, or where these show
    another orientation.
    """
    result = np.full(xy.shape, np.nan)
    member, local = _members(xy, near, crystal)
    off = xy[member] - local.positions(crystal.coordinates(member))
    result[member] = np.where(local.resembles(crystal.vectors)[:, None], off, np.nan)
    return result


def settle(xy: Floats, near: Near, crystal: Crystal) -> Crystal:
    """Refine vectors and basis."""
    for _ in range(2):
        member, local = _members(xy, near, crystal)
        off = xy[member] - local.positions(crystal.coordinates(member))
        off = np.einsum("mi,mij->mj", off, np.linalg.inv(local.vectors))
        shift = np.zeros_like(crystal.basis)
        for s in range(len(shift)):
            if (crystal.site[member] == s).any():
                shift[s] = np.median(off[crystal.site[member] == s], axis=0)
        crystal = replace(crystal, basis=crystal.basis + shift - shift[0])
    design = np.column_stack([np.ones(len(member)), crystal.coordinates(member)])
    solution = np.linalg.lstsq(design, xy[member], rcond=None)[0]
    return replace(crystal, vectors=np.asarray(solution[1:], dtype=np.float64))


def _members(xy: Floats, near: Near, crystal: Crystal) -> tuple[Ints, Local]:
    indexed = crystal.site >= 0
    member = np.flatnonzero(indexed)
    parts = []
    for i in range(0, max(len(member), 1), _CHUNK):  # twenty neighbours to each are too many
        part = member[i : i + _CHUNK]
        known = indexed[near[part]]
        enough = known.sum(axis=1) >= _LEAST
        part = part[enough]
        parts.append((part, around(xy, crystal, near[part], known[enough])))
    return np.concatenate([p for p, _ in parts]), _joined([local for _, local in parts])


def prune(near: Near, crystal: Crystal, deviation: Floats, reach: float) -> Crystal:
    """Take back indices that chance gave, as in another grain, and doubles.

    A point stays where enough of its nearest neighbours have an index, where these and itself
    lie close to their sites, and where it is the nearest to its site.
    """
    square = np.sum(deviation**2, axis=1)
    member = (crystal.site >= 0) & (square <= reach**2)
    close = near[:, :_CLOSE]
    for _ in range(4):
        share = member[close].mean(axis=1)
        near_sum = np.where(member, square, 0.0)
        mean = (near_sum[close].sum(axis=1) + near_sum) / (member[close].sum(axis=1) + 1)
        member &= (share >= _COMPANY) & (mean <= (_ROUGH * reach) ** 2)
    order = np.argsort(np.where(member, square, np.inf), kind="stable")[: member.sum()]
    _, first = np.unique(site_keys(crystal.site, crystal.cell)[order], return_index=True)
    site = np.full(len(member), -1)
    site[order[first]] = crystal.site[order[first]]
    return replace(crystal, site=site, cell=np.where(site[:, None] >= 0, crystal.cell, 0))


def site_keys(site: Ints, cell: Ints) -> Ints:
    """Number sites of cells: the same for the same site, else in the order of site and cell."""
    u, v = cell[..., 0], cell[..., 1]
    low_u, low_v = int(u.min(initial=0)), int(v.min(initial=0))
    wide_u, wide_v = int(u.max(initial=0)) - low_u + 1, int(v.max(initial=0)) - low_v + 1
    return np.asarray((site * wide_u + (u - low_u)) * wide_v + (v - low_v), dtype=np.int64)


def nearest_site(xy: Floats, local: Local, basis: Floats) -> tuple[Ints, Ints, Floats]:
    """Sublattice, cell and distance (px) of the site that is nearest to each place."""
    difference = local.coordinates(xy)[:, None] - basis
    cell = np.rint(difference)
    miss = np.einsum("mbi,mij->mbj", difference - cell, local.vectors)
    distance = np.hypot(miss[..., 0], miss[..., 1])
    best = distance.argmin(axis=1)
    row = np.arange(len(xy))
    return best, cell[row, best].astype(np.int64), distance[row, best]


def _sites(coordinates: Floats, vectors: Floats, tol: float) -> Floats:
    """Where fractional coordinates pile up, shape (B, 2), 0 to 1; the fullest first."""
    apart = coordinates[:, None] - coordinates[None]
    apart -= np.rint(apart)
    close = np.hypot(*np.moveaxis(apart @ vectors, -1, 0)) <= tol
    left = np.ones(len(coordinates), dtype=bool)
    found: list[Floats] = []
    least = 3.0
    while left.any():
        count = (close & left).sum(axis=1) * left
        top = int(count.argmax())
        if count[top] < least:
            break
        least = max(least, _RARE * count[top])
        members = close[top] & left
        # The shifts of the members against the densest point, so that the cell's border is none.
        found.append(coordinates[top] - apart[top][members].mean(axis=0))
        left &= ~close[top]
    return np.array(found).reshape(-1, 2) % 1.0 if found else np.zeros((1, 2))
