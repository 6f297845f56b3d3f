"""The picture for a slide: the micrograph itself, its atoms, a scale bar, a small legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.io.write import write_whole
from atomscope.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

# Bright enough to stand out on grey, each told from the next also by colour-blind eyes.
PALETTE = ("#35d0ff", "#ffcf33", "#ff6b9d", "#7be07f", "#ff9a3d", "#b9a1ff", "#f2f2f2", "#c0e218")
UNKNOWN_COLOUR = "#b8c4cc"

_DPI = 100  # only the ratio of points to pixels; the picture has as many pixels as it needs
_COMFORTABLE_SIDE = 1200  # small frames are enlarged to this many pixels
_FONT = "DejaVu Sans"  # comes with matplotlib, so that every machine draws the same picture
_INK = "#11151a"


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


def overlay(
    frame: FloatArray,
    atoms: pd.DataFrame,
    path: str | Path,
    *,
    pixel_size: float | None,
    title: str | None = None,
    max_side: int = 2000,
) -> Path:
    """Write a PNG of one frame with its atoms.

    Rings stand around the atoms and shrink with their spacing; where they would cover the image
    they become dots, and where even dots would, a fair share of them is drawn and the legend
    says so. The picture is the frame and nothing around it, but for very narrow frames, which get
    a dark margin to hold the words. The same input gives the same bytes.

    Args:
        frame: Values, shape (y, x); what is not finite is drawn black.
        atoms: Rows of the atoms table that belong to this frame; may be empty.
        path: The PNG to write.
        pixel_size: Å per pixel, or None for a scale bar in pixels.
        title: A line in the upper left corner.
        max_side: Longest side of the picture in pixels; larger frames are averaged down.

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
    _draw_image(axes, frame, max_side)
    drawn = _draw_atoms(axes, atoms, zoom)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    _draw_scale_bar(figure, scale_bar(width, pixel_size), zoom, unit)
    _draw_legend(figure, classify_colours(atoms), len(atoms), drawn, unit)
    if title:
        _draw_title(figure, title, canvas, unit)
    # Without these entries the bytes depend on the picture alone.
    metadata = {"Software": None}
    return write_whole(
        path, lambda draft: figure.savefig(draft, format="png", dpi=_DPI, metadata=metadata)
    )


def shrink_factor(shape: tuple[int, ...], max_side: int) -> int:
    """Return the smallest block edge for `shrink` that brings both sides to `max_side` or less."""
    return max(1, -(-max(shape) // max_side))


def shrink(frame: FloatArray, factor: int) -> FloatArray:
    """Average blocks of `factor` × `factor` pixels.

    Values that are not finite are left out of the means; a block of nothing else is NaN. Where
    the sides are no multiples, the last blocks reach over the border.
    """
    if factor == 1:
        return frame
    height, width = frame.shape
    columns = np.arange(0, width, factor)
    rows = []
    for top in range(0, height, factor):  # strip by strip, so that a huge frame is not doubled
        strip = frame[top : top + factor]
        valid = np.isfinite(strip)
        sums = np.where(valid, strip, 0).sum(axis=0, dtype=np.float64)
        counts = np.add.reduceat(valid.sum(axis=0), columns)
        means = np.add.reduceat(sums, columns) / np.maximum(counts, 1)
        rows.append(np.where(counts > 0, means, np.nan))
    return np.array(rows)


def grey(frame: FloatArray) -> NDArray[np.uint8]:
    """Stretch a frame to 8 bit between its 0.3 and 99.8 percentiles; not finite becomes 0."""
    finite = np.isfinite(frame)
    if not finite.any():
        return np.zeros(frame.shape, dtype=np.uint8)
    values = frame[finite]
    low, high = np.percentile(values[:: max(1, values.size // 1_000_000)], [0.3, 99.8])
    if high <= low:
        low, high = float(values.min()), float(values.max())
    scale = 255 / (high - low) if high > low else 0.0
    stretched = (np.where(finite, frame, low).astype(np.float64) - low) * scale
    return np.asarray(np.clip(stretched, 0, 255).round(), dtype=np.uint8)


def classify_colours(atoms: pd.DataFrame) -> Classes:
    """Colour atoms by species where one is known, else by brightness class, else by probability."""
    species = atoms["species"].fillna("").to_numpy(dtype=object)
    if (species != "").any():
        names = sorted(set(species) - {""})
        colours = [PALETTE[i % len(PALETTE)] for i in range(len(names))] + [UNKNOWN_COLOUR]
        place = {name: i for i, name in enumerate([*names, ""])}
        index = np.array([place[name] for name in species], dtype=np.int64)
        return Classes((*names, "unknown"), tuple(colours), index)
    bright = _by_brightness(atoms)
    if bright is not None:
        return bright
    p = atoms["p"].to_numpy(float)
    if not np.isfinite(p).any():
        return Classes(("atoms",), PALETTE[:1], np.zeros(len(p), dtype=np.int64))
    index = np.select([p >= 0.9, p >= 0.5], [0, 1], 2).astype(np.int64)
    return Classes(("p ≥ 0.9", "p 0.5–0.9", "p < 0.5"), PALETTE[:3], index)


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


def median_spacing(atoms: pd.DataFrame) -> float | None:
    """Return the median distance (px) to the nearest neighbour in one frame, from a sample."""
    xy = atoms[["x_px", "y_px"]].to_numpy(float)
    if len(xy) < 2:
        return None
    sample = xy[:: max(1, len(xy) // 5000)]
    return float(np.median(cKDTree(xy).query(sample, k=2)[0][:, 1]))


def scale_bar(width: int, pixel_size: float | None) -> tuple[float, str]:
    """Return the length (px) and the label of a bar of about a fifth of the width."""
    target = 0.22 * width * (pixel_size or 1.0)
    power = 10.0 ** np.floor(np.log10(target))
    length = float(max(step * power for step in (1, 2, 5) if step * power <= target * (1 + 1e-9)))
    if pixel_size is None:
        return length, f"{length:g} px"
    units = (("µm", 1e4), ("nm", 10.0), ("Å", 1.0), ("pm", 0.01))
    unit, angstrom = next((u for u in units if length >= u[1] * (1 - 1e-9)), units[-1])
    return length / pixel_size, f"{length / angstrom:.3g} {unit}"


def _draw_image(axes: Any, frame: FloatArray, max_side: int) -> None:
    factor = shrink_factor(frame.shape, max_side)
    small = shrink(frame, factor)
    rows, columns = small.shape
    axes.imshow(
        grey(small),
        cmap="gray",
        vmin=0,
        vmax=255,
        aspect="auto",
        interpolation="bicubic" if factor == 1 else "bilinear",
        extent=(-0.5, columns * factor - 0.5, rows * factor - 0.5, -0.5),
    )


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
