"""Scenes: columns in a plane with positions, strengths and widths, all lengths in px."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
OTHER = -1  # class of a column that is none of the classes a network learns


@dataclass(frozen=True)
class Scene:
    """Columns of a specimen in the plane of the image.

    Attributes:
        xy: Positions in px, shape (N, 2), x right and y down.
        weight: Peak of each column in units of a typical one, shape (N,).
        spacing: Shortest column spacing of the structure in px; for isolated
            atoms the spacing that a lattice with such columns would have.
        label: Class of each column, shape (N,); OTHER where it has none.
    """

    xy: Floats
    weight: Floats
    spacing: float
    label: Ints

    @classmethod
    def unlabelled(cls, xy: Floats, weight: Floats, spacing: float) -> Scene:
        """Return a scene of columns without classes."""
        return cls(xy, weight, spacing, np.full(len(xy), OTHER))

    def keep(self, mask: NDArray[np.bool_]) -> Scene:
        """Return the scene with only the columns where the mask is True."""
        return replace(self, xy=self.xy[mask], weight=self.weight[mask], label=self.label[mask])

    def add(self, xy: Floats, weight: Floats, label: Ints | None = None) -> Scene:
        """Return the scene with more columns at the end, of class OTHER by default."""
        label = np.full(len(xy), OTHER) if label is None else label
        return replace(
            self,
            xy=np.concatenate([self.xy, xy]),
            weight=np.concatenate([self.weight, weight]),
            label=np.concatenate([self.label, label]),
        )


def merge_unresolved(scene: Scene, distance: float) -> Scene:
    """Drop the weaker of any two columns nearer than `distance` (px): no image tells them apart."""
    pairs = cKDTree(scene.xy).query_pairs(distance, output_type="ndarray")
    drop = np.zeros(len(scene.xy), dtype=bool)
    if len(pairs):
        weaker = np.where(
            scene.weight[pairs[:, 0]] < scene.weight[pairs[:, 1]], pairs[:, 0], pairs[:, 1]
        )
        drop[weaker] = True
    return scene.keep(~drop)


def strain(scene: Scene, rng: np.random.Generator, size: int, amplitude: float) -> Scene:
    """Shift columns by a smooth random field; `amplitude` is its rms in px."""
    wave = rng.normal(size=(4, 2)) / size * 2.0  # about one or two periods in the field
    phase = rng.uniform(0, 2 * np.pi, 4)
    direction = rng.normal(size=(4, 2))
    shift = np.sin(2 * np.pi * scene.xy @ wave.T + phase) @ direction
    rms = float(np.sqrt(np.mean(shift**2))) or 1.0
    return replace(scene, xy=scene.xy + shift * (amplitude / rms))


def point_defects(
    scene: Scene,
    rng: np.random.Generator,
    *,
    vacancies: float,
    substitutions: float,
    adatoms: float,
) -> Scene:
    """Take out, exchange and add columns; each rate is a share of the columns."""
    count = len(scene.xy)
    weight = scene.weight.copy()
    swapped = rng.random(count) < substitutions
    weight[swapped] *= np.exp(rng.uniform(np.log(0.3), np.log(5.0), swapped.sum()))
    label = np.where(swapped, OTHER, scene.label)
    scene = replace(scene, weight=weight, label=label).keep(rng.random(count) >= vacancies)
    extra = rng.binomial(count, adatoms)
    if extra == 0 or len(scene.xy) == 0:
        return scene
    base = scene.xy[rng.integers(0, len(scene.xy), extra)]
    offset = rng.uniform(-1.0, 1.0, (extra, 2)) * scene.spacing
    return scene.add(base + offset, np.exp(rng.uniform(np.log(0.4), np.log(2.5), extra)))


def cut_edge(scene: Scene, rng: np.random.Generator, size: int) -> Scene:
    """Keep one side of a wavy line through the field: vacuum or a step lies beyond."""
    angle = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    relative = scene.xy - size / 2
    along = relative @ np.array([-normal[1], normal[0]])
    wave = rng.uniform(0, 0.08) * size * np.sin(along / size * rng.uniform(2, 9))
    return scene.keep(relative @ normal < rng.uniform(-0.3, 0.35) * size + wave)


def cut_particle(scene: Scene, rng: np.random.Generator, size: int, *, hole: bool) -> Scene:
    """Keep the inside of a rounded particle, or its outside where `hole` is True."""
    centre = size * rng.uniform(0.2, 0.8, 2)
    relative = scene.xy - centre
    angle = np.arctan2(relative[:, 1], relative[:, 0])
    lobes = 1 + 0.15 * np.sin(rng.integers(2, 5) * angle + rng.uniform(0, 6))
    radius = size * (rng.uniform(0.08, 0.25) if hole else rng.uniform(0.15, 0.5)) * lobes
    inside = np.hypot(relative[:, 0], relative[:, 1]) < radius
    return scene.keep(~inside if hole else inside)


def join_grains(first: Scene, second: Scene, rng: np.random.Generator, size: int) -> Scene:
    """Put two grains side by side along a line and clear columns that clash at the boundary."""
    angle = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    line = rng.uniform(-0.3, 0.3) * size
    first = first.keep((first.xy - size / 2) @ normal < line)
    second = second.keep((second.xy - size / 2) @ normal >= line)
    both = first.add(second.xy, second.weight, second.label)
    return merge_unresolved(both, 0.7 * min(first.spacing, second.spacing))


def scatter(rng: np.random.Generator, size: int, spacing: float) -> Scene:
    """Isolated atoms and small loose clusters at random places."""
    singles = rng.uniform(-4, size + 4, (rng.poisson(np.exp(rng.uniform(0, np.log(25)))), 2))
    groups = [
        centre + rng.normal(0, rng.uniform(0.5, 1.6) * spacing, (rng.integers(2, 9), 2))
        for centre in rng.uniform(0, size, (rng.poisson(rng.uniform(0, 2.5)), 2))
    ]
    xy = np.concatenate([singles, *groups]) if groups else singles
    weight = np.exp(rng.normal(0, rng.uniform(0.05, 0.35), len(xy)))
    return merge_unresolved(Scene.unlabelled(xy, weight, spacing), 0.5 * spacing)
