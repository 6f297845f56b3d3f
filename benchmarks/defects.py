"""Names of defects in simulated layers: from true coordinates, and from images end to end.

    python benchmarks/defects.py [--quick] [--seeds N] [--first-seed N] [--hosts NAME ...]
                                  [--levels NAME ...]
    python benchmarks/defects.py --borders [--seeds N] [--first-seed N] [--levels NAME ...]

Each frame holds some defects of known kind (`atomscope.simulate.named`), in a layer that is turned
and mirrored at random. Three ways to the names:

* truth: `atomscope.rules.name_defects` on the true coordinates and species.
* medium, low: `atomscope.analyze` on the image, with 50 and 14 counts in the peak pixel of the
  weakest column of the host. It is told what elements are there (`--elements frame`: those of the
  frame, `all`: those of all kinds of the host).

A defect is right when just one defect was found within 2 Å of it, and that has its name. False
defects are those farther than 4 Å from the atoms and the middle of every planted one, and all in
perfect layers; per 10,000 atoms of the host. Prints Markdown tables.

`--borders`: frames of one straight border of domains, or one region of 1T', of
`atomscope.simulate.named_borders`. Right is a frame in which the name was found once; the region
'twin' beside a twin boundary is right too, all other names are false.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomscope import analyze
from atomscope.formula import EXPONENT, parse
from atomscope.rules import name_defects
from atomscope.simulate.named import LOW, MEDIUM, NamedFrame, kinds_of, named_frame
from atomscope.simulate.named_borders import BORDERS, border_frame

HOSTS = {"graphene": "C", "hBN": "B,N", "1H-MoS2": "Mo,S2,S", "1H-WSe2": "W,Se2,Se"}
BORDER_HOSTS = {"graphene": "C", "1H-MoS2": "Mo,S2,S", "SrTiO3": "Sr,TiO"}
LEVELS = {"truth": None, "medium": MEDIUM, "low": LOW}
FIRST_SEED = 70_000  # tests use small ones
SIZE = 448  # px of 0.11 Å
PER_FRAME = 4
ON, AWAY = 2.0, 4.0  # Å
ALIKE = 0.05


@dataclass
class Tally:
    """What was found at one level in one host.

    Attributes:
        right: Defects of each kind that were named rightly.
        all: Defects of each kind.
        called: What defects of each kind were called otherwise.
        false: Names of defects where there is none, in perfect layers and beside planted ones.
        atoms: Atoms of perfect layers and of those with defects.
        seconds: Time for analysis.
    """

    right: Counter[str] = field(default_factory=Counter)
    all: Counter[str] = field(default_factory=Counter)
    called: dict[str, Counter[str]] = field(default_factory=dict)
    false: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    atoms: list[int] = field(default_factory=lambda: [0, 0])
    seconds: float = 0.0

    def add(self, frame: NamedFrame, found: pd.DataFrame) -> list[str]:
        """Count one frame; return what is false in it."""
        planted = len(frame.defects) > 0
        places = found[["x_px", "y_px"]].to_numpy(float) * frame.pixel_size
        names = found["name"].astype(str).to_numpy()
        known = np.zeros(len(found), dtype=bool)
        for truth in frame.defects.itertuples():
            distance = np.hypot(*(places - [truth.x, truth.y]).T)
            near = distance < ON
            known |= near | (_distance(frame, str(truth.atoms), places) < AWAY)
            known |= distance < AWAY
            name = str(truth.name)
            self.all[name] += 1
            if near.sum() == 1 and names[near][0] == name:
                self.right[name] += 1
            else:
                said = " + ".join(sorted(names[near])) or "nothing"
                self.called.setdefault(name, Counter())[said] += 1
        self.false[planted].update(names[~known])
        self.atoms[planted] += len(frame.atoms)
        return [str(name) for name in names[~known]]

    def rate(self, kind: str | None = None) -> float:
        """Share of right names."""
        if kind is None:
            return self.right.total() / max(1, self.all.total())
        return self.right[kind] / max(1, self.all[kind])

    def false_rate(self, planted: bool) -> float:
        """False defects per 10,000 atoms."""
        return 1e4 * self.false[planted].total() / max(1, self.atoms[planted])


def _distance(frame: NamedFrame, atoms: str, places: np.ndarray) -> np.ndarray:
    """Distance of places (N, 2) in Å from the nearest of some atoms."""
    xy = frame.atoms[["x", "y"]].to_numpy()[[int(i) for i in atoms.split()]]
    return cKDTree(xy).query(places)[0] if len(xy) else np.full(len(places), np.inf)


def plans(host: str, seed: int) -> list[tuple[str, ...]]:
    """Split all kinds of a host over frames, in random order.

    No frame holds columns that differ in formula, but by less than 5 % in strength (W and Re):
    who names both in one image asks for what brightness cannot tell.
    """
    kinds = list(kinds_of(host))
    np.random.default_rng(seed).shuffle(kinds)
    frames: list[list[str]] = []
    for kind in kinds:
        free = [
            f for f in frames if len(f) < PER_FRAME and not any(alike(host, kind, k) for k in f)
        ]
        if free:
            free[0].append(kind)
        else:
            frames.append([kind])
    return [tuple(frame) for frame in frames]


def alike(host: str, first: str, second: str) -> bool:
    """Whether two kinds bring columns of other formula and nearly the same strength."""
    pairs = [(a, b) for a in brought(host, first) for b in brought(host, second) if a != b]
    strengths = [[parse(word)[0].strength(EXPONENT) for word in pair] for pair in pairs]
    return any(abs(np.log(a / b)) < ALIKE for a, b in strengths)


@cache
def brought(host: str, kind: str) -> tuple[str, ...]:
    """Formulas of the columns that a kind brings into its host."""
    species = named_frame(host, (kind,), 0, size_px=SIZE).atoms["species"]
    return tuple(s for s in dict.fromkeys(species) if s not in HOSTS[host].split(","))


def elements(host: str, frame: NamedFrame, which: str) -> str:
    """What the analysis is told: the columns that there are."""
    there = list(frame.atoms["species"])
    if which == "all":
        there = [s for kind in kinds_of(host) for s in brought(host, kind)]
    return ",".join(dict.fromkeys((*HOSTS[host].split(","), *there)))


def found_in(frame: NamedFrame, host: str, which: str) -> pd.DataFrame:
    """Names by rules from the truth, or end to end from the image."""
    if frame.image is None:
        named = name_defects(frame.atoms, shape=frame.shape, pixel_size=frame.pixel_size)
        return named.defects
    told = elements(host, frame, which)
    return analyze(frame.image, pixel_size=frame.pixel_size, elements=told).defects


def measure(host: str, level: str, args: argparse.Namespace) -> Tally:
    """Name the defects of all frames of a host at one level."""
    tally = Tally()
    frames: list[tuple[int, tuple[str, ...]]] = []
    for k in range(args.seeds * (args.more_truth if level == "truth" else 1)):
        seed = args.first_seed + 1000 * k + zlib.crc32(host.encode()) % 500
        frames += [(seed + i, kinds) for i, kinds in enumerate(plans(host, seed))]
    frames += [(args.first_seed - 1 - k, ()) for k in range(args.perfect)]
    for seed, kinds in frames:
        frame = named_frame(host, kinds, seed, size_px=SIZE, dose=LEVELS[level])
        start = time.perf_counter()
        found = found_in(frame, host, args.elements)
        tally.seconds += time.perf_counter() - start
        false = tally.add(frame, found)
        if args.verbose:
            print(f"{host} {level} {seed}: {', '.join(kinds)}; false: {', '.join(false)}")
    return tally


def borders(level: str, args: argparse.Namespace) -> pd.DataFrame:
    """One row per frame with a border: how often it was named, what else, errors."""
    rows = []
    for kind in BORDERS:
        for k in range(args.seeds * (args.more_truth if level == "truth" else 1)):
            frame = border_frame(kind, args.first_seed + k, size_px=SIZE, dose=LEVELS[level])
            if frame.image is None:
                named = name_defects(frame.atoms, shape=frame.shape, pixel_size=frame.pixel_size)
                found = named.defects
            else:
                told = BORDER_HOSTS[frame.host]
                found = analyze(frame.image, pixel_size=frame.pixel_size, elements=told).defects
            mine = found[found["name"] == kind]
            others = [n for n in found["name"] if n not in (kind, "twin")]
            off = np.nan
            if len(mine) == 1 and np.isfinite(mine["direction"].iloc[0]):
                turn = abs(mine["direction"].iloc[0] - frame.defects["direction"].iloc[0]) % 180
                off = min(turn, 180 - turn)
            row = {"kind": kind, "right": len(mine) == 1, "found": len(mine), "others": others}
            length = mine["length_px"].sum() * frame.pixel_size
            rows.append(row | {"off": off, "length": length, "atoms": len(frame.atoms)})
            if args.verbose:
                print(level, args.first_seed + k, rows[-1])
    return pd.DataFrame(rows)


def border_table(found: dict[str, pd.DataFrame]) -> str:
    """Markdown: borders named once, error of their direction, other names."""
    lines = ["| border | from | named | direction off by, at most | length, median | other names |"]
    lines.append("|" + "---|" * 6)
    for level, rows in found.items():
        for kind, g in rows.groupby("kind", sort=False):
            others = Counter(name for names in g["others"] for name in names)
            said = "; ".join(f"{name} ×{n}" for name, n in others.most_common(3)) or "none"
            lines.append(
                f"| {kind} | {level} | {g['right'].sum()} of {len(g)} | {g['off'].max():.2f}° | "
                f"{g['length'].median():.1f} Å | {said} of {g['atoms'].sum()} atoms |"
            )
    return "\n".join(lines)


def table(host: str, tallies: dict[str, Tally]) -> str:
    """Markdown: share of right names per kind, and false defects."""
    head = ["defect", *(f"{name} (of n)" for name in tallies), "otherwise called"]
    lines = [f"\n### {host}\n", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for kind in kinds_of(host):
        cells = [f"{t.rate(kind):.3f} ({t.all[kind]})" for t in tallies.values()]
        wrong = [
            f"{level}: {said} ×{n}"
            for level, t in tallies.items()
            for said, n in t.called.get(kind, Counter()).most_common(2)
        ]
        lines.append("| " + " | ".join([kind, *cells, "; ".join(wrong)]) + " |")
    cells = [f"**{t.rate():.3f}** ({t.all.total()})" for t in tallies.values()]
    lines.append("| " + " | ".join(["all", *cells, ""]) + " |")
    for planted, words in enumerate(("in perfect layers", "beside planted ones")):
        cells = [
            f"{t.false_rate(bool(planted)):.2f} ({t.atoms[planted]} atoms)"
            for t in tallies.values()
        ]
        most = [
            f"{level}: {name} ×{n}"
            for level, t in tallies.items()
            for name, n in t.false[planted].most_common(2)
        ]
        cells = [f"false per 10⁴ atoms, {words}", *cells, "; ".join(most)]
        lines.append("| " + " | ".join(cells) + " |")
    cells = [f"{t.seconds:.0f} s" for t in tallies.values()]
    return "\n".join([*lines, "| " + " | ".join(["time", *cells, ""]) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, one perfect frame")
    parser.add_argument("--seeds", type=int, default=10, help="defects of each kind")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--more-truth", type=int, default=5, help="times as many at level truth")
    parser.add_argument("--perfect", type=int, default=10, help="perfect frames of each host")
    parser.add_argument("--hosts", nargs="*", default=list(HOSTS), choices=list(HOSTS))
    parser.add_argument("--levels", nargs="*", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--elements", default="frame", choices=["frame", "all"])
    parser.add_argument("--csv", type=Path, help="write one line per host, level and kind")
    parser.add_argument("--borders", action="store_true", help="borders of domains instead")
    parser.add_argument("--verbose", action="store_true", help="print a line per frame")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.perfect, args.more_truth = 1, 1, 1
    if args.borders:
        print(border_table({level: borders(level, args) for level in args.levels}))
        return
    rows = []
    for host in args.hosts:
        tallies = {level: measure(host, level, args) for level in args.levels}
        print(table(host, tallies), flush=True)
        rows += [
            {"host": host, "level": level, "kind": kind, "n": t.all[kind], "right": t.right[kind]}
            for level, t in tallies.items()
            for kind in kinds_of(host)
        ]
    if args.csv:
        pd.DataFrame(rows).to_csv(args.csv, index=False)


if __name__ == "__main__":
    main()
