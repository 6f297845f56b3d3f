"""The image with its atoms: zoom, pan, hover, frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.columns import of_frame, positions
from atomscope.plot import Classes
from atomscope.report.pictures import Pictures
from atomscope.spacing import SAMPLE, median_spacing
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

MAX_ATOMS = 50_000  # drawn at a time: browsers stay fluent
MAX_ROWS = 250_000  # that the page holds, in all frames
_WEBGL_FROM = 3_000
_WORDS = ("species", "structure", "flags")


@dataclass(frozen=True)
class Drawn:
    """The atoms that the page holds.

    Attributes:
        table: Their rows with their old index, sorted by frame.
        starts: First row of each shown frame, and the end, shape (frames + 1,).
        counts: Atoms of each shown frame before thinning.
        spacing: Median distance (px) to the nearest neighbour in the first shown frame that has
            two atoms, before thinning; None without one.
        thinned: Whether some were left out for good.
    """

    table: pd.DataFrame
    starts: list[int]
    counts: list[int]
    spacing: float | None
    thinned: bool


def frames_that_fit(atoms: pd.DataFrame, n_frames: int, at_most: int) -> int:
    """Return how many frames a page can hold without thinning the atoms of any."""
    per_frame = min(max(len(atoms) / n_frames, 1), MAX_ATOMS)
    return max(1, min(at_most, int(MAX_ROWS / per_frame)))


def choose_atoms(atoms: pd.DataFrame, frames: tuple[int, ...]) -> Drawn:
    """Take the atoms of the shown frames, a fair sample of a frame that has too many."""
    limit = MAX_ROWS // len(frames)
    whole = [of_frame(atoms, index) for index in frames]
    parts = [_sample(rows, limit) for rows in whole]
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).tolist()
    counts = [len(rows) for rows in whole]
    spacings = [median_spacing(positions(rows), SAMPLE) for rows in whole]
    spacing = next(filter(None, spacings), None)
    table = parts[0] if len(parts) == 1 else _stack(parts)
    return Drawn(table, starts, counts, spacing, starts[-1] < sum(counts))


def make_viewer(image: Image, drawn: Drawn, pictures: Pictures, classes: Classes) -> dict[str, Any]:
    """Return the figure and the models that the page's script drives, by name."""
    from bokeh.models import BoxZoomTool, ColumnDataSource, Range1d
    from bokeh.plotting import figure

    height, width = image.frame_shape
    viewer = figure(
        x_range=Range1d(-0.5, width - 0.5), y_range=Range1d(height - 0.5, -0.5),
        sizing_mode="stretch_both", min_border=0, toolbar_location="above",
        tools=["pan", BoxZoomTool(match_aspect=True), "wheel_zoom", "reset", "save"],
        active_drag="pan", active_scroll="wheel_zoom",
        output_backend="webgl" if max(drawn.counts) > _WEBGL_FROM else "canvas",
        background_fill_color="#0d1117", outline_line_color=None,
    )  # fmt: skip
    _style_axes(viewer)
    picture = ColumnDataSource({"url": [pictures.uris[0]]})
    viewer.image_url(
        url="url", x=-0.5, y=-0.5, w=pictures.size[0], h=pictures.size[1], source=picture
    )
    shown = ColumnDataSource({"x": [], "y": [], "row": [], "colour": []})
    rings = _add_rings(viewer, shown, 0.32 * (drawn.spacing or 0.05 * max(height, width)))
    _add_scale_bar(viewer, image.pixel_size)
    everything = ColumnDataSource(_columns(drawn.table, classes))
    return {"viewer": viewer, "picture": picture, "shown": shown, "everything": everything, **rings}


def _sample(rows: pd.DataFrame, limit: int) -> pd.DataFrame:
    if len(rows) <= limit:
        return rows
    kept = np.random.default_rng(0).choice(len(rows), limit, replace=False)
    return rows.iloc[np.sort(kept)]


def _stack(parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(parts)


def _columns(table: pd.DataFrame, classes: Classes) -> dict[str, Any]:
    """Compact arrays of all atoms; words as codes, whose names the script gets beside them."""
    names = ("x_px", "y_px", "x_err_px", "y_err_px", "p", "species_p", "intensity")
    columns = {name: table[name].to_numpy(np.float32) for name in names}
    columns["atom"] = table["atom"].to_numpy(np.int32)
    columns["class"] = classes.index.astype(np.uint8)
    for name in _WORDS:
        if name in table:
            columns[name] = word_codes(table[name])[0]
    return columns


def word_codes(words: pd.Series) -> tuple[Any, list[str]]:
    """Return words as numbers, and the word behind each number."""
    known = words.astype(object).where(words.notna(), "")
    texts = known.astype(str).to_numpy(dtype=object)
    names, codes = np.unique(texts, return_inverse=True)
    return codes.astype(np.int32), names.tolist()


def word_names(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the words of each column of words, in the order of their codes."""
    return {name: word_codes(table[name])[1] for name in _WORDS if name in table}


def _add_rings(viewer: Any, shown: Any, radius: float) -> Any:
    from bokeh.models import CustomJSHover, HoverTool

    style = {"x": "x", "y": "y", "radius": radius, "fill_alpha": 0.0, "source": shown}
    # A dark ring under the bright one, so that it shows on bright columns too.
    halo = viewer.circle(**style, line_color="#000000", line_alpha=0.45, line_width=3.2)
    rings = viewer.circle(
        **style, line_color="colour", line_width=1.6, fill_color="colour", hover_fill_alpha=0.12,
        hover_fill_color="colour", hover_line_color="colour",
    )  # fmt: skip
    viewer.add_tools(
        HoverTool(
            renderers=[rings], tooltips=_TOOLTIP, attachment="right",
            formatters={"@row": CustomJSHover(code="return describeAtom(value, format)")},
        )
    )  # fmt: skip
    return {"halo": halo, "rings": rings}


_TOOLTIP = """
<div style="font:13px/1.45 system-ui,sans-serif;color:#1c2530;padding:2px 4px">
  <div style="font-weight:650">@row{title}</div>
  <div>@row{pixels}</div><div>@row{lengths}</div><div>@row{numbers}</div>
  <div style="color:#9a4a00">@row{words}</div>
</div>"""


def _style_axes(viewer: Any) -> None:
    for axis in (viewer.xaxis, viewer.yaxis):
        axis.axis_line_color = None
        axis.major_tick_line_color = "#c3cad2"
        axis.minor_tick_line_color = None
        axis.major_label_text_color = "#5b6774"
        axis.major_label_text_font_size = "11px"
    viewer.xaxis.axis_label = "x, y in px"
    viewer.xaxis.axis_label_text_color = "#5b6774"
    viewer.xaxis.axis_label_text_font_size = "11px"
    viewer.xaxis.axis_label_text_font_style = "normal"
    viewer.grid.visible = False
    viewer.toolbar.logo = None


def _add_scale_bar(viewer: Any, pixel_size: float | None) -> None:
    from bokeh.models import ScaleBar
    from bokeh.models.annotations.dimensional import ImperialLength

    pixels = {"px": 1.0}
    if pixel_size is not None:
        pixels |= {"Å": 1 / pixel_size, "nm": 10 / pixel_size, "µm": 1e4 / pixel_size}
    # Of the lengths with a basis of one's own, the only one that the browser's side can read.
    lengths = ImperialLength(
        basis={unit: (length, unit, unit) for unit, length in pixels.items()},
        ticks=[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000],
    )
    viewer.add_layout(
        ScaleBar(
            range=viewer.x_range, unit="px", location="bottom_left", bar_length=0.2,
            dimensional=lengths,
            background_fill_color="#0d1117", background_fill_alpha=0.7, border_line_color=None,
            bar_line_color="white", bar_line_width=4, label_text_color="white",
            label_location="above", label_text_font_size="13px", margin=12, padding=8,
        )
    )  # fmt: skip
