"""Which defects there are: counts, densities and their intervals, the unnamed ones first."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING

from atomscope.intervals import poisson_interval
from atomscope.rules.statistics import concentrations
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

_PX_PER_UNIT = 1e6  # densities without a pixel size are per 10⁶ px²


@dataclass(frozen=True)
class Kind:
    """Defects of one name, as texts: count, density and its 95 % interval, rule."""

    name: str
    formula: str
    count: str
    density: str
    interval: str
    rule: str


@dataclass(frozen=True)
class Kinds:
    """The kinds of defects: those that no rule names, those with a name, and the unit."""

    unnamed: tuple[Kind, ...]
    named: tuple[Kind, ...]
    unit: str
    note: str


def kinds(defects: pd.DataFrame, image: Image) -> Kinds:
    """Count defects by name, with densities, the commonest first.

    The intervals are those of a Poisson mean (Garwood 1936). The frames of a movie show the same
    place again and again, so they count as one: its interval is that of the mean count.

    Args:
        defects: Table of `atomscope.columns.DEFECTS` of all frames.
        image: The image or movie.
    """
    height, width = image.frame_shape
    unit, area = "10⁶ px²", height * width / _PX_PER_UNIT
    if image.pixel_size is not None:
        unit, area = "nm²", height * width * (image.pixel_size / 10) ** 2
    first = defects.drop_duplicates("name").set_index("name")
    about = first[["formula", "known", "rule"]].to_dict("index")
    found: dict[bool, list[Kind]] = {True: [], False: []}
    for row in concentrations(defects, area * image.n_frames).to_dict("records"):
        name, count = str(row["name"]), int(row["count"])
        mean, more = count / image.n_frames, about[row["name"]]
        low = poisson_interval(floor(mean))[0] / area
        high = poisson_interval(ceil(mean))[1] / area
        density, interval = f"{row['density']:.3g}", f"{low:.3g} to {high:.3g}"
        kind = Kind(name, str(more["formula"]), f"{count:,}", density, interval, str(more["rule"]))
        found[bool(more["known"])].append(kind)
    note = f"Density per {unit} with its 95 % Poisson interval."
    if image.n_frames > 1:
        note += " The frames count as views of one place: a defect is counted in each that shows it"
        note += ", and the interval is that of the mean count."
    return Kinds(tuple(found[False]), tuple(found[True]), unit, note)
