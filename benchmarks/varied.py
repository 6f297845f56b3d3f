"""Frames as they come: any material, sampling, dose, and one thing that goes wrong.

    python benchmarks/varied.py [--treated | --pairs | --wide | --fine] [--only NAME] [--frames N]
        [--first SEED] [--csv OUT.csv]

Materials are those of `specimens.py`; 4.5 to 36 px between columns, 96 to 512 px, 30 to 2000
electrons per column, the pixel size told in six of ten. With --treated the trouble is what cameras
and programs did to the file instead; with the others there is none, but lattices of pairs at high
magnification, or 40 to 160 or 2.4 to 4.5 px between columns. Prints a Markdown table: the share of
frames with F1 of 0.95 or more, mean and lowest decile of F1, per kind of trouble. Nothing is
trained or chosen here; thresholds of the scale were, on seeds below 480 (see RESULTS).
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
from baselines import Array, Frame, score_frame
from microscope import look, neighbour_distance, shoot
from PIL import Image as Picture
from scipy import ndimage
from scipy.spatial import cKDTree
from specimens import WORLDS

import atomscope
from atomscope.errors import InputError
from atomscope.simulate.imaging import render
from atomscope.simulate.lattices import tile

HIDDEN = 2.0  # widths of an adatom: columns within are not asked for, nor is it
Trouble = Callable[[Array, np.random.Generator], Array | tuple[Array, Array, float]]


def _background(frame: Array, rng: np.random.Generator) -> Array:
    """Contamination: smooth, of one to four times the mean brightness."""
    patches = ndimage.gaussian_filter(rng.normal(size=frame.shape), rng.uniform(20, 60))
    patches = (patches - patches.min()) / np.ptp(patches)
    return frame + rng.poisson(patches * frame.mean() * rng.uniform(1, 4))


def _adatoms(frame: Array, rng: np.random.Generator) -> tuple[Array, Array, float]:
    """Four to fourteen heavy adatoms, two to six times as bright as the brightest pixel.

    Returns the frame, their places (n, 2), and their width in px.
    """
    count = rng.integers(4, 15)
    spots = np.zeros(frame.shape)
    rows, columns = rng.integers(0, len(frame), count), rng.integers(0, frame.shape[1], count)
    spots[rows, columns] = 1
    width = float(rng.uniform(2, 5))
    spots = ndimage.gaussian_filter(spots, width)
    data = frame + rng.poisson(spots / spots.max() * frame.max() * rng.uniform(2, 6))
    return data, np.stack([columns, rows], axis=1).astype(float), width


def _gradient(frame: Array, _: np.random.Generator) -> Array:
    across, down = (np.linspace(0, 1, n) for n in frame.shape[::-1])
    return frame * (0.3 + 1.4 * across) + 2 * frame.mean() * down[:, None]


def _gamma(frame: Array, rng: np.random.Generator) -> Array:
    return (frame / frame.max()) ** rng.choice([0.5, 1.8])


def _clipped(frame: Array, _: np.random.Generator) -> Array:
    low, high = np.percentile(frame, [2, 98])
    return np.clip((frame - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)


def _blur(frame: Array, rng: np.random.Generator) -> Array:
    return ndimage.gaussian_filter(frame, rng.uniform(0.6, 1.5))


def _readout(frame: Array, rng: np.random.Generator) -> Array:
    return frame + rng.normal(0, 0.5 * frame.std(), frame.shape)


def _lines(frame: Array, rng: np.random.Generator) -> Array:
    return frame * (1 + 0.15 * rng.normal(size=(len(frame), 1)))


TROUBLES: dict[str, Trouble] = {
    "none": lambda frame, _: frame,
    "contamination": _background,
    "heavy adatoms": _adatoms,
    "gradient": _gradient,
    "gamma 0.5, 1.8": _gamma,
    "8 bit, clipped": _clipped,
    "blurred": _blur,
    "noise of readout": _readout,
    "uneven lines": _lines,
}


def _spikes(frame: Array, rng: np.random.Generator) -> Array:
    """One pixel in two thousand is 3 to 30 times as bright as the brightest."""
    hit = frame.copy()
    places = rng.integers(0, frame.size, max(5, frame.size // 2000))
    hit.ravel()[places] = frame.max() * rng.uniform(3, 30, len(places))
    return hit


def _dead_lines(frame: Array, rng: np.random.Generator) -> Array:
    dead = frame.copy()
    dead[rng.integers(0, len(frame), 6)] = 0
    return dead


def _jpeg(frame: Array, rng: np.random.Generator) -> Array:
    low, high = np.percentile(frame, [0.5, 99.8])
    grey = np.clip((frame - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Picture.fromarray(grey).save(file, "JPEG", quality=int(rng.integers(30, 80)))
    return np.asarray(Picture.open(file))


def _saturated(frame: Array, rng: np.random.Generator) -> Array:
    return np.minimum(frame, frame.mean() * rng.uniform(1.5, 3))


def _band_pass(frame: Array, rng: np.random.Generator) -> Array:
    slow = ndimage.gaussian_filter(frame, rng.uniform(8, 20))
    return ndimage.gaussian_filter(frame, 1) - slow


TREATED: dict[str, Trouble] = {
    "spikes": _spikes,
    "dead lines": _dead_lines,
    "JPEG, quality 30 to 80": _jpeg,
    "logarithm": lambda frame, _: np.log1p(frame),
    "saturated": _saturated,
    "band-pass": _band_pass,
    "smoothed": lambda frame, rng: ndimage.gaussian_filter(frame, rng.uniform(1, 2)),
    "pixels repeated": lambda frame, _: np.kron(frame, np.ones((2, 2))),
}


def shoot_one(seed: int, troubles: dict[str, Trouble]) -> tuple[str, Frame, float | None]:
    """Name of the trouble, the frame, and its pixel size where it is told."""
    rng = np.random.default_rng((77, seed))
    world = WORLDS[rng.integers(len(WORLDS))]
    spacing = neighbour_distance(look(world, 128, 0.15, seed).truth) * 0.15
    apart = float(np.exp(rng.uniform(np.log(4.5), np.log(36))))
    size = int(np.clip(rng.uniform(8, 22) * apart, 96, 512))
    electrons = float(np.exp(rng.uniform(np.log(30), np.log(2000))))
    pixel_size = spacing / apart
    frame = shoot(look(world, size, pixel_size, seed), world.name, electrons, seed + 5)
    name = list(troubles)[seed % len(troubles)]
    data = troubles[name](frame.data.astype(float), rng)
    if isinstance(data, tuple):
        data, places, width = data
        frame = under(frame, places, HIDDEN * width)
    frame = enlarged(frame, len(data) // size)
    told = pixel_size * size / len(data)
    return name, replace(frame, data=data), told if rng.random() < 0.6 else None


def shoot_pairs(seed: int) -> tuple[str, Frame, float | None]:
    """As `shoot_one`, a lattice of pairs 0.70 to 0.85 Å apart, 2.7 Å or more from pair to pair."""
    rng = np.random.default_rng((78, seed))
    pixel_size, size = float(rng.uniform(0.025, 0.12)), int(rng.integers(160, 500))
    half = rng.uniform(0.35, 0.425) / 4.4  # of the cell
    basis = np.array([[0.0, -half], [0.0, half], [0.5, 0.5 - half], [0.5, 0.5 + half]])
    cell = np.diag([3.3, 4.4]) / pixel_size
    xy, _ = tile(cell, basis, size, rng.uniform(0, np.pi), rng.uniform(0, 1, 2))
    width = rng.uniform(0.2, 0.29) / pixel_size
    clean = render(xy, np.ones(len(xy)), width, (size, size)) + 0.3
    dose = np.exp(rng.uniform(0, 5))
    return counted(rng, "pairs", clean * dose, xy, 0.25 / pixel_size, 0.0, pixel_size)


CELLS: dict[str, tuple[Array, Array, float]] = {
    "square": (np.eye(2), np.zeros((1, 2)), 2.5),
    "honeycomb": (
        3**0.5 * np.array([[1, 0], [-0.5, 0.75**0.5]]),
        np.array([[0, 0], [1, 2]]) / 3,
        1.42,
    ),
    "two heights": (2**0.5 * np.eye(2), np.array([[0.0, 0.0], [0.5, 0.5]]), 2.76),
}  # in distances of neighbours, and these in Å


def shoot_wide(seed: int) -> tuple[str, Frame, float | None]:
    """As `shoot_one`, 40 to 160 px between columns, 0.3 to 100 counts in the peak of a column."""
    return shoot_cell(np.random.default_rng((79, seed)), seed, 640, (40, 160), (0.3, 100))


def shoot_fine(seed: int) -> tuple[str, Frame, float | None]:
    """As `shoot_one`, 2.4 to 4.5 px between columns, 20 to 1000 counts in the peak of a column."""
    return shoot_cell(np.random.default_rng((80, seed)), seed, 160, (2.4, 4.5), (20, 1000))


def shoot_cell(
    rng: np.random.Generator,
    seed: int,
    size: int,
    distances: tuple[float, float],
    peaks: tuple[float, float],
) -> tuple[str, Frame, float | None]:
    """One of `CELLS` in turn; range of distances between neighbours in px, and of counts."""
    name = list(CELLS)[seed % len(CELLS)]
    cell, basis, angstrom = CELLS[name]
    apart = float(np.exp(rng.uniform(*np.log(distances))))
    pixel_size = angstrom / apart
    xy, site = tile(apart * cell, basis, size, rng.uniform(0, np.pi), rng.uniform(0, 1, 2))
    peak = np.where((np.asarray(site) == 1) & (name == "two heights"), 0.6, 1.0)
    width = apart * rng.uniform(0.16, 0.24)
    clean = render(xy, peak, width, (size, size)) + 0.3
    dose = np.exp(rng.uniform(*np.log(peaks)))
    return counted(rng, name, clean * dose, xy, 0.25 * apart, width, pixel_size)


def counted(
    rng: np.random.Generator,
    name: str,
    expected: Array,
    xy: Array,
    radius: float,
    rim: float,
    pixel_size: float,
) -> tuple[str, Frame, float | None]:
    """Poisson counts of a square picture of columns; the pixel size told in half of them."""
    data = rng.poisson(expected)
    truth = xy[((xy > -0.5) & (xy < len(data) - 0.5)).all(axis=1)]
    info = {"ignored": np.empty((0, 2)), "rim": rim}
    frame = Frame(name, data, truth, radius, pixel_size, info)
    return name, frame, pixel_size if rng.random() < 0.5 else None


def under(frame: Frame, places: Array, radius: float) -> Frame:
    """A frame that asks neither for atoms at these places nor for columns under them."""
    hidden = cKDTree(places).query(frame.truth)[0] < radius
    ignored = np.concatenate([frame.info["ignored"], frame.truth[hidden], places])
    return replace(frame, truth=frame.truth[~hidden], info=dict(frame.info) | {"ignored": ignored})


def enlarged(frame: Frame, times: int) -> Frame:
    """The truth of a frame whose pixels stand so many times."""
    truth, ignored = (xy * times + (times - 1) / 2 for xy in (frame.truth, frame.info["ignored"]))
    info = dict(frame.info) | {"ignored": ignored, "rim": frame.info["rim"] * times}
    return replace(frame, truth=truth, radius=frame.radius * times, info=info)


def judge(frame: Frame, pixel_size: float | None) -> float:
    """F1 of one frame, 0 where it is refused."""
    try:
        atoms = atomscope.detect(frame.data, pixel_size=pixel_size)
    except InputError:
        return 0.0
    return score_frame(frame, atoms[["x_px", "y_px"]].to_numpy(float)).f1


def table(rows: pd.DataFrame) -> str:
    """Markdown, one line per trouble and all of them last."""
    lines = ["| trouble | frames | F1 ≥ 0.95 | mean F1 | lowest decile |", "|---|---|---|---|---|"]
    for name, part in [*rows.groupby("trouble", sort=False), ("all", rows)]:
        f1 = part["f1"]
        lines.append(
            f"| {name} | {len(f1)} | {(f1 >= 0.95).mean():.2f} | {f1.mean():.3f} "
            f"| {f1.quantile(0.1):.3f} |"
        )
    return "\n".join(lines)


def shot(
    options: argparse.Namespace, seed: int, troubles: dict[str, Trouble]
) -> tuple[str, Frame, float | None]:
    """A frame of the kind that was asked for."""
    special = {"pairs": shoot_pairs, "wide": shoot_wide, "fine": shoot_fine}
    for kind, make in special.items():
        if getattr(options, kind):
            return make(seed)
    return shoot_one(seed, troubles)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--treated", action="store_true", help="what was done to the file")
    kind.add_argument("--pairs", action="store_true", help="lattices of pairs instead")
    kind.add_argument("--wide", action="store_true", help="many pixels per column instead")
    kind.add_argument("--fine", action="store_true", help="hardly a pixel per column instead")
    parser.add_argument("--only", help="one kind of trouble, by its name")
    parser.add_argument("--frames", type=int, default=270)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--csv", help="write a row per frame")
    options = parser.parse_args()
    rows = []
    troubles = TREATED if options.treated else TROUBLES
    for seed in range(options.first, options.first + options.frames):
        if options.only not in (None, list(troubles)[seed % len(troubles)]):
            continue
        name, frame, pixel_size = shot(options, seed, troubles)
        rows.append({"seed": seed, "trouble": name, "material": frame.name})
        rows[-1]["f1"] = judge(frame, pixel_size)
    found = pd.DataFrame(rows)
    if options.csv:
        found.to_csv(options.csv, index=False)
    print(table(found))


if __name__ == "__main__":
    main()
