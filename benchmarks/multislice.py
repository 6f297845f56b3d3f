"""Multislice images of one unit cell of perfect crystals, made with abTEM.

    peers/bin/python benchmarks/multislice.py CACHE [--only NAME ...] [--quick]

Run it in the peers' environment. One orthogonal cell is scanned with frozen phonons, so the frames
made from it (`frames.py`) hold channelling, crosstalk and thermal motion that the fast model
leaves out. Each file keeps the noise-free cell as a fraction of the incident beam.
"""

from __future__ import annotations

import argparse
import time
import zlib
from pathlib import Path

import numpy as np
from specimens import EXPONENT, SAME_COLUMN, _unit_cell, merge

# Name of the world: directions of x, y and beam, thickness in Å (None: one layer), probe kV, mrad.
CELLS = {
    "graphene": ("graphene", [(1, 0, 0), (1, 2, 0), (0, 0, 1)], None, 80, 32),
    "hBN": ("hBN", [(1, 0, 0), (1, 2, 0), (0, 0, 1)], None, 80, 32),
    "1H-MoS2": ("1H-MoS2", [(1, 0, 0), (1, 2, 0), (0, 0, 1)], None, 80, 32),
    "SrTiO3 [001]": ("SrTiO3", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], 30, 300, 26),
    "Si [110]": ("Si", [(-1, 1, 0), (0, 0, 1), (1, 1, 0)], 30, 200, 23),
    "GaAs [110]": ("GaAs", [(-1, 1, 0), (0, 0, 1), (1, 1, 0)], 30, 200, 23),
    "Au [110]": ("Au", [(-1, 1, 0), (0, 0, 1), (1, 1, 0)], 30, 200, 23),
    "TiO2 [001]": ("TiO2", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], 30, 300, 30),
    "MgO [100]": ("MgO", [(1, 0, 0), (0, 1, 0), (0, 0, 1)], 30, 200, 23),
}
VIBRATION = 0.08  # Å, root mean square displacement along each axis
DETECTOR = (60, 140)  # mrad
WINDOW = 12.0  # Å, least edge of the cell that the probe spreads in


def orthogonal(crystal: str, axes: list[tuple[int, int, int]], thickness: float | None):
    """Orthogonal cell with x, y and beam along lattice directions, `thickness` deep."""
    from ase.build import make_supercell

    cell = _unit_cell(crystal)
    cell.pbc = True
    atoms = make_supercell(cell, axes)
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    frame = atoms.cell.array / lengths[:, None]
    if np.linalg.det(frame) < 0:
        raise ValueError(f"{crystal}: {axes} is left-handed")
    places = atoms.positions @ frame.T
    atoms.set_cell(np.diag(lengths))
    atoms.set_positions(places)
    atoms.wrap()
    if thickness is None:
        atoms.center(vacuum=2.0, axis=2)
        return atoms
    return atoms.repeat((1, 1, max(1, round(thickness / lengths[2]))))


def columns(atoms) -> tuple[np.ndarray, np.ndarray]:
    """Columns of one cell, those across its border counted once."""
    width, height = atoms.cell.lengths()[:2]
    xy = atoms.positions[:, :2]
    shifts = np.array([(i * width, j * height) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    tiled = (shifts[:, None] + xy).reshape(-1, 2)
    weight = np.tile(atoms.numbers.astype(float) ** EXPONENT, 9)
    merged, total = merge(tiled, weight, SAME_COLUMN)
    edge = -SAME_COLUMN / 2
    inside = (merged >= edge).all(axis=1) & (merged < np.array([width, height]) + edge).all(axis=1)
    return merged[inside], total[inside]


def simulate(name: str, quick: bool) -> dict[str, np.ndarray]:
    """Scan one cell; arrays as stored."""
    import abtem

    crystal, axes, thickness, kilovolts, milliradians = CELLS[name]
    cell = orthogonal(crystal, axes, 8.0 if quick and thickness else thickness)
    width, height = cell.cell.lengths()[:2]
    repeat = (int(np.ceil(WINDOW / width)), int(np.ceil(WINDOW / height)), 1)
    phonons = abtem.FrozenPhonons(
        cell.repeat(repeat),
        num_configs=1 if quick else (3 if thickness else 6),
        sigmas=VIBRATION,
        seed=zlib.crc32(name.encode()),
    )
    potential = abtem.Potential(phonons, sampling=0.07, slice_thickness=2.0)
    probe = abtem.Probe(energy=kilovolts * 1e3, semiangle_cutoff=milliradians)
    probe.grid.match(potential)
    # Finer than half the finest detail of the image, so that Fourier interpolation is exact.
    step = 0.45 * probe.wavelength / (2 * milliradians * 1e-3)
    points = tuple(int(np.ceil(edge / step)) for edge in (width, height))
    scan = abtem.GridScan(start=(0, 0), end=(width, height), gpts=points, endpoint=False)
    image = probe.scan(
        potential,
        scan=scan,
        detectors=abtem.AnnularDetector(*DETECTOR),
        lazy=False,
        max_batch=16,
    )
    signal = np.asarray(image.array, dtype=np.float32)
    if signal.ndim == 3:
        signal = signal.mean(axis=0)
    xy, weight = columns(cell)
    return {
        "signal": signal.T,  # abTEM arrays are (x, y); here (y, x)
        "edges": np.array([width, height]),
        "xy": xy,
        "weight": weight,
        "thickness": np.array(cell.cell.lengths()[2]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cache", type=Path, help="folder for the cells")
    parser.add_argument("--only", nargs="*", default=list(CELLS), help="names (default: all)")
    parser.add_argument("--quick", action="store_true", help="one phonon configuration, 1 nm thick")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        path = args.cache / f"cell_{name.replace(' ', '_')}.npz"
        if path.exists():
            continue
        start = time.perf_counter()
        np.savez_compressed(path, **simulate(name, args.quick))
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
