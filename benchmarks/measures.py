"""Structure statistics: do the intervals hold the truth as often as they say?

    python benchmarks/measures.py

Simulated fields with known truth; where no formula gives the truth (share of vacancies in lines,
length of borders) it is the mean over all draws. Then planted lines and grain boundaries, with
noise and missed atoms.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.intervals import binomial_interval
from atomscope.measure.borders import border_density
from atomscope.measure.field import Field, fields
from atomscope.measure.grains import find_grains, grain_rows
from atomscope.measure.lines import (
    assembly,
    find_lines,
    find_rows,
    line_numbers,
    line_rows,
    row_steps,
    rows_by_grain,
)
from atomscope.measure.mixing import shells, warren_cowley
from atomscope.measure.pairs import pair_correlation
from atomscope.measure.phases import Phases, phase_fractions
from atomscope.measure.segments import segment_rows
from atomscope.measure.vacancies import vacancies
from atomscope.simulate.lattices import tile

Floats = NDArray[np.float64]
HEXAGONAL = np.array([[1.0, 0.0], [-0.5, np.sqrt(0.75)]])
SPACING, SIZE = 10.0, 400  # px
JITTER = 0.03  # spacings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "lines", "grains"])
    args = parser.parse_args()
    print(f"{args.draws} draws, nominal 0.95; in brackets the interval of the coverage\n")
    for name in args.parts:
        rng = np.random.default_rng(args.seed)
        if name in PARTS:
            print(f"### {name}\n")
            report(PARTS[name](rng, args.draws))
    if "lines" in args.parts:
        planted_lines(np.random.default_rng(args.seed), max(args.draws // 20, 4))
    if "grains" in args.parts:
        planted_grains(np.random.default_rng(args.seed), max(args.draws // 30, 4))


def report(rows: list[dict[str, Any]]) -> None:
    """Print coverage and mean width for each case; an unknown truth is the mean of all draws."""
    table = pd.DataFrame(rows)
    table["truth"] = table["truth"].fillna(table.groupby("case")["value"].transform("mean"))
    table["held"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    print("| case | truth | mean half width | intervals | coverage |\n|---|---|---|---|---|")
    for case, part in table.groupby("case", sort=False):
        held, n = int(part["held"].sum()), len(part)
        low, high = binomial_interval(held, n)
        half = float((part["high"] - part["low"]).mean()) / 2
        truth = float(part["truth"].mean())
        print(
            f"| {case} | {truth:.4g} | {half:.3g} | {n} | {held / n:.3f} ({low:.3f}-{high:.3f}) |"
        )
    print()


def sheet(rng: np.random.Generator, size: int = SIZE) -> Floats:
    """A hexagonal crystal in a random orientation."""
    xy, _ = tile(
        HEXAGONAL * SPACING, np.zeros((1, 2)), size, rng.uniform(0, 6.28), rng.uniform(0, 1, 2)
    )
    xy = xy + rng.normal(0, JITTER * SPACING, xy.shape)
    return xy[np.all((xy > -0.5) & (xy < size - 0.5), axis=1)]


def field_of(xy: Floats, size: int = SIZE, **more: object) -> Field:
    table = pd.DataFrame({"frame": 0, "x_px": xy[:, 0], "y_px": xy[:, 1]} | more)
    return fields(table, shape=(size, size))[0]


def alloys(rng: np.random.Generator, draws: int) -> list[dict[str, Any]]:
    """Random alloys on one lattice; truth 0."""
    field = field_of(sheet(rng))
    around = shells(field.lattice, field.xy)
    rows = []
    for share in (0.5, 0.2, 0.05, 0.01):
        for _ in range(draws):
            species = np.where(rng.random(len(field.xy)) < share, "W", "Mo").astype(object)
            for shell in around:
                for a, b, value, low, high, _ in warren_cowley(species, shell):
                    case = f"{a}-{b}, {share:.0%} W"
                    rows.append(
                        {"case": case, "value": value, "low": low, "high": high, "truth": 0}
                    )
    return rows


def scattered(rng: np.random.Generator, draws: int) -> list[dict[str, Any]]:
    """Defects at uniform places: g = 1 in every bin."""
    rows = []
    for count in (10, 40, 150):
        for _ in range(draws):
            xy = rng.uniform(-0.5, SIZE - 0.5, (count, 2))
            points = pd.DataFrame({"frame": 0, "x_px": xy[:, 0], "y_px": xy[:, 1]})
            case = f"{count} defects"
            for row in pair_correlation(points, (SIZE, SIZE)):
                rows.append({"case": case, "truth": 1.0, **row})
    return rows


def vacant(rng: np.random.Generator, draws: int) -> list[dict[str, Any]]:
    """Vacancies at random sites: how many, and which share stands in rows."""
    rows = []
    field = field_of(sheet(rng))
    density = len(field.xy) / SIZE**2 / field.scale**2
    for share in (0.02, 0.05, 0.1):
        for _ in range(draws):
            gone = field.xy[rng.random(len(field.xy)) < share]
            found = find_rows(gone, row_steps(field.lattice))
            first = line_numbers(field, [], len(gone), 0.95)[0]
            case = f"vacancies per area, {share:.0%}"
            rows.append({"case": case, **first, "truth": share * density})
            for row in assembly(len(gone), found):
                if row["at"] in (2, 3):
                    case = f"in rows of {row['at']} and more, {share:.0%}"
                    rows.append({"case": case, "truth": np.nan, **row})
    return rows


def mosaics(rng: np.random.Generator, draws: int) -> list[dict[str, Any]]:
    """Voronoi mosaics whose cells are of phase A with probability 0.3."""
    rows = []
    field = field_of(sheet(rng))
    for domains in (100, 25):
        for _ in range(draws):
            seeds = rng.uniform(-0.5 * SIZE, 1.5 * SIZE, (4 * domains, 2))
            first = rng.random(len(seeds))[cKDTree(seeds).query(field.xy)[1]] < 0.3
            found = Phases(field, ["A", "B"], np.stack([first, ~first], axis=1).astype(float))
            case = f"{domains} cells in the field"
            fraction = next(phase_fractions(found))
            rows.append({"case": f"share of A, {case}", "truth": 0.3, **fraction})
            borders = border_density(field, found.borders, found.names, "border length", 0.95)
            for row in borders:
                if row["quantity"].endswith("per area"):
                    rows.append({"case": f"border per area, {case}", "truth": np.nan, **row})
    return rows


def planted_lines(rng: np.random.Generator, draws: int) -> None:
    """Lines of 3 to 8 vacancies, read from atoms alone: empty sites of the lattice."""
    print(
        "### Planted lines\n\n"
        "| jitter, missed | planted | found as planted | length error | others |"
    )
    print("|---|---|---|---|---|")
    for jitter, missed in ((0.0, 0.0), (0.05, 0.0), (0.05, 0.01), (0.05, 0.05)):
        planted = hits = others = 0
        errors: list[float] = []
        for _ in range(draws):
            xy, middle, lengths, sites = with_lines(rng)
            kept = np.delete(xy, sites, axis=0)
            kept = kept[rng.random(len(kept)) >= missed]
            kept = kept + rng.normal(0, jitter * SPACING, kept.shape)
            field = field_of(kept)
            empty = vacancies(field, None)[["x_px", "y_px"]].to_numpy()
            found = find_lines(len(empty), rows_by_grain(field, None, empty))
            lines = pd.DataFrame(
                line_rows(field, found), columns=["x_px", "y_px", "n_sites", "length"]
            )
            planted += len(lengths)
            away = cKDTree(middle).query(lines[["x_px", "y_px"]].to_numpy(float))
            right = (away[0] < SPACING / 2) & (lines["n_sites"].to_numpy() == lengths[away[1]])
            hits, others = hits + int(right.sum()), others + int((~right).sum())
            errors += (lines["length"].to_numpy() - (lengths[away[1]] - 1))[right].tolist()
        rms = float(np.sqrt(np.mean(np.square(errors))))
        case = f"{jitter:.2f} spacings, {missed:.0%}"
        print(f"| {case} | {planted} | {hits / planted:.3f} | {rms:.3f} spacings | {others} |")
    print()


def with_lines(rng: np.random.Generator) -> tuple[Floats, Floats, NDArray[np.int64], list[int]]:
    """A crystal, the middles and lengths of four lines in it, and the sites of their vacancies."""
    turn = rng.uniform(0, 6.28)
    xy, _ = tile(HEXAGONAL * SPACING, np.zeros((1, 2)), SIZE, turn, rng.uniform(0, 1, 2))
    xy = xy[np.all((xy > -0.5) & (xy < SIZE - 0.5), axis=1)]
    tree, middle, lengths, sites = cKDTree(xy), [], [], list[int]()
    for corner in ((0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)):
        count = int(rng.integers(3, 9))
        angle = turn + np.pi / 3 * rng.integers(3)
        step = SPACING * np.array([np.cos(angle), np.sin(angle)])
        first = xy[tree.query(SIZE * np.array(corner) - count / 2 * step)[1]]
        line = [int(tree.query(first + k * step)[1]) for k in range(count)]
        sites += line
        middle.append(xy[line].mean(axis=0))
        lengths.append(count)
    return xy, np.array(middle), np.array(lengths), sites


def planted_grains(rng: np.random.Generator, draws: int) -> None:
    """Two turned crystals that meet at a straight wall, joined as they are, without relaxation."""
    print("### Planted grain boundaries\n\n| turn | jitter | two grains | rms error | within 1.96"
          " errors | length / edge |\n|---|---|---|---|---|---|")  # fmt: skip
    for turn in (6.0, 15.0, 28.0):
        for jitter in (0.03, 0.06):
            two, errors, scores, lengths = 0, list[float](), list[float](), list[float]()
            for _ in range(draws):
                grains = find_grains(field_of(bicrystal(rng, turn, jitter)))
                two += grains is not None and grains.count == 2
                if grains is None or grains.count != 2 or len(grain_rows(grains)) != 2:
                    continue
                row = segment_rows(grains)[0]
                errors.append(row["misorientation"] - turn)
                scores.append(errors[-1] / row["misorientation_err"])
                lengths.append(row["length"] * SPACING / SIZE)
            rms = float(np.sqrt(np.mean(np.square(errors))))
            held = float(np.mean(np.abs(scores) < 1.96))
            case = f"{turn:g}° | {jitter:g} spacings"
            ratio = float(np.mean(lengths))
            print(f"| {case} | {two / draws:.2f} | {rms:.3f}° | {held:.2f} | {ratio:.3f} |")


def bicrystal(rng: np.random.Generator, turn: float, jitter: float) -> Floats:
    first = rng.uniform(0, 6.28)
    parts = []
    for side, angle in ((0, first), (1, first + np.deg2rad(turn))):
        xy, _ = tile(HEXAGONAL * SPACING, np.zeros((1, 2)), SIZE, angle, rng.uniform(0, 1, 2))
        left = xy[:, 0] < SIZE / 2
        parts.append(xy[left if side == 0 else ~left])
    near = cKDTree(parts[0]).query(parts[1])[0] < 0.7 * SPACING
    xy = np.concatenate([parts[0], parts[1][~near]])
    xy = xy + rng.normal(0, jitter * SPACING, xy.shape)
    return xy[np.all((xy > -0.5) & (xy < SIZE - 0.5), axis=1)]


PARTS = {"alloys": alloys, "scattered": scattered, "vacant": vacant, "mosaics": mosaics}

if __name__ == "__main__":
    main()
