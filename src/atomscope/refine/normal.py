"""The normal equations of all columns and the background together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import bsr_matrix, csr_matrix, dia_matrix
from scipy.spatial import cKDTree

from atomscope.refine.background import Grid
from atomscope.refine.windows import LOG_WIDTH, Floats, Ints, Windows, X, Y
from atomscope.types import FloatArray

_CHUNK = 1024  # pairs worked on at a time: their windows stay in the cache


@dataclass(frozen=True)
class Links:
    """What couples columns and nodes in the normal matrix; p parameters per column.

    Attributes:
        first, second: Columns of each pair of overlapping neighbours, shape (P,).
        cross: Blocks between them, shape (P, p, p).
        nodes: Background nodes under each column, shape (N, m).
        under: Blocks between columns and nodes, shape (N, p, m).
        ground: Matrix of the nodes, shape (K, K).
        grid: The nodes.
    """

    first: Ints
    second: Ints
    cross: Floats
    nodes: Ints
    under: Floats
    ground: dia_matrix
    grid: Grid

    @cached_property
    def across(self) -> bsr_matrix:
        """Matrix between all parameters of different columns, shape (N p, N p)."""
        count, p = self.under.shape[:2]
        rows = np.concatenate([self.first, self.second])
        order = np.argsort(rows, kind="stable")
        blocks = np.concatenate([self.cross, self.cross.transpose(0, 2, 1)])[order]
        columns = np.concatenate([self.second, self.first])[order]
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
        return bsr_matrix((blocks, columns, starts), shape=(count * p, count * p))

    @cached_property
    def down(self) -> csr_matrix:
        """Matrix between all parameters of columns and nodes, shape (N p, K)."""
        count, p, m = self.under.shape
        index = np.repeat(self.nodes, p, axis=0).ravel()
        starts = np.arange(0, count * p * m + 1, m)
        return csr_matrix((self.under.ravel(), index, starts), shape=(count * p, self.grid.size))

    def rescaled(self, factor: Floats, weight: float) -> Links:
        """See `Normal.rescaled`."""
        i, j = self.first, self.second
        return replace(
            self,
            cross=weight * self.cross * factor[i][:, :, None] * factor[j][:, None, :],
            under=weight * self.under * factor[:, :, None],
            ground=weight * self.ground,
        )


@dataclass(frozen=True)
class Normal:
    """The normal matrix.

    Attributes:
        own: Blocks of the columns on the diagonal, shape (N, p, p).
        links: All other blocks.
        pull: Weight that draws each log width towards the mean of all.
    """

    own: Floats
    links: Links
    pull: float = 0.0

    def drawn(self, pull: float, roundness: float) -> Normal:
        """Add priors: widths about their mean (weight `pull`), ellipticities about zero."""
        own = self.own.copy()
        # The mean goes along with its members: a single column is not drawn at all.
        own[:, LOG_WIDTH, LOG_WIDTH] += pull * (1 - 1 / max(len(own), 1))
        for k in range(LOG_WIDTH + 1, own.shape[1]):
            own[:, k, k] += roundness
        return replace(self, own=own, pull=pull)

    def rescaled(self, factor: Floats, weight: float) -> Normal:
        """The matrix with parameters in other units (N, p) and all weights multiplied."""
        own = weight * self.own * factor[:, :, None] * factor[:, None, :]
        return replace(self, own=own, links=self.links.rescaled(factor, weight))

    def solve(self, gradient: Floats, ground: Floats, damping: Floats, tolerance: float) -> Floats:
        """Solve for a step by conjugate gradients, preconditioned by the diagonal blocks.

        Args:
            gradient: Right side of the columns, shape (N, p).
            ground: Right side of the nodes, shape (K,).
            damping: Levenberg damping, relative to the diagonal, shape (N, p).
            tolerance: Relative error at which to stop at the latest; errors far below one
                standard deviation of a column stop it too.

        Returns:
            Step of the columns and nodes, flat, shape (N p + K,).
        """
        count, p = gradient.shape
        own = self.own.copy()
        diagonal = np.einsum("nii->ni", own)
        # Parameters that no pixel tells about (masked, off the frame) must not be singular.
        least = diagonal.max(axis=0, initial=0.0) * 1e-12
        np.maximum(diagonal, np.where(least > 0, least, 1.0), out=diagonal)
        diagonal *= 1 + 1e-7 + damping
        inverse = np.linalg.inv(own)
        links, split = self.links, count * p
        ridge = links.ground.diagonal()
        ridge = 1e-6 * ridge + 1e-9 * max(float(ridge.max(initial=0.0)), 1e-300)
        smooth = links.grid.preconditioner(links.ground.diagonal() + ridge)
        up = links.down.T

        def multiply(v: Floats) -> Floats:
            columns, nodes = v[:split], v[split:]
            top = links.across @ columns + links.down @ nodes
            top += np.einsum("nij,nj->ni", own, columns.reshape(count, p)).ravel()
            widths = columns[LOG_WIDTH::p]
            top[LOG_WIDTH::p] -= self.pull / max(count, 1) * (widths.sum() - widths)
            return np.concatenate([top, up @ columns + links.ground @ nodes + ridge * nodes])

        def precondition(v: Floats) -> Floats:
            top = np.einsum("nij,nj->ni", inverse, v[:split].reshape(count, p)).ravel()
            return np.concatenate([top, smooth(v[split:])])

        right = np.concatenate([gradient.ravel(), ground])
        return conjugate_gradients(multiply, precondition, right, tolerance)

    def with_common_width(self, covariance: Floats) -> Floats:
        """Add to covariances (N, p, p) that the mean width is itself known only so well.

        They hold for a given mean of the log widths; by the law of total covariance what
        is missing is cov(column, mean) cov(mean, column) / var(mean).
        """
        count, p = covariance.shape[:2]
        mean = np.zeros((count, p))
        mean[:, LOG_WIDTH] = 1 / count
        nothing = np.zeros(self.links.grid.size)
        flat = self.solve(mean, nothing, np.zeros((count, p)), 0.02)
        with_mean = flat[: count * p].reshape(count, p)
        variance = float(with_mean[:, LOG_WIDTH].mean())
        if not variance > 0:
            return covariance
        return np.asarray(covariance + with_mean[:, :, None] * with_mean[:, None, :] / variance)


def conjugate_gradients(
    multiply: Callable[[Floats], Floats],
    precondition: Callable[[Floats], Floats],
    right: Floats,
    tolerance: float,
) -> Floats:
    """Solve A x = right for a positive definite A (Hestenes & Stiefel 1952)."""
    x = np.zeros_like(right)
    residual = right.copy()
    z = precondition(residual)
    direction = z
    energy = float(residual @ z)
    # The energy left is the squared error in standard deviations, summed over all unknowns.
    goal = min(tolerance**2 * energy, 1e-3 * len(right))
    goal = max(goal, 1e-14 * energy)
    for _ in range(400):
        if not energy > goal:
            break
        image = multiply(direction)
        curvature = float(direction @ image)
        if not curvature > 0:
            break
        alpha = energy / curvature
        x += alpha * direction
        residual -= alpha * image
        z = precondition(residual)
        energy, previous = float(residual @ z), energy
        direction = z + (energy / previous) * direction
    return x


def overlapping_pairs(theta: Floats, reach: float) -> tuple[Ints, Ints]:
    """Pairs of columns nearer than `reach` widths to each other: indices (P,) and (P,)."""
    if len(theta) < 2:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    width = np.exp(theta[:, LOG_WIDTH])
    xy = theta[:, [X, Y]]
    pairs = cKDTree(xy).query_pairs(reach * float(width.max()), output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    near = np.hypot(*(xy[i] - xy[j]).T) < reach * np.sqrt((width[i] ** 2 + width[j] ** 2) / 2)
    return i[near], j[near]


def assemble(
    theta: Floats,
    count: int,
    windows: Windows,
    tiles: FloatArray,
    weight: FloatArray,
    grid: Grid,
    reach: float,
) -> Normal:
    """Normal matrix for weights on a padded image; `count` parameters per column.

    Blocks between columns further apart than `reach` widths are left out.
    """
    light = weight.astype(np.float32)
    local = windows.gather(light) * tiles
    derivative = windows.derivatives(theta, count)
    transposed = derivative.transpose(0, 2, 1)
    own = derivative @ windows.second_moments(local * tiles) @ transposed
    under = derivative @ grid.coupling(windows, local)
    first, second = overlapping_pairs(theta, reach)
    cross = np.zeros((len(first), count, count))
    for start in range(0, len(first), _CHUNK):
        part = slice(start, start + _CHUNK)
        cross[part] = _cross(theta, count, windows, light, first[part], second[part])
    pad = windows.pad
    ground = grid.normal(weight[pad:-pad, pad:-pad])
    return Normal(own, Links(first, second, cross, grid.under(windows), under, ground, grid))


def _cross(
    theta: Floats, count: int, windows: Windows, weight: FloatArray, i: Ints, j: Ints
) -> Floats:
    # A window of the same edge halfway between two columns holds all that both windows share.
    shape = (weight.shape[0] - 2 * windows.pad, weight.shape[1] - 2 * windows.pad)
    between = Windows.around(0.5 * (theta[i] + theta[j]), windows.half, windows.pad, shape)
    value = between.gather(weight) * between.gaussians(theta[i], theta[j])
    left = between.derivatives(theta[i], count)
    right = between.derivatives(theta[j], count).transpose(0, 2, 1)
    return np.asarray(left @ between.second_moments(value) @ right)
