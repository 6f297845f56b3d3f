"""The picture for a slide: the micrograph itself, its atoms, a scale bar, a small legend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atomscope.columns import positions
from atomscope.io.write import write_whole
from atomscope.plot.colours import KNOWN_COLOUR, UNNAMED_COLOUR, classify_colours, ring_colour
from atomscope.plot.network import Network, circles, place_names
from atomscope.plot.pixels import grey, pixels_of, scale_bar, shrink, shrink_factor
from atomscope.plot.words import (
    DPI,
    INK,
    Legend,
    draw_legend,
    draw_scale_bar,
    draw_title,
    drawable,
    text,
)
from atomscope.spacing import SAMPLE, median_spacing
from atomscope.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

_COMFORTABLE_SIDE = 1200  # small frames are enlarged to this many pixels
_WIDEST, _LEAST_RING = 13.0, 2.5  # radius of rings in pixels of the picture; smaller are dots
_GAP = 0.35  # of the radius, between a ring and the bonds that end at it
_LEAST_SPACING = 8.0  # pixels of the picture between atoms, below which bonds would cover it
_ROOM = 18.0  # half lines of text: least width and height of a picture, for its words
_FEW = 5  # defects that no rule names: of more, as in a disordered film, the legend has the count


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
    says so. The picture is the frame and nothing around it, but for frames that are too narrow
    for the words, which get a dark margin as wide as these need. Bonds end at the rings and are
    left out where they would cover the image; names of defects stand beside their circles as far
    as there is room. More than a handful of defects that no rule names get thin circles without
    words, and the legend tells how many they are. The same input gives the same bytes.

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
    nameless = 0 if defects is None else int(_crowd(defects).sum())
    legend = Legend.of(classify_colours(atoms), nameless)
    bar = scale_bar(min(max(width, height), 3 * width), pixel_size)  # of a strip, less narrow
    canvas, corner = _layout(size, legend, bar[0] * zoom, unit)
    figure = Figure(figsize=(canvas[0] / DPI, canvas[1] / DPI), dpi=DPI, facecolor=INK)
    FigureCanvasAgg(figure)
    part = (size[0] / canvas[0], size[1] / canvas[1])
    axes = figure.add_axes((0, 1 - part[1], *part))
    axes.set_axis_off()
    axes.set_zorder(1)  # above the picture
    _draw_image(figure, frame, size, max_side)
    if net is not None:
        _draw_network(axes, atoms, net, zoom, unit)
    share = _draw_atoms(axes, atoms, zoom)
    if defects is not None and len(defects):
        _draw_defects(axes, defects, atoms, zoom, unit)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    draw_scale_bar(figure, bar, zoom, unit)
    draw_legend(figure, legend, share, unit, corner)
    if title:
        draw_title(figure, title, canvas, unit)
    # Without these entries the bytes depend on the picture alone.
    options: dict[str, Any] = {"metadata": {"Software": None}}
    # Noise is not made smaller by a search for repeats.
    options["pil_kwargs"] = {"compress_level": 1}
    return write_whole(path, lambda draft: figure.savefig(draft, format="png", dpi=DPI, **options))


def _layout(
    size: tuple[int, int], legend: Legend, bar: float, unit: float
) -> tuple[tuple[int, int], str]:
    """Size of the picture, the frame's or what words need, and the corner of the legend.

    Beside the scale bar, or in the upper corner where there is no room for both in one line.
    """
    width, height = (int(max(_ROOM, need) * unit) for need in legend.size)
    canvas = (max(size[0], width), max(size[1], height))
    beside = bar + (4 + legend.size[0]) * unit < canvas[0]
    return canvas, "lower right" if beside else "upper right"


def _draw_image(figure: Any, frame: FloatArray, size: tuple[int, int], max_side: int) -> None:
    """Put the frame into the upper left corner, pixel by pixel."""
    from PIL import Image as Picture

    factor = shrink_factor(frame.shape, max_side)
    small = Picture.fromarray(grey(shrink(frame, factor)))
    height, width = frame.shape  # the last blocks of a shrunken frame reach over its border
    fine = Picture.Resampling.BICUBIC if factor == 1 else Picture.Resampling.BILINEAR
    shown = np.asarray(small.resize(size, fine, box=(0, 0, width / factor, height / factor)))
    figure.add_artist(pixels_of(shown, round(figure.bbox.height) - size[1]))


def _radius(spacing: float) -> float:
    """Radius of rings, or of dots where it is small, in pixels of the picture."""
    radius = min(0.32 * spacing, _WIDEST)
    return radius if radius >= _LEAST_RING else max(0.28 * spacing, 0.9)


def _draw_atoms(axes: Any, atoms: pd.DataFrame, zoom: float) -> float:
    """Draw rings or dots and return for which share of the atoms."""
    spacing = (median_spacing(positions(atoms), SAMPLE) or 40 / zoom) * zoom
    radius = _radius(spacing)
    share = min(1.0, (spacing / 4) ** 2)  # dots nearer than 4 px would cover the image
    keep = np.random.default_rng(0).random(len(atoms)) < share
    classes = classify_colours(atoms)
    x, y = atoms["x_px"].to_numpy(float)[keep], atoms["y_px"].to_numpy(float)[keep]
    colours = np.array(classes.colours)[classes.index[keep]]
    area = (2 * radius * 72 / DPI) ** 2
    line = float(np.clip(0.16 * radius, 0.6, 1.6))
    if (
        radius >= _LEAST_RING
    ):  # a dark ring under the bright one, so that it shows on bright columns too
        axes.scatter(x, y, s=area, facecolors="none", edgecolors="#00000090", linewidths=2.4 * line)
        axes.scatter(x, y, s=area, facecolors="none", edgecolors=colours, linewidths=line)
    else:
        axes.scatter(x, y, s=area, c=colours, linewidths=0)
    return float(keep.mean()) if keep.any() else 1.0


def _draw_network(axes: Any, atoms: pd.DataFrame, net: Network, zoom: float, unit: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    spacing = (median_spacing(positions(atoms), SAMPLE) or 0.0) * zoom
    if spacing < _LEAST_SPACING:
        return
    xy = positions(atoms)
    sizes = [len(ring) for ring in net.rings]
    fill = [ring_colour(size) for size in sizes]
    outlines = [xy[list(ring)] for ring in net.rings]
    axes.add_collection(PolyCollection(outlines, facecolors=fill, alpha=0.3, linewidths=0))
    line = float(np.clip(0.035 * spacing, 0.5, 1.4))
    ends = xy[net.bonds]
    # From ring to ring, so that the columns stay visible.
    away = ends - ends.mean(axis=1, keepdims=True)
    half = np.linalg.norm(away, axis=-1, keepdims=True)
    inset = np.minimum((1 + _GAP) * _radius(spacing) / zoom, 0.6 * half)
    between = ends - away * inset / np.maximum(half, 1e-9)
    # One outline of many strokes: a collection would handle each bond by itself.
    strokes = np.tile([Outline.MOVETO, Outline.LINETO], len(between))
    if len(between):
        bonds = Outline(between.reshape(-1, 2), strokes)
        axes.add_artist(PathPatch(bonds, fill=False, edgecolor="#e4edf2", alpha=0.75, lw=line))
    if spacing < 2.4 * unit:
        return
    for outline, size in zip(outlines, sizes, strict=True):
        axes.text(*outline.mean(axis=0), str(size), ha="center", va="center", **text(unit))


def _draw_defects(
    axes: Any, defects: pd.DataFrame, atoms: pd.DataFrame, zoom: float, unit: float
) -> None:
    from matplotlib.collections import EllipseCollection
    from matplotlib.patheffects import withStroke

    around = circles(defects, atoms)
    known = defects["known"].to_numpy(bool)
    colours = np.where(known, KNOWN_COLOUR, UNNAMED_COLOUR)
    crowd = _crowd(defects)
    thin = np.where(crowd, 0.6, 1.0)
    for colour, line in (("#000000a0", 3.2 * thin), (colours, 1.4 * thin)):
        axes.add_collection(
            EllipseCollection(
                2 * around[:, 2], 2 * around[:, 2], 0, units="xy", offsets=around[:, :2],
                offset_transform=axes.transData, facecolors="none", edgecolors=colour,
                linewidths=line,
            )
        )  # fmt: skip
    dark = [withStroke(linewidth=2.6, foreground=INK)]
    order = np.argsort(known, kind="stable")  # what no rule names gets the room first
    order = order[~crowd[order]]
    names = [drawable(str(name)) for name in defects["name"]]
    boxes = place_names([names[i] for i in order], around[order], unit / zoom)
    for row, box in zip(order, boxes, strict=True):
        if box is not None:
            axes.text(
                box[0], box[1], names[row], ha="left", va="bottom", path_effects=dark,
                clip_on=True, **text(unit) | {"color": colours[row]},
            )  # fmt: skip


def _crowd(defects: pd.DataFrame) -> NDArray[np.bool_]:
    """Defects that no rule names, where there are more than a handful, shape (D,)."""
    nameless = ~defects["known"].to_numpy(bool)
    return np.asarray(nameless & (nameless.sum() > _FEW))
