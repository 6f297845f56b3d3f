"""The primitive vectors of a point pattern, from the vectors between near points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Near = NDArray[np.int32] | NDArray[np.int64]  # neighbours by number
Bools = NDArray[np.bool_]

_NEAR = 60  # neighbours whose vectors are looked at: cells of up to about eight sites
_SAMPLE = 1500  # points that vote
_MOST = 36  # vectors that are tried
_COLLINEAR = 0.3  # least sine of the angle between the two vectors of a pair
_BOTH_WAYS = 0.4  # of the best vector's share of points that have a point both ways along it
_TIE = 1.02  # lengths that count as equal
LEAST_SHARE = 0.15  # of the points that must repeat; of random points 0.01 do by chance,
_LUCK = 2.0  # and more among few points, where one of many vectors fits by luck


def tolerance(xy: Floats, tree: cKDTree) -> float:
    """Return how far (px) a point may lie from where a translation puts it.

    A fifth of the mean distance between points, less where they stand in pairs: near enough that
    random points rarely match, far enough for noise and a few percent of strain.
    """
    k = min(13, len(xy))
    distance = tree.query(xy, k=k)[0]
    dense = float(np.median(distance[:, -1])) * np.sqrt(np.pi / (k - 1))
    return float(min(0.3 * np.median(distance[:, 1]), 0.2 * dense))


def primitive(xy: Floats, tree: cKDTree, tol: float) -> tuple[Floats, Bools] | None:
    """Find the primitive vectors of the largest grain.

    A vector of the lattice takes most points to other points. A pair of vectors is scored by the
    points that have at least three of the four neighbours that it promises; so a point of
    one sublattice with neighbours of the other does not count, and each grain has its own pair.

    Args:
        xy: Positions in px, shape (N, 2).
        tree: KD-tree of them.
        tol: See `tolerance`.

    Returns:
        Reduced vectors as rows, shape (2, 2), and which points have the neighbours that these
        promise, shape (N,); None where too few have.
    """
    step = max(1, len(xy) // _SAMPLE)
    tried = _candidates(xy[::step], xy, tree, tol)
    if len(tried) < 2:
        return None
    vectors = _best_pair(xy[::step], tried, tree, tol, _box(xy))
    if vectors is None:
        return None
    vectors = reduce_cell(vectors)[0]
    met, asked = _meets(xy, np.concatenate([vectors, -vectors]), tree, tol, _box(xy))
    repeats = _enough(met.sum(0), asked.sum(0))
    least = LEAST_SHARE + _LUCK / np.sqrt(len(xy))
    return (vectors, repeats) if repeats.mean() >= least else None


def reduce_cell(vectors: Floats) -> tuple[Floats, Ints]:
    """Return the reduced cell (Lagrange and Gauss) and the change of basis.

    |a| ≤ |b|, the angle between them 60° to 120°, the obtuse one where there is a choice; a points
    to the right as far as vectors of the same length allow, and b lies clockwise of it on the
    screen (x right, y down: positive determinant).

    Returns:
        Vectors as rows, shape (2, 2), and M, shape (2, 2), integer, with new = M @ old.
    """
    short, change = np.asarray(vectors, dtype=np.float64), np.eye(2, dtype=np.int64)
    for _ in range(100):
        if np.hypot(*short[0]) > np.hypot(*short[1]):
            short, change = short[::-1], change[::-1]
        times = round(float(short[1] @ short[0] / (short[0] @ short[0])))
        if times == 0:
            break
        shear = np.array([[1, 0], [-times, 1]])
        short, change = shear @ short, shear @ change
    turn = _turn(short)
    return turn @ short, turn @ change


def _turn(short: Floats) -> Ints:
    """Of all pairs of the shortest vectors: an obtuse one, with a farthest to the right."""
    steps = np.array([[1, 0], [0, 1], [1, 1], [1, -1]])
    steps = np.concatenate([steps, -steps])
    vectors = steps @ short
    length = np.hypot(*vectors.T)
    i, j = (k.ravel() for k in np.indices((8, 8)))
    cross = steps[i, 0] * steps[j, 1] - steps[i, 1] * steps[j, 0]
    good = cross == (1 if np.linalg.det(short) > 0 else -1)
    good &= length[i] <= _TIE * length.min()
    i, j = i[good], j[good]
    shortest = length[j] <= _TIE * length[j].min()
    obtuse = np.sum(vectors[i] * vectors[j], axis=1) <= 0.02 * length.min() ** 2
    right = vectors[i, 0] / length[i]
    best = np.lexsort((right, obtuse, shortest))[-1]
    return np.asarray(steps[[i[best], j[best]]])


def _candidates(sample: Floats, xy: Floats, tree: cKDTree, tol: float) -> Floats:
    """Vectors (M, 2), half plane, on which the differences of near points pile up."""
    k = min(_NEAR, len(xy) - 1)
    near = tree.query(sample, k=k + 1)[1][:, 1:]
    between = (xy[near] - sample[:, None]).reshape(-1, 2)
    between = np.concatenate([between, -between])
    reach = float(np.quantile(np.abs(between), 0.999))
    bins = int(np.clip(2 * reach / (0.5 * tol), 8, 1200)) | 1
    edges = np.linspace(-reach, reach, bins + 1)
    pile = np.histogram2d(between[:, 0], between[:, 1], bins=[edges, edges])[0]
    pile = ndimage.gaussian_filter(pile, 1.0)
    centre = 0.5 * (edges[1:] + edges[:-1])
    top = (ndimage.maximum_filter(pile, size=3) == pile) & (pile > 0)
    top &= (centre[:, None] ** 2 + centre[None, :] ** 2) > (2 * tol) ** 2
    top &= (centre[None, :] > 0) | ((centre[None, :] == 0) & (centre[:, None] > 0))
    i, j = np.nonzero(top)
    best = np.argsort(-pile[i, j], kind="stable")[: 2 * _MOST]
    peaks = np.stack([centre[i[best]], centre[j[best]]], axis=1)
    found: list[Floats] = []
    between = np.asfortranarray(between[np.argsort(between[:, 0])])
    for peak in peaks:
        vector = peak
        for _ in range(3):
            members = _near(between, vector, 0.5 * tol)
            vector = members.mean(axis=0) if len(members) else vector
        if all(np.hypot(*(vector - other)) > tol for other in found):
            found.append(vector)
        if len(found) == _MOST:
            break
    return np.array(found).reshape(-1, 2)


def _near(points: Floats, place: Floats, reach: float) -> Floats:
    """Those of some points, sorted by x, that are near a place, shape (M, 2)."""
    strip = points[slice(*np.searchsorted(points[:, 0], [place[0] - reach, place[0] + reach]))]
    away = strip - place
    return strip[away[:, 0] ** 2 + away[:, 1] ** 2 <= reach**2]


def _best_pair(
    sample: Floats, tried: Floats, tree: cKDTree, tol: float, box: Floats
) -> Floats | None:
    """The pair of vectors whose promises most points keep, small cells first."""
    count = len(tried)
    met, asked = _meets(sample, np.concatenate([tried, -tried]), tree, tol, box)
    # A vector between two sublattices leads somewhere from each point, but not both ways.
    ways = (met[:count] & met[count:]).sum(axis=1) / np.maximum(
        (asked[:count] & asked[count:]).sum(axis=1), 1
    )
    true = ways >= max(_BOTH_WAYS * ways.max(), 0.5 * LEAST_SHARE)
    tried = tried[true]
    met = met[:count][true].astype(np.int8) + met[count:][true]
    asked = asked[:count][true].astype(np.int8) + asked[count:][true]
    i, j = np.triu_indices(len(tried), 1)
    area = np.abs(tried[i, 0] * tried[j, 1] - tried[i, 1] * tried[j, 0])
    length = np.hypot(*tried.T)
    wide = area > _COLLINEAR * length[i] * length[j]
    i, j, area = i[wide], j[wide], area[wide]
    if len(i) == 0:
        return None
    score = _enough(met[i] + met[j], asked[i] + asked[j]).mean(axis=1)
    # A cell that two grains happen to share is larger and fits more points; its size speaks
    # against it.
    best = int(np.argmax(score / np.sqrt(area)))
    same = (area <= 1.15 * area[best]) & (score >= 0.85 * score[best])
    size = np.where(same, length[i] ** 2 + length[j] ** 2, np.inf)
    chosen = int(np.argmin(size))
    return tried[[i[chosen], j[chosen]]]


def _box(xy: Floats) -> Floats:
    return np.array([xy.min(axis=0), xy.max(axis=0)])


def _meets(
    xy: Floats, steps: Floats, tree: cKDTree, tol: float, box: Floats
) -> tuple[Bools, Bools]:
    """Whether a point lies one step from each point, and whether the step stays in the field."""
    ends = xy[None] + steps[:, None]
    asked = np.all((ends >= box[0] - tol) & (ends <= box[1] + tol), axis=-1)
    met = np.zeros(asked.shape, dtype=bool)
    met[asked] = np.isfinite(tree.query(ends[asked], distance_upper_bound=tol)[0])
    return met, asked


def _enough(met: Ints | NDArray[np.int8], asked: Ints | NDArray[np.int8]) -> Bools:
    """Three of four promises are kept, or all of two or three at a border."""
    return np.asarray((asked >= 2) & (met >= np.minimum(asked, 3)))
