"""Run Atomap or AtomAI on frames; for the peers' environment, called by the other scripts.

    peers/bin/python benchmarks/peers.py atomap JOBS.npz OUT.npz
    peers/bin/python benchmarks/peers.py atomai JOBS.npz OUT.npz --weights FOLDER
    peers/bin/python benchmarks/peers.py serve JOBS.npz --weights FOLDER

JOBS.npz holds `count`, `frame_0`, `frame_1`, ... and what the method needs:
atomap: `separation_i` (px, one or more), `threshold_i` (one or more), `refine`;
atomai: `factor_i` (zoom to the sampling the network was trained at), `stacked`.
OUT.npz gets `xy_i` (positions in px of the frame; for Atomap one array per setting,
`xy_i_s_t`), `seconds_i`, and from AtomAI `class_i`.

serve: for speed.py; takes `frame` and `xy`, reads names of tasks (predict, predict_refine, atomap)
line by line and answers each with the seconds it took.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np


def atomap(jobs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Peaks for every separation and threshold; with `refine`, centre of mass and 2-D Gaussian."""
    import atomap.api as am
    import hyperspy.api as hs

    out: dict[str, np.ndarray] = {}
    for i in range(int(jobs["count"])):
        data = jobs[f"frame_{i}"].astype(float)
        start = time.perf_counter()
        for s, separation in enumerate(np.atleast_1d(jobs[f"separation_{i}"])):
            for t, threshold in enumerate(np.atleast_1d(jobs[f"threshold_{i}"])):
                xy = np.asarray(
                    am.get_atom_positions(
                        hs.signals.Signal2D(data),
                        separation=max(1, round(float(separation))),
                        threshold_rel=float(threshold),
                    ),
                    dtype=float,
                ).reshape(-1, 2)
                if jobs["refine"] and len(xy) > 8:
                    lattice = am.Sublattice(xy, image=data)
                    lattice.find_nearest_neighbors()
                    lattice.refine_atom_positions_using_center_of_mass(show_progressbar=False)
                    lattice.refine_atom_positions_using_2d_gaussian(show_progressbar=False)
                    xy = np.stack([lattice.x_position, lattice.y_position], axis=1)
                out[f"xy_{i}_{s}_{t}"] = xy
        out[f"seconds_{i}"] = np.array(time.perf_counter() - start)
    return out


def atomai(jobs: dict[str, np.ndarray], weights: Path) -> dict[str, np.ndarray]:
    """Centroids of the network's blobs as `predict` gives them, at the sampling asked for."""
    from skimage.transform import resize

    network = load_atomai(weights)
    n = int(jobs["count"])
    frames = [jobs[f"frame_{i}"].astype(np.float32) for i in range(n)]
    factors = [float(jobs[f"factor_{i}"]) for i in range(n)]
    shown = [
        resize(
            f,
            np.round(np.array(f.shape) * factor).astype(int),
            order=1,
            anti_aliasing=factor < 1,  # else the noise of skipped pixels is not averaged
            preserve_range=True,
        ).astype(np.float32)
        for f, factor in zip(frames, factors, strict=True)
    ]
    groups = [[i] for i in range(n)]
    if jobs["stacked"]:
        shapes = sorted({s.shape for s in shown})
        groups = [[i for i in range(n) if shown[i].shape == shape] for shape in shapes]
    out: dict[str, np.ndarray] = {}
    for group in groups:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            _, coordinates = network.predict(np.stack([shown[i] for i in group]))
        seconds = (time.perf_counter() - start) / len(group)
        for k, i in enumerate(group):
            rows_columns, kind = np.split(
                np.asarray(coordinates[k], dtype=float).reshape(-1, 3), [2], axis=1
            )
            scale = np.array(shown[i].shape) / frames[i].shape
            # Zoomed pixel centres lie at (original + 1/2) * scale - 1/2.
            rows_columns = (rows_columns + 0.5) / scale - 0.5
            inside = (rows_columns <= np.array(frames[i].shape) - 1).all(axis=1)
            out[f"xy_{i}"] = rows_columns[inside][:, ::-1]
            out[f"class_{i}"] = kind[inside, 0].astype(int)
            out[f"seconds_{i}"] = np.array(seconds)
    return out


def load_atomai(folder: Path):
    """AtomAI's Segmentor with weights trained by atomai_train.py."""
    import torch
    from atomai.models import Segmentor

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    with contextlib.redirect_stdout(io.StringIO()):
        model = Segmentor(settings["model"], nb_classes=settings["classes"], **settings["options"])
    model.net.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    model.net.eval()
    return model


def serve(jobs: dict[str, np.ndarray], weights: Path, threads: int) -> None:
    """Time one task per line of the input, the slow imports and a first run left out."""
    import atomap.api as am
    import torch
    from atomai.utils import peak_refinement

    torch.set_num_threads(threads)
    frame, xy = jobs["frame"].astype(np.float32), jobs["xy"].astype(float)
    network = load_atomai(weights)

    def fit_all() -> None:
        lattice = am.Sublattice(xy, image=frame.astype(float))
        lattice.find_nearest_neighbors()
        lattice.refine_atom_positions_using_2d_gaussian(show_progressbar=False)

    low, high = frame.min(), frame.max()
    scaled = (frame - low) / (high - low)
    rows_columns = np.column_stack([xy[:, ::-1], np.zeros(len(xy))])

    def predict_and_refine() -> None:
        """What predict(refine=True) does, with the same columns whatever the network finds."""
        network.predict(frame)
        peak_refinement(scaled, rows_columns)

    tasks = {
        "predict": lambda: network.predict(frame),
        "predict_refine": predict_and_refine,
        "atomap": fit_all,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        network.predict(frame)
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            tasks[line.strip()]()
        print(time.perf_counter() - start, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("method", choices=["atomap", "atomai", "serve"])
    parser.add_argument("jobs", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--weights", type=Path, help="folder written by atomai_train.py")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    with np.load(args.jobs) as stored:
        jobs = dict(stored)
    if args.method != "atomap" and args.weights is None:
        parser.error(f"{args.method} needs --weights")
    if args.method == "serve":
        return serve(jobs, args.weights, args.threads)
    if args.out is None:
        parser.error("OUT.npz is missing")
    done = atomap(jobs) if args.method == "atomap" else atomai(jobs, args.weights)
    np.savez(args.out, **done)
    return None


if __name__ == "__main__":
    main()
