"""The fast incoherent model against multislice: how alike the images are, and how much faster.

    python benchmarks/fast_model.py CACHE [--only NAME ...]

Needs the extra `simulate`. Each material is scanned once with abTEM (one cell, frozen phonons) and
kept in CACHE; the fits take seconds. Times are CPU seconds of one thread
(OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1). Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import time
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from atomscope.simulate.imaging import render
from atomscope.simulate.incoherent import FastModel, View, fit
from atomscope.simulate.materials import material
from atomscope.simulate.multislice import Microscope, Scan, scan
from atomscope.simulate.slabs import columns_of_cell, oriented

PIXEL = 0.2  # Å
EDGE = 80  # px
SOURCE = 0.7  # Å, full width at half maximum
VIBRATION = 0.08  # Å along each axis


@dataclass(frozen=True)
class Setting:
    """A microscope and what is put into it."""

    microscope: Microscope
    materials: dict[str, tuple[int, int, int]]
    thickness: float | None
    phonons: int


SETTINGS = {
    "layers": Setting(
        Microscope(80e3, 30.0),
        {"graphene": (0, 0, 1), "hBN": (0, 0, 1), "1H-MoS2": (0, 0, 1), "1H-WSe2": (0, 0, 1)},
        None,
        20,  # a layer has few atoms to average over
    ),
    "crystals": Setting(
        Microscope(200e3, 25.0),
        {
            "SrTiO3": (0, 0, 1),
            "MgO": (0, 0, 1),
            "TiO2": (0, 0, 1),
            "Si": (1, 1, 0),
            "GaAs": (1, 1, 0),
            "Au": (1, 1, 0),
            "CeO2": (1, 1, 0),
        },
        30.0,
        2,
    ),
}


def scanned(name: str, setting: Setting, folder: Path) -> tuple[Scan, float]:
    """Scan of one cell, from the cache if it is there, and its CPU seconds."""
    path = folder / f"fast_model_{name}.npz"
    cell = oriented(material(name).atoms, setting.materials[name], setting.thickness)
    edges = (float(cell.cell[0, 0]), float(cell.cell[1, 1]))
    if not path.exists():
        warm_up()
        started = time.process_time()
        found = scan(
            cell,
            setting.microscope,
            phonons=setting.phonons,
            vibration=VIBRATION,
            seed=zlib.crc32(name.encode()),
        )
        seconds = time.process_time() - started
        np.savez(path, seconds=seconds, **found.signals)
        print(f"{name}: {seconds:.0f} s of CPU", flush=True)
    with np.load(path) as stored:
        signals = {key: stored[key] for key in stored.files if key != "seconds"}
        return Scan(signals, edges), float(stored["seconds"])


@cache
def warm_up() -> None:
    """Import and compile outside of the timing."""
    scan(oriented(material("graphene").atoms), Microscope(30e3, 10.0), phonons=1)


def view(name: str, setting: Setting, found: Scan, detector: str, source: float) -> View:
    """Image of a field that the cell fills many times, and its columns with some beyond."""
    cell = oriented(material(name).atoms, setting.materials[name], setting.thickness)
    xy, groups = columns_of_cell(cell)
    margin = 25  # px: tails reach in from outside
    wide = (EDGE + 2 * margin,) * 2
    start = (-margin * PIXEL,) * 2
    frame = found.image(detector, PIXEL, (EDGE, EDGE), source=source)
    places, index = found.places(xy, PIXEL, wide, origin=start)
    numbers = [tuple(int(z) for z in cell.numbers[g]) for g in groups]
    return View(frame, places - margin, tuple(numbers[i] for i in index), PIXEL)


def microseconds(one: View, model: FastModel) -> float:
    """CPU time per pixel of the fast model, the median of some runs."""
    weight = np.ones(len(one.xy))
    times = []
    for _ in range(15):
        started = time.process_time()
        for _ in range(20):
            render(one.xy, weight, model.sigma / PIXEL, (EDGE, EDGE), tail=model.tail)
        times.append(time.process_time() - started)
    return float(np.median(times)) / 20 / EDGE**2 * 1e6


def table(detector: str, found: dict[str, tuple[Scan, float]], source: float) -> None:
    """Print the fits of one detector."""
    for label, setting in SETTINGS.items():
        names = [n for n in setting.materials if n in found]
        if not names:
            continue
        views = {n: view(n, setting, found[n][0], detector, source) for n in names}
        common = fit(list(views.values()))
        inner, outer = setting.microscope.annuli[detector]
        print(
            f"\n{detector} {inner:g}-{outer:g} mrad, {label}, {setting.microscope.energy / 1e3:g} "
            f"kV, {setting.microscope.semiangle:g} mrad, source {source:g} Å; one fit for all: "
            f"exponent {common.exponent:.2f}, width {common.sigma:.2f} Å, tail {common.tail:.2f} "
            f"of {common.tail_width:.1f} widths\n"
        )
        print("| material | exponent | width Å | tail | correlation | with the fit for all |")
        print("|---|---|---|---|---|---|")
        for name, one in views.items():
            own = fit([one])
            power = "-" if one.alike else f"{own.exponent:.2f}"
            zone = "".join(str(i) for i in setting.materials[name])
            print(
                f"| {name} [{zone}] | {power} | {own.sigma:.2f} | {own.tail:.2f} × "
                f"{own.tail_width:.1f} | {one.correlation(own):.4f} | "
                f"{one.correlation(common):.4f} |"
            )


def speed(found: dict[str, tuple[Scan, float]]) -> None:
    """Print the times per image point."""
    print("\n| material | abTEM, ms per point | fast model, µs per point | ratio |")
    print("|---|---|---|---|")
    for setting in SETTINGS.values():
        for name in (n for n in setting.materials if n in found):
            one, seconds = found[name]
            slow = seconds / one.signals["HAADF"].size * 1e3
            quick = microseconds(
                view(name, setting, one, "HAADF", SOURCE), FastModel(1, 0.5, 0.1, 2)
            )
            print(f"| {name} | {slow:.1f} | {quick:.3f} | {slow * 1e3 / quick:.1e} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cache", type=Path, help="folder for the scans")
    parser.add_argument("--only", nargs="*", help="materials (default: all)")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    found = {
        name: scanned(name, setting, args.cache)
        for setting in SETTINGS.values()
        for name in setting.materials
        if not args.only or name in args.only
    }
    for detector, source in (("HAADF", SOURCE), ("HAADF", 0.0), ("MAADF", SOURCE)):
        table(detector, found, source)
    speed(found)


if __name__ == "__main__":
    main()
