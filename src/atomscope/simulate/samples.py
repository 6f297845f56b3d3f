"""The sample that comes with the package: a silicon atom in graphene, at low dose.

`python -m atomscope.simulate.samples FOLDER` writes it again, byte for byte.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomscope.simulate.crystals import columns_along, substitute
from atomscope.simulate.imaging import render, scan_jitter
from atomscope.simulate.materials import material
from atomscope.simulate.scene import Floats

PIXEL = 0.11  # Å
SIZE = 160  # px
FRAMES = 12
SIGMA = 0.42  # Å: probe and source of an aberration-corrected microscope at 60 kV
DOSE = 14.0  # counts in the peak pixel of a carbon atom
BACKGROUND = 0.35  # of the peak of a carbon atom: contamination and support
SILICON = (14 / 6) ** 1.64
PUSH = 0.33  # Å: three-fold Si in graphene has bonds of 1.76 Å against 1.42 Å


def graphene_si(seed: int = 20) -> tuple[NDArray[np.uint8], list[Floats]]:
    """Simulate a movie in which a three-fold silicon atom hops to a neighbouring site.

    Args:
        seed: Seed of dose noise, jitter and drift.

    Returns:
        Counts (t, y, x), and the true positions (N, 2) in px of each frame.
    """
    rng = np.random.default_rng(seed)
    layer = columns_along(material("graphene").atoms, edge=2 * SIZE * PIXEL)
    xy = _turned(layer.xy - layer.basis.sites[1] @ layer.cell2d, 90.0)  # an atom in the middle
    xy = xy[np.all(np.abs(xy) <= 0.75 * SIZE * PIXEL, axis=1)]
    # Peaks are summed in single precision: row by row, always in the same order.
    xy = _turned(xy[np.lexsort((xy[:, 0], -np.round(xy[:, 1], 6)))], 11.0)
    strength = np.ones(len(xy))
    start, end = (int(np.argmin(np.linalg.norm(xy - at, axis=1))) for at in ([0, 0], [0, -1]))
    drift = np.cumsum(rng.normal(0, 0.35, (FRAMES, 2)), axis=0)
    frames, truth = [], []
    for index in range(FRAMES):
        site = start if index < FRAMES // 2 else end
        places, weight = substitute(xy, strength, site, factor=SILICON, push=PUSH)
        places = places / PIXEL + (SIZE - 1) / 2 + drift[index]
        clean = render(places, weight, SIGMA / PIXEL, (SIZE, SIZE), tail=0.12) + BACKGROUND
        counts = rng.poisson(np.maximum(scan_jitter(clean, rng, 0.25), 0) * DOSE)
        frames.append(counts.clip(0, 255).astype(np.uint8))
        truth.append(places[np.all((places > -0.5) & (places < SIZE - 0.5), axis=1)])
    return np.stack(frames), truth


def _turned(xy: Floats, degrees: float) -> Floats:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.asarray(xy @ np.array([[c, s], [-s, c]]))


def write(folder: Path) -> Path:
    """Write graphene-si.tif, an ImageJ stack with its calibration."""
    import tifffile

    frames, _ = graphene_si()
    path = folder / "graphene-si.tif"
    tifffile.imwrite(
        path,
        frames,
        imagej=True,
        resolution=(1 / PIXEL, 1 / PIXEL),
        metadata={"axes": "TYX", "unit": "angstrom", "finterval": 1.0},
    )
    return path


if __name__ == "__main__":
    print(write(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
