"""Image networks taught by the same examples as `fewshot.py`, on rendered pictures of its worlds.

    python benchmarks/fewshot_images.py --cache DIR --csv OUT.csv --peers peers/bin/python
    python benchmarks/fewshot_images.py --cache DIR --csv OURS.csv --ours

The columns of a world are Gaussian peaks of 0.8 Å (full width at half maximum) at 0.2 Å per px with
Poisson noise, by which the brightness of the middle column is as uncertain as in the tables (8 %).
All are asked about the same atoms at known places, so none is charged with finding them. Each
network gets a fixed CPU time on one core per draw of examples. Rows are added to the CSV one by
one; what is there already is not run again. --ours: what reads tables, with the same examples.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import fewshot
import image_nets
import numpy as np
import pandas as pd
import published
import torch
from image_nets import Picture

from atomscope.classify.embedding import embed
from atomscope.graph import connect, rings
from atomscope.simulate.imaging import render

HOSTS = ("1H-MoS2", "graphene grains", "1H|1T MoSe2", "graphene")
PIXEL, FWHM, MARGIN = 0.2, 0.8, 6.0  # Å
SECONDS = {"U-Net": 25.0, "ResNet-10": 20.0, "AtomAI": 25.0, "published EGNN": 5.0}
CUT_OFF = 20  # px: 4 Å, past the next metal column
SHOTS = (5, 1, 20)  # the middle one first
Table = pd.DataFrame


@dataclass(frozen=True)
class Job:
    """What a method is given: a picture with examples, and another one to ask for."""

    host: str
    labels: np.ndarray
    taught: Picture
    image: np.ndarray
    xy: np.ndarray
    seed: int


@lru_cache(maxsize=len(HOSTS))
def world(host: str, cache: Path) -> tuple[Table, Table]:
    """The tables of a world with columns of even brightness: the picture brings the noise."""
    path = cache / f"{host.replace(' ', '-').replace('|', '-')}.pkl"
    if not path.is_file():
        noise, fewshot.NOISE = fewshot.NOISE, 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps((fewshot.WORLDS[host](9001), fewshot.WORLDS[host](9002))))
        fewshot.NOISE = noise
    return pickle.loads(path.read_bytes())


def pictured(table: Table, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts (y, x) of a table, and positions (N, 2) in it."""
    xy = table[["x_px", "y_px"]].to_numpy() * fewshot.PIXEL
    xy = (xy - xy.min(axis=0) + MARGIN) / PIXEL
    sigma = FWHM / 2.3548 / PIXEL
    light = table["intensity"].to_numpy()
    # the volume of a peak of Poisson counts is known to one over its root
    peak = fewshot.NOISE**-2 / (2 * np.pi * sigma**2) / np.exp(np.log(light).mean())
    width, height = np.ceil(xy.max(axis=0) + MARGIN / PIXEL).astype(int)
    clean = render(xy, light * peak, sigma, (int(height), int(width)))
    return np.random.default_rng(seed).poisson(clean).astype(float), xy


def even(image: np.ndarray) -> np.ndarray:
    return (image - image.mean()) / image.std()


def job_of(host: str, shots: int, draw: int, cache: Path) -> Job:
    train, test = world(host, cache)
    examples = fewshot.examples_of(train, shots, draw)
    labels, kind = np.unique(examples["truth"].to_numpy().astype(str), return_inverse=True)
    first, xy = pictured(train, 1)
    other, at = pictured(test, 2)
    return Job(host, labels, Picture(first, xy, examples.index.to_numpy(), kind), other, at, draw)


def by_unet(job: Job) -> tuple[np.ndarray, int]:
    net = image_nets.UNet(len(job.labels))
    shown = Picture(even(job.taught.image), job.taught.xy, job.taught.rows, job.taught.kind)
    image_nets.fit(net, shown, SECONDS["U-Net"], job.seed, whole=True)
    return image_nets.unet_answers(net, even(job.image), job.xy), image_nets.size_of(net)


def by_resnet(job: Job) -> tuple[np.ndarray, int]:
    net = image_nets.ResNet(len(job.labels))
    shown = Picture(even(job.taught.image), job.taught.xy, job.taught.rows, job.taught.kind)
    image_nets.fit(net, shown, SECONDS["ResNet-10"], job.seed, whole=False)
    return image_nets.resnet_answers(net, even(job.image), job.xy), image_nets.size_of(net)


def by_published(job: Job) -> tuple[np.ndarray, int]:
    shown = job.taught
    scale = 255 / shown.image.max()  # both pictures are of one dose
    options = {"seconds": SECONDS["published EGNN"], "seed": job.seed}
    net = published.taught(
        shown.image * scale, shown.xy, shown.rows, shown.kind, CUT_OFF, **options
    )
    found = published.answers(net, job.image * scale, job.xy, CUT_OFF)
    return found, image_nets.size_of(net)


def by_atomai(job: Job, python: Path) -> tuple[np.ndarray, int]:
    here = Path(__file__).with_name("atomai_taught.py")
    shown = job.taught
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "job.npz"), Path(folder, "out.npz")
        np.savez(
            given, image=even(shown.image), xy=shown.xy, rows=shown.rows, kind=shown.kind,
            asked=even(job.image), at=job.xy, seconds=SECONDS["AtomAI"], seed=job.seed,
        )  # fmt: skip
        subprocess.run([python, here, given, out], check=True)
        with np.load(out) as found:
            return found["kind"], int(found["parameters"])


def by_rings(table: Table) -> np.ndarray:
    """Atoms in rings that are no hexagons, of a table of graphene."""
    found = rings(connect(table[["x_px", "y_px"]], pixel_size=fewshot.PIXEL))
    odd = ((found.atom_sizes > 0) & (found.atom_sizes != 6)).any(axis=1)
    return np.where(odd, "boundary", "grain")


def runs(cache: Path, draws: int, peers: Path | None) -> Iterator[tuple[str, int, int, str, float]]:
    """Every run in turn, as host, shots, draw, way and a maker of its rows."""
    ways: dict[str, Callable[[Job], tuple[np.ndarray, int]]] = {
        "U-Net": by_unet, "ResNet-10": by_resnet, "published EGNN": by_published,
    }  # fmt: skip
    if peers:
        ways["AtomAI"] = lambda job: by_atomai(job, peers)
    for draw in range(draws):
        for shots in SHOTS:
            for host in HOSTS:
                for way, answer in ways.items():
                    yield (
                        host,
                        shots,
                        draw,
                        way,
                        lambda h=host, s=shots, d=draw, a=answer: a(job_of(h, s, d, cache)),
                    )


def image_rows(options: argparse.Namespace) -> None:
    """Run what is not in the CSV, and add it."""
    path, keys = options.csv, ["host", "shots", "draw", "way"]
    before = pd.read_csv(path)[keys] if path.is_file() else pd.DataFrame(columns=keys)
    done = set(before.itertuples(index=False, name=None))
    end = time.monotonic() + 60 * options.minutes
    for host, shots, draw, way, run in runs(options.cache, options.draws, options.peers):
        if (host, shots, draw, way) in done or time.monotonic() > end:
            continue
        torch.manual_seed(draw)
        start = time.perf_counter()
        kind, parameters = run()
        seconds = time.perf_counter() - start
        job, test = job_of(host, shots, draw, options.cache), world(host, options.cache)[1]
        whole = embed(test).whole
        truth = test["truth"].to_numpy().astype(str)[whole]
        found = fewshot.scores(truth, job.labels[kind][whole])
        row = [host, shots, draw, way, np.mean(list(found.values())), parameters, seconds]
        names = [*keys, "macro", "parameters", "seconds"]
        print(row, flush=True)
        pd.DataFrame([row], columns=names).to_csv(
            path, mode="a", header=not path.is_file(), index=False
        )


def our_rows(options: argparse.Namespace) -> None:
    """Tables of the same worlds by what reads tables, and rings of graphene."""
    made, rows = fewshot.worlds(options.tables), []
    for host in HOSTS:
        train, test = made[host]
        whole = embed(test).whole
        truth = test["truth"].to_numpy().astype(str)[whole]
        for shots in SHOTS:
            for draw in range(5):
                examples = fewshot.examples_of(train, shots, draw)
                for way, answer in fewshot.WAYS.items():
                    start = time.perf_counter()
                    said = answer(train, examples, test)[whole]
                    spent = time.perf_counter() - start
                    macro = np.mean(list(fewshot.scores(truth, said).values()))
                    rows.append((host, shots, draw, way, macro, spent))
        if host == "graphene grains":
            macro = np.mean(list(fewshot.scores(truth, by_rings(test)[whole]).values()))
            rows.append((host, 0, 0, "rings", macro, np.nan))
    names = ["host", "shots", "draw", "way", "macro", "seconds"]
    pd.DataFrame(rows, columns=names).to_csv(options.csv, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="worlds of even brightness")
    parser.add_argument("--tables", type=Path, help="worlds of fewshot.py (--ours)")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no run after them")
    parser.add_argument("--peers", type=Path, help="python with AtomAI; without, it is left out")
    parser.add_argument("--ours", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    our_rows(options) if options.ours else image_rows(options)
    table = pd.read_csv(options.csv)
    by = table.groupby(["host", "shots", "way"])
    print(by["macro"].agg(["mean", "std", "count"]).unstack().round(3).to_string())
    print(table.groupby("way")["seconds"].median().round(2).to_string())


if __name__ == "__main__":
    main()
