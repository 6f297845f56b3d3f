"""Tracking and events in simulated movies with known truth, beside trackpy and laptrack.

    python benchmarks/movies.py --seeds 10 --csv OUT.csv

The figures of atomscope use default settings. trackpy and laptrack get the same tables; of their
settings (search range, memory) the best of those in SETTINGS is taken by its score, movie by movie.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from atomscope.intervals import poisson_interval
from atomscope.simulate.movies import Movie, Setting, movie
from atomscope.track import Tracking, find_events, summary, track

KINDS = {
    "hop": ("hop",),
    "switch": ("switch",),
    "dimer": ("dimer", "break-up"),
    "trimer": ("rotation",),
    "line": ("creation",),
}
MISSES = (0.05, 0.1, 0.2)  # share of missed atoms, by seed
HITS = 3  # an atom found less often, and a track with fewer rows, counts for nothing
LATE = 2  # frames between a true event and the one that is found
SURE = 0.9  # of the stated probability that two rows of a track are one atom
EDGE = 3  # frames at the beginning and the end in which events cannot be told
SETTINGS = ((0.35, 3), (0.35, 20), (0.5, 3), (0.5, 20))  # spacings, frames

Linker = Callable[[Movie, float, int, float], NDArray[np.int64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--peers", nargs="*", default=[], choices=["trackpy", "laptrack"])
    parser.add_argument("--time", action="store_true", help="300 atoms in 1,000 frames instead")
    parser.add_argument("--csv", type=Path)
    args = parser.parse_args()
    if args.time:
        clock(args.peers)
        return
    rows = []
    for seed in range(args.first, args.first + args.seeds):
        for kind in args.kinds:
            setting = Setting(
                frames=args.frames,
                size=args.size,
                rate=args.rate,
                miss=MISSES[seed % len(MISSES)],
            )
            rows += one(kind, seed, setting, args.peers)
    table = pd.DataFrame(rows)
    if args.csv:
        table.to_csv(args.csv, index=False)
    report(table)


def one(kind: str, seed: int, setting: Setting, peers: list[str]) -> list[dict[str, object]]:
    made = movie(kind, seed, setting)
    base = {"kind": kind, "seed": seed, "miss": setting.miss}
    start = time.process_time()
    tracking = track(made.atoms, shape=made.shape)
    seconds = time.process_time() - start
    number = tracking.atoms["track"].to_numpy(dtype=float, na_value=-1).astype(np.int64)
    ours = base | {"program": "atomscope", "seconds": seconds} | links(made, number)
    rows = [ours | trusted(made, tracking) | events(made, tracking, kind, setting)]
    for name in peers:
        tried = []
        for reach, memory in SETTINGS:
            start = time.process_time()
            found = PEERS[name](made, reach, memory, setting.spacing)
            seconds = time.process_time() - start
            tried.append(base | {"program": name, "seconds": seconds} | links(made, found))
        rows.append(min(tried, key=lambda row: abs(row["tracks"] - row["atoms"]) + row["switches"]))
    return rows


def links(made: Movie, number: NDArray[np.int64]) -> dict[str, float]:
    """Compare tracks (-1 for none) with the true atoms of the rows."""
    table = pd.DataFrame({"track": number, "true": made.identity, "frame": made.atoms["frame"]})
    size = table.groupby("track")["frame"].transform("size")
    kept = table[(table["track"] >= 0) & (size >= HITS)]
    good = kept[kept["true"] >= 0].sort_values("frame", kind="stable")
    switches = sum(int((np.diff(g["true"]) != 0).sum()) for _, g in good.groupby("track"))
    real = int((made.identity >= 0).sum())
    found = made.truth[made.truth["found"]].groupby("identity").size()
    return {
        "tracks": kept["track"].nunique(),
        "atoms": int((found >= HITS).sum()),
        "switches": switches,
        "rows": real,
        "lost": real - len(good),
        "false": len(kept) - len(good),
    }


def trusted(made: Movie, tracking: Tracking) -> dict[str, float]:
    """Steps from found row to found row of a track that are stated as doubtful, and switches.

    A step is as sure as the product of both rows.
    """
    table = tracking.tracks[tracking.tracks["kind"] == "atom"].copy()
    keys = ["frame", "atom"]
    known = made.atoms[keys].assign(true=made.identity)
    table["true"] = table[keys].merge(known, how="left", on=keys)["true"].to_numpy()
    found = table[table["true"] >= 0]
    again = found["track"].eq(found["track"].shift())
    switch = again & found["true"].ne(found["true"].shift())
    sure = (found["same"] * found["same"].shift())[again]
    doubtful = sure < SURE
    return {
        "doubtful": int(doubtful.sum()),
        "doubtful_switches": int((doubtful & switch[again]).sum()),
        "expected_switches": float((1 - sure).sum()),
    }


def events(made: Movie, tracking: Tracking, kind: str, setting: Setting) -> dict[str, float]:
    found = find_events(tracking)
    last = setting.frames - EDGE
    true = made.events[made.events["kind"].isin(KINDS[kind])]
    asked = true[true["frame"].between(EDGE, last - 1)]
    ours = found[found["kind"].isin(KINDS[kind])]
    hits = match(true, ours)
    known = sum(1 for i, _ in hits if EDGE <= true["frame"].iloc[i] < last)
    extra = ours.drop(ours.index[[j for _, j in hits]])
    wrong = int(extra["frame"].between(EDGE, last - 1).sum())
    numbers = summary(found, tracking).rates
    numbers = numbers[numbers["kind"].isin(KINDS[kind])]
    inside = numbers["low"].le(setting.rate) & numbers["high"].ge(setting.rate)
    return {
        "true_events": len(asked),
        "hits": known,
        "missed": len(asked) - known,
        "wrong": wrong,
        "rates": len(inside),
        "rates_inside": int(inside.sum()),
    }


def match(true: pd.DataFrame, found: pd.DataFrame) -> list[tuple[int, int]]:
    """Pair events of one kind that are at most LATE frames apart, the nearest first."""
    apart = np.abs(true["frame"].to_numpy()[:, None] - found["frame"].to_numpy()[None]).astype(
        float
    )
    apart[true["kind"].to_numpy()[:, None] != found["kind"].to_numpy()[None]] = np.inf
    pairs = []
    while apart.size and apart.min() <= LATE:
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        pairs.append((int(i), int(j)))
        apart[i], apart[:, j] = np.inf, np.inf
    return pairs


def with_trackpy(made: Movie, reach: float, memory: int, spacing: float) -> NDArray[np.int64]:
    import warnings

    import trackpy

    trackpy.quiet()
    table = made.atoms[["x_px", "y_px", "frame"]].reset_index()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = trackpy.link(table, reach * spacing, pos_columns=["x_px", "y_px"], memory=memory)
    number = np.full(len(table), -1)
    number[found["index"].to_numpy()] = found["particle"].to_numpy()
    return number


def with_laptrack(made: Movie, reach: float, memory: int, spacing: float) -> NDArray[np.int64]:
    from laptrack import LapTrack

    square = (reach * spacing) ** 2  # its cut-offs are squared distances
    linker = LapTrack(cutoff=square, gap_closing_cutoff=square, gap_closing_max_frame_count=memory)
    table = made.atoms[["x_px", "y_px", "frame"]].reset_index(drop=True)
    found, _, _ = linker.predict_dataframe(
        table.assign(row=np.arange(len(table))), ["x_px", "y_px"], only_coordinate_cols=False
    )
    number = np.full(len(table), -1)
    number[found["row"].to_numpy()] = found["track_id"].to_numpy()
    return number


PEERS: dict[str, Linker] = {"trackpy": with_trackpy, "laptrack": with_laptrack}


def clock(peers: list[str]) -> None:
    made = movie("hop", 0, Setting(frames=1000, size=235, rate=0.02))
    per_frame = len(made.atoms) / 1000
    print(f"{per_frame:.0f} atoms found per frame, 1000 frames; seconds of CPU on one core")
    start = time.process_time()
    tracking = track(made.atoms, shape=made.shape)
    middle = time.process_time()
    find_events(tracking)
    print(f"atomscope  track {middle - start:.1f}  events {time.process_time() - middle:.1f}")
    number = tracking.atoms["track"].to_numpy(dtype=float, na_value=-1).astype(np.int64)
    print("           ", links(made, number))
    for name in peers:
        start = time.process_time()
        found = PEERS[name](made, 0.35, 20, 12.0)
        print(f"{name:10s} link {time.process_time() - start:.1f}  {links(made, found)}")


def report(table: pd.DataFrame) -> None:
    print("program    kind    movies  tracks=atoms  tracks-atoms  switches/1e5  lost%  false rows")
    groups = [*table.groupby(["program", "kind"])]
    groups += [((program, "all"), g) for program, g in table.groupby("program")]
    for (program, kind), g in groups:
        off, rows = g["tracks"] - g["atoms"], g["rows"].sum()
        switches, lost = 1e5 * g["switches"].sum() / rows, 100 * g["lost"].sum() / rows
        print(
            f"{program:10s} {kind:7s} {len(g):5d}  {np.mean(off == 0):11.2f}  "
            f"{off.mean():+6.2f} ± {off.std():.2f}  {switches:10.1f}"
            f"  {lost:6.2f}  {g['false'].sum():8d}"
        )
    ours = table[table["program"] == "atomscope"]
    print("\nevents     true  found  precision  recall  F1 (mean ± s.d. of movies)  rates inside")
    for kind, g in [*ours.groupby("kind"), ("all", ours)]:
        hits, wrong, missed = g["hits"].sum(), g["wrong"].sum(), g["missed"].sum()
        single = 2 * g["hits"] / np.maximum(2 * g["hits"] + g["wrong"] + g["missed"], 1)
        single = single[g["true_events"] > 0]
        score = 2 * hits / max(2 * hits + wrong + missed, 1)
        print(
            f"{kind:9s} {int(g['true_events'].sum()):5d}  {int(hits + wrong):5d}  "
            f"{hits / max(hits + wrong, 1):9.3f}  {hits / max(hits + missed, 1):6.3f}  "
            f"{score:.3f} ({single.mean():.3f} ± {single.std():.3f})"
            f"  {int(g['rates_inside'].sum())}/{int(g['rates'].sum())}"
        )
    rows, switches = ours["rows"].sum(), ours["switches"].sum()
    sure = switches - ours["doubtful_switches"].sum()
    low, high = (1e5 * limit / rows for limit in poisson_interval(switches))
    print(
        f"\n{switches} identity switches in {rows} rows, {1e5 * switches / rows:.1f} per 1e5, 95 % "
        f"interval {low:.1f} to {high:.1f}; expected {ours['expected_switches'].sum():.1f} by what "
        f"is stated; steps below {SURE}: {ours['doubtful'].sum()}, switches at others: {sure}"
    )
    seconds = table.groupby("program")["seconds"].median().round(2).to_dict()
    print(f"\nCPU seconds per movie, median: {seconds}")


if __name__ == "__main__":
    main()
