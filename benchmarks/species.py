"""Accuracy of species on simulated frames of doped layers, and on a different day.

    python benchmarks/species.py [--quick] [--size PX] [--seeds N] [--first N]
        [--only MATERIAL ...] [--csv OUT]

Layers with point defects, seen by the judge's microscope (microscope.py) on several days: other
probes, doses, backgrounds, pixel sizes, detector angles (exponent of Z), detector gains with a
slope over the field. Each frame goes the whole way of `atomscope analyze --elements`. Prints
Markdown tables: right species among the atoms of each true class, beside two bounds.

* naive: the class whose intensity on the first day is nearest. What thresholds from one day do.
* oracle: the most probable class where the means, spreads and shares of all classes of this very
  frame are known, per sublattice. What noise leaves possible.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from baselines import Array
from microscope import expose, full_width
from scipy.spatial import KDTree
from specimens import TWO_D, Columns, Probe, project

from atomscope import analyze
from atomscope.formula import parse

NEAR = 0.5  # Å: farther from a true column nothing is taken for it
UNIT = 1.6  # exponent of the weights that `expose` scales by


@dataclass(frozen=True)
class Material:
    """A layer, the share of each defect among its sites, and the usual dose in e/Å^2.

    Attributes:
        layer: Name in specimens.py.
        scale: Of its lattice constant.
        hosts: Formula on each of the two kinds of sites, heavier first.
        defects: (site, formula, share); an empty formula is a vacancy.
        elements: What `--elements` is given.
        dose: Electrons per Å^2 on the first day.
    """

    layer: str
    scale: float
    hosts: tuple[str, str]
    defects: tuple[tuple[int, str, float], ...]
    elements: str
    dose: float


@dataclass(frozen=True)
class Day:
    """Settings of the microscope.

    Attributes:
        probe: Illumination.
        pixel_size: Å.
        dose: In units of the material's usual dose.
        background: Even background in units of the mean signal.
        exponent: Of Z, by the angles of the detector.
        slope: Relative change of the gain from one side of the field to the other.
        gain, offset: What the detector makes of a count.
    """

    probe: Probe = TWO_D
    pixel_size: float = 0.12
    dose: float = 1.0
    background: float = 0.2
    exponent: float = 1.6
    slope: float = 0.0
    gain: float = 1.0
    offset: float = 0.0


MATERIALS = {
    # Si on 2 % of the sites of graphene
    "graphene + Si": Material(
        "graphene", 1.0, ("C", "C"), ((0, "Si", 0.02), (1, "Si", 0.02)), "C,Si", 5e5
    ),
    "MoS2, S vacancies": Material(
        "1H-MoS2", 1.0, ("Mo", "S2"), ((1, "S", 0.06), (1, "", 0.01)), "Mo,S2,S", 1.5e5
    ),
    # lattice constant 3.282 Å: Schutte, de Boer and Jellinek, J. Solid State Chem. 70, 207 (1987)
    "V-doped WSe2": Material(
        "1H-MoS2",
        3.282 / 3.16,
        ("W", "Se2"),
        ((0, "V", 0.06), (1, "Se", 0.04), (1, "", 0.01)),
        "W,Se2,Se,V",
        5e4,
    ),
}
FIRST = Day()
DAYS = {
    "first day": FIRST,
    "wide probe": replace(FIRST, probe=Probe(60, 30, 0.25)),
    "sharp probe": replace(FIRST, probe=Probe(80, 38, 0.08)),
    "third of the dose": replace(FIRST, dose=1 / 3),
    "three times the dose": replace(FIRST, dose=3.0),
    "background of 2": replace(FIRST, background=2.0),
    "pixels of 0.08 Å": replace(FIRST, pixel_size=0.08),
    "pixels of 0.2 Å": replace(FIRST, pixel_size=0.2),
    "exponent 1.45": replace(FIRST, exponent=1.45),
    "exponent 1.8": replace(FIRST, exponent=1.8),
    "gain, offset, slope": replace(FIRST, slope=0.4, gain=37.0, offset=-900.0),
    "all of it": Day(Probe(60, 30, 0.22), 0.16, 0.5, 1.0, 1.75, 0.3, 0.01, 40.0),
}


def specimen(material: Material, edge: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Positions in Å and formulas of the columns in a square field."""
    xy, weight = project(material.layer, (0, 0, 1), 1.6 * edge, None)
    if material.hosts[0] == material.hosts[1]:  # sublattices that differ in place alone
        site = (rng.uniform(size=len(xy)) < 0.5).astype(int)
    else:
        site = (weight < weight.max() - 1).astype(int)
    names = np.array(material.hosts, dtype=object)[site]
    for place, formula, share in material.defects:
        chosen = (site == place) & (rng.uniform(size=len(xy)) < share)
        names[chosen & (names == material.hosts[place])] = formula
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    xy = material.scale * xy @ turn + rng.uniform(-1, 1, 2)
    kept = (np.abs(xy) < edge / 2 + 4).all(axis=1) & (names != "")
    return xy[kept] + edge / 2, names[kept]


def photograph(material: Material, day: Day, size: int, seed: int) -> tuple[Array, Array, Array]:
    """A frame of counts, the true columns inside it in px, and their formulas."""
    rng = np.random.default_rng(seed)
    xy, names = specimen(material, size * day.pixel_size, rng)
    # The heaviest host scatters alike whatever the exponent, so that the dose means the same.
    host = parse(material.hosts[0])[0]
    unit = host.strength(UNIT) / host.strength(day.exponent)
    formulas = {f.text: unit * f.strength(day.exponent) for f in parse(sorted(set(names)))}
    weight = np.array([formulas[name] for name in names])
    none = np.empty((0, 2)), np.empty(0)
    signal = expose(Columns(xy, weight, *none), day.probe, size, day.pixel_size, seed + 1)
    signal += day.background * signal.mean()
    along = np.linspace(-0.5, 0.5, size)
    direction = rng.uniform(0, 2 * np.pi)
    ramp = 1 + day.slope * (np.cos(direction) * along + np.sin(direction) * along[:, None])
    counts = rng.poisson(signal * day.dose * material.dose) * ramp
    frame = (day.gain * counts + day.offset).astype(np.float32)
    px = xy / day.pixel_size
    inside = ((px > 0) & (px < size - 1)).all(axis=1)
    return frame, px[inside], names[inside]


def seen(material: Material, day: Day, size: int, seed: int) -> pd.DataFrame:
    """One row per true column: what it is, what it is called, and how bright it is."""
    frame, truth, names = photograph(material, day, size, seed)
    atoms = analyze(frame, pixel_size=day.pixel_size, elements=material.elements).atoms
    distance, index = KDTree(atoms[["x_px", "y_px"]]).query(truth)
    found = distance < NEAR / day.pixel_size
    rows = atoms.iloc[index].reset_index(drop=True)
    return pd.DataFrame(
        {
            "true": names,
            "found": found,
            "called": np.where(found, rows["species"], ""),
            "p": rows["species_p"].where(found),
            "intensity": rows["intensity"].where(found),
            "error": rows["intensity_err"].where(found),
            "sublattice": rows["sublattice"].astype(float).where(found),
            "flags": rows["flags"].where(found, ""),
        }
    )


def oracle(rows: pd.DataFrame) -> Array:
    """Most probable class with the truth of this frame's classes known."""
    known = rows["intensity"].notna() & rows["error"].notna()
    best = np.full(len(rows), "", dtype=object)
    score = np.full(len(rows), -np.inf)
    y, e = rows["intensity"].to_numpy(), rows["error"].to_numpy()
    for name, own in rows[known].groupby("true"):
        middle = own["intensity"].median()
        excess = max(own["intensity"].var() - (own["error"] ** 2).mean(), 0) if len(own) > 5 else 0
        variance = e**2 + excess
        for sublattice, of in rows[known].groupby(rows["sublattice"].fillna(-1)):
            here = rows["sublattice"].fillna(-1).to_numpy() == sublattice
            share = max((of["true"] == name).mean(), 1e-4)
            now = np.log(share) - 0.5 * ((y - middle) ** 2 / variance + np.log(variance))
            better = here & (now > score) & known.to_numpy()
            best[better], score[better] = name, now[better]
    return best


def measure(args: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """Rows of all materials, days and seeds."""
    days = dict(list(DAYS.items())[:1] + list(DAYS.items())[-1:]) if args.quick else DAYS
    for i, (name, material) in enumerate(MATERIALS.items()):
        if args.only and not any(name.startswith(word) for word in args.only):
            continue
        first: pd.Series | None = None
        for j, (label, day) in enumerate(days.items()):
            width = full_width(day.probe)
            for k in range(args.first, args.first + args.seeds):
                rows = seen(material, day, args.size, 10_000 * i + 100 * j + k)
                if first is None:
                    first = rows.groupby("true")["intensity"].median()
                apart = np.abs(rows["intensity"].to_numpy()[:, None] - first.to_numpy())
                rows["naive"] = first.index.to_numpy()[np.nan_to_num(apart).argmin(axis=1)]
                rows["oracle"] = oracle(rows)
                yield rows.assign(material=name, day=label, seed=k, width=width)


def tables(rows: pd.DataFrame) -> str:
    """Markdown: accuracy per class and day."""
    parts = []
    for material, of in rows.groupby("material", sort=False):
        found = of[of["found"]]
        parts.append(f"\n### {material}\n")
        columns = [
            ("species", _right(found, "called")),
            ("naive", _right(found, "naive")),
            ("oracle", _right(found, "oracle")),
        ]
        names = list(columns[0][1].columns)
        head = ["day", "found", *(f"{n}" for n in names), "all", "drop"]
        head += ["all, naive", "all, oracle", "calibration"]
        parts.append("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
        first = columns[0][1].iloc[0]
        for day in of["day"].unique():
            today, here = of[of["day"] == day], found[found["day"] == day]
            right = columns[0][1].loc[day]
            cells = [day, f"{today['found'].mean():.3f}", *(f"{right[n]:.3f}" for n in names)]
            cells.append(f"{(here['called'] == here['true']).mean():.3f}")
            cells.append(f"{(first - right).max():.3f}")
            cells += [f"{(here[m] == here['true']).mean():.3f}" for m in ("naive", "oracle")]
            cells.append(f"{calibration(here):.3f}")
            parts.append("| " + " | ".join(cells) + " |")
    return "\n".join(parts)


def _right(found: pd.DataFrame, method: str) -> pd.DataFrame:
    right = (found[method] == found["true"]).groupby([found["day"], found["true"]], sort=False)
    return right.mean().unstack("true")


def calibration(rows: pd.DataFrame) -> float:
    """Expected calibration error of species_p, ten bins."""
    named = rows[rows["called"] != ""]
    bins = np.minimum((named["p"] * 10).astype(int), 9)
    right = named["called"] == named["true"]
    gap = (right.groupby(bins).mean() - named["p"].groupby(bins).mean()).abs()
    return float((gap * bins.value_counts(normalize=True)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="the first day and the hardest one")
    parser.add_argument("--size", type=int, default=384, help="edge of a frame in px")
    parser.add_argument("--first", type=int, default=0, help="first seed of each day")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", nargs="*", help="beginnings of names of materials")
    parser.add_argument("--csv", type=Path, help="write one line per true column")
    args = parser.parse_args()
    rows = pd.concat(measure(args), ignore_index=True)
    if args.csv:
        rows.to_csv(args.csv, index=False)
    print(tables(rows))


if __name__ == "__main__":
    main()
