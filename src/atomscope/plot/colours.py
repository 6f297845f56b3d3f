"""What the colours of atoms and rings stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

# Bright enough to stand out on grey, each told from the next also by colour-blind eyes.
PALETTE = ("#35d0ff", "#ffcf33", "#ff6b9d", "#7be07f", "#ff9a3d", "#b9a1ff", "#f2f2f2", "#c0e218")
UNKNOWN_COLOUR = "#b8c4cc"

# Circles around defects that a rule names, and around those that none does.
KNOWN_COLOUR, UNNAMED_COLOUR = "#ffffff", "#ff4df0"
# Rings by their number of atoms; larger ones have the colour of a hole.
RING_COLOURS = {
    3: "#c0e218", 4: "#7be07f", 5: "#4aa8ff", 6: "#f2f2f2",
    7: "#ff7a3d", 8: "#ff5fb0", 9: "#ffcf33",
}  # fmt: skip
HOLE_COLOUR = "#b9a1ff"


@dataclass(frozen=True)
class Classes:
    """What the colours of atoms stand for.

    Attributes:
        labels: Name of each class.
        colours: Hex colour of each class.
        index: Class of each atom, shape (N,).
    """

    labels: tuple[str, ...]
    colours: tuple[str, ...]
    index: NDArray[np.int64]


def ring_colour(size: int) -> str:
    """Return the colour of rings of so many atoms."""
    return RING_COLOURS.get(size, HOLE_COLOUR)


def classify_colours(atoms: pd.DataFrame) -> Classes:
    """Colour atoms by what was taught, else by species, brightness class, or probability."""
    for column, rest in (("structure", "none, or at the rim"), ("species", "unknown")):
        if column in atoms and (words := _words(atoms[column])).any():
            return _by_words(words, rest)
    bright = _by_brightness(atoms)
    if bright is not None:
        return bright
    p = atoms["p"].to_numpy(float)
    if not np.isfinite(p).any():
        return Classes(("atoms",), PALETTE[:1], np.zeros(len(p), dtype=np.int64))
    index = np.select([p >= 0.9, p >= 0.5], [0, 1], 2).astype(np.int64)
    return Classes(("p ≥ 0.9", "p 0.5–0.9", "p < 0.5"), PALETTE[:3], index)


def _words(column: pd.Series) -> NDArray[np.str_]:
    return np.asarray(column.fillna("").to_numpy(dtype=object), dtype=np.str_)


def _by_words(words: NDArray[np.str_], rest: str) -> Classes:
    """One class for each word, and one for atoms without any."""
    names = [str(name) for name in np.unique(words[words != ""])]
    colours = [PALETTE[k % len(PALETTE)] for k in range(len(names))]
    index = np.where(words == "", len(names), np.searchsorted(names, words)).astype(np.int64)
    return Classes((*names, rest), (*colours, UNKNOWN_COLOUR), index)


def _by_brightness(atoms: pd.DataFrame) -> Classes | None:
    """Classes of brightness, or None where there is only one."""
    if "intensity_class" not in atoms:
        return None
    index = atoms["intensity_class"].fillna(-1).to_numpy(np.int64)
    found = np.unique(index[index >= 0])
    if len(found) < 2:
        return None
    labels = [f"brightness {k + 1}" for k in found]
    labels[0] += " (weakest)"
    colours = [PALETTE[k % len(PALETTE)] for k in range(len(found))]
    place = np.searchsorted(found, index)
    place = np.where(index >= 0, place, len(found)).astype(np.int64)
    return Classes((*labels, "unknown"), (*colours, UNKNOWN_COLOUR), place)
