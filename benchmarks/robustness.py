"""Taught vacancies and vacancy lines of 1H-MoS2, when the test image is of another day.

    python benchmarks/robustness.py --cache DIR --measure
    python benchmarks/robustness.py --cache DIR --csv OUT.csv [--shots 5]

A frame is taught (five draws of examples), others are asked for as they are and changed. End to
end: positions and brightness are those of `detect` and `refine` on the changed image, of the taught
frame too; a column that is missed counts as such, one that is none counts as wrong. On true
coordinates: `refine` gives the brightness there. 'single vacancy' and 'line' are sulphur columns
that lack one of two atoms, alone or in rows of 3 to 5; 'V_S2' are the metal atoms about a sulphur
column that is empty, which is also what an image shows where a column was missed: it is scored
apart. The published network is trained on all columns of the taught frame.

--measure makes the tables of all frames; the other call reads those that are there and adds what
the CSV lacks.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import NamedTuple

import changes
import fewshot
import numpy as np
import pandas as pd
import published
import torch
from scipy.spatial import cKDTree

from atomscope import analyze, classify, refine, teach
from atomscope.classify.classifier import Classifier
from atomscope.recipe import DetectStage, Recipe, RefineStage
from atomscope.simulate.named import MEDIUM, named_frame

HOST, SIZE, PIXEL = "1H-MoS2", 800, 0.11  # Å
KINDS = ("V_S",) * 12 + ("V_S line 3", "V_S line 4", "V_S line 5") * 2 + ("V_S2",) * 4
TAUGHT, ASKED = 41, (42, 43)  # seeds
FULL = 230.0  # grey value of the brightest pixels in a thousand
SAME = 0.25  # spacings: farther apart, a found column is another one
EDGE = 2.5  # spacings from the border of an image: not asked for
MODES, DRAWS = ("end to end", "true coordinates"), 5
CUT_OFF = 37  # px: 4.1 Å, twelve neighbours
PLAIN = Recipe(stages=(DetectStage(), RefineStage()))
Table = pd.DataFrame


class Measured(NamedTuple):
    """Tables of one image: of the truth with measured brightness, and what was found."""

    image: np.ndarray
    true: Table
    found: Table
    scale: float


def frame_of(seed: int) -> tuple[np.ndarray, Table]:
    """An 8-bit image and its columns, named in `truth`."""
    frame = named_frame(HOST, KINDS, seed, size_px=SIZE, pixel_size=PIXEL, dose=MEDIUM)
    truth = frame.atoms["species"].to_numpy().astype(object)
    for defect in frame.defects.itertuples():
        members = np.array(str(defect.atoms).split(), dtype=int)
        own = members[frame.atoms["species"].to_numpy()[members] == "S"]
        if defect.name == "V_S2":
            metal = frame.atoms["species"].to_numpy()[members] == "Mo"
            truth[members[metal]] = "V_S2"
        else:
            truth[own] = "line" if "line" in str(defect.name) else "single vacancy"
    image = frame.image.astype(float)
    image = np.rint(image * FULL / np.quantile(image, 0.999))
    return image, frame.atoms[["frame", "atom", "x_px", "y_px"]].assign(truth=truth)


def measured(seed: int, what: str) -> Measured:
    """Change an image, and find its columns."""
    image, atoms = frame_of(seed)
    seen = changes.changed(image, atoms[["x_px", "y_px"]].to_numpy(), what, seed)
    height, width = seen.image.shape
    inside = ((seen.xy >= 0) & (seen.xy <= (width - 1, height - 1))).all(axis=1)
    true = atoms[inside].assign(x_px=seen.xy[inside, 0], y_px=seen.xy[inside, 1])
    true = true.reset_index(drop=True).assign(atom=np.arange(int(inside.sum())))
    true["intensity"] = refine(seen.image, true)["intensity"]
    found = analyze(seen.image, recipe=PLAIN).atoms
    return Measured(seen.image, true, found, seen.scale)


def at(cache: Path, seed: int, what: str) -> Path:
    return cache / f"{seed}-{what.replace(' ', '-')}.pkl"


def kept(cache: Path, seed: int, what: str) -> Measured:
    return Measured(*pickle.loads(at(cache, seed, what).read_bytes()))


def measure(cache: Path) -> None:
    """Make all tables that are not there."""
    cache.mkdir(parents=True, exist_ok=True)
    for seed, what in [(TAUGHT, "none"), *[(s, w) for s in ASKED for w in changes.IMAGE]]:
        path = at(cache, seed, what)
        if not path.is_file():
            made = measured(seed, what)
            path.write_bytes(pickle.dumps(tuple(made)))
            print(seed, what, len(made.true), len(made.found), flush=True)


def labelled(found: Table, true: Table, scale: float) -> np.ndarray:
    """Number (M,) of the true column that each found one is, -1 for none."""
    reach = SAME * changes.SPACING * scale
    xy = found[["x_px", "y_px"]].to_numpy()
    distance, nearest = cKDTree(true[["x_px", "y_px"]].to_numpy()).query(xy)
    number = np.where(distance < reach, nearest, -1)
    order = np.argsort(distance)
    taken = order[number[order] >= 0]
    first = taken[np.unique(number[taken], return_index=True)[1]]
    only = np.full(len(found), -1)
    only[first] = number[first]
    return only


def with_changes(table: Table, what: str, scale: float, rng: np.random.Generator) -> Table:
    """Shake or drop columns of a table."""
    name, _, value = what.partition(" ")
    if name == "jitter":
        moved = table[["x_px", "y_px"]] + rng.normal(
            0, float(value) * changes.SPACING * scale, (len(table), 2)
        )
        return table.assign(x_px=moved["x_px"], y_px=moved["y_px"])
    if name == "dropped":
        return table[rng.random(len(table)) >= float(value)].reset_index(drop=True)
    return table


def named(made: Measured, mode: str) -> Table:
    """The table of a frame, with `of`, the number of the true column, and `truth`."""
    if mode == "true coordinates":
        return made.true.assign(of=np.arange(len(made.true)))
    of = labelled(made.found, made.true, made.scale)
    truth = np.where(of >= 0, made.true["truth"].to_numpy()[of], None)
    return made.found.assign(of=of, truth=truth)


def f1_of(made: Measured, table: Table, said: np.ndarray, dropped: bool) -> dict[str, float]:
    """F1 of what is asked for, over the columns away from the border of the image."""
    height, width = made.image.shape
    edge = EDGE * changes.SPACING * made.scale

    def inner(part: Table) -> np.ndarray:
        xy = part[["x_px", "y_px"]].to_numpy()
        return np.minimum(xy, (width - 1, height - 1) - xy).min(axis=1) > edge

    of = table["of"].to_numpy()
    asked_for = inner(made.true)
    if dropped:  # who is not there is not asked for
        asked_for &= np.isin(np.arange(len(made.true)), of)
    counted = np.where(of >= 0, asked_for[of], inner(table))
    truth, given = made.true["truth"].to_numpy()[asked_for], said[counted]
    right = np.where(of >= 0, made.true["truth"].to_numpy()[of], "")[counted]
    groups = {"vacancy": ("single vacancy", "line"), "single vacancy": ("single vacancy",),
              "line": ("line",), "V_S2": ("V_S2",)}  # fmt: skip
    scores = {}
    for name, members in groups.items():
        hit = (np.isin(given, members) & np.isin(right, members)).sum()
        scores[name] = 2 * hit / (np.isin(truth, members).sum() + np.isin(given, members).sum())
    return scores


class Taught(NamedTuple):
    """What was taught in one mode: our classifiers, and the published network with its labels."""

    ours: list[Classifier]
    net: published.PublishedNet
    labels: np.ndarray


def taught(cache: Path, mode: str, shots: int, seconds: float) -> Taught:
    first = kept(cache, TAUGHT, "none")
    base = named(first, mode)
    ours = []
    for draw in range(DRAWS):
        examples = fewshot.examples_of(base, shots, draw)
        ours.append(teach(base, examples[["frame", "atom"]].assign(label=examples["truth"])))
    marked = base.index[base["truth"].notna()].to_numpy()
    labels, kind = np.unique(base["truth"][marked].astype(str), return_inverse=True)
    path = cache / f"published-{mode.replace(' ', '-')}-{seconds:.0f}.pt"
    if path.is_file():
        net = published.PublishedNet(len(labels))
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        place, options = base[["x_px", "y_px"]].to_numpy(), {"seconds": seconds, "seed": 0}
        net = published.taught(first.image, place, marked, kind, CUT_OFF, **options)
        torch.save(net.state_dict(), path)
    return Taught(ours, net, labels)


def scored(cache: Path, seed: int, what: str, mode: str, by: Taught) -> list[tuple]:
    """Rows of one frame and change: way, draw, class, F1."""
    made = kept(cache, seed, what if what in changes.IMAGE else "none")
    table = with_changes(named(made, mode), what, made.scale, np.random.default_rng(seed))
    found = [
        ("taught", d, classify(table, c)["structure"].to_numpy()) for d, c in enumerate(by.ours)
    ]
    xy = table[["x_px", "y_px"]].to_numpy()
    theirs = by.labels[published.answers(by.net, made.image, xy, CUT_OFF)]
    rows = []
    for way, draw, said in [*found, ("published EGNN", 0, theirs)]:
        scores = f1_of(made, table, said, what.startswith("dropped"))
        rows += [(mode, seed, what, way, draw, name, f) for name, f in scores.items()]
    return rows


def run(options: argparse.Namespace) -> Table:
    """Add to the CSV what is not there of frames that are measured."""
    names = ["mode", "seed", "change", "way", "draw", "class", "f1"]
    path = options.csv
    done = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=names)
    seen = set(done[["mode", "seed", "change"]].itertuples(index=False, name=None))
    by = {m: taught(options.cache, m, options.shots, options.seconds) for m in MODES}
    for seed in ASKED:
        for what in (*changes.IMAGE, *changes.TABLE):
            of = what if what in changes.IMAGE else "none"
            for mode in MODES:
                if (mode, seed, what) in seen or not at(options.cache, seed, of).is_file():
                    continue
                rows = pd.DataFrame(scored(options.cache, seed, what, mode, by[mode]))
                rows.columns = names
                rows.to_csv(path, mode="a", header=not path.is_file(), index=False)
                print(mode, seed, what, flush=True)
    return pd.read_csv(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument(
        "--seconds", type=float, default=60, help="training of the published one (CPU)"
    )
    options = parser.parse_args()
    if options.measure:
        return measure(options.cache)
    found = run(options)
    by = found.groupby(["mode", "change", "way", "class"], sort=False)["f1"].mean()
    print(by.unstack(["way", "class"]).round(3).to_string())
    return None


if __name__ == "__main__":
    main()
