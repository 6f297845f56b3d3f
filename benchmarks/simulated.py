"""F1 and position error against dose on simulated micrographs of materials kept out of training.

    python benchmarks/simulated.py [--quick] [--model FOLDER] [--cells CACHE]
        [--peers peers/bin/python] [--atomai WEIGHTS] [--csv OUT.csv]

Frames: every world of specimens.py by the fast model, every multislice cell in CACHE, at three
pixel sizes and eight doses (3 to 10,000 detected electrons per column). Prints Markdown tables.

Beside ours: LoG + 2-D Gaussian fit tuned per material and pixel size over all doses, and tuned per
frame; with --peers also Atomap (separation and threshold tuned per frame); with --atomai a
network trained by atomai_train.py, frames given singly and in stacks.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from baselines import (
    METHODS,
    Array,
    Frame,
    score_frame,
    tune_grids,
    with_gaussian_fit,
)
from microscope import View, cramer_rao, look, neighbour_distance, shoot, tile
from ours import found_by
from specimens import WORLDS, World

from atomscope.evaluate import Scores, pool

ELECTRONS = (3, 10, 30, 100, 300, 1000, 3000, 10000)
SAMPLINGS = (6.0, 10.0, 18.0)  # px between neighbours, as far as 0.05 to 0.3 Å allow
GOOD = 0.05  # a dose counts as enough where the Cramér-Rao error is under this part of the spacing
RIM = 5.0  # px of its own sampling in which AtomAI reports nothing


@dataclass(frozen=True)
class Series:
    """One specimen at one pixel size: frames of rising dose, and the least possible errors.

    Attributes:
        material: Name of the world, with the kind of simulation.
        frames: One per dose.
        bounds: Cramér-Rao RMS error in px of each frame.
    """

    material: str
    frames: list[Frame]
    bounds: list[float]

    @property
    def spacing(self) -> float:
        return float(self.frames[0].info["spacing"])


def series(world: World, kind: str, view: View, electrons: Sequence[int], seed: int) -> Series:
    material = f"{world.name}, {kind}"
    frames = [
        shoot(view, f"{material}, {view.pixel_size:.3f} Å, {n} e", n, seed + i)
        for i, n in enumerate(electrons)
    ]
    at_unit_dose = cramer_rao(view, world.probe)
    return Series(material, frames, [at_unit_dose / f.info["dose"] ** 0.5 for f in frames])


def all_series(args: argparse.Namespace) -> Iterator[Series]:
    """The test set; seeds depend on the place in the list only."""
    samplings = SAMPLINGS[1:2] if args.quick or args.middle else SAMPLINGS
    electrons = ELECTRONS[3::3] if args.quick else ELECTRONS
    for i, world in enumerate(WORLDS):
        if args.only and world.name not in args.only:
            continue
        spacing = neighbour_distance(look(world, 192, 0.15, 17 + i).truth) * 0.15
        path = args.cells / f"cell_{world.name.replace(' ', '_')}.npz" if args.cells else None
        for j, sampling in enumerate(samplings):
            pixel_size = float(np.clip(spacing / sampling, 0.05, 0.3))
            seed = 1000 * i + 100 * j
            flat = look(world, args.size, pixel_size, seed)
            yield series(world, "linear", flat, electrons, seed + 50)
            if path and path.exists():
                with np.load(path) as stored:
                    deep = tile(dict(stored), world.probe, args.size, pixel_size, seed + 7)
                yield series(world, "multislice", deep, electrons, seed + 60)


def classical(s: Series) -> dict[str, list[Array]]:
    """LoG and fit, one setting for all doses and the best for each frame."""
    # Lengths of the grid suit about 8 px between neighbours.
    scale = s.spacing / 8
    grids = [list(METHODS["LoG"](frame.data, scale)) for frame in s.frames]
    together = with_gaussian_fit(s.frames, tune_grids(s.frames, grids))
    found: dict[str, list[Array]] = {"LoG + fit": together.found, "LoG + fit, per frame": []}
    for frame, grid in zip(s.frames, grids, strict=True):
        alone = with_gaussian_fit([frame], tune_grids([frame], [grid]))
        found["LoG + fit, per frame"] += alone.found
    return found


def atomap(s: Series, python: Path) -> list[Array]:
    """Atomap: the best separation and threshold of each frame, then its 2-D Gaussian fit."""
    separations = s.spacing * np.array([0.4, 0.55, 0.7, 0.85])
    thresholds = np.array([0.02, 0.1, 0.2, 0.35])
    n = len(s.frames)
    jobs = {f"frame_{i}": f.data for i, f in enumerate(s.frames)} | {"count": n, "refine": False}
    grid = {f"separation_{i}": separations for i in range(n)}
    grid |= {f"threshold_{i}": thresholds for i in range(n)}
    tried = run_peer(python, "atomap", jobs | grid)
    best = []
    for i, frame in enumerate(s.frames):
        choices = [(a, b) for a in range(len(separations)) for b in range(len(thresholds))]
        best.append(
            max(choices, key=lambda c: score_frame(frame, tried[f"xy_{i}_{c[0]}_{c[1]}"]).f1)
        )
    grid = {f"separation_{i}": separations[a] for i, (a, _) in enumerate(best)}
    grid |= {f"threshold_{i}": thresholds[b] for i, (_, b) in enumerate(best)}
    fitted = run_peer(python, "atomap", jobs | grid | {"refine": True})
    return [fitted[f"xy_{i}_0_0"] for i in range(n)]


def atomai(s: Series, python: Path, weights: Path, *, stacked: bool) -> list[Array]:
    """AtomAI at the sampling it was trained at, from the true spacing; positions in frame px."""
    n = len(s.frames)
    jobs = {f"frame_{i}": f.data for i, f in enumerate(s.frames)}
    jobs |= {f"factor_{i}": atomai_factor(s) for i in range(n)}
    out = run_peer(
        python, "atomai", jobs | {"count": n, "stacked": stacked}, "--weights", str(weights)
    )
    return [out[f"xy_{i}"] for i in range(n)]


def atomai_factor(s: Series, trained_spacing: float = 8.0) -> float:
    return trained_spacing / s.spacing


def run_peer(python: Path, method: str, jobs: dict[str, object], *options: str) -> dict[str, Array]:
    """Call peers.py in the other environment."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder) / "jobs.npz", Path(folder) / "out.npz"
        np.savez(given, **jobs)
        script = Path(__file__).with_name("peers.py")
        subprocess.run([python, script, method, given, got, *options], check=True)
        with np.load(got) as stored:
            return dict(stored)


def measure(s: Series, args: argparse.Namespace) -> list[dict[str, object]]:
    """Rows of method, frame and scores."""
    found = {} if args.baselines_only else {"atomscope": found_by(s.frames, args.model)}
    if not args.no_classical:
        found |= classical(s)
    if args.peers and (not args.atomap_only or s.material.split(",")[0] in args.atomap_only):
        found["Atomap"] = atomap(s, args.peers)
    if args.peers and args.atomai:
        found["AtomAI"] = atomai(s, args.peers, args.atomai, stacked=False)
        found["AtomAI, stacked"] = atomai(s, args.peers, args.atomai, stacked=True)
    rows = []
    for method, positions in found.items():
        for frame, bound, xy in zip(s.frames, s.bounds, positions, strict=True):
            rows.append(_row(s, method, frame, bound, score_frame(frame, xy)))
            if method.startswith("AtomAI"):
                inner = score_frame(frame, xy, rim=RIM / atomai_factor(s))
                rows.append(_row(s, f"{method}, without rim", frame, bound, inner))
    return rows


def _row(s: Series, method: str, frame: Frame, bound: float, scores: Scores) -> dict[str, object]:
    return {
        "material": s.material,
        "pixel_size": frame.pixel_size,
        "electrons": frame.info["electrons"],
        "dose": frame.info["dose"],
        "method": method,
        "f1": scores.f1,
        "rmse_px": scores.rmse_px,
        "bound_px": bound,
        "spacing_px": s.spacing,
        "enough": bound < GOOD * s.spacing,
        "scores": scores,
    }


def tables(rows: pd.DataFrame) -> str:
    """Markdown: where the dose is enough, per material; F1 and error against dose, per method."""
    rows = rows.assign(
        error_pm=rows["rmse_px"] * rows["pixel_size"] * 100,
        bound_pm=rows["bound_px"] * rows["pixel_size"] * 100,
    )
    good = rows[rows["enough"]]
    parts = [
        f"### F1 where the Cramér-Rao error is under {GOOD:.0%} of the spacing\n",
        "Pooled over doses and pixel sizes.\n",
        _table(_pooled(good, ["material"]), "material"),
        "\n### The worst frame among these\n",
        _table(good.pivot_table("f1", "material", "method", "min", sort=False), "material"),
        "\n### F1 against detected electrons per column, all materials pooled\n",
        _table(_pooled(rows, ["electrons"]), "electrons"),
        "\n### Root mean square error (pm), median over frames with F1 above 0.9\n",
        _table(
            rows[rows["f1"] > 0.9]
            .pivot_table("error_pm", "electrons", "method", "median", sort=False)
            .assign(bound=rows.groupby("electrons")["bound_pm"].median()),
            "electrons",
            "{:.1f}",
        ),
    ]
    for method in rows["method"].unique():
        of = rows[rows["method"] == method]
        parts += [
            f"\n### {method}: F1 by material and electrons per column\n",
            _table(_pooled(of, ["material"], "electrons"), "material"),
        ]
    return "\n".join(parts)


def _pooled(rows: pd.DataFrame, by: list[str], across: str = "method") -> pd.DataFrame:
    f1 = rows.groupby([*by, across], sort=False)["scores"].agg(lambda s: pool(list(s)).f1)
    return f1.unstack(across)


def _table(table: pd.DataFrame, index: str, form: str = "{:.3f}") -> str:
    lines = [
        f"| {index} | " + " | ".join(str(c) for c in table.columns) + " |",
        "|---|" + "---|" * len(table.columns),
    ]
    for name, values in table.iterrows():
        cells = ["" if pd.isna(v) else form.format(v) for v in values]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one pixel size, two doses")
    parser.add_argument("--middle", action="store_true", help="one pixel size, all doses")
    parser.add_argument("--only", nargs="*", help="names of worlds")
    parser.add_argument("--size", type=int, default=256, help="edge of a frame in px")
    parser.add_argument("--model", help="detector in place of the built-in one")
    parser.add_argument("--baselines-only", action="store_true")
    parser.add_argument("--no-classical", action="store_true", help="leave LoG + fit out")
    parser.add_argument("--cells", type=Path, help="folder written by multislice.py")
    parser.add_argument("--peers", type=Path, help="Python of the peers' environment")
    parser.add_argument("--atomap-only", nargs="*", help="worlds on which Atomap is run")
    parser.add_argument("--atomai", type=Path, help="folder written by atomai_train.py")
    parser.add_argument("--csv", type=Path, help="write one line per frame and method")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for s in all_series(args):
        rows += measure(s, args)
        if args.csv:
            pd.DataFrame(rows).drop(columns="scores").to_csv(args.csv, index=False)
    print(tables(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
