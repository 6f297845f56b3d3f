"""What the viewer draws beside atoms: bonds, odd rings and defects of each frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.columns import is_placed, of_frame
from atomscope.plot import KNOWN_COLOUR, UNNAMED_COLOUR, Network, circles, network, ring_colour
from atomscope.report.viewer import Drawn, word_codes
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

MAX_DEFECTS = 100_000  # that the page holds
_WORDS = ("name", "formula", "rule")


@dataclass(frozen=True)
class Layers:
    """Models that the script of the page drives, and what it must know besides.

    Attributes:
        models: Data sources and renderers, by name.
        settings: First bond, ring and defect of each shown frame and the end; words; colours.
        notes: Lines that say what is left out.
    """

    models: dict[str, Any]
    settings: dict[str, Any]
    notes: list[str]


def add_layers(
    viewer: Any,
    image: Image,
    atoms: pd.DataFrame,
    drawn: Drawn,
    frames: Sequence[int],
    defects: pd.DataFrame,
    host: str,
) -> Layers:
    """Add bonds, rings and defects to the viewer, empty until its script fills them.

    Args:
        viewer: The figure.
        image: The image or movie.
        atoms: Atoms of all frames.
        drawn: The atoms that the page holds.
        frames: Which frames of the movie it shows.
        defects: Defects of all frames.
        host: Name of the rule book, empty where no host is known.
    """
    nets = [_network(drawn, k, image, host) for k in range(len(drawn.counts))]
    rows, starts = _of_frames(defects, atoms, frames)
    settings = {
        "bond_starts": _starts([len(net.bonds) for net in nets]),
        "ring_starts": _starts([len(net.rings) for net in nets]),
        "defect_starts": starts,
        "defect_words": {name: word_codes(rows[name])[1] for name in _WORDS},
        "ring_colours": {str(size): ring_colour(size) for size in range(3, 17)},
        "defect_colours": [UNNAMED_COLOUR, KNOWN_COLOUR],
    }
    notes = []
    if any(len(net.bonds) == 0 < count for net, count in zip(nets, drawn.counts, strict=True)):
        notes.append("Bonds are left out where a frame has too many atoms.")
    if starts[-1] < defects["frame"].isin(list(frames)).sum():
        notes.append(f"This page holds {starts[-1]:,} of the defects.")
    return Layers(_models(viewer, nets, rows), settings, notes)


def _network(drawn: Drawn, k: int, image: Image, host: str) -> Network:
    """Bonds of one shown frame; none where not all of its atoms are on the page."""
    start, end = drawn.starts[k], drawn.starts[k + 1]
    if end - start < drawn.counts[k]:
        return Network()
    rows = drawn.table.iloc[start:end]
    return network(rows, host=host, shape=image.frame_shape, pixel_size=image.pixel_size)


def _of_frames(
    defects: pd.DataFrame, atoms: pd.DataFrame, frames: Sequence[int]
) -> tuple[pd.DataFrame, list[int]]:
    """Defects of the shown frames with the radius of their circles, sorted by frame."""
    import pandas as pd

    placed = defects[is_placed(defects)]
    number = placed["frame"].to_numpy()
    parts = []
    for frame in frames:
        here = placed[number == frame].head(MAX_DEFECTS // len(frames))
        radius = circles(here, of_frame(atoms, frame))[:, 2] if len(here) else np.zeros(0)
        parts.append(here.assign(radius=radius))
    return pd.concat(parts), _starts([len(part) for part in parts])


def _starts(counts: list[int]) -> list[int]:
    return [0, *np.cumsum(counts).tolist()]


def _models(viewer: Any, nets: list[Network], defects: pd.DataFrame) -> dict[str, Any]:
    from bokeh.models import ColumnDataSource

    bonds = np.concatenate([net.bonds for net in nets])
    rings = [ring for net in nets for ring in net.rings]
    held = {
        # Rows within their frame: 16 bit are enough for frames whose bonds are drawn.
        "bonds": {"a": bonds[:, 0].astype(np.uint16), "b": bonds[:, 1].astype(np.uint16)},
        "ring_sizes": {"size": np.array([len(ring) for ring in rings], dtype=np.uint8)},
        "ring_atoms": {"atom": np.fromiter(chain.from_iterable(rings), dtype=np.uint16)},
        "defects": _columns(defects),
    }
    sources = {name: ColumnDataSource(data) for name, data in held.items()}
    return sources | _add_network(viewer) | _add_defects(viewer)


def _columns(defects: pd.DataFrame) -> dict[str, Any]:
    names = ("x_px", "y_px", "radius", "p")
    columns = {name: defects[name].to_numpy(np.float32) for name in names}
    columns["known"] = defects["known"].to_numpy(np.uint8)
    columns["n_atoms"] = defects["n_atoms"].to_numpy(np.int32)
    return columns | {name: word_codes(defects[name])[0] for name in _WORDS}


def _add_network(viewer: Any) -> dict[str, Any]:
    from bokeh.models import ColumnDataSource

    shown = ColumnDataSource({"xs": [], "ys": [], "x": [], "y": [], "colour": [], "size": []})
    fills = viewer.patches(
        "xs", "ys", source=shown, fill_color="colour", fill_alpha=0.3, line_color=None,
    )  # fmt: skip
    lines = ColumnDataSource({"x": [], "y": []})
    bonds = viewer.line(
        "x", "y", source=lines, line_color="#e4edf2", line_alpha=0.8, line_width=1.2
    )
    sizes = viewer.text(
        "x", "y", "size", source=shown, text_color="white", text_align="center",
        text_baseline="middle", text_font_size="14px",
    )  # fmt: skip
    return {
        "bond_lines": lines, "ring_shapes": shown,
        "bond_glyph": bonds, "ring_glyph": fills, "size_glyph": sizes,
    }  # fmt: skip


def _add_defects(viewer: Any) -> dict[str, Any]:
    from bokeh.models import ColumnDataSource, CustomJSHover, HoverTool

    shown = ColumnDataSource(
        {"x": [], "y": [], "top": [], "radius": [], "row": [], "colour": [], "name": []}
    )
    style = {"x": "x", "y": "y", "radius": "radius", "fill_alpha": 0.0, "source": shown}
    halo = viewer.circle(**style, line_color="#000000", line_alpha=0.5, line_width=4)
    rings = viewer.circle(**style, line_color="colour", line_width=1.8, hover_line_width=3)
    names = viewer.text(
        "x", "top", "name", source=shown, text_color="colour", text_align="center",
        text_baseline="bottom", text_font_size="13px", background_fill_color="#0d1117",
        background_fill_alpha=0.6, padding=2, border_radius=3,
    )  # fmt: skip
    viewer.add_tools(
        HoverTool(
            renderers=[rings], tooltips=_TOOLTIP, attachment="left",
            formatters={"@row": CustomJSHover(code="return describeDefect(value, format)")},
        )
    )  # fmt: skip
    return {
        "defect_shapes": shown, "defect_halo": halo, "defect_glyph": rings, "name_glyph": names,
    }  # fmt: skip


_TOOLTIP = """
<div style="font:13px/1.45 system-ui,sans-serif;color:#1c2530;padding:2px 4px">
  <div style="font-weight:650">@row{title}</div>
  <div>@row{formula}</div><div>@row{place}</div><div>@row{numbers}</div>
  <div style="color:#5b6774">@row{rule}</div>
</div>"""
