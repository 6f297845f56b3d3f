"""Stored noise-free frames as a source of training patches: turned, mirrored, cropped, rescaled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize_scalar
from scipy.spatial import cKDTree

from atomscope.errors import InputError, UsageError
from atomscope.simulate.imaging import Frame, render
from atomscope.simulate.scene import OTHER, Floats, Ints, Scene
from atomscope.simulate.shards import Stored, read_manifest, read_set

PROBED = 64  # px: edge of the part of a frame whose columns' width is measured
SHEAR = 0.012  # rms of random strain and scan distortion
MARGIN = 12.0  # px around a patch whose columns count as neighbours


@dataclass(frozen=True)
class Clean:
    """One noise-free frame that repeats itself; lengths in Å, y down.

    Attributes:
        spline: Cubic spline coefficients (y, x) of the frame; strong columns are 1 high.
        pixel: Pixel size (x, y).
        xy: Positions (N, 2) of the columns and empty sites.
        height: Value of the frame at each, shape (N,).
        label: Class of each, shape (N,).
        spacing: Typical distance of nearest columns.
        sigma: Width of a column.
    """

    spline: Frame
    pixel: Floats
    xy: Floats
    height: Floats
    label: Ints
    spacing: float
    sigma: float

    @property
    def edges(self) -> Floats:
        """Periods (x, y) of the frame."""
        return self.pixel * self.spline.shape[::-1]


@cache
def load_clean(folder: Path, classes: tuple[str, ...]) -> tuple[Clean, ...]:
    """Read a multislice set for training.

    Args:
        folder: What `atomscope simulate NAME --multislice` wrote.
        classes: Names of the classes of the training; without any, labels have no say.

    Raises:
        InputError: The folder holds no such set.
        UsageError: A label of the set is none of the classes.
    """
    manifest = read_manifest(folder)
    if not manifest.get("periodic"):
        raise InputError(
            f"{folder}: no set of noise-free frames; expected one that was made with --multislice."
        )
    unknown = {name for name in manifest["classes"][1:] if classes and name not in classes}
    if unknown:
        raise UsageError(
            f"{folder}: holds columns labelled {', '.join(sorted(unknown))}; expected labels from "
            f"{', '.join(classes)}."
        )
    height, width = manifest["pixel_size_angstrom"]
    pixel = np.array([width, height])
    return tuple(_clean(stored, pixel, classes) for stored in read_set(folder))


def view(
    rng: np.random.Generator, size: int, spacing: float, sigma: float, frames: tuple[Clean, ...]
) -> tuple[Frame, Scene, float]:
    """Cut a square field from a stored frame in a random orientation.

    Args:
        rng: Source of randomness.
        size: Edge of the field in px.
        spacing: Distance of nearest columns in px.
        sigma: Wanted width of the columns in px; those that are wider stay so.
        frames: Frames to draw from.

    Returns:
        The noise-free field (size, size), its columns, and their width in px.
    """
    clean = frames[rng.integers(len(frames))]
    angle, flip = rng.uniform(0, 2 * np.pi), rng.choice([-1.0, 1.0])
    c, s = np.cos(angle), np.sin(angle)
    shear = np.eye(2) + rng.normal(0, SHEAR, (2, 2))
    turn = shear @ np.array([[c, s], [-s, c]]) @ np.diag([1.0, flip])
    turn *= clean.spacing / spacing  # Å per px; rows of px times this are rows of Å
    centre = rng.uniform(0, clean.edges)
    # both in (y, x): pixel = matrix @ patch + offset
    matrix = (turn / clean.pixel).T[::-1, ::-1]
    offset = (centre / clean.pixel)[::-1] - matrix @ np.full(2, (size - 1) / 2)
    frame = ndimage.affine_transform(
        clean.spline, matrix, offset, (size, size), order=3, mode="grid-wrap", prefilter=False
    )
    own = clean.sigma * spacing / clean.spacing
    if sigma > own:
        blur = np.sqrt(sigma**2 - own**2)
        frame = ndimage.gaussian_filter(frame, blur) * np.float32(sigma**2 / own**2)
    return frame, _columns(clean, turn, centre, size, spacing), max(sigma, own)


def _columns(clean: Clean, turn: Floats, centre: Floats, size: int, spacing: float) -> Scene:
    """Return the columns in and around a field, all their repetitions among them."""
    half = (size / 2 + MARGIN) * np.sqrt(2) * np.linalg.norm(turn, 2)
    count = np.ceil(half / clean.edges).astype(int)
    shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in count)), -1).reshape(-1, 1, 2)
    home = clean.xy - centre
    home -= np.round(home / clean.edges) * clean.edges
    every = (home + shifts * clean.edges).reshape(-1, 2)
    xy = every @ np.linalg.inv(turn) + (size - 1) / 2
    inside = np.all((xy > -MARGIN) & (xy < size - 1 + MARGIN), axis=1)
    which = np.tile(np.arange(len(home)), len(shifts))[inside]
    return Scene(xy[inside], clean.height[which], spacing, clean.label[which])


def _clean(stored: Stored, pixel: Floats, classes: tuple[str, ...]) -> Clean:
    frame, xy = stored.frame.astype(np.float64), stored.xy
    index = {name: i for i, name in enumerate(classes)}
    label = np.array([index.get(name, OTHER) for name in stored.label], dtype=np.int64)
    height = ndimage.map_coordinates(frame, xy.T[::-1], order=1, mode="grid-wrap")
    if height.mean() < frame.mean():  # dark columns: networks are shown bright ones
        frame, height = frame.max() - frame, frame.max() - height
    typical = float(np.quantile(height, 0.95))
    frame, height = frame / typical, height / typical
    edges = pixel * frame.shape[::-1]
    at = np.mod(xy * pixel, edges)
    atoms = at[height > 0.5 * np.median(height)]  # empty sites are no neighbours
    spacing = float(np.median(cKDTree(atoms, boxsize=edges).query(atoms, k=2)[0][:, 1]))
    spline = ndimage.spline_filter(frame, order=3, mode="grid-wrap").astype(np.float32)
    sigma = _width(frame, xy, spacing / pixel.mean()) * pixel.mean()
    return Clean(spline, pixel, at, height, label, spacing, float(sigma))


def _width(frame: Floats, xy: Floats, spacing: float) -> float:
    """Width in px of the Gaussians of free heights that together are nearest to a part of a frame.

    Args:
        frame: (y, x).
        xy: Positions (N, 2) in px.
        spacing: Distance of nearest columns in px.
    """
    part = frame[:PROBED, :PROBED]
    near = np.all((xy > -spacing) & (xy < np.array(part.shape[::-1]) + spacing), axis=1)

    def misfit(sigma: float) -> float:
        peaks = [render(at[None], np.ones(1), sigma, part.shape).ravel() for at in xy[near]]
        matrix = np.stack([*peaks, np.ones(part.size)], axis=1)
        return float(
            np.sum((matrix @ np.linalg.lstsq(matrix, part.ravel())[0] - part.ravel()) ** 2)
        )

    bounds = (0.08 * spacing, 0.6 * spacing)
    return float(
        minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 0.02}).x
    )
