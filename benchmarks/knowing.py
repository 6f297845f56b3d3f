"""Does the verdict tell frames with atoms from frames that it should not be asked about?

    python benchmarks/knowing.py DATA [--quick] [--seed S]

The frames with atoms are those of microscope.py and specimens.py, whose materials and simulator
the verdict was not fitted on; so are the supports. Patterns of diffraction come from the structure
factors of the same specimens. Prints Markdown: AUROC of the score per kind, verdicts, and on the
real sets of real.py the expected calibration error of p, and how well p and ood tell what is no
atom.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from baselines import Array, Frame, border_distance, score_frame
from microscope import expose, look, neighbour_distance, shoot
from real import SETS, load
from specimens import BULK, TWO_D, WIDE, WORLDS, Columns, World

SIZE = 192  # px
RIGHT = 0.95  # F1 from which on an under-sampled frame is no failure
ELECTRONS = (100, 500, 3000)  # per column: from the dose where a lattice is plain to the eye


@dataclass(frozen=True)
class Case:
    """A frame, what it is, how the sampling is made wrong, and columns that may be found in it."""

    kind: str
    name: str
    frame: Array
    pixel_size: float | None
    times: float | None = None
    columns: Frame | None = None


def cases(seed: int, quick: bool = False) -> Iterator[Case]:
    """All frames; seeds depend on the place in the list only."""
    worlds = WORLDS[::4] if quick else WORLDS
    for i, world in enumerate(worlds):
        yield from specimen(world, seed + 1000 * i)
    for i in range(6 if quick else 64):
        yield amorphous(np.random.default_rng((seed, 1, i)))
        yield empty(np.random.default_rng((seed, 2, i)))
        yield diffraction(worlds[i % len(worlds)], np.random.default_rng((seed, 3, i)))


def specimen(world: World, seed: int) -> Iterator[Case]:
    """A material at three doses; with the sampling forced wrong; under-sampled; shuffled."""
    rng = np.random.default_rng(seed)
    spacing = neighbour_distance(look(world, 128, 0.15, seed).truth) * 0.15
    pixel_size = float(np.clip(spacing / rng.uniform(7, 14), 0.05, 0.3))
    seen = look(world, SIZE, pixel_size, seed)
    frames = {n: shoot(seen, world.name, n, seed + n).data for n in ELECTRONS}
    for n, frame in frames.items():
        yield Case("atoms", f"{world.name}, {n} e", frame, pixel_size)
    if world.name.startswith("Pt"):
        again = look(world, SIZE, pixel_size, seed + 7)
        for n in ELECTRONS:
            frame = shoot(again, world.name, n, seed + 50 + n).data
            yield Case("atoms", f"{world.name}, {n} e", frame, pixel_size)
    for times in (0.45, 0.55, 2.0, 2.6):
        yield Case(
            "wrong factor", world.name, frames[500 if times < 1 else 3000], pixel_size, times
        )
    for n, px in ((300, 1.4), (1000, 1.7), (3000, 1.95), (3000, 2.2)):  # accepted from 2.3 px
        coarse = look(world, 80, spacing / px, seed + 3)
        shot = shoot(coarse, world.name, n, seed + 9)
        name = f"{world.name}, {px} px"
        yield Case("under-sampled", name, shot.data, spacing / px, columns=shot)
    for n in ELECTRONS:
        shuffled = rng.permutation(frames[n].ravel()).reshape(SIZE, SIZE)
        yield Case("shuffled", f"{world.name}, {n} e", shuffled, pixel_size)


def amorphous(rng: np.random.Generator) -> Case:
    """Carbon, silicon nitride's mean, or germanium; 2 to 8 nm, no atoms on it."""
    pixel_size, number = float(rng.uniform(0.08, 0.3)), float(rng.choice([6, 10, 32]))
    edge = SIZE * pixel_size
    half = edge / 2 + 4
    density = {6: 0.1, 10: 0.095, 32: 0.044}[int(number)]  # atoms per Å^3
    xy = rng.uniform(-half, half, (int(density * rng.uniform(20, 80) * (2 * half) ** 2), 2))
    xy = xy[rng.uniform(size=len(xy)) < 0.75 + 0.25 * xy[:, 0] / half] + edge / 2
    none = np.empty((0, 2))
    columns = Columns(none, np.empty(0), xy, np.full(len(xy), number**1.6))
    probe = (TWO_D, BULK, WIDE)[int(rng.integers(3))]
    signal = expose(columns, probe, SIZE, pixel_size, int(rng.integers(1 << 30)))
    counts = rng.poisson(signal / signal.mean() * 10 ** rng.uniform(0.3, 3))
    known = pixel_size if rng.random() < 0.5 else None
    return Case("amorphous", f"Z {number:g}, {pixel_size:.2f} Å", counts.astype(float), known)


def empty(rng: np.random.Generator) -> Case:
    """Vacuum, a thickness ramp or the border of a film, with shot noise and errors of lines."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    turn = rng.uniform(0, 2 * np.pi)
    along = np.cos(turn) * x + np.sin(turn) * y
    shape = int(rng.integers(3))
    clean = (np.ones_like(x), 1 + along, 1 / (1 + np.exp(-along * rng.uniform(5, 80))))[shape]
    counts = rng.poisson(10 ** rng.uniform(-1, 3) * clean).astype(float)
    if rng.random() < 0.5:
        counts += rng.normal(0, counts.std() * rng.uniform(0, 1), (SIZE, 1))
    return Case(
        "no atoms", ("vacuum", "ramp", "border")[shape], counts, float(rng.uniform(0.05, 0.3))
    )


def diffraction(world: World, rng: np.random.Generator) -> Case:
    """Squared Fourier transform of a specimen's columns: spots or discs, diffuse scattering."""
    columns = world.build(40.0, rng)
    per_angstrom = rng.uniform(18, 60)  # px per 1/Å
    q = (np.mgrid[:SIZE, :SIZE] - SIZE / 2 - rng.uniform(-9, 9, (2, 1, 1))) / per_angstrom
    radius = np.hypot(*q)
    xy, weight = columns.xy - 20.0, columns.weight * np.exp(-((columns.xy - 20) ** 2).sum(1) / 200)
    k_y, k_x = q[0][:, 0], q[1][0]
    wave_y = np.exp(-2j * np.pi * np.outer(k_y, xy[:, 1])) * weight
    amplitude = wave_y @ np.exp(-2j * np.pi * np.outer(xy[:, 0], k_x))
    power = (
        np.abs(amplitude) ** 2 / weight.sum() ** 2 * np.exp(-(radius**2) * rng.uniform(0.3, 1.2))
    )
    discs = rng.random() < 0.4
    if discs:
        from scipy.signal import fftconvolve

        edge = rng.uniform(0.06, 0.16) * per_angstrom
        y, x = np.mgrid[-15:16, -15:16]
        power = np.maximum(fftconvolve(power, 1.0 * (np.hypot(y, x) < edge), mode="same"), 0)
    power = power / power.max() + 10 ** rng.uniform(-5, -3) * np.exp(
        -radius / rng.uniform(0.2, 0.6)
    )
    counts = rng.poisson(power * 10 ** rng.uniform(4, 6)).astype(float)
    mode = int(rng.integers(3))  # as counted; saturated; logarithmic, as it is often stored
    if mode == 1:
        counts = np.minimum(counts, np.quantile(counts, 0.98))
    if mode == 2:
        counts = np.log1p(counts)
    name = f"{world.name}, {'discs' if discs else 'spots'}, {('linear', 'cut', 'log')[mode]}"
    return Case("diffraction", name, counts, None)


def judge(case: Case) -> tuple[float, str]:
    """Score and verdict of a frame; a frame that the program refuses is told to be out.

    One whose columns are found all the same, under-sampled as it is, counts as 'right'.
    """
    import atomscope
    from atomscope.errors import InputError
    from atomscope.recipe import DetectStage, Recipe, RefineStage

    recipe = Recipe(stages=(DetectStage(), RefineStage()))  # species change nothing here
    options = {"pixel_size": case.pixel_size, "recipe": recipe}
    try:
        if case.times is not None:
            right = atomscope.analyze(case.frame, **options).card["view"]["factor"]
            options["recipe"] = recipe.with_detect(factor=right * case.times)
        result = atomscope.analyze(case.frame, **options)
    except InputError:
        return 1.0, "refused"
    found = result.card["verdict"]
    if case.columns is not None and len(result.atoms):
        xy = result.atoms[["x_px", "y_px"]].to_numpy(float)
        if score_frame(case.columns, xy).f1 >= RIGHT:
            return found["score"], "right"
    return found["score"], found["verdict"]


def auroc(inside: Array, outside: Array) -> float:
    """Probability that a frame outside scores higher than one inside; ties count half."""
    higher, same = outside[:, None] > inside, outside[:, None] == inside
    return float(higher.mean() + 0.5 * same.mean())


def table(rows: pd.DataFrame) -> str:
    """Markdown: one line per kind; frames whose columns are found all the same left out."""
    rows = rows[rows["verdict"] != "right"]
    inside = rows.loc[rows["kind"] == "atoms", "score"].to_numpy()
    lines = [
        "| frames | number | AUROC | in domain | doubtful | out of domain | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, some in rows.groupby("kind", sort=False):
        area = "" if kind == "atoms" else f"{auroc(inside, some['score'].to_numpy()):.3f}"
        verdicts = ("in domain", "doubtful", "out of domain", "refused")
        shares = " | ".join(f"{(some['verdict'] == v).mean():.0%}" for v in verdicts)
        lines.append(f"| {kind} | {len(some)} | {area} | {shares} |")
    return "\n".join(lines)


def real(data: Path, quick: bool) -> str:
    """Markdown: calibration of p and verdicts on the sets marked by hand."""
    import atomscope
    from atomscope.evaluate import match

    head = "| set | atoms found | mean p | true | ECE | AUROC of 1 - p | of ood | in domain |"
    lines = [head + " doubtful | out |", "|---|---|---|---|---|---|---|---|---|---|"]
    everything: list[Array] = []
    for label, settings in SETS.items():
        frames = load(data, *settings)[: 2 if quick else None]
        results = [atomscope.analyze(f.data, pixel_size=f.pixel_size) for f in frames]
        pairs = []
        for frame, result in zip(frames, results, strict=True):
            xy = result.atoms[["x_px", "y_px"]].to_numpy(float)
            true = match(frame.truth, xy, frame.radius).is_true
            p, ood = (result.atoms[name].to_numpy(float) for name in ("p", "ood"))
            marked = border_distance(xy, frame.data.shape) >= frame.info["rim"]
            pairs.append(np.stack([p, true, ood])[:, marked])
        everything += pairs
        told = [r.card["verdict"]["verdict"] for r in results]
        counts = " | ".join(str(told.count(v)) for v in ("in domain", "doubtful", "out of domain"))
        lines.append(f"| {label} | {_calibration(np.concatenate(pairs, 1))} | {counts} |")
    lines.append(f"| all | {_calibration(np.concatenate(everything, 1))} | | | |")
    return "\n".join(lines)


def _calibration(pairs: Array) -> str:
    from atomscope.evaluate import reliability

    p, true, ood = pairs[0], pairs[1] > 0, pairs[2]
    ece = reliability(p, true).ece
    # how well each score tells what is no atom from what is one
    doubt, odd = (auroc(score[true], score[~true]) for score in (1 - p, ood))
    return f"{len(p)} | {p.mean():.3f} | {true.mean():.3f} | {ece:.3f} | {doubt:.3f} | {odd:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of real micrographs")
    parser.add_argument("--quick", action="store_true", help="a few frames of each kind")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="kinds of frames")
    parser.add_argument("--csv", type=Path, help="write one line per frame")
    args = parser.parse_args()
    rows = []
    for case in cases(args.seed, args.quick):
        if args.only and case.kind not in (*args.only, "atoms"):
            continue
        score, verdict = judge(case)
        rows.append({"kind": case.kind, "name": case.name, "score": score, "verdict": verdict})
        if args.csv:
            pd.DataFrame(rows).to_csv(args.csv, index=False)
    print(table(pd.DataFrame(rows)), "\n", real(args.data, args.quick), sep="\n")


if __name__ == "__main__":
    main()
