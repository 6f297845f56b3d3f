"""Class averages: many views of one motif, turned and mirrored onto each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atomscope.report.pictures import Levelled, data_uri
from atomscope.spacing import median_spacing
from atomscope.types import FloatArray, Image

PIXELS = 120  # edge of a class average
_BRIGHTEST = 1.0  # of a class average, in units of the frame's contrast: heavy atoms are cut off
_ROUNDS = 3  # of assignment and fit
_POOR = 0.4  # spacings, from which misfit on other motions are tried
_ALIKE = 0.6  # spacings by which distances from the middle may differ for one and the same atom


Motion = tuple[FloatArray, FloatArray]  # matrix (2, 2) and shift (2,)


@dataclass(frozen=True, eq=False)
class View:
    """One motif as it was seen.

    Attributes:
        points: Positions of its atoms in px, shape (N, 2), in any order.
        species: Of each, words, shape (N,).
        errors: Standard errors of the positions, shape (N, 2).
        frame: Frame of the movie.
    """

    points: FloatArray
    species: NDArray[np.object_]
    errors: FloatArray
    frame: int = 0


@dataclass(frozen=True, eq=False)
class Pose:
    """How a view lies on the reference: aligned = points @ matrix.T + shift.

    Attributes:
        matrix: Rotation, with a mirror where the determinant is -1, shape (2, 2).
        shift: Px, shape (2,).
        partner: Row of the view for each atom of the reference, -1 for none, shape (R,).
        misfit: Root mean square distance of the reference's atoms from their partners in px;
            those without one count as one spacing.
    """

    matrix: FloatArray
    shift: FloatArray
    partner: NDArray[np.int64]
    misfit: float


def align(view: View, reference: View, *, mirror: bool = True) -> Pose:
    """Find the rigid motion that brings a view onto the reference best.

    Each atom that is as far from the middle as the outermost one of the reference proposes a
    motion; where none fits, since atoms are missed or false, pairs of atoms do. The one whose
    assignment costs least is fitted by least squares (Kabsch, Acta Cryst. A 32, 922 (1976)).
    Atoms of different species are never partners.
    """
    unit = median_spacing(reference.points) or 1.0
    best = _settled(view, reference, _by_middle(view, reference, unit, mirror), unit)
    if best.misfit > _POOR * unit:
        pairs = _by_pairs(view, reference, unit, mirror)
        others = _settled(view, reference, pairs, unit) if pairs else best
        best = min(best, others, key=lambda pose: pose.misfit)
    return best


def _settled(view: View, reference: View, motions: list[Motion], unit: float) -> Pose:
    """The motion whose assignment costs least, fitted to its partners."""
    poses = (_assigned(view, reference, matrix, shift, unit) for matrix, shift in motions)
    best = min(poses, key=lambda pose: pose.misfit)
    for _ in range(_ROUNDS):
        fitted = _assigned(view, reference, *_fitted(view, reference, best), unit)
        if fitted.misfit >= best.misfit:
            break
        best = fitted
    return best


def _by_middle(view: View, reference: View, unit: float, mirror: bool) -> list[Motion]:
    """Motions about the middle that bring an atom to the direction of the outermost."""
    middle, own = reference.points.mean(axis=0), view.points.mean(axis=0)
    outer, inner = reference.points - middle, view.points - own
    radius = np.hypot(*outer.T)
    anchor = int(radius.argmax())
    alike = np.abs(np.hypot(*inner.T) - radius[anchor]) < _ALIKE * unit
    chosen = inner[alike] if alike.any() else inner
    found = []
    for flip in (1.0, -1.0) if mirror else (1.0,):
        for vector in chosen:
            matrix = _turned(vector, outer[anchor], flip)
            found.append((matrix, middle - matrix @ own))
    return found


def _by_pairs(view: View, reference: View, unit: float, mirror: bool) -> list[Motion]:
    """Motions that bring two atoms onto one of the rarest species and one far from it."""
    words, counts = np.unique(reference.species.astype(str), return_counts=True)
    number = dict(zip(words.tolist(), counts.tolist(), strict=True))
    first = min(range(len(reference.points)), key=lambda i: number[str(reference.species[i])])
    away = np.hypot(*(reference.points - reference.points[first]).T)
    found = []
    for second in np.argsort(-away)[:2]:  # one of them may be the missed one
        aim = reference.points[second] - reference.points[first]
        for i in np.flatnonzero(view.species == reference.species[first]):
            vectors = view.points - view.points[i]
            alike = np.abs(np.hypot(*vectors.T) - away[second]) < _ALIKE * unit / 2
            alike &= view.species == reference.species[second]
            for vector in vectors[alike]:
                for flip in (1.0, -1.0) if mirror else (1.0,):
                    matrix = _turned(vector, aim, flip)
                    found.append((matrix, reference.points[first] - matrix @ view.points[i]))
    return found


def _turned(vector: FloatArray, aim: FloatArray, flip: float) -> FloatArray:
    """The rotation, after a mirror where flip is -1, that gives a vector the direction of aim."""
    angle = np.arctan2(aim[1], aim[0]) - np.arctan2(flip * vector[1], vector[0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(turn @ np.diag([1.0, flip]))


def _assigned(
    view: View, reference: View, matrix: FloatArray, shift: FloatArray, unit: float
) -> Pose:
    """Give each atom of the reference its partner, at most one spacing away."""
    from scipy.optimize import linear_sum_assignment

    moved = view.points @ matrix.T + shift
    square = ((reference.points[:, None] - moved[None]) ** 2).sum(axis=-1)
    square[reference.species[:, None] != view.species[None]] = np.inf
    square = np.minimum(square, unit**2)
    rows, columns = linear_sum_assignment(square)
    near = square[rows, columns] < unit**2
    partner = np.full(len(reference.points), -1, dtype=np.int64)
    partner[rows[near]] = columns[near]
    alone = max(len(reference.points), len(view.points)) - near.sum()
    cost = square[rows[near], columns[near]].sum() + alone * unit**2
    misfit = float(np.sqrt(cost / max(len(reference.points), len(view.points))))
    return Pose(matrix, shift, partner, misfit)


def _fitted(view: View, reference: View, pose: Pose) -> tuple[FloatArray, FloatArray]:
    """Least squares over the partners, with the handedness that the pose has."""
    met = pose.partner >= 0
    if met.sum() < 2:
        return pose.matrix, pose.shift
    a, b = view.points[pose.partner[met]], reference.points[met]
    u, _, vt = np.linalg.svd((a - a.mean(axis=0)).T @ (b - b.mean(axis=0)))
    hand = np.sign(np.linalg.det(pose.matrix) * np.linalg.det(u @ vt))
    matrix = vt.T @ np.diag([1.0, hand]) @ u.T
    return matrix, b.mean(axis=0) - matrix @ a.mean(axis=0)


def cut_out(
    frame: FloatArray | Levelled, pose: Pose, side: float, pixels: int
) -> tuple[FloatArray, ...]:
    """Sample a square around the origin of the reference, by bilinear interpolation.

    Args:
        frame: Values (y, x); what is not finite is left out.
        pose: Of the view in this frame.
        side: Edge of the square in px of the frame.
        pixels: Edge of the picture.

    Returns:
        Values (pixels, pixels), 0 where unknown, and their weights, 1 or 0.
    """
    from scipy.ndimage import map_coordinates

    ticks = (np.arange(pixels) + 0.5) / pixels * side - side / 2
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    xy = (grid - pose.shift) @ pose.matrix  # the inverse of an orthogonal matrix is its transpose
    low = np.maximum(np.floor(xy.min(axis=(0, 1))).astype(int), 0)
    high = np.ceil(xy.max(axis=(0, 1))).astype(int) + 2
    window = frame[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if window.size == 0:
        return np.zeros((pixels, pixels)), np.zeros((pixels, pixels))
    good = np.isfinite(window)
    at = (xy - low).transpose(2, 0, 1)[::-1]
    share = map_coordinates(good.astype(float), at, order=1, cval=0.0)
    values = map_coordinates(np.where(good, window, 0.0), at, order=1, cval=0.0)
    weight = (share > 0.999).astype(float)  # only where all four pixels around are known
    return values * weight, weight


def averaged(
    image: Image, views: Sequence[Sequence[tuple[int, Pose]]], sides: Sequence[float]
) -> list[str]:
    """Return class averages as data URIs, `PIXELS` wide and high.

    Args:
        image: The image or movie; each of its frames is read once.
        views: Of each class, as frame and pose.
        sides: Edge of each picture in px of the image.
    """
    every = [(frame, k, pose) for k, own in enumerate(views) for frame, pose in own]
    sums = np.zeros((len(views), 2, PIXELS, PIXELS))
    read, frame = -1, Levelled(np.zeros((0, 0)))
    for number, k, pose in sorted(every, key=lambda view: view[0]):
        if number != read:
            read, frame = number, Levelled(image.frame(number))
        sums[k] += cut_out(frame, pose, sides[k], PIXELS)
    means = [mean_of([values], [weights]) for values, weights in sums]
    return [data_uri(np.minimum(mean, _BRIGHTEST)) for mean in means]


def mean_of(values: Sequence[FloatArray], weights: Sequence[FloatArray]) -> FloatArray:
    """Return the mean of pictures, NaN where no weight is."""
    total = np.sum(weights, axis=0)
    sums = np.sum(values, axis=0)
    return np.asarray(np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0))


def mean_lengths(
    views: Sequence[View], poses: Sequence[Pose], bonds: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    """Return the mean length (px) of each bond over the views and its standard error.

    The error is the spread among the views over the root of their number; for a bond that only
    one view shows it comes from the errors of both positions. NaN where none does.

    Args:
        views: Of one motif.
        poses: How each lies on the reference.
        bonds: Pairs of atoms of the reference, shape (B, 2).
    """
    lengths = np.full((len(views), len(bonds)), np.nan)
    errors = np.full((len(views), len(bonds)), np.nan)
    for row, (view, pose) in enumerate(zip(views, poses, strict=True)):
        ends = pose.partner[bonds]
        met = (ends >= 0).all(axis=1)
        vectors = view.points[ends[met, 1]] - view.points[ends[met, 0]]
        lengths[row, met] = np.hypot(*vectors.T)
        square = (view.errors[ends[met]] ** 2).sum(axis=1)
        along = vectors / np.maximum(lengths[row, met], 1e-12)[:, None]
        errors[row, met] = np.sqrt((along**2 * square).sum(axis=1))
    return mean_and_error(lengths, errors)


def mean_length(view: View, pose: Pose, bonds: NDArray[np.int64]) -> tuple[float, float]:
    """Return the mean length (px) of some bonds in one view, and its error; NaN without any.

    The error holds that an atom's own shift lengthens some of its bonds and shortens others.
    """
    ends = pose.partner[bonds]
    ends = ends[(ends >= 0).all(axis=1)]
    if len(ends) == 0:
        return np.nan, np.nan
    vectors = view.points[ends[:, 1]] - view.points[ends[:, 0]]
    length = np.hypot(*vectors.T)
    pull = vectors / np.maximum(length, 1e-12)[:, None]
    slope = np.zeros_like(view.points)
    np.add.at(slope, ends[:, 1], pull)
    np.add.at(slope, ends[:, 0], -pull)
    touched = (slope != 0).any(axis=1)
    square = ((slope[touched] * view.errors[touched]) ** 2).sum()
    return float(length.mean()), float(np.sqrt(square) / len(ends))


def mean_and_error(values: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return means (B,) of values (V, B) over the first axis and their standard errors (B,)."""
    known = np.isfinite(values)
    number = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(number, 1)
    square = (np.where(known, values - mean, 0.0) ** 2).sum(axis=0)
    spread = np.sqrt(square / np.maximum(number - 1, 1) / np.maximum(number, 1))
    single = np.where(known, errors, 0.0).sum(axis=0)
    error = np.where(number > 1, spread, single)
    return np.where(number > 0, mean, np.nan), np.where(number > 0, error, np.nan)
