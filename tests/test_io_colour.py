"""Coloured pictures: false colours are read as brightness, photographs are refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import matplotlib as mpl
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from atomscope.errors import InputError
from atomscope.io import read
from atomscope.io.colour import LUMINANCE, grey

MAPS = ("hot", "afmhot", "inferno", "viridis", "copper")
# Suffix and how it is written; quality is that of Pillow.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("png", {}),
    "jpg 90": ("jpg", {"quality": 90}),
    "jpg 50": ("jpg", {"quality": 50}),
}
COFFEE_AND_CUP = [(0.46, 0.29, 0.17), (0.55, 0.47, 0.42)]
SKY_AND_STONE = [(0.36, 0.42, 0.60), (0.52, 0.46, 0.40)]
FUR_AND_GRASS = [(0.50, 0.42, 0.34), (0.40, 0.45, 0.30), (0.60, 0.50, 0.45)]


def _smooth(rng: np.random.Generator, shape: tuple[int, int], width: float) -> np.ndarray:
    """A smooth random field from 0 to 1."""
    field = gaussian_filter(rng.normal(size=shape), width, mode="wrap")
    return (field - field.min()) / np.ptp(field)


def _photograph(rng: np.random.Generator, hues: Any, shape: tuple[int, int]) -> np.ndarray:
    """Things of few hues in uneven light, each with some grain."""
    things = np.stack([_smooth(rng, shape, 12) for _ in hues]).argmax(0)
    light = 0.4 + 1.1 * _smooth(rng, shape, 25) + rng.normal(0, 0.02, shape)
    return (255 * np.clip(np.array(hues)[things] * light[..., None], 0, 1)).astype("u1")


def _micrograph(rng: np.random.Generator, side: int = 192) -> np.ndarray:
    """A square lattice under noise, from 0 to 1."""
    y, x = np.mgrid[:side, :side] / 12
    lattice = (2 + np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y)) / 4
    return np.clip(lattice + rng.normal(0, 0.15, lattice.shape), 0, 1)


def _coloured(values: np.ndarray, name: str) -> np.ndarray:
    return (255 * mpl.colormaps[name](values)[..., :3]).astype("u1")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hues", [COFFEE_AND_CUP, SKY_AND_STONE, FUR_AND_GRASS])
@pytest.mark.parametrize("shape", [(256, 320), (90, 70)])
def test_photographs_of_few_hues_are_refused(
    hues: Any, shape: tuple[int, int], kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    suffix, options = KINDS[kind]
    path = tmp_path / f"photo.{suffix}"
    iio.imwrite(path, _photograph(rng, hues, shape), **options)
    with pytest.raises(InputError, match="convert it to grey"):
        read(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket", "chelsea"])
def test_real_photographs_are_refused(name: str, kind: str, tmp_path: Path) -> None:
    photographs = pytest.importorskip("skimage.data")
    suffix, options = KINDS[kind]
    path = tmp_path / f"{name}.{suffix}"
    iio.imwrite(path, getattr(photographs, name)(), **options)
    with pytest.raises(InputError, match="convert it to grey"):
        read(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MAPS)
def test_false_colours_keep_the_order_of_intensities(
    name: str, kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    suffix, options = KINDS[kind]
    values = _micrograph(rng)
    rgb = _coloured(values, name)
    rgb[180:184, 10:60] = 255  # a scale bar
    path = tmp_path / f"false.{suffix}"
    iio.imwrite(path, rgb, **options)
    image = read(path)
    assert "False colours" in image.warnings[0]
    order = spearmanr(values[:170].ravel(), image.frame(0)[:170].ravel()).statistic
    assert order > (0.999 if kind == "png" else 0.9)  # at 50, JPEG adds noise of its own


@pytest.mark.parametrize("name", ["jet", "coolwarm", "hsv", "turbo"])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_with_two_colours_of_one_brightness_are_refused(
    name: str, kind: str, rng: np.random.Generator, tmp_path: Path
) -> None:
    suffix, options = KINDS[kind]
    path = tmp_path / f"two.{suffix}"
    iio.imwrite(path, _coloured(_micrograph(rng), name), **options)
    with pytest.raises(InputError, match="convert it to grey"):
        read(path)


def test_false_colours_of_a_video(rng: np.random.Generator, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    frames = [_coloured(_micrograph(rng), "hot") for _ in range(3)]
    iio.imwrite(tmp_path / "m.mp4", np.stack(frames), plugin="FFMPEG", fps=5)
    assert "False colours" in read(tmp_path / "m.mp4").warnings[0]


@pytest.mark.parametrize("name", MAPS)
def test_real_micrographs_in_false_colours(name: str, shared_data: Path, tmp_path: Path) -> None:
    micrograph = read(shared_data / "atomsegnet" / "0.png").frame(0)
    low, high = np.percentile(micrograph, [0.3, 99.7])
    rgb = _coloured(np.clip((micrograph - low) / (high - low), 0, 1), name)
    for number, (suffix, options) in enumerate(KINDS.values()):
        path = tmp_path / f"{number}.{suffix}"
        iio.imwrite(path, rgb, **options)
        assert "False colours" in read(path).warnings[0]


def test_a_large_picture_becomes_grey_in_little_memory(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 255, (3000, 1000, 3), dtype="u1")
    tracemalloc.start()
    values = grey(picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(values, picture.astype("f4") @ LUMINANCE, rtol=1e-6)
    assert peak < 2 * values.nbytes
