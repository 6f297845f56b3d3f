"""Words on a picture: scale bar, legend, title; sizes in pixels of the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomscope.plot.colours import UNNAMED_COLOUR, Classes

DPI = 100  # only the ratio of points to pixels; the picture has as many pixels as it needs
INK = "#11151a"
_FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same picture


def draw_scale_bar(figure: Any, bar: tuple[float, str], zoom: float, unit: float) -> None:
    """Draw a bar of (frame px, label) into the lower left corner; `unit` is half a line of text."""
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    pixels = IdentityTransform()
    length, label = bar[0] * zoom, bar[1]
    width = max(length, 1.2 * unit * len(label)) + 2 * unit
    middle = unit + width / 2
    box = Rectangle((unit, unit), width, 4.4 * unit, facecolor=INK, alpha=0.72)
    line = Rectangle((middle - length / 2, 1.8 * unit), length, 0.55 * unit, facecolor="white")
    for patch in (box, line):
        patch.set(transform=pixels, linewidth=0)
        figure.add_artist(patch)
    figure.text(
        middle, 2.75 * unit, label, transform=pixels, ha="center", va="bottom", **text(unit)
    )


def draw_legend(
    figure: Any, classes: Classes, total: int, drawn: int, unit: float, nameless: int = 0
) -> None:
    """Draw how many atoms there are of each class, which share of them is drawn, odd places."""
    from matplotlib.lines import Line2D

    counts = np.bincount(classes.index, minlength=len(classes.labels)).tolist()
    entries = [*zip(classes.labels, classes.colours, counts, strict=True)]
    entries.append(("places that no rule names", UNNAMED_COLOUR, nameless))
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=0.9 * unit * 72 / DPI,
               markerfacecolor="none", markeredgecolor=colour, markeredgewidth=0.18 * unit,
               label=f"{label}  ({count:,})")
        for label, colour, count in entries
        if count
    ]  # fmt: skip
    heading = f"{total:,} atoms" if total != 1 else "1 atom"
    if drawn < total:
        heading += f", 1 in {total / max(drawn, 1):.2g} drawn"
    font = {"family": _FONT, "size": 1.7 * unit * 72 / DPI}
    legend = figure.legend(
        handles=handles, title=heading, loc="lower right", frameon=True, fancybox=False,
        facecolor=INK, edgecolor="none", framealpha=0.72, labelcolor="white", prop=font,
        borderaxespad=0.6, handletextpad=0.2, alignment="left",
    )  # fmt: skip
    legend.get_title().set(color="white", **{"fontfamily": _FONT, "fontsize": font["size"]})
    legend.set_zorder(5)


def draw_title(figure: Any, title: str, canvas: tuple[int, int], unit: float) -> None:
    """Draw one line into the upper left corner, cut to the canvas (x, y)."""
    from matplotlib.transforms import IdentityTransform

    line, most = drawable(title), int(canvas[0] / (1.25 * unit))
    figure.text(
        1.6 * unit, canvas[1] - 1.6 * unit, line if len(line) <= most else line[: most - 1] + "…",
        transform=IdentityTransform(), ha="left", va="top",
        bbox={"facecolor": INK, "alpha": 0.72, "linewidth": 0}, **text(unit),
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
