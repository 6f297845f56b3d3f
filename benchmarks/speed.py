"""Time and memory: detection, refinement, large frames, cold start.

    python benchmarks/speed.py [--quick] [--model FOLDER] [--only peers starts large]
        [--peers peers/bin/python --atomai WEIGHTS]

The frame: MgO [100], 512 x 512 px, 8.1 px between neighbouring columns (the sampling AtomAI was
trained at). Ours and the peers' runs take turns, so that a busy machine slows both; medians and
the median of the ratios of neighbouring runs are printed. Two threads each. Large frames are a
crystal of their own, as large as the frame (see `crystal`), and so is the small one beside them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

THREADS = "2"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, THREADS)  # before numpy starts its threads

import numpy as np  # noqa: E402
from microscope import look, neighbour_distance, shoot  # noqa: E402
from specimens import WORLDS  # noqa: E402


def example(size: int):
    world = next(w for w in WORLDS if w.name == "MgO [100]")
    spacing = neighbour_distance(look(world, 192, 0.15, 1).truth) * 0.15
    return shoot(look(world, size, spacing / 8.1, 2), "MgO", 1000, 3)


class Peer:
    """A process in the peers' environment that times one task at a time."""

    def __init__(self, python: Path, weights: Path, frame, folder: Path) -> None:
        jobs = folder / "jobs.npz"
        np.savez(jobs, frame=frame.data, xy=frame.truth)
        script = Path(__file__).with_name("peers.py")
        command = [python, script, "serve", jobs, "--weights", weights, "--threads", THREADS]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._line()

    def run(self, task: str) -> float:
        assert self.process.stdin
        self.process.stdin.write(task + "\n")
        self.process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        self.process.communicate()

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the peers' process ended; its message is above")
        return line


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(
    one: Callable[[], float], other: Callable[[], float], runs: int
) -> tuple[float, float, float]:
    """Medians of both and the median of other / one over neighbouring runs."""
    pairs = np.array([(one(), other()) for _ in range(runs)])
    return (*np.median(pairs, axis=0), float(np.median(pairs[:, 1] / pairs[:, 0])))


def against_peers(frame, args: argparse.Namespace) -> list[tuple[str, str]]:
    import atomscope
    from atomscope.refine import refine

    options = {"model": args.model} if args.model else {}
    runs = 3 if args.quick else 11
    table = atomscope.detect(frame.data, **options)

    def detection() -> float:
        return seconds(lambda: atomscope.detect(frame.data, **options))

    def fit() -> float:
        return seconds(lambda: refine(frame.data, table))

    def both() -> float:
        return seconds(lambda: refine(frame.data, atomscope.detect(frame.data, **options)))

    n = len(table)
    found = f"{n} of {len(frame.truth)} columns"
    if not (args.peers and args.atomai):
        detect_s, fit_s = (float(np.median([f() for _ in range(runs)])) for f in (detection, fit))
        return [
            (f"detection, 512², {found}", f"{detect_s:.3f} s"),
            ("refinement", f"{fit_s:.3f} s, {1e3 * fit_s / n:.3f} ms per column"),
        ]
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(args.peers, args.atomai, frame, Path(folder))
        rows = []
        ours, theirs, ratio = take_turns(detection, lambda: peer.run("predict"), runs)
        rows.append((f"detection, 512², {found}", f"{ours:.3f} s"))
        rows.append(("AtomAI predict", f"{theirs:.3f} s, {ratio:.2f} times ours"))
        ours, theirs, ratio = take_turns(
            both, lambda: peer.run("predict_refine"), max(3, runs // 3)
        )
        rows.append(("detection and refinement", f"{ours:.3f} s"))
        rows.append(("AtomAI predict, refine=True", f"{theirs:.2f} s, {ratio:.1f} times ours"))
        ours, theirs, ratio = take_turns(fit, lambda: peer.run("atomap"), max(3, runs // 3))
        rows.append(("refinement alone", f"{ours:.3f} s, {1e3 * ours / n:.3f} ms per column"))
        each = 1e3 * theirs / len(frame.truth)
        rows.append(
            ("Atomap 2-D Gaussians", f"{theirs:.2f} s, {each:.2f} ms each, {ratio:.1f} times ours")
        )
        peer.close()
    return rows


def crystal(size: int, path: Path, seed: int = 2) -> int:
    """Write a frame of two sublattices 8 px apart; return the number of its columns.

    Slowly strained, with a vacancy and a bright substitution per 500 columns; Gaussian columns of
    1.9 px, 10 counts of background, Poisson noise. Made band by band.
    """
    rng = np.random.default_rng(seed)
    turn = np.array([[np.cos(0.2), np.sin(0.2)], [-np.sin(0.2), np.cos(0.2)]])
    reach = int(size / 11.3 * 1.6) + 4
    cells = np.stack(np.mgrid[-reach:reach, -reach:reach], -1).reshape(-1, 2)
    xy = np.concatenate([(cells + corner) @ (11.3 * turn) for corner in (0.0, 0.5)])
    peak = np.repeat([60.0, 35.0], len(cells))
    xy = xy + 0.6 * np.sin(2 * np.pi * xy[:, ::-1] / 700)
    near = ((xy > -5) & (xy < size + 5)).all(axis=1)
    xy, peak = xy[near], peak[near]
    draw = rng.random(len(xy))
    peak = np.where(draw < 0.002, 0.0, np.where(draw < 0.004, 90.0, peak))
    frame = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(size, size))
    half, band = 8, 256
    step, middle = np.arange(-half, half + 1), np.rint(xy).astype(int)
    bell = np.exp(-0.5 * ((step - (xy - middle)[:, :, None]) / 1.9) ** 2)
    wide = size + 4 * half
    for top in range(0, size, band):
        rows = min(band, size - top)
        k = np.flatnonzero((middle[:, 1] >= top - half) & (middle[:, 1] < top + rows + half))
        x, y = (middle[k, axis, None] + 2 * half + step for axis in (0, 1))
        place = (y - top)[:, :, None] * wide + x[:, None]
        shape = (peak[k, None] * bell[k, 1])[:, :, None] * bell[k, 0][:, None]
        total = np.bincount(place.ravel(), shape.ravel(), (rows + 4 * half) * wide)
        inner = total.reshape(-1, wide)[2 * half : -2 * half, 2 * half : -2 * half]
        frame[top : top + rows] = rng.poisson(inner + 10)
    inside = ((xy > 0) & (xy < size - 1)).all(axis=1)
    return int((inside & (peak > 0)).sum())


CHILD = """
import re, sys, time
import numpy as np
import atomscope
frame = np.load(sys.argv[1], mmap_mode="r")
options = {"model": sys.argv[3]} if len(sys.argv) > 3 else {}
call = atomscope.detect if sys.argv[2] == "detect" else atomscope.analyze
start = time.process_time()
found = call(frame, **options)
if sys.argv[2] == "analyze":
    found.save(sys.argv[1] + ".out")
spent = time.process_time() - start
# Not getrusage: its peak outlives exec, so a child would report the memory of its parent.
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)
print(spent, int(peak) / 1024)
"""


def in_a_child(path: Path, verb: str, model: str | None) -> tuple[float, float]:
    """CPU seconds of the first call and of saving, in a new process; its peak memory in MiB."""
    command = [sys.executable, "-c", CHILD, path, verb, *([model] if model else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent, peak = done.stdout.split()
    return float(spent), float(peak)


def large_frames(frame, args: argparse.Namespace) -> list[tuple[str, str]]:  # noqa: ARG001
    """CPU time per pixel and memory of 8192² (2048² with --quick) against 512²; results saved."""
    edge = 2048 if args.quick else 8192
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.npy", Path(folder) / "large.npy"
        crystal(512, small)
        columns = crystal(edge, large)
        for verb in ("detect", "analyze"):
            short = np.median([in_a_child(small, verb, args.model) for _ in range(3)], axis=0)
            long = in_a_child(large, verb, args.model)
            ratio = long[0] / short[0] / (edge / 512) ** 2
            rows.append((f"{verb}, 512², new process", f"{short[0]:.2f} s, {short[1]:.0f} MiB"))
            rows.append(
                (
                    f"{verb}, {edge}², {columns:,} columns",
                    f"{long[0]:.1f} s, {long[1]:.0f} MiB, {ratio:.2f} of the time per pixel",
                )
            )
    return rows


def process_starts(frame, args: argparse.Namespace) -> list[tuple[str, str]]:
    """Whole processes, as at a prompt: --help, and one frame from file to results."""
    import tifffile

    program = Path(sys.executable).with_name("atomscope")
    runs = 3 if args.quick else 7
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.tif"
        tifffile.imwrite(path, frame.data.astype(np.float32))
        out = Path(folder) / "out"
        model = ["--model", args.model] if args.model else []
        commands = {
            "atomscope --help": [program, "--help"],
            "atomscope analyze, 512²": [program, "analyze", path, "-o", out, *model],
        }
        rows = []
        for name, command in commands.items():

            def start(command: list = command) -> object:
                return subprocess.run(command, capture_output=True, check=True)

            spent = [seconds(start) for _ in range(runs)]
            text = f"{np.median(spent):.2f} s ({min(spent):.2f} to {max(spent):.2f})"
            rows.append((name, text))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs, 2048² in place of 8192²")
    parser.add_argument("--model", help="detector in place of the built-in one")
    parser.add_argument("--peers", type=Path, help="Python of the peers' environment")
    parser.add_argument("--atomai", type=Path, help="folder written by atomai_train.py")
    parts = {"peers": against_peers, "starts": process_starts, "large": large_frames}
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    args = parser.parse_args()
    frame = example(512)
    print("| what | measured |\n|---|---|")
    for part in args.only:
        for name, value in parts[part](frame, args):
            print(f"| {name} | {value} |", flush=True)


if __name__ == "__main__":
    main()
