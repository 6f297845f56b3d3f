"""The training world: endless seeded patches with the positions of their columns.

Every patch is drawn at the detector's canonical sampling: the shortest column
spacing is near `World.spacing` px. Patches hold lattices with defects, particles,
isolated atoms on supports, and textures without any atom.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from atomscope.simulate.bank import crystal_lattice, projections
from atomscope.simulate.classed import Change, Host, classed_lattice
from atomscope.simulate.clean import Clean, view
from atomscope.simulate.imaging import Frame, render, scan_jitter, smooth_noise, visible
from atomscope.simulate.lattices import random_lattice
from atomscope.simulate.recording import Patch, background, record, texture
from atomscope.simulate.scene import (
    Floats,
    Scene,
    cut_edge,
    cut_particle,
    join_grains,
    merge_unresolved,
    point_defects,
    scatter,
    strain,
)
from atomscope.simulate.stm import topograph
from atomscope.simulate.support import restless, restless_clusters, support, thickness


@dataclass(frozen=True)
class World:
    """Ranges of the training world; lengths in px of the canonical sampling.

    Attributes:
        spacing: Median shortest column spacing, px.
        spacing_spread: Standard deviation of its logarithm.
        kinds: Share of lattices, of isolated atoms, and of frames without atoms.
        snr: Range of the matched-filter signal-to-noise ratio of a typical column of a lattice.
        isolated_snr: The same for isolated atoms.
        support: Range of the speckle's rms under isolated atoms, in units of their peak.
        crystals: Share of the lattices that are named materials; the others are random.
        apart: Names of materials that are never drawn.
        hosts: Structures with classes; where there are any, all lattices are drawn from them.
        changes: How sites of these structures become others.
        clean: Stored noise-free frames; where there are any, all lattices are cut from them.
        sigma: Range of the columns' width in lattices, in units of the shortest spacing.
        tidy: Share of the lattices without contamination, supports and uneven thickness.
        modality: How scenes are imaged: by a scanned beam, or by a tip.
    """

    spacing: float = 8.0
    spacing_spread: float = 0.22
    kinds: tuple[float, float, float] = (0.58, 0.30, 0.12)
    snr: tuple[float, float] = (3.0, 80.0)
    isolated_snr: tuple[float, float] = (2.5, 80.0)
    support: tuple[float, float] = (0.02, 0.3)
    crystals: float = 0.0
    apart: tuple[str, ...] = ()
    hosts: tuple[Host, ...] = ()
    changes: tuple[Change, ...] = ()
    clean: tuple[Clean, ...] = ()
    sigma: tuple[float, float] = (0.13, 0.43)
    tidy: float = 0.0
    modality: str = "stem"


def patch(rng: np.random.Generator, size: int = 128, world: World | None = None) -> Patch:
    """Draw one patch.

    Args:
        rng: Source of randomness; the same state gives the same patch.
        size: Edge of the patch in px.
        world: Ranges to draw from.

    Returns:
        The frame (size, size) and the columns inside it.
    """
    world = world or World()
    kind = rng.choice(["lattice", "isolated", "nothing"], p=world.kinds)
    spacing = float(world.spacing * np.exp(rng.normal(0, world.spacing_spread)))
    spacing = float(np.clip(spacing, 4.2, 16.0))
    if kind == "lattice" and world.clean:
        return _stored(rng, size, spacing, world)
    if kind == "lattice":
        sigma = spacing * rng.uniform(*world.sigma)
        scene = _crystal(rng, size, spacing, world)
    else:
        sigma = float(np.clip(np.exp(rng.normal(np.log(1.6), 0.28)), 0.8, 3.6))
        scene = scatter(rng, size, 3.2 * sigma)
    sigma = max(sigma, 0.75)
    scene = _resolved(scene, sigma)
    if kind == "nothing":
        scene = scene.keep(np.zeros(len(scene.xy), dtype=bool))
    frame = _image(rng, scene, sigma, size, world, lattice=kind == "lattice")
    seen = visible(scene, size)
    return Patch(frame, seen.xy, seen.label)


def patches(
    seed: int, count: int, size: int = 128, world: World | None = None
) -> tuple[Frame, list[Floats]]:
    """Draw `count` patches: frames (count, 1, size, size) float32 and positions of each."""
    rng = np.random.default_rng(seed)
    drawn = [patch(rng, size, world) for _ in range(count)]
    return np.stack([p.frame for p in drawn])[:, None], [p.xy for p in drawn]


def _stored(rng: np.random.Generator, size: int, spacing: float, world: World) -> Patch:
    """Cut a lattice from a stored frame and record it as the others."""
    sigma = max(spacing * rng.uniform(*world.sigma), 0.75)
    peaks, scene, sigma = view(rng, size, spacing, sigma, world.clean)
    snr = float(np.exp(rng.uniform(*np.log(world.snr))))
    clean = _surrounded(rng, peaks, sigma)
    seen = visible(_resolved(scene, sigma), size)
    return Patch(_scanned(rng, clean, sigma, snr, 0.6), seen.xy, seen.label)


def _resolved(scene: Scene, sigma: float) -> Scene:
    return merge_unresolved(scene, max(0.35 * scene.spacing, 1.7 * sigma))


def _crystal(rng: np.random.Generator, size: int, spacing: float, world: World) -> Scene:
    """Draw a lattice with boundaries, edges, point defects and strain."""
    if world.hosts:
        return _classed_crystal(rng, size, spacing, world)
    if world.crystals > 0 and rng.random() < world.crystals:
        scene = crystal_lattice(rng, size, spacing, projections(world.apart))
    else:
        scene = random_lattice(rng, size, spacing)
    if rng.random() < 0.2:
        other = random_lattice(rng, size, spacing) if rng.random() < 0.4 else scene
        if other is scene:
            other = _turned(scene, rng.uniform(0.1, 3.0), size)
        scene = join_grains(scene, other, rng, size)
    if rng.random() < 0.5:
        scene = point_defects(
            scene,
            rng,
            vacancies=rng.uniform(0, 0.06),
            substitutions=rng.uniform(0, 0.06),
            adatoms=rng.uniform(0, 0.03),
        )
    cut = rng.random()
    if cut < 0.2:
        scene = cut_edge(scene, rng, size)
    elif cut < 0.4:
        scene = cut_particle(scene, rng, size, hole=rng.random() < 0.4)
    scene = strain(scene, rng, size, rng.uniform(0, 0.12) * spacing)
    thermal = rng.normal(0, rng.uniform(0, 0.04) * spacing, scene.xy.shape)
    return replace(scene, xy=scene.xy + thermal)


def _classed_crystal(rng: np.random.Generator, size: int, spacing: float, world: World) -> Scene:
    """Draw a lattice whose columns have classes."""
    scene = classed_lattice(rng, size, spacing, world.hosts, world.changes)
    if rng.random() < 0.15:
        other = classed_lattice(rng, size, spacing, world.hosts, world.changes)
        scene = join_grains(scene, other, rng, size)
    if rng.random() < 0.2:
        scene = cut_edge(scene, rng, size)
    scene = strain(scene, rng, size, rng.uniform(0, 0.12) * spacing)
    thermal = rng.normal(0, rng.uniform(0, 0.04) * spacing, scene.xy.shape)
    return replace(scene, xy=scene.xy + thermal)


def _turned(scene: Scene, angle: float, size: int) -> Scene:
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, s], [-s, c]])
    return replace(scene, xy=(scene.xy - size / 2) @ turn + size / 2)


def _image(
    rng: np.random.Generator, scene: Scene, sigma: float, size: int, world: World, *, lattice: bool
) -> Frame:
    """Image a scene: peaks, thickness, support, background, scan errors, noise."""
    shape = (size, size)
    snr = float(np.exp(rng.uniform(*np.log(world.snr if lattice else world.isolated_snr))))
    if world.modality == "stm":
        return topograph(rng, scene, sigma, shape, snr)
    draw = _lattice_image if lattice else _isolated_image
    clean = draw(rng, scene, sigma, shape, world)
    return _scanned(rng, clean, sigma, snr, 0.6 if lattice else 1.0)


def _scanned(
    rng: np.random.Generator, clean: Frame, sigma: float, snr: float, jitter: float
) -> Frame:
    """Add scan errors of up to `jitter` px and the noise of a recorded frame."""
    if rng.random() < 0.4:
        clean = scan_jitter(clean, rng, float(rng.uniform(0.05, jitter)))
    rms = sigma * np.sqrt(np.pi) / snr  # a peak of height 1 has matched-filter SNR of snr
    return record(rng, clean - min(float(clean.min()), 0.0), rms)


def _peaks(rng: np.random.Generator, scene: Scene, sigma: float, shape: tuple[int, int]) -> Frame:
    """Peaks of all columns, with a common tail and widths of their own."""
    tail = rng.choice([0.0, rng.uniform(0.02, 0.25), -rng.uniform(0.03, 0.2)], p=[0.3, 0.55, 0.15])
    own = sigma * np.exp(rng.normal(0, 0.06, len(scene.xy)))
    return render(scene.xy, scene.weight, own, shape, tail=tail, tail_width=rng.uniform(1.6, 3.0))


def _lattice_image(
    rng: np.random.Generator, scene: Scene, sigma: float, shape: tuple[int, int], world: World
) -> Frame:
    """A lattice and what is around it."""
    frame = _peaks(rng, scene, sigma, shape)
    if world.tidy > 0 and rng.random() < world.tidy:
        return frame + np.float32(rng.uniform(0.02, 3.0))
    return _surrounded(rng, frame, sigma)


def _surrounded(rng: np.random.Generator, frame: Frame, sigma: float) -> Frame:
    """Put the clean image of a lattice on uneven thickness, supports and backgrounds."""
    shape = frame.shape
    if rng.random() < 0.5:
        relief = smooth_noise(rng, shape, shape[0] / 3)
        frame = frame * (1 + rng.uniform(0.05, 0.5) * relief).clip(0.2)
    if rng.random() < 0.4:
        frame = frame + rng.uniform(0.0, 0.15) * texture(rng, sigma, shape)
    return frame + background(rng, shape, sigma)


def _isolated_image(
    rng: np.random.Generator, scene: Scene, sigma: float, shape: tuple[int, int], world: World
) -> Frame:
    """Isolated atoms on a support, some of them moving, some out of focus."""
    speckle = float(np.exp(rng.uniform(*np.log(world.support))))
    if rng.random() < 0.3:  # any texture on any background
        frame = _peaks(rng, scene, sigma, shape)
        if rng.random() < 0.4:  # clusters often sit in matter of their own
            halo = ndimage.gaussian_filter(frame, 3 * sigma)
            frame = frame + halo * np.float32(rng.uniform(0.3, 3))
        frame = frame + speckle * texture(rng, sigma, shape) + background(rng, shape, sigma)
    else:
        mass = thickness(rng, shape, sigma)
        density = float(np.exp(rng.uniform(np.log(0.3), np.log(6.0))))
        width = sigma * rng.uniform(0.95, 1.3)
        frame = support(rng, mass, width, speckle=speckle, density=density)
        frame = frame + np.float32(np.exp(rng.uniform(np.log(0.02), np.log(2.0))))
        if len(scene.xy) and rng.random() < 0.35:
            jump, blink = sigma * rng.uniform(0.1, 0.9), rng.uniform(0, 0.4)
            frame += restless(rng, scene.xy, scene.weight, sigma, shape, jump=jump, blink=blink)
        else:
            frame += _peaks(rng, _defocused(rng, scene), sigma, shape)
    if rng.random() < 0.25:
        frame += restless_clusters(rng, sigma, shape)
    return frame


def _defocused(rng: np.random.Generator, scene: Scene) -> Scene:
    """Weaken atoms that lie off the plane of focus."""
    loss = np.exp(-np.abs(rng.normal(0, rng.uniform(0, 0.3), len(scene.xy))))
    return replace(scene, weight=scene.weight * loss)
