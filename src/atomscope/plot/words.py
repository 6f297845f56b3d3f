"""Words on a picture: scale bar, legend, title; sizes in pixels of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from atomscope.plot.colours import UNNAMED_COLOUR, Classes

DPI = 100  # only the ratio of points to pixels; the picture has as many pixels as it needs
INK = "#11151a"
ABOVE = 5  # order of words: over image, bonds, atoms and defects, which the axes (1) hold
_GROUND = 0.6  # opacity of what words stand on
_FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same picture


def draw_scale_bar(figure: Any, bar: tuple[float, str], zoom: float, unit: float) -> None:
    """Draw a bar of (frame px, label) into the lower left corner; `unit` is half a line of text."""
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    pixels = IdentityTransform()
    length, label = bar[0] * zoom, bar[1]
    width = max(length, 1.2 * unit * len(label)) + 2 * unit
    middle = unit + width / 2
    box = Rectangle((unit, unit), width, 4.4 * unit, facecolor=INK, alpha=_GROUND)
    line = Rectangle((middle - length / 2, 1.8 * unit), length, 0.55 * unit, facecolor="white")
    for patch in (box, line):
        patch.set(transform=pixels, linewidth=0, zorder=ABOVE)
        figure.add_artist(patch)
    figure.text(
        middle, 2.75 * unit, label, transform=pixels, ha="center", va="bottom", zorder=ABOVE,
        **text(unit),
    )  # fmt: skip


@dataclass(frozen=True)
class Legend:
    """How many atoms there are of each class.

    Attributes:
        heading: Number of all atoms.
        entries: Text and colour of each class that has any.
    """

    heading: str
    entries: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, classes: Classes, nameless: int = 0) -> Legend:
        """Count classes, and odd places."""
        total = len(classes.index)
        counts = np.bincount(classes.index, minlength=len(classes.labels)).tolist()
        rows = [*zip(classes.labels, classes.colours, counts, strict=True)]
        rows.append(("places that no rule names", UNNAMED_COLOUR, nameless))
        entries = [(f"{label}  ({count:,})", colour) for label, colour, count in rows if count]
        return cls(f"{total:,} atoms" if total != 1 else "1 atom", entries)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height that suffice, in half lines of text."""
        longest = max(len(self.heading), *(len(words) for words, _ in self.entries), 0)
        return longest + 4.0, 2.5 * (len(self.entries) + 1) + 1.5


def draw_legend(figure: Any, legend: Legend, share: float, unit: float, loc: str) -> None:
    """Draw a legend into a corner; `share` is that of the atoms which are drawn."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=0.9 * unit * 72 / DPI,
               markerfacecolor="none", markeredgecolor=colour, markeredgewidth=0.18 * unit,
               label=words)
        for words, colour in legend.entries
    ]  # fmt: skip
    heading = legend.heading + (f", 1 in {1 / share:.2g} drawn" if share < 1 else "")
    font = {"family": _FONT, "size": 1.7 * unit * 72 / DPI}
    drawn = figure.legend(
        handles=handles, title=heading, loc=loc, frameon=True, fancybox=False,
        facecolor=INK, edgecolor="none", framealpha=_GROUND, labelcolor="white", prop=font,
        borderaxespad=0.6, handletextpad=0.2, alignment="left", borderpad=0.3, labelspacing=0.35,
        handlelength=1.4,
    )  # fmt: skip
    drawn.get_title().set(color="white", **{"fontfamily": _FONT, "fontsize": font["size"]})
    drawn.set_zorder(ABOVE)


def draw_title(figure: Any, title: str, canvas: tuple[int, int], unit: float) -> None:
    """Draw one line into the upper left corner, cut to the canvas (x, y)."""
    from matplotlib.transforms import IdentityTransform

    line, most = drawable(title), int(canvas[0] / (1.25 * unit))
    figure.text(
        1.6 * unit, canvas[1] - 1.6 * unit, line if len(line) <= most else line[: most - 1] + "…",
        transform=IdentityTransform(), ha="left", va="top",
        bbox={"facecolor": INK, "alpha": _GROUND, "linewidth": 0}, zorder=ABOVE, **text(unit),
    )  # fmt: skip


def text(unit: float) -> dict[str, Any]:
    """Return how words look; `unit` is half a line of text."""
    return {
        "color": "white", "fontfamily": _FONT, "fontsize": 1.8 * unit * 72 / DPI,
        "parse_math": False, "usetex": False,
    }  # fmt: skip


def drawable(text: str) -> str:
    """Replace signs that the font lacks; matplotlib would warn about each."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(_FONT)).get_charmap()
    return "".join(sign if ord(sign) in known else "?" for sign in " ".join(text.split()))
