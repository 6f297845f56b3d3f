"""Scores on real micrographs with positions marked by hand.

    python benchmarks/real.py DATA [--quick] [--baselines-only | --ours-only] [--model FOLDER]
        [--others] [--whole] [--pictures FOLDER]

DATA is the folder of real micrographs (see benchmarks/README.md). Prints Markdown tables: F1 of
each image and pooled, ours beside two classical detectors tuned on the same images. With --others
these are tuned on the other images of the set instead, as a user would have to who has marked some
images and not this one; the last line pools the images that our own probabilities were not fitted
on (`spots_fit.py` had those of even places). Columns found in a rim without marks count neither
way; with --whole they count as wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from baselines import (
    Array,
    Frame,
    Tuned,
    score_frame,
    scores_of,
    tune,
    tune_on_others,
    with_gaussian_fit,
)
from ours import found_by

from atomscope.evaluate import Scores, pool

# Set, prefix of its images, radius in px (as the source of the data advises), pixel size in Å,
# rim in px within which nobody marked anything: the lattice of the HRTEM frames goes on to the
# border, its marks end 6.5 to 9.5 px from it.
SETS = {
    "Pt single atoms (HPAI)": ("hpai_pt_single_atoms", "", 3.4, 0.29297, 0.0),
    "Re molecular (Sjeon)": ("sjeon_re_pt_molecular", "bpy", 5.0, None, 0.0),
    "Pt molecular (Sjeon)": ("sjeon_re_pt_molecular", "Ptporph", 5.0, None, 0.0),
    "graphene HRTEM (Hambach)": ("hambach_graphene_hrtem", "", 3.0, None, 6.0),
}


def load(data: Path, folder: str, prefix: str, radius: float, pixel_size: float | None, rim: float):
    """Frames of one set that have truth, in the order of their names."""
    truth = pd.read_csv(data / folder / "truth.csv")
    names = sorted(name for name in truth["image"].unique() if name.startswith(prefix))
    return [
        Frame(
            name=name,
            data=_pixels(data / folder / name),
            truth=truth.loc[truth["image"] == name, ["x_px", "y_px"]].to_numpy(float),
            radius=radius,
            pixel_size=pixel_size,
            info={"rim": rim},
        )
        for name in names
    ]


def _pixels(path: Path) -> Array:
    if path.suffix == ".dm3":
        from rsciio.digitalmicrograph import file_reader

        return np.asarray(file_reader(path)[0]["data"], dtype=float)
    if path.suffix == ".tif":
        import tifffile

        return tifffile.imread(path).astype(float)
    import imageio.v3 as iio

    return np.asarray(iio.imread(path), dtype=float)


def alone(frames: Sequence[Frame], method: str) -> list[Scores]:
    """Each frame tuned for itself: beyond what any one setting can reach."""
    return [tune([frame], method).pooled for frame in frames]


def on_others(frames: Sequence[Frame]) -> dict[str, list[Scores]]:
    """Classical detectors, each frame with what was best on the other ones."""
    log = tune_on_others(frames, "LoG")
    fitted = [with_gaussian_fit([f], tuned) for f, tuned in zip(frames, log, strict=True)]
    return {
        "LoG + fit, by the others": [tuned.scores[0] for tuned in fitted],
        "LoG, by the others": [tuned.scores[0] for tuned in log],
        "trackpy, by the others": [t.scores[0] for t in tune_on_others(frames, "trackpy")],
    }


def compare(frames: Sequence[Frame], columns: dict[str, list[Scores]]) -> str:
    """Markdown: one line per image, the pooled lines last."""
    names = list(columns)
    lines = [
        "| image | atoms | " + " | ".join(f"{name} F1" for name in names) + " |",
        "|---|---|" + "---|" * len(names),
    ]
    for i, frame in enumerate(frames):
        values = " | ".join(f"{columns[name][i].f1:.3f}" for name in names)
        lines.append(f"| {frame.name} | {len(frame.truth)} | {values} |")
    pooled = [pool(columns[name]) for name in names]
    total = sum(len(frame.truth) for frame in frames)
    for label, value in _POOLED.items():
        values = " | ".join(value(p) for p in pooled)
        lines.append(f"| **pooled {label}** | {total} | {values} |")
    fresh = slice(1, None, 2)
    values = " | ".join(f"{pool(columns[name][fresh]).f1:.3f}" for name in names)
    lines.append(f"| F1, odd places | {sum(len(f.truth) for f in frames[fresh])} | {values} |")
    return "\n".join(lines)


_POOLED: dict[str, Callable[[Scores], str]] = {
    "F1": lambda s: f"**{s.f1:.3f}**",
    "precision, recall": lambda s: f"{s.precision:.3f}, {s.recall:.3f}",
    "RMSE (px)": lambda s: f"{s.rmse_px:.2f}",
    "mean offset x, y (px)": lambda s: f"{s.offset_x_px:+.2f}, {s.offset_y_px:+.2f}",
}


def overlays(frames: Sequence[Frame], found: Sequence[Array], folder: Path) -> None:
    """One picture per frame: truth as circles, found as crosses (red where it is no atom)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    from atomscope.evaluate import match

    folder.mkdir(parents=True, exist_ok=True)
    for frame, xy in zip(frames, found, strict=True):
        figure, axes = plt.subplots(figsize=(9, 9))
        low, high = np.percentile(frame.data, [0.5, 99.7])
        axes.imshow(frame.data, cmap="gray", vmin=low, vmax=high)
        axes.plot(*frame.truth.T, "o", mfc="none", mec="#ffd21f", ms=12, mew=1)
        true = match(frame.truth, xy, frame.radius).is_true
        axes.plot(*xy[true].T, "+", color="#41d17d", ms=7)
        axes.plot(*xy[~true].T, "x", color="#ff4040", ms=6)
        axes.set_title(f"{frame.name}: F1 {score_frame(frame, xy).f1:.3f}")
        axes.set_axis_off()
        figure.savefig(folder / f"{Path(frame.name).name}.png", dpi=90, bbox_inches="tight")
        plt.close(figure)


def describe(name: str, tuned: Tuned) -> str:
    settings = ", ".join(f"{key} {value:g}" for key, value in tuned.settings.items())
    return f"{name}: {settings}, threshold {tuned.threshold:.3g}"


def run_set(label: str, frames: Sequence[Frame], args: argparse.Namespace) -> None:
    columns: dict[str, list[Scores]] = {}
    if not args.baselines_only:
        found = found_by(frames, args.model)
        columns["atomscope"] = scores_of(frames, found)
        if args.pictures:
            overlays(frames, found, args.pictures / label.replace(" ", "_"))
    if args.ours_only:
        print(f"\n### {label}\n\n{compare(frames, columns)}", flush=True)
        return
    if args.others:
        print(f"\n### {label}\n\n{compare(frames, columns | on_others(frames))}", flush=True)
        return
    log, trackpy = tune(frames, "LoG"), tune(frames, "trackpy")
    columns["LoG + fit, tuned"] = with_gaussian_fit(frames, log).scores
    columns["LoG, tuned"] = log.scores
    columns["trackpy, tuned"] = trackpy.scores
    if args.alone:
        columns["LoG, tuned per image"] = alone(frames, "LoG")
    print(f"\n### {label}\n\nRadius {frames[0].radius} px. ", end="")
    print(f"{describe('LoG', log)}. {describe('trackpy', trackpy)}.\n")
    print(compare(frames, columns), flush=True)
    if args.pictures and args.baselines_only:
        overlays(frames, log.found, args.pictures / label.replace(" ", "_"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of real micrographs")
    parser.add_argument(
        "--sets", nargs="*", default=list(SETS), help="names of sets (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="two images per set")
    parser.add_argument(
        "--baselines-only", action="store_true", help="without atomscope's detector"
    )
    parser.add_argument("--ours-only", action="store_true", help="without the other detectors")
    parser.add_argument("--others", action="store_true", help="tune on the set's other images")
    parser.add_argument("--whole", action="store_true", help="rims without marks count")
    parser.add_argument("--model", help="detector in place of the built-in one")
    parser.add_argument("--alone", action="store_true", help="also tune LoG for each image alone")
    parser.add_argument("--pictures", type=Path, help="folder for overlay pictures")
    args = parser.parse_args()
    for label in args.sets:
        *where, rim = SETS[label]
        frames = load(args.data, *where, 0.0 if args.whole else rim)
        run_set(label, frames[:2] if args.quick else frames, args)


if __name__ == "__main__":
    main()
