"""What another day does to an image: brightness, noise, scale, and warps with their truth.

Images are 8-bit ones, 0 to 255, held as floating point: nothing is clipped unless it says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SPACING = 16.6  # px between neighbouring columns before any change
WAVE = 8 * SPACING  # px: length of the smooth distortion over 2 pi
IMAGE = (
    "none", "gain 0.5", "gain 2", "gain 2 clipped", "offset 40", "scale 0.7", "gamma 0.7",
    "gamma 1.4", "scale 0.5", "rotation 37", "shear 0.2", "distortion 0.06", "noise 40", "noise 80",
    "shear 0.1", "offset -40", "scale 2", "noise 20", "distortion 0.03",
)  # fmt: skip
TABLE = ("jitter 0.02", "jitter 0.04", "jitter 0.08", "dropped 0.05", "dropped 0.1", "dropped 0.2")


@dataclass(frozen=True)
class Seen:
    """An image and where the columns of the truth are in it.

    Attributes:
        image: (y, x).
        xy: (N, 2) px.
        scale: Size of a px before the change over that after it.
    """

    image: np.ndarray
    xy: np.ndarray
    scale: float = 1.0


def changed(image: np.ndarray, xy: np.ndarray, what: str, seed: int) -> Seen:
    """Return an image as another microscope would have given it."""
    name, *values = what.split()
    v = float(values[0]) if values else 0.0
    if name == "rotation":
        v = np.deg2rad(v)
        return linear(image, xy, np.array([[np.cos(v), -np.sin(v)], [np.sin(v), np.cos(v)]]))
    if name in ("scale", "shear", "distortion"):
        warp = {"scale": resampled, "shear": sheared, "distortion": distorted}[name]
        return warp(image, xy, v)
    new = brightness(image, name, v, np.random.default_rng(seed))
    return Seen(new.clip(0, 255) if "clipped" in values or name == "noise" else new, xy)


def brightness(image: np.ndarray, name: str, v: float, rng: np.random.Generator) -> np.ndarray:
    if name == "gain":
        return image * v
    if name == "offset":
        return image + v
    if name == "gamma":
        return 255 * (image.clip(0) / 255) ** v
    if name == "noise":
        return np.rint(image + rng.normal(0, v, image.shape))
    return image


def resampled(image: np.ndarray, xy: np.ndarray, scale: float) -> Seen:
    """Resample with the light of the pixels that are skipped."""
    blur = 0.5 * np.sqrt(max(0.0, scale**-2 - 1))
    soft = ndimage.gaussian_filter(image, blur) if blur else image
    size = [int(n * scale) for n in image.shape]
    shift = 0.5 / scale - 0.5  # between the centres of the first pixels
    new = ndimage.affine_transform(soft, np.eye(2) / scale, [shift] * 2, size, mode="nearest")
    return Seen(new, (xy - shift) * scale, scale)


def linear(image: np.ndarray, xy: np.ndarray, matrix: np.ndarray) -> Seen:
    """Map x, y by a matrix about the middle, and cut off what the image does not cover."""
    height, width = image.shape
    middle = np.array([width - 1, height - 1]) / 2
    size = np.linalg.solve(np.abs(np.linalg.inv(matrix)), [width, height]).astype(int) - 2
    if (size < min(width, height) / 2).any():  # a turn: a square fits
        size = np.full(2, int(min(width, height) / np.abs(matrix).sum(axis=1).max()) - 2)
    return warped(
        image,
        size,
        lambda at: (at - (size - 1) / 2) @ np.linalg.inv(matrix).T + middle,
        (xy - middle) @ matrix.T + (size - 1) / 2,
    )


def sheared(image: np.ndarray, xy: np.ndarray, shear: float) -> Seen:
    return linear(image, xy, np.array([[1, shear], [0, 1]]))


def distorted(image: np.ndarray, xy: np.ndarray, strain: float) -> Seen:
    """Shift smoothly, by sines of both coordinates, with so much strain at most."""
    edge = int(np.ceil(strain * WAVE)) + 1
    size = np.array(image.shape[::-1]) - 2 * edge

    def shift(at: np.ndarray) -> np.ndarray:
        return strain * WAVE * np.sin(at[..., ::-1] / WAVE)

    to = xy - edge
    for _ in range(30):  # at + shift(at) + edge = xy
        to = xy - edge - shift(to)
    return warped(image, size, lambda at: at + edge + shift(at), to)


def warped(
    image: np.ndarray,
    size: np.ndarray,
    source: Callable[[np.ndarray], np.ndarray],
    xy: np.ndarray,
) -> Seen:
    """Take every pixel of a new image of `size` (width, height) from its place in the old one."""
    grid = np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), -1).astype(float)
    x, y = np.moveaxis(source(grid), -1, 0)
    return Seen(ndimage.map_coordinates(image, [y, x], order=3, mode="nearest"), xy)
