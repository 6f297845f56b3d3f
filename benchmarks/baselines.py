"""Classical detectors to compare with, tuned on the very images they are scored on.

Each method first makes candidates (positions and a strength) for every setting of its parameters;
the strength is in units of the frame's own noise, so one threshold serves frames of any gain.
Tuning takes the setting and the threshold with the best pooled F1 on the scored images: no user
could do better with one setting, so the results are upper bounds for these methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from atomscope.evaluate import Scores, match, pool, score

Array = NDArray[np.floating[Any]]
Settings = dict[str, float]
Claims = tuple[Array, Array, int]  # see `_claims`


@dataclass(frozen=True)
class Frame:
    """A frame with known positions (x, y in px) and the radius within which one counts as found."""

    name: str
    data: Array
    truth: Array
    radius: float
    pixel_size: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidates:
    """Positions (N, 2) and strengths (N,), strongest first."""

    xy: Array
    strength: Array

    def above(self, threshold: float) -> Array:
        return self.xy[self.strength >= threshold]


@dataclass(frozen=True)
class Tuned:
    """The best setting of a method on a set of frames and what it found there."""

    settings: Mapping[str, float]
    threshold: float
    found: list[Array]
    scores: list[Scores]

    @property
    def pooled(self) -> Scores:
        return pool(self.scores)


def robust(data: Array) -> Array:
    """Median 0, and 1 for the spread that the noise would have were the frame noise alone."""
    filled = np.nan_to_num(data.astype(float), nan=float(np.nanmedian(data)))
    spread = 1.4826 * np.median(np.abs(filled - np.median(filled)))
    return (filled - np.median(filled)) / max(float(spread), 1e-12)


def flatten(data: Array, width: float) -> Array:
    """Robust units; for width > 0 first divided by the local contrast within that width in px."""
    image = robust(data)
    if width <= 0:
        return image
    high = image - ndimage.gaussian_filter(image, width)
    contrast = np.sqrt(ndimage.gaussian_filter(high**2, width))
    return robust(high / (contrast + 0.2 * contrast.mean()))


def log_grid(data: Array, scale: float) -> Iterator[tuple[Settings, Candidates]]:
    """Maxima of the Laplacian of Gaussian, sub-pixel by parabolas; strength in robust units.

    Settings: sigma in px; smallest distance of two maxima, width for local contrast (0: none)
    and width of the border without maxima, in sigma.
    """
    image = robust(data)
    for sigma in (scale * s for s in (1.0, 1.4, 1.8, 2.3, 2.9, 3.6, 4.5, 5.6)):
        filtered = -ndimage.gaussian_laplace(image, sigma, mode="reflect")
        for local in (0.0, 6.0):
            response = flatten(filtered, local * sigma)
            for distance in (1.0, 1.6, 2.4, 3.5):
                maxima = _maxima(response, 2 * max(1, round(distance * sigma)) + 1)
                near_border = border_distance(maxima.xy, data.shape)
                for border in (0.0, 1.0):
                    keep = near_border >= border * sigma
                    settings = {
                        "sigma": sigma, "distance": distance, "local": local, "border": border
                    }  # fmt: skip
                    yield settings, Candidates(maxima.xy[keep], maxima.strength[keep])


def trackpy_grid(data: Array, scale: float) -> Iterator[tuple[Settings, Candidates]]:
    """Local maxima after a band pass, centroid refined (trackpy.locate); strength is its mass.

    Settings: odd diameter of a feature in px; smallest distance of two features and width for
    local contrast (0: none), in diameters.
    """
    for rough in (3, 5, 7, 9, 11, 13, 17):
        diameter = 2 * max(1, round((rough * scale - 1) / 2)) + 1
        for local in (0.0, 2.0):
            image = flatten(data, local * diameter)
            for separation in (0.6, 1.2):
                settings = {"diameter": diameter, "separation": separation, "local": local}
                yield settings, _locate(image, diameter, separation * diameter)


METHODS: dict[str, Callable[[Array, float], Iterator[tuple[Settings, Candidates]]]] = {
    "LoG": log_grid,
    "trackpy": trackpy_grid,
}


def tune(frames: Sequence[Frame], method: str, scale: float = 1.0) -> Tuned:
    """Return the setting and threshold with the best pooled F1 on these frames.

    Args:
        frames: Frames with truth.
        method: 'LoG' or 'trackpy'.
        scale: Factor on all lengths of the grid (for frames with very fine or coarse pixels).
    """
    grids = [list(METHODS[method](frame.data, scale)) for frame in frames]
    return tune_grids(frames, grids)


def tune_grids(
    frames: Sequence[Frame], grids: Sequence[list[tuple[Settings, Candidates]]]
) -> Tuned:
    """As `tune`, from the candidates of every frame for every setting."""
    setting, threshold = _best_setting(_all_claims(frames, grids))
    found = [grid[setting][1].above(threshold) for grid in grids]
    return Tuned(grids[0][setting][0], threshold, found, scores_of(frames, found))


def tune_on_others(frames: Sequence[Frame], method: str) -> list[Tuned]:
    """Each frame as its user would find it: setting and threshold tuned on the other frames."""
    grids = [list(METHODS[method](frame.data, 1.0)) for frame in frames]
    claims = _all_claims(frames, grids)
    tuned = []
    for i, (frame, grid) in enumerate(zip(frames, grids, strict=True)):
        setting, threshold = _best_setting(claims[:i] + claims[i + 1 :])
        settings, candidates = grid[setting]
        found = [candidates.above(threshold)]
        tuned.append(Tuned(settings, threshold, found, scores_of([frame], found)))
    return tuned


def _all_claims(
    frames: Sequence[Frame], grids: Sequence[list[tuple[Settings, Candidates]]]
) -> list[list[Claims]]:
    """Claims by frame and setting."""
    return [[_claims(f, c) for _, c in grid] for f, grid in zip(frames, grids, strict=True)]


def _best_setting(claims: Sequence[Sequence[Claims]]) -> tuple[int, float]:
    """Number of the best setting (pooled F1) and its threshold; claims by frame and setting."""
    best = [_best_threshold(at_setting) for at_setting in zip(*claims, strict=True)]
    if not best:
        raise ValueError("no settings to try")
    setting = int(np.argmax([f1 for f1, _ in best]))
    return setting, best[setting][1]


def score_frame(frame: Frame, xy: Array, rim: float = 0.0) -> Scores:
    """Score without blame for positions on columns that are too weak to be asked for.

    A frame may name a rim in px: what lies there is cut by the border and not counted.
    """
    weak = frame.info.get("ignored", np.empty((0, 2)))
    if len(weak) and len(xy):
        pairs = match(np.concatenate([frame.truth, weak]), xy, frame.radius)
        xy = np.delete(xy, pairs.found[pairs.truth >= len(frame.truth)], axis=0)
    rim = max(rim, frame.info.get("rim", 0.0))
    return score(frame.truth, xy, frame.radius, frame_shape=frame.data.shape, rim=rim)


def scores_of(frames: Sequence[Frame], found: Sequence[Array]) -> list[Scores]:
    return [score_frame(frame, xy) for frame, xy in zip(frames, found, strict=True)]


def _best_threshold(claims: Sequence[Claims]) -> tuple[float, float]:
    """Best pooled F1 over all thresholds, and that threshold.

    For speed every candidate is paired with its nearest true position: the optimal matching where
    the radius is under half the distance of true positions. The final scores are exact.
    """
    counted = np.sort(np.concatenate([c[0] for c in claims]))[::-1]
    first = np.sort(np.concatenate([c[1] for c in claims]))[::-1]
    atoms = sum(c[2] for c in claims)
    if not len(counted):
        return 0.0, np.inf
    true = np.searchsorted(-first, -counted, side="right")
    found = np.searchsorted(-counted, -counted, side="right")
    f1 = 2 * true / (found + atoms)
    at = int(np.argmax(f1))
    return float(f1[at]), float(counted[at])


def _claims(frame: Frame, candidates: Candidates) -> Claims:
    """Strengths that count, the strongest at each true position, and the number of those."""
    weak = frame.info.get("ignored", np.empty((0, 2)))
    rim = frame.info.get("rim", 0.0)
    asked = border_distance(frame.truth, frame.data.shape) >= rim
    if not len(candidates.xy):
        return np.empty(0), np.empty(0), int(asked.sum())
    places = np.concatenate([frame.truth, weak])
    distance, which = KDTree(places).query(candidates.xy)
    near = distance <= frame.radius
    on_atom = near & (which < len(frame.truth))
    counts = np.where(
        near,
        np.append(asked, np.zeros(len(weak), dtype=bool))[which],
        border_distance(candidates.xy, frame.data.shape) >= rim,
    )
    strongest = np.full(len(places), -np.inf)
    use = on_atom & counts
    np.maximum.at(strongest, which[use], candidates.strength[use])
    return candidates.strength[counts], strongest[np.isfinite(strongest)], int(asked.sum())


def with_gaussian_fit(frames: Sequence[Frame], tuned: Tuned) -> Tuned:
    """The same atoms, each moved to the centre of a 2-D Gaussian fitted to its surroundings."""
    sigma = tuned.settings["sigma"]
    found = [fit_gaussians(f.data, xy, sigma) for f, xy in zip(frames, tuned.found, strict=True)]
    return Tuned(tuned.settings, tuned.threshold, found, scores_of(frames, found))


def fit_gaussians(data: Array, xy: Array, sigma: float, iterations: int = 15) -> Array:
    """Fit amplitude, x, y, width and background around every position, each column on its own.

    Levenberg-Marquardt for all columns at once on a disc of two sigma, or of half the median
    distance between neighbours where that is less. A fit that moves by more than sigma gives back
    the position it started from.
    """
    if len(xy) < 2:
        return xy
    spacing = float(np.median(KDTree(xy).query(xy, k=2)[0][:, 1]))
    half = int(np.clip(round(min(0.5 * spacing, 2 * sigma)), 2, 12))
    image = robust(data)
    step_y, step_x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = step_x**2 + step_y**2 <= (half + 0.5) ** 2
    step_x, step_y = step_x[disc], step_y[disc]
    centre = np.round(xy).astype(int)
    rows, columns = centre[:, 1, None] + step_y, centre[:, 0, None] + step_x
    inside = (rows >= 0) & (rows < image.shape[0]) & (columns >= 0) & (columns < image.shape[1])
    values = image[rows.clip(0, image.shape[0] - 1), columns.clip(0, image.shape[1] - 1)]
    low, high = values.min(axis=1), values.max(axis=1)
    shift = xy - centre
    start = np.stack(
        [high - low, shift[:, 0], shift[:, 1], np.full(len(xy), np.log(half / 2)), low], axis=1
    )
    fitted = _levenberg_marquardt(start, values, inside, step_x, step_y, iterations)
    moved = fitted[:, 1:3] - shift
    ok = (
        (np.hypot(*moved.T) < max(sigma, 1.0))
        & (fitted[:, 0] > 0)
        & np.isfinite(fitted).all(axis=1)
    )
    return np.where(ok[:, None], centre + fitted[:, 1:3], xy)


def _levenberg_marquardt(
    parameters: Array, values: Array, inside: Array, step_x: Array, step_y: Array, iterations: int
) -> Array:
    damping = np.full(len(parameters), 1e-2)
    residual, jacobian = _gaussian(parameters, values, inside, step_x, step_y)
    cost = (residual**2).sum(axis=1)
    for _ in range(iterations):
        normal = np.einsum("npi,npj->nij", jacobian, jacobian)
        diagonal = np.einsum("nii->ni", normal)
        damped = normal + (damping[:, None] * diagonal + 1e-9)[:, :, None] * np.eye(5)
        gradient = np.einsum("npi,np->ni", jacobian, residual)
        trial = parameters - np.linalg.solve(damped, gradient[..., None])[..., 0]
        trial[:, 3] = trial[:, 3].clip(np.log(0.4), np.log(20))
        new_residual, new_jacobian = _gaussian(trial, values, inside, step_x, step_y)
        new_cost = (new_residual**2).sum(axis=1)
        better = new_cost < cost
        parameters = np.where(better[:, None], trial, parameters)
        residual = np.where(better[:, None], new_residual, residual)
        jacobian = np.where(better[:, None, None], new_jacobian, jacobian)
        cost = np.where(better, new_cost, cost)
        damping = np.where(better, damping * 0.3, damping * 5).clip(1e-8, 1e8)
    return parameters


def _gaussian(
    parameters: Array, values: Array, inside: Array, step_x: Array, step_y: Array
) -> tuple[Array, Array]:
    """Residuals (N, P) and their derivatives (N, P, 5)."""
    amplitude, x, y, log_width, background = parameters.T[:, :, None]
    width = np.exp(log_width)
    dx, dy = (step_x - x) / width, (step_y - y) / width
    peak = np.exp(-0.5 * (dx**2 + dy**2))
    jacobian = np.stack(
        [
            peak,
            amplitude * peak * dx / width,
            amplitude * peak * dy / width,
            amplitude * peak * (dx**2 + dy**2),
            np.ones_like(peak),
        ],
        axis=2,
    )
    residual = (amplitude * peak + background - values) * inside
    return residual, jacobian * inside[:, :, None]


def _locate(image: Array, diameter: int, separation: float) -> Candidates:
    import trackpy

    trackpy.quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = trackpy.locate(
            image, diameter, separation=separation, percentile=50, engine="python"
        )
    return _strongest(table[["x", "y"]].to_numpy(float), table["mass"].to_numpy(float))


def _maxima(response: Array, size: int) -> Candidates:
    peaks = (response == ndimage.maximum_filter(response, size)) & (response > 0.3)
    rows, columns = np.nonzero(peaks)
    xy = np.stack([columns, rows], axis=1) + _parabola(response, rows, columns)
    return _strongest(xy, response[rows, columns])


def _strongest(xy: Array, strength: Array, most: int = 5000) -> Candidates:
    order = np.argsort(-strength, kind="stable")[:most]
    return Candidates(xy[order], strength[order])


def border_distance(xy: Array, shape: tuple[int, ...]) -> Array:
    if not len(xy):
        return np.empty(0)
    last = np.array([shape[1] - 1, shape[0] - 1])
    return np.minimum(xy, last - xy).min(axis=1)


def _parabola(response: Array, rows: Array, columns: Array) -> Array:
    """Sub-pixel shift (x, y) of each maximum from its neighbours along each axis."""
    padded = np.pad(response, 1, mode="edge")
    r, c = rows + 1, columns + 1

    def vertex(before: Array, at: Array, after: Array) -> Array:
        curvature = before - 2 * at + after
        shift = 0.5 * (before - after) / np.where(curvature < 0, curvature, -np.inf)
        return shift.clip(-0.5, 0.5)

    x = vertex(padded[r, c - 1], padded[r, c], padded[r, c + 1])
    y = vertex(padded[r - 1, c], padded[r, c], padded[r + 1, c])
    return np.stack([x, y], axis=1)
