"""From a structure to the recipe of a network for it: what `atomscope train --structure` does."""

from __future__ import annotations

import re
from pathlib import Path

from atomscope.errors import UsageError
from atomscope.simulate.bank import FAINT
from atomscope.simulate.crystals import project
from atomscope.simulate.materials import structure
from atomscope.train.settings import (
    ChangeSettings,
    ClassSettings,
    HostSettings,
    TrainingPhase,
    TrainingRecipe,
    WorldSettings,
)

VACANCY = "vacancy"
MIDDLE = 1.6  # exponent of Z-contrast that decides which columns show at all
# Steps with more empty sites than there ever are, and with their usual share: together about
# thirteen minutes on two cores. Without the first, empty sites of noisy frames are overlooked.
RICH, USUAL = 1800, 700
MANY, FEW = 0.25, 0.06  # largest share of empty sites in either
MOST_WEIGHT = 4.0


def parse_zone(text: str) -> tuple[int, int, int]:
    """Read a zone axis: '001', '1-10', '1 1 0' or '[1,1,-2]'.

    Raises:
        UsageError: It is not three integers, or all of them are zero.
    """
    parts = re.findall(r"-?\d+", text) if re.search(r"[\s,]", text) else re.findall(r"-?\d", text)
    rest = re.sub(r"-?\d|[\s,\[\]]", "", text)
    if len(parts) != 3 or rest or not any(int(p) for p in parts):
        raise UsageError(
            f"zone {text!r}: expected three integers, not all zero, such as 001 or 1-10."
        )
    u, v, w = (int(p) for p in parts)
    return u, v, w


def recipe_for(
    name_or_path: str, zone: tuple[int, int, int] = (0, 0, 1), *, seed: int = 1
) -> TrainingRecipe:
    """Return the recipe of a network that knows one structure along one zone axis.

    Columns with the same atoms are one class; empty sites are another. Columns too faint to
    show in an annular dark field image are not learned.

    Args:
        name_or_path: Name of a material, or a file that ASE reads (CIF, POSCAR, ...).
        zone: Zone axis [uvw].
        seed: Seed of the run.

    Raises:
        UsageError: There is no such structure or zone axis.
    """
    basis = project(structure(name_or_path), zone)
    shown = basis.weights(MIDDLE) >= FAINT
    names = dict.fromkeys(s for s, seen in zip(basis.species, shown, strict=True) if seen)
    indices = "".join(str(i) for i in zone)
    hosts = (HostSettings(structure=name_or_path, zone=zone, sites={n: n for n in names}),)

    def phase(number: int, steps: int, rate: float, most: float) -> TrainingPhase:
        changes = tuple(
            ChangeSettings(at=name, becomes=VACANCY, share=(0.0, most), weight=(0.0, 0.0))
            for name in names
        )
        world = WorldSettings(
            kinds=(0.94, 0.0, 0.06),
            snr=(6.0, 80.0),
            sigma=(0.14, 0.33),
            tidy=0.6,
            hosts=hosts,
            changes=changes,
        )
        return TrainingPhase(
            seed=seed + 1000 * number,
            steps=steps,
            learning_rate=rate,
            fold=True,
            most_weight=MOST_WEIGHT,
            world=world,
        )

    stem = Path(name_or_path).stem
    return TrainingRecipe(
        name=f"{stem}-{indices}",
        task="classes",
        description=f"Columns of {stem} along [{indices}]: {', '.join(names)}, and empty sites.",
        start="universal",
        classes=(
            *(ClassSettings(name=n, species=n) for n in names),
            ClassSettings(name=VACANCY, vacant=True),
        ),
        phases=(phase(1, RICH, 1e-3, MANY), phase(0, USUAL, 4e-4, FEW)),
        batch=8,
        size=96,
        class_weight=1.0,
        validation_batches=32,
    )
