"""The order of the fit: tiles, first pass, noise, second pass, what failed, covariance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from atomscope.recipe.stages import RefineOptions
from atomscope.refine.background import Grid
from atomscope.refine.covariance import marginal
from atomscope.refine.fit import (
    ROUNDNESS,
    Scene,
    State,
    View,
    advance,
    first_state,
    look,
    resume,
    weights,
    width_bounds,
)
from atomscope.refine.noise import Noise, fit_noise, noise_sample
from atomscope.refine.normal import Normal, assemble
from atomscope.refine.pixels import Pixels
from atomscope.refine.start import Start
from atomscope.refine.tiles import Tile, cut, to_frame, to_tile
from atomscope.refine.windows import LOG_WIDTH, PEAK, Bools, Floats, X, Y
from atomscope.types import FloatArray

_SHARED = 0.003  # spread of log widths that counts as one width for all
_SPREAD = 0.04  # spread to begin with: in a dense lattice noise would feign a larger one
_FIRST_STEPS = 4
_PASSES = 3


@dataclass(frozen=True)
class Fit:
    """What came out, one entry per column.

    Attributes:
        theta: Parameters, shape (N, 6), see `windows`.
        covariance: Of the fitted parameters, shape (N, p, p).
        misfit: Local mean of residual² / variance, at least 1, shape (N,).
        ground: Background under the column, shape (N,).
        good: Converged inside all bounds, shape (N,).
    """

    theta: Floats
    covariance: Floats
    misfit: Floats
    ground: Floats
    good: Bools


def fit_frame(pixels: Pixels, start: Start, options: RefineOptions) -> Fit:
    """Fit all columns of a frame."""
    count = len(start.xy)
    parameters = 6 if options.elliptical else 4
    tiles = list(cut(pixels.shape, start))
    fit = Fit(
        np.zeros((count, 6)),
        np.full((count, parameters, parameters), np.nan),
        np.ones(count),
        np.zeros(count),
        np.zeros(count, dtype=bool),
    )
    spread = _SPREAD if options.width == "own" else _SHARED
    samples, spreads = [], []
    for tile in tiles:
        scene = _scene(pixels, start, tile, start.width, 3.5, parameters)
        state, bare = first_state(scene, spread)
        state, view, _ = _settle(scene, state, bare, None, options, _FIRST_STEPS)
        spreads.append(state.spread)
        fit.theta[tile.members[tile.core]] = to_frame(state.theta[tile.core], tile)
        samples.append(_sample(scene, view, len(tiles)))
    tiny = (1e-7 * pixels.range) ** 2 + 1e-20
    noise = fit_noise(np.concatenate(samples, axis=1), options.weights, tiny)
    spread = float(np.median(spreads))
    for _ in range(_PASSES):
        width = float(np.exp(np.median(fit.theta[:, LOG_WIDTH])))
        reach = _window_reach(fit.theta, noise)
        samples = []
        for tile in tiles:
            scene = _scene(pixels, start, tile, width, reach, parameters)
            view = _finish(scene, tile, fit, noise, spread, options)
            samples.append(_sample(scene, view, len(tiles)))
        # Where the first pass had left columns behind, its residual was more than noise.
        before, noise = noise, fit_noise(np.concatenate(samples, axis=1), options.weights, tiny)
        if noise.typical > 0.8 * before.typical:
            break
    return fit


def _sample(scene: Scene, view: View, every: int) -> Floats:
    sample = noise_sample(*map(scene.inner, (view.model, view.residual, scene.usable)))
    return sample[:, ::every].copy()  # a view would keep the pixels of all tiles in memory


def _finish(
    scene: Scene, tile: Tile, fit: Fit, noise: Noise, spread: float, options: RefineOptions
) -> View:
    theta = to_tile(fit.theta[tile.members], tile)
    state = resume(scene, theta, spread)
    state, view, normal = _settle(scene, state, None, noise, options, options.iterations)
    good = _converged(scene, state, normal)
    if not good.all():
        # What failed stays where the detector put it, with the usual width, and the others
        # are fitted around it.
        theta = state.theta.copy()
        theta[~good] = 0.0
        theta[~good, :2] = scene.xy[~good]
        theta[~good, PEAK] = np.maximum(state.theta[~good, PEAK], 1e-12)
        theta[~good, LOG_WIDTH] = np.log(scene.width)
        state = replace(state, theta=theta, frozen=~good)
        state, view, normal = _settle(scene, state, None, noise, options, 4)
        good &= _converged(scene, replace(state, moved=np.zeros(len(theta))), normal)
    weight = weights(scene, view, noise)
    covariance = marginal(normal, state.theta[:, [X, Y]], 0.9 * scene.overlap * scene.width)
    if len(covariance) > 1:
        covariance = normal.with_common_width(covariance)
    core, members = tile.core, tile.members[tile.core]
    fit.theta[members] = to_frame(state.theta[core], tile)
    fit.covariance[members] = covariance[core]
    fit.misfit[members] = _misfit(scene, view, weight)[core]
    ground = scene.grid.render(state.ground)
    fit.ground[members] = ground[view.windows.iy, view.windows.ix][core]
    fit.good[members] = good[core]
    return view


def _settle(
    scene: Scene,
    state: State,
    bare: Normal | None,
    noise: Noise | None,
    options: RefineOptions,
    steps: int,
) -> tuple[State, View, Normal]:
    """Step until the columns rest; without a noise model all pixels weigh the same.

    The normal matrix changes little near the end and is made again only after real moves.
    `bare` is one for unit weights, to begin with.
    """
    view = look(scene, state)
    stale = bare is None
    for k in range(steps):
        if noise is None:
            left = float(np.mean(scene.inner(view.residual) ** 2))
            weight = scene.usable / max(left, 1e-300)
            if bare is not None and k == 0:
                bare = bare.rescaled(np.ones_like(state.theta[:, : scene.parameters]), 1 / left)
        else:
            weight = weights(scene, view, noise)
        if stale or bare is None:
            bare = _bare(scene, state, view, weight)
        normal = bare.drawn(state.spread**-2, ROUNDNESS)
        before = state.theta
        state, view = advance(scene, state, view, normal, weight, 0.1 if k < 2 else 0.01)
        if options.width == "own":
            state = replace(state, spread=_spread_of_widths(state, normal))
        error = 1 / np.sqrt(np.maximum(normal.own[:, X, X], 1e-300))
        stale = _changed(before, state.theta, scene.width)
        stale |= bool(np.median(state.moved / error) > 0.5)
        rest = state.moved < np.maximum(0.06 * error, 1e-6 * scene.width)
        if noise is not None and np.mean(rest) > 0.98:
            break
        if noise is None and np.mean(state.moved < 0.05 * scene.width) > 0.9:
            break
    return state, view, normal


def _changed(before: Floats, after: Floats, width: float) -> bool:
    """True if a tenth of the columns has changed enough to change the normal matrix."""
    step = np.abs(after - before)
    step[:, [X, Y]] /= width
    step[:, PEAK] /= np.maximum(after[:, PEAK], 1e-300)
    return bool(np.quantile(step.max(axis=1), 0.9) > 0.03)


def _bare(scene: Scene, state: State, view: View, weight: FloatArray) -> Normal:
    return assemble(
        state.theta,
        scene.parameters,
        view.windows,
        view.tiles,
        weight,
        scene.grid,
        scene.overlap,
    )


def _spread_of_widths(state: State, normal: Normal) -> float:
    """Spread of the log widths: one step of expectation and maximisation (empirical Bayes)."""
    width = state.theta[~state.frozen, LOG_WIDTH]
    if not len(width):
        return state.spread
    information = np.maximum(normal.own[~state.frozen, LOG_WIDTH, LOG_WIDTH], state.spread**-2)
    square = np.minimum((width - width.mean()) ** 2, 0.25) + 1 / information
    # Few columns say little about a spread: the usual one stands in for three more.
    total = float(square.sum()) + 3 * 0.1**2
    return float(np.clip(np.sqrt(total / (len(width) + 3)), 0.01, 0.5))


def _converged(scene: Scene, state: State, normal: Normal) -> Bools:
    """Columns at rest, inside their bounds, and standing out of the noise."""
    theta = state.theta
    information = np.einsum("nii->ni", normal.own)
    shift = np.hypot(*(theta[:, [X, Y]] - scene.xy).T)
    low, high = width_bounds(scene.width)
    error = 1 / np.sqrt(np.maximum(information, 1e-300))
    rest = np.maximum(0.5 * error[:, X], 0.02 * scene.width)
    good = (state.moved < rest) & (shift < 0.99 * scene.reach) & ~state.frozen
    good &= (theta[:, LOG_WIDTH] > low + 1e-6) & (theta[:, LOG_WIDTH] < high - 1e-6)
    good &= (theta[:, PEAK] > 2 * error[:, PEAK]) & (information[:, :PEAK] > 0).all(axis=1)
    return np.asarray(good & np.isfinite(theta).all(axis=1))


def _misfit(scene: Scene, view: View, weight: FloatArray) -> Floats:
    """Residual² / variance around each column, weighed with its shape, minus its own scatter."""
    seen = view.windows.gather(scene.usable) * view.tiles
    chi = np.einsum(
        "nij,nij->n",
        view.windows.gather((weight * view.residual**2).astype(np.float32)),
        view.tiles,
    )
    total = np.maximum(np.einsum("nij->n", seen), 1e-300)
    squares = np.einsum("nij,nij->n", seen, seen)
    return np.asarray(np.maximum(chi / total - np.sqrt(2 * squares) / total, 1.0))


def _window_reach(theta: Floats, noise: Noise) -> float:
    """How far, in widths, the shape of a typical column stands out of the noise."""
    sd = np.sqrt(noise.typical)
    clear = max(5 * float(np.median(theta[:, PEAK])) / max(sd, 1e-300), 2.0)
    return float(np.clip(np.sqrt(2 * np.log(clear)), 3.3, 5.5))


def _scene(
    pixels: Pixels,
    start: Start,
    tile: Tile,
    width: float,
    reach: float,
    parameters: int,
) -> Scene:
    y0, y1, x0, x1 = tile.box
    data, usable = pixels.part(tile.box)
    half = int(np.ceil(reach * width)) + 1
    spacing = max(8 * width, 2 * half + 1)
    offset = np.array([x0, y0], dtype=np.float64)
    return Scene(
        data=np.pad(data, half),
        usable=np.pad(usable, half),
        grid=Grid.over((y1 - y0, x1 - x0), spacing),
        half=half,
        pad=half,
        xy=start.xy[tile.members] - offset,
        reach=start.reach[tile.members],
        width=width,
        parameters=parameters,
        # The denser the lattice, the smaller the least eigenvalues of the normal matrix, and
        # the weaker the coupling that must be kept for it to stay positive.
        overlap=float(np.clip(22 * width / max(np.median(start.nearest), width), 5.0, 7.5)),
    )
