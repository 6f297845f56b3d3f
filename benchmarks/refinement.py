"""How close refinement comes to the Cramér-Rao bound, how honest its errors are, how fast it is.

Simulated Gaussians on a background with Poisson noise, starting positions half a pixel (rms)
off. `python benchmarks/refinement.py [--quick]` prints one table; the law is RMSE / bound
<= 1.10 for isolated and <= 1.15 for overlapping columns, coverage 68 ± 3 % and 95 ± 2 %.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from atomscope.refine import cramer_rao, refine


@dataclass(frozen=True)
class Case:
    name: str
    spacing: float  # in widths
    dose: float  # peak counts; the background is 0.4 of it
    gain: float = 1.0
    offset: float = 0.0
    readout: float = 0.0  # standard deviation, in units of the image


SIGMA = 2.5
SIZE = 150
CASES = [
    *(Case("isolated", 8.0, dose) for dose in (5, 50, 500, 5000)),
    *(Case("lattice 4.0", 4.0, dose) for dose in (5, 50, 500, 5000)),
    *(Case("lattice 3.0", 3.0, dose) for dose in (5, 50, 500, 5000)),
    *(Case("lattice 2.5", 2.5, dose) for dose in (5, 50, 500, 5000)),
    Case("gain, offset, readout", 8.0, 50, 3.7, 120.0, 10.0),
    Case("gain, offset, readout", 3.0, 50, 3.7, 120.0, 10.0),
]


def lattice(size: int, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Jittered square lattice in a turned frame, kept half a spacing from the border."""
    steps = np.arange(-size, size) * spacing
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    turn = rng.uniform(0, np.pi)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    xy = grid @ matrix.T + size / 2 + rng.normal(scale=0.2, size=grid.shape)
    keep = ((xy > spacing / 2) & (xy < size - 1 - spacing / 2)).all(axis=1)
    return xy[keep]


def render(xy: np.ndarray, peak: float, sigma: float, background: float, size: int) -> np.ndarray:
    """Sum of Gaussians sampled at the pixel centres."""
    axis = np.arange(size)
    down = np.exp(-((axis[:, None] - xy[:, 1]) ** 2) / (2 * sigma**2))
    right = np.exp(-((axis[:, None] - xy[:, 0]) ** 2) / (2 * sigma**2))
    return background + peak * down @ right.T


def table(xy: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"frame": 0, "x_px": xy[:, 0], "y_px": xy[:, 1], "p": 1.0})


def run(case: Case, seeds: int) -> str:
    errors, bounds, pulls, volume_pulls, lost, total = [], [], [], [], 0, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        xy = lattice(SIZE, case.spacing * SIGMA, rng)
        background = 0.4 * case.dose
        counts = rng.poisson(render(xy, case.dose, SIGMA, background, SIZE))
        image = case.gain * counts + case.offset + case.readout * rng.normal(size=counts.shape)
        found = refine(image, table(xy + rng.normal(scale=0.5, size=xy.shape)))
        variance = (case.readout / case.gain) ** 2
        bound = cramer_rao(
            xy, case.dose, SIGMA, background, counts.shape, readout_variance=variance
        )
        good = found["x_err_px"].notna().to_numpy()
        error = found[["x_px", "y_px"]].to_numpy() - xy
        errors.append(error[good])
        bounds.append(np.stack(bound, axis=1)[good])
        pulls.append(error[good] / found.loc[good, ["x_err_px", "y_err_px"]].to_numpy())
        volume = 2 * np.pi * case.dose * SIGMA**2 * case.gain
        pull = (found["intensity"] - volume) / found["intensity_err"]
        volume_pulls.append(pull[good].to_numpy())
        lost += int((~good).sum())
        total += len(xy)
    rmse = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    limit = np.sqrt(np.mean(np.concatenate(bounds) ** 2))
    pull = np.abs(np.concatenate(pulls))
    volume_pull = np.abs(np.concatenate(volume_pulls))
    return (
        f"{case.name:22s} {case.spacing:4.1f} {case.dose:6.0f} {total:6d} {lost:5d} "
        f"{rmse:9.4f} {limit:9.4f} {rmse / limit:6.3f} "
        f"{100 * np.mean(pull < 1):6.1f} {100 * np.mean(pull < 1.96):6.1f} "
        f"{100 * np.mean(volume_pull < 1):6.1f} {100 * np.mean(volume_pull < 1.96):6.1f}"
    )


def speed(repeats: int) -> str:
    """Time for about 2000 columns of a 512 x 512 frame, four widths apart."""
    rng = np.random.default_rng(0)
    xy = lattice(512, 11.4, rng)
    image = rng.poisson(render(xy, 50, 2.85, 20, 512)).astype(float)
    start = table(xy + rng.normal(scale=0.5, size=xy.shape))
    wall, cpu = [], []
    for _ in range(repeats):
        begin, used = time.perf_counter(), time.process_time()
        refine(image, start)
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - used)
    load = os.getloadavg()[0]
    return (
        f"{len(xy)} columns, 512 x 512: best {min(wall):.3f} s ({1e3 * min(wall) / len(xy):.3f} ms "
        f"per column), median {np.median(wall):.3f} s, best CPU {min(cpu):.3f} s; load {load:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed per case")
    quick = parser.parse_args().quick
    print("case                 spacing  dose columns lost   RMSE px  bound px  ratio  68 %   95 %")
    print("(the last two columns: coverage of the errors of the intensity)")
    for case in CASES:
        print(run(case, 1 if quick else 5), flush=True)
    print(speed(3 if quick else 9))


if __name__ == "__main__":
    main()
