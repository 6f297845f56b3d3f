"""The picture for a slide: the micrograph itself, its atoms, a scale bar, a small legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.io.write import write_whole
from atomscope.plot.colours import (
    KNOWN_COLOUR,
    PALETTE,
    UNKNOWN_COLOUR,
    UNNAMED_COLOUR,
    Classes,
    classify_colours,
    ring_colour,
)
from atomscope.plot.network import Network, circles, network, place_names
from atomscope.plot.pixels import (
    grey,
    median_spacing,
    pixels_of,
    scale_bar,
    shrink,
    shrink_factor,
    view_of,
)
from atomscope.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "KNOWN_COLOUR", "PALETTE", "UNKNOWN_COLOUR", "UNNAMED_COLOUR", "Classes", "Network", "circles",
    "classify_colours", "curves", "grey", "median_spacing", "network", "overlay", "ring_colour",
    "scale_bar", "shrink", "shrink_factor", "view_of",
]  # fmt: skip

_DPI = 100  # only the ratio of points to pixels; the picture has as many pixels as it needs
_COMFORTABLE_SIDE = 1200  # small frames are enlarged to this many pixels
_FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same picture
_INK = "#11151a"
_LEAST_SPACING = 8.0  # pixels of the picture between atoms, below which bonds would cover it


def overlay(
    frame: FloatArray,
    atoms: pd.DataFrame,
    path: str | Path,
    *,
    pixel_size: float | None,
    title: str | None = None,
    max_side: int = 2000,
    net: Network | None = None,
    defects: pd.DataFrame | None = None,
) -> Path:
    """Write a PNG of one frame with its atoms, bonds, odd rings and defects.

    Rings stand around the atoms and shrink with their spacing; where they would cover the image
    they become dots, and where even dots would, a fair share of them is drawn and the legend
    says so. The picture is the frame and nothing around it, but for very narrow frames, which get
    a dark margin to hold the words. Bonds are left out where they would cover the image; names
    of defects stand beside their circles as far as there is room. The same input gives the same
    bytes.

    Args:
        frame: Values, shape (y, x); what is not finite is drawn black.
        atoms: Rows of the atoms table that belong to this frame; may be empty.
        path: The PNG to write.
        pixel_size: Å per pixel, or None for a scale bar in pixels.
        title: A line in the upper left corner.
        max_side: Longest side of the picture in pixels; larger frames are averaged down.
        net: Bonds and rings of the frame, see `network`.
        defects: Rows of the defects table that belong to this frame.

    Returns:
        The path that was written.

    Raises:
        UsageError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = frame.shape
    zoom = min(max_side, max(_COMFORTABLE_SIDE, height, width)) / max(height, width)
    size = (max(round(width * zoom), 1), max(round(height * zoom), 1))
    unit = min(0.011 * max(size), max(min(size) / 46, 9))  # half a line of text, in pixels
    canvas = (max(size[0], int(46 * unit)), max(size[1], int(20 * unit)))
    figure = Figure(figsize=(canvas[0] / _DPI, canvas[1] / _DPI), dpi=_DPI, facecolor=_INK)
    FigureCanvasAgg(figure)
    share = (size[0] / canvas[0], size[1] / canvas[1])
    axes = figure.add_axes((0, 1 - share[1], *share))
    axes.set_axis_off()
    axes.set_zorder(1)  # above the picture
    _draw_image(figure, frame, size, max_side)
    if net is not None:
        _draw_network(axes, atoms, net, zoom, unit)
    drawn = _draw_atoms(axes, atoms, zoom)
    if defects is not None and len(defects):
        _draw_defects(axes, defects, atoms, zoom, unit)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    _draw_scale_bar(figure, scale_bar(width, pixel_size), zoom, unit)
    _draw_legend(figure, classify_colours(atoms), len(atoms), drawn, unit)
    if title:
        _draw_title(figure, title, canvas, unit)
    # Without these entries the bytes depend on the picture alone.
    options: dict[str, Any] = {"metadata": {"Software": None}}
    # Noise is not made smaller by a search for repeats.
    options["pil_kwargs"] = {"compress_level": 1}
    return write_whole(path, lambda draft: figure.savefig(draft, format="png", dpi=_DPI, **options))


def _draw_image(figure: Any, frame: FloatArray, size: tuple[int, int], max_side: int) -> None:
    """Put the frame into the upper left corner, pixel by pixel."""
    from PIL import Image as Picture

    factor = shrink_factor(frame.shape, max_side)
    small = Picture.fromarray(grey(shrink(frame, factor)))
    height, width = frame.shape  # the last blocks of a shrunken frame reach over its border
    fine = Picture.Resampling.BICUBIC if factor == 1 else Picture.Resampling.BILINEAR
    shown = np.asarray(small.resize(size, fine, box=(0, 0, width / factor, height / factor)))
    figure.add_artist(pixels_of(shown, round(figure.bbox.height) - size[1]))


def _draw_atoms(axes: Any, atoms: pd.DataFrame, zoom: float) -> int:
    """Draw rings or dots and return how many."""
    spacing = (median_spacing(atoms) or 40 / zoom) * zoom
    radius = min(0.32 * spacing, 13.0)
    is_ring = radius >= 2.5
    if not is_ring:
        radius = max(0.28 * spacing, 0.9)
    share = min(1.0, (spacing / 4) ** 2)  # dots nearer than 4 px would cover the image
    keep = np.random.default_rng(0).random(len(atoms)) < share
    classes = classify_colours(atoms)
    x, y = atoms["x_px"].to_numpy(float)[keep], atoms["y_px"].to_numpy(float)[keep]
    colours = np.array(classes.colours)[classes.index[keep]]
    area = (2 * radius * 72 / _DPI) ** 2
    line = float(np.clip(0.16 * radius, 0.6, 1.6))
    if is_ring:  # a dark ring under the bright one, so that it shows on bright columns too
        axes.scatter(x, y, s=area, facecolors="none", edgecolors="#00000090", linewidths=2.4 * line)
        axes.scatter(x, y, s=area, facecolors="none", edgecolors=colours, linewidths=line)
    else:
        axes.scatter(x, y, s=area, c=colours, linewidths=0)
    return int(keep.sum())


def _draw_network(axes: Any, atoms: pd.DataFrame, net: Network, zoom: float, unit: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    spacing = (median_spacing(atoms) or 0.0) * zoom
    if spacing < _LEAST_SPACING:
        return
    xy = atoms[["x_px", "y_px"]].to_numpy(float)
    sizes = [len(ring) for ring in net.rings]
    fill = [ring_colour(size) for size in sizes]
    outlines = [xy[list(ring)] for ring in net.rings]
    axes.add_collection(PolyCollection(outlines, facecolors=fill, alpha=0.3, linewidths=0))
    line = float(np.clip(0.035 * spacing, 0.5, 1.4))
    ends = xy[net.bonds]
    # Short of the rings around the atoms, so that the columns stay visible.
    between = 0.5 * (ends[:, :1] + ends[:, 1:]) + (ends - ends.mean(axis=1, keepdims=True)) * 0.4
    # One outline of many strokes: a collection would handle each bond by itself.
    strokes = np.tile([Outline.MOVETO, Outline.LINETO], len(between))
    if len(between):
        bonds = Outline(between.reshape(-1, 2), strokes)
        axes.add_artist(PathPatch(bonds, fill=False, edgecolor="#e4edf2", alpha=0.75, lw=line))
    if spacing < 2.4 * unit:
        return
    for outline, size in zip(outlines, sizes, strict=True):
        axes.text(*outline.mean(axis=0), str(size), ha="center", va="center", **_text(unit))


def _draw_defects(
    axes: Any, defects: pd.DataFrame, atoms: pd.DataFrame, zoom: float, unit: float
) -> None:
    from matplotlib.collections import EllipseCollection
    from matplotlib.patheffects import withStroke

    around = circles(defects, atoms)
    known = defects["known"].to_numpy(bool)
    colours = np.where(known, KNOWN_COLOUR, UNNAMED_COLOUR)
    for colour, line in (("#000000a0", 3.2), (colours, 1.4)):
        axes.add_collection(
            EllipseCollection(
                2 * around[:, 2], 2 * around[:, 2], 0, units="xy", offsets=around[:, :2],
                offset_transform=axes.transData, facecolors="none", edgecolors=colour,
                linewidths=line,
            )
        )  # fmt: skip
    dark = [withStroke(linewidth=2.6, foreground=_INK)]
    order = np.argsort(known, kind="stable")  # what no rule names gets the room first
    names = [_drawable(str(name)) for name in defects["name"]]
    boxes = place_names([names[i] for i in order], around[order], unit / zoom)
    for row, box in zip(order, boxes, strict=True):
        if box is not None:
            axes.text(
                box[0], box[1], names[row], ha="left", va="bottom", path_effects=dark,
                clip_on=True, **_text(unit) | {"color": colours[row]},
            )  # fmt: skip


def _draw_scale_bar(figure: Any, bar: tuple[float, str], zoom: float, unit: float) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.transforms import IdentityTransform

    pixels = IdentityTransform()
    length, label = bar[0] * zoom, bar[1]
    width = max(length, 1.2 * unit * len(label)) + 2 * unit
    middle = unit + width / 2
    box = Rectangle((unit, unit), width, 4.4 * unit, facecolor=_INK, alpha=0.72)
    line = Rectangle((middle - length / 2, 1.8 * unit), length, 0.55 * unit, facecolor="white")
    for patch in (box, line):
        patch.set(transform=pixels, linewidth=0)
        figure.add_artist(patch)
    figure.text(
        middle, 2.75 * unit, label, transform=pixels, ha="center", va="bottom", **_text(unit)
    )


def _draw_legend(figure: Any, classes: Classes, total: int, drawn: int, unit: float) -> None:
    from matplotlib.lines import Line2D

    counts = np.bincount(classes.index, minlength=len(classes.labels))
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=0.9 * unit * 72 / _DPI,
               markerfacecolor="none", markeredgecolor=colour, markeredgewidth=0.18 * unit,
               label=f"{label}  ({count:,})")
        for label, colour, count in zip(classes.labels, classes.colours, counts, strict=True)
        if count
    ]  # fmt: skip
    heading = f"{total:,} atoms" if total != 1 else "1 atom"
    if drawn < total:
        heading += f", 1 in {total / max(drawn, 1):.2g} drawn"
    font = {"family": _FONT, "size": 1.7 * unit * 72 / _DPI}
    legend = figure.legend(
        handles=handles, title=heading, loc="lower right", frameon=True, fancybox=False,
        facecolor=_INK, edgecolor="none", framealpha=0.72, labelcolor="white", prop=font,
        borderaxespad=0.6, handletextpad=0.2, alignment="left",
    )  # fmt: skip
    legend.get_title().set(color="white", **{"fontfamily": _FONT, "fontsize": font["size"]})
    legend.set_zorder(5)


def _draw_title(figure: Any, title: str, canvas: tuple[int, int], unit: float) -> None:
    from matplotlib.transforms import IdentityTransform

    text, most = _drawable(title), int(canvas[0] / (1.25 * unit))
    figure.text(
        1.6 * unit, canvas[1] - 1.6 * unit, text if len(text) <= most else text[: most - 1] + "…",
        transform=IdentityTransform(), ha="left", va="top",
        bbox={"facecolor": _INK, "alpha": 0.72, "linewidth": 0}, **_text(unit),
    )  # fmt: skip


def _text(unit: float) -> dict[str, Any]:
    return {
        "color": "white", "fontfamily": _FONT, "fontsize": 1.8 * unit * 72 / _DPI,
        "parse_math": False, "usetex": False,
    }  # fmt: skip


def _drawable(text: str) -> str:
    """Replace signs that the font lacks; matplotlib would warn about each."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont(_FONT)).get_charmap()
    return "".join(sign if ord(sign) in known else "?" for sign in " ".join(text.split()))


def curves(logs: Sequence[Path], path: Path) -> None:
    """Draw the losses of the phases of a training run, one line each for training and validation.

    Args:
        logs: Files metrics.csv of the phases, in order.
        path: PNG to write.
    """
    import pandas as pd
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    done = 0
    for log in logs:
        table = pd.read_csv(log)
        for name, colour in (("train_loss", "0.6"), ("validation_loss", "#0b6e99")):
            label = name.replace("_", " ") if done == 0 else None
            axes.plot(done + table["step"], table[name], color=colour, label=label)
        done += int(table["step"].iloc[-1])
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.legend(frameon=False)
    beside = path.with_suffix(".part.png")
    figure.savefig(beside, dpi=120)
    beside.replace(path)
