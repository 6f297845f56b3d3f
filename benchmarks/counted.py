"""Atoms counted in micrographs of MXene beside the counts of another program.

    python benchmarks/counted.py DATA

DATA is the folder of real micrographs (see benchmarks/README.md). The counts are those of the
network of the source (NREL/mxene_seg), without positions: a comparison, not a truth.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import atomscope
from atomscope.detect import look
from atomscope.models.store import load

PIXEL_SIZE = 0.0792  # Å, as the source says; the files do not


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data / "nrel_mxene"
    model = load("universal")
    print("| frame | theirs | atomscope | seen as |\n|---|---|---|---|")
    for row in pd.read_csv(folder / "counts.csv").itertuples():
        image = atomscope.read(folder / str(row.image)).with_pixel_size(PIXEL_SIZE)
        view = look(image, model)
        seen = "lattice" if view.lattice else "isolated atoms"
        name = Path(str(row.image)).name.split("_")[0]
        print(f"| {name} | {row.num_atoms} | {len(atomscope.detect(image))} | {seen} |", flush=True)


if __name__ == "__main__":
    main()
