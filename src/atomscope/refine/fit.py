"""The fit itself: all columns of a tile and their background, by Gauss-Newton steps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from atomscope.refine.background import Grid
from atomscope.refine.noise import Noise
from atomscope.refine.normal import Normal, assemble, conjugate_gradients
from atomscope.refine.windows import E1, LOG_WIDTH, PEAK, Bools, Floats, Windows, X, Y
from atomscope.types import FloatArray

ROUNDNESS = 0.3**-2  # ellipticities are of this order or less
_FIXED = 1e9  # damping that holds a parameter where it is


@dataclass(frozen=True)
class Scene:
    """The pixels of one tile and the bounds of its columns; images are padded by `pad`.

    Attributes:
        data: Brightness, 0 where unusable, shape (Y, X).
        usable: 1 or 0, shape (Y, X); 0 in the padding.
        grid: Nodes of the background.
        half: Half edge of a column's window.
        pad: Width of the padding.
        xy: Starting positions, shape (N, 2).
        reach: Farthest shift from there, shape (N,).
        width: Typical width, px.
        parameters: Parameters per column: 4 round, 6 elliptical.
        overlap: Distance in widths up to which two columns are treated as coupled.
    """

    data: FloatArray
    usable: FloatArray
    grid: Grid
    half: int
    pad: int
    xy: Floats
    reach: Floats
    width: float
    parameters: int
    overlap: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (y, x) of the tile without its padding."""
        return self.data.shape[0] - 2 * self.pad, self.data.shape[1] - 2 * self.pad

    def inner(self, padded: FloatArray) -> FloatArray:
        """Cut the padding off."""
        return padded[self.pad : -self.pad, self.pad : -self.pad]


@dataclass(frozen=True)
class State:
    """Where a fit has come to.

    Attributes:
        theta: Parameters of the columns, shape (N, 6), see `windows`.
        ground: Background at the nodes, shape (K,).
        damping: Levenberg damping of each column, shape (N,).
        moved: Length of the last step of each column in px, shape (N,).
        frozen: Columns that stay where the detector put them, shape (N,).
        spread: Spread of the log widths about their mean, as the columns have shown it.
    """

    theta: Floats
    ground: Floats
    damping: Floats
    moved: Floats
    frozen: Bools
    spread: float

    @classmethod
    def fresh(cls, theta: Floats, ground: Floats, spread: float) -> State:
        """Return where a fit begins: hardly damped, nothing moved yet, nothing frozen."""
        count = len(theta)
        damping, moved = np.full(count, 1e-3), np.full(count, np.inf)
        return cls(theta, ground, damping, moved, np.zeros(count, dtype=bool), spread)


@dataclass(frozen=True)
class View:
    """The model of a state and what it leaves: windows, shapes over them, images (padded)."""

    windows: Windows
    tiles: FloatArray
    model: FloatArray
    residual: FloatArray


def look(scene: Scene, state: State) -> View:
    """Render a state and compare it with the data."""
    windows = Windows.around(state.theta, scene.half, scene.pad, scene.shape)
    tiles = windows.gaussians(state.theta)
    model = windows.render(tiles, state.theta[:, PEAK], scene.data.shape)
    model += np.pad(scene.grid.render(state.ground), scene.pad)
    return View(windows, tiles, model, (scene.data - model) * scene.usable)


def first_state(scene: Scene, spread: float) -> tuple[State, Normal]:
    """Peaks and background by linear least squares at the starting positions and width.

    Gives the normal matrix for unit weights too, for the first step.
    """
    count = len(scene.xy)
    theta = np.zeros((count, 6))
    theta[:, [X, Y]] = scene.xy
    theta[:, LOG_WIDTH] = np.log(scene.width)
    theta[:, PEAK] = 1.0
    level = float(np.median(scene.data[scene.usable > 0]))
    state = State.fresh(theta, np.full(scene.grid.size, level), spread)
    view = look(scene, state)
    normal = assemble(
        theta, scene.parameters, view.windows, view.tiles, scene.usable, scene.grid, scene.overlap
    )
    held = np.full((count, scene.parameters), _FIXED)
    held[:, PEAK] = 1e-3
    step, ground = _step(scene, state, view, normal, scene.usable, held, 1e-2)
    peak = 1.0 + step[:, PEAK]
    least = max(0.1 * float(np.median(np.abs(peak))), 1e-12)
    bright = theta.copy()
    bright[:, PEAK] = np.maximum(peak, least)
    factor = np.repeat(bright[:, PEAK, None], scene.parameters, axis=1)
    factor[:, PEAK] = 1.0
    state = replace(state, theta=bright, ground=state.ground + ground)
    return state, normal.rescaled(factor, 1.0)


def resume(scene: Scene, theta: Floats, spread: float) -> State:
    """Background under columns that are known already, by linear least squares."""
    state = State.fresh(theta, np.zeros(scene.grid.size), spread)
    view = look(scene, state)
    matrix = scene.grid.normal(scene.inner(scene.usable))
    diagonal = matrix.diagonal()
    ridge = 1e-9 * max(float(diagonal.max()), 1e-300)
    ground = conjugate_gradients(
        lambda v: matrix @ v + ridge * v,
        scene.grid.preconditioner(diagonal + ridge),
        scene.grid.project(scene.inner(view.residual)),
        1e-6,
    )
    return replace(state, ground=ground)


def advance(
    scene: Scene,
    state: State,
    view: View,
    normal: Normal,
    weight: FloatArray,
    tolerance: float,
) -> tuple[State, View]:
    """Take one damped and bounded Gauss-Newton step; return the new state and its view."""
    p = scene.parameters
    damping = np.repeat(state.damping[:, None], p, axis=1)
    held = np.ones(p, dtype=bool)
    held[PEAK] = False
    damping[state.frozen[:, None] & held] = _FIXED
    step, ground = _step(scene, state, view, normal, weight, damping, tolerance)
    step[state.frozen[:, None] & held] = 0.0
    share = _bound(step, state.theta)
    cost = _local_cost(view, weight)
    goal = _objective(view, state.theta, normal, weight) + 1e-3 * len(cost)
    for _ in range(3):
        theta = state.theta.copy()
        theta[:, :p] += step
        _keep_in_bounds(scene, theta, state.theta[:, PEAK])
        moved = np.hypot(*(theta[:, [X, Y]] - state.theta[:, [X, Y]]).T)
        new = replace(state, theta=theta, ground=state.ground + share * ground, moved=moved)
        after = look(scene, new)
        new_cost = _local_cost(after, weight)
        if _objective(after, theta, normal, weight) <= goal:
            break
        # Along a valley the normal matrix may promise too much: go half the way.
        step, share = 0.5 * step, 0.5 * share
    # A column that keeps swinging has a curvature that Gauss-Newton does not see (misfit).
    swings = (moved > 0.5 * state.moved) & (moved > 0.005 * scene.width)
    worse = (new_cost > 1.02 * cost) | swings
    new_damping = np.where(worse, 4 * state.damping + 0.05, state.damping / 5)
    return replace(new, damping=np.clip(new_damping, 1e-6, 1e3)), after


def _objective(view: View, theta: Floats, normal: Normal, weight: FloatArray) -> float:
    """What the fit makes small: weighted squares of the residual and of the priors."""
    spread = theta[:, LOG_WIDTH] - theta[:, LOG_WIDTH].mean()
    prior = normal.pull * float(spread @ spread) + ROUNDNESS * float(np.sum(theta[:, E1:] ** 2))
    return float(np.sum(weight * view.residual**2)) + prior


def _local_cost(view: View, weight: FloatArray) -> Floats:
    """Weighted squares of the residual around each column, shape (N,)."""
    squares = (weight * view.residual**2).astype(np.float32)
    return np.asarray(np.einsum("nij->n", view.windows.gather(squares)), dtype=np.float64)


def _bound(step: Floats, theta: Floats) -> float:
    """Shorten steps in place to what a Gaussian's curvature allows; return the common factor.

    Peaks, widths and background of a dense lattice move along a valley: shortening only
    some of them would leave it. So first all are shortened alike, until nine columns in
    ten keep within bounds, then single columns.
    """
    width, peak = np.exp(theta[:, LOG_WIDTH]), theta[:, PEAK]
    excess = np.hypot(step[:, X], step[:, Y]) / (0.5 * width)
    excess = np.maximum(excess, np.abs(step[:, PEAK]) / np.maximum(peak, 1e-300))
    excess = np.maximum(excess, np.abs(step[:, LOG_WIDTH:]).max(axis=1) / 0.25)
    common = 1 / max(1.0, float(np.quantile(excess, 0.9)))
    step *= (common / np.maximum(1.0, excess * common))[:, None]
    return common


def _step(
    scene: Scene,
    state: State,
    view: View,
    normal: Normal,
    weight: FloatArray,
    damping: Floats,
    tolerance: float,
) -> tuple[Floats, Floats]:
    count, p = damping.shape
    pulled = (view.residual * weight).astype(np.float32)
    sums = view.windows.first_moments(view.windows.gather(pulled) * view.tiles)
    gradient = (view.windows.derivatives(state.theta, p) @ sums[:, :, None])[:, :, 0]
    log_width = state.theta[:, LOG_WIDTH]
    gradient[:, LOG_WIDTH] += normal.pull * (log_width.mean() - log_width)
    gradient[:, E1:] -= ROUNDNESS * state.theta[:, E1:p]
    ground = scene.grid.project(scene.inner(pulled))
    flat = normal.solve(gradient, ground, damping, tolerance)
    flat = np.where(np.isfinite(flat), flat, 0.0)
    return flat[: count * p].reshape(count, p), flat[count * p :]


def _keep_in_bounds(scene: Scene, theta: Floats, peak_before: Floats) -> None:
    shift = theta[:, [X, Y]] - scene.xy
    length = np.hypot(shift[:, 0], shift[:, 1])
    shift *= np.minimum(1.0, scene.reach / np.maximum(length, 1e-300))[:, None]
    limit = np.array([scene.shape[1] - 1, scene.shape[0] - 1], dtype=np.float64)
    theta[:, [X, Y]] = np.clip(scene.xy + shift, 0.0, limit)
    low, high = width_bounds(scene.width)
    theta[:, LOG_WIDTH] = np.clip(theta[:, LOG_WIDTH], low, high)
    theta[:, PEAK] = np.maximum(theta[:, PEAK], 0.2 * peak_before)
    tilt = np.hypot(theta[:, E1], theta[:, E1 + 1])
    theta[:, E1:] *= np.minimum(1.0, 0.8 / np.maximum(tilt, 1e-300))[:, None]


def width_bounds(typical: float) -> tuple[float, float]:
    """Least and largest log width of a column."""
    return float(np.log(max(0.4, typical / 2.5))), float(np.log(2.5 * typical))


def weights(scene: Scene, view: View, noise: Noise) -> FloatArray:
    """Inverse variance of each pixel, 0 where unusable."""
    return np.asarray(scene.usable / noise.variance(view.model))
