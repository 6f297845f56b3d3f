"""Small charts of the report: spacings, intensities, reliability, atoms per frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.plot import Classes
from atomscope.quality import Quality

if TYPE_CHECKING:
    import pandas as pd

_BLUE = "#2f6fb2"
_INK = "#5b6774"


def spacing_chart(result: Quality) -> Any | None:
    """Histogram of the distance to the nearest neighbour, or None without one."""
    if not result.spacing_counts or result.spacing_px is None:
        return None
    scale, unit = 1.0, "px"
    if result.spacing_angstrom is not None:
        scale, unit = result.spacing_angstrom / result.spacing_px, "Å"
    edges, counts = scale * np.array(result.spacing_edges_px), np.array(result.spacing_counts)
    chart = empty_chart(f"distance to the nearest neighbour ({unit})", "atoms")
    _bars(chart, *_where_it_matters(edges, counts), _BLUE)
    add_mark(chart, scale * result.spacing_px)
    return chart


def intensity_chart(atoms: pd.DataFrame, classes: Classes) -> Any | None:
    """Histogram of the intensities, one colour for each class of atoms, or None without any."""
    intensity = atoms["intensity"].to_numpy(float)
    known = np.isfinite(intensity)
    if not known.any():
        return None
    low, high = np.percentile(intensity[known], [0.2, 99.8])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    chart = empty_chart("intensity (counts px)", "atoms")
    bottom = np.zeros(60)
    for number, (label, colour) in enumerate(zip(classes.labels, classes.colours, strict=True)):
        chosen = known & (classes.index == number)
        if chosen.any():
            counts, edges = np.histogram(intensity[chosen], bins=60, range=(low, high))
            _bars(chart, edges, counts, colour, bottom, label)
            bottom = bottom + counts
    _style_legend(chart)
    return chart


def reliability_chart(reliability: Mapping[str, Any] | None) -> Any | None:
    """Stated probability against observed share on the detector's test set, or None.

    Args:
        reliability: `stated` probability of each bin, `observed` share and `counts`.
    """
    if not reliability or not reliability.get("observed"):
        return None
    observed = np.array(reliability["observed"], dtype=float)
    stated = np.array(reliability["stated"], dtype=float)
    counts = np.nan_to_num(np.array(reliability.get("counts") or np.ones(len(observed)), float))
    known = np.isfinite(observed) & np.isfinite(stated)
    if not known.any():
        return None
    chart = empty_chart("probability that the detector states", "share that was real")
    chart.line([0, 1], [0, 1], line_color="#b5bec8", line_dash=[5, 4], line_width=1.5)
    size = 5 + 9 * np.sqrt(counts / max(counts.max(), 1))
    chart.line(stated[known], observed[known], line_color=_BLUE, line_width=2)
    chart.scatter(
        stated[known], observed[known], size=size[known], fill_color=_BLUE, line_color="white"
    )
    chart.x_range.update(start=0, end=1.03)
    chart.y_range.update(start=0, end=1.05)
    return chart


def frames_chart(atoms: pd.DataFrame, numbers: range) -> tuple[Any | None, Any | None]:
    """Atoms in each frame, and the mark of the frame that is shown; None, None for one image."""
    if len(numbers) < 2:
        return None, None
    counts = np.bincount(atoms["frame"].to_numpy(np.int64) - numbers[0], minlength=len(numbers))
    chart = empty_chart("frame", "atoms")
    chart.line(np.array(numbers), counts, line_color=_BLUE, line_width=2)
    if len(numbers) <= 200:
        chart.scatter(np.array(numbers), counts, size=4, color=_BLUE)
    spread = max(int(np.ptp(counts)), 1)
    chart.y_range.update(start=max(counts.min() - spread, 0), end=counts.max() + spread)
    return chart, add_mark(chart, numbers[0])


def _where_it_matters(edges: Any, counts: Any, bars: int = 60) -> tuple[Any, Any]:
    """Cut a histogram to the bins that hold nearly all, and join bins until few are left."""
    share = np.cumsum(counts) / max(counts.sum(), 1)
    first, last = np.searchsorted(share, [0.003, 0.997])
    margin = max(8, (last - first) // 5)
    first, last = max(first - margin, 0), min(last + margin + 1, len(counts))
    joined = max(1, round((last - first) / bars))
    starts = np.arange(first, last, joined)
    return np.append(edges[starts], edges[last]), np.add.reduceat(counts[:last], starts)


def empty_chart(x_label: str, y_label: str, **options: Any) -> Any:
    """Return a figure in the style of the page; the options are those of bokeh's figure."""
    from bokeh.models import LinearAxis, Range1d
    from bokeh.plotting import figure

    style = {
        "height": 220, "sizing_mode": "stretch_width", "toolbar_location": None, "tools": "",
        "x_axis_label": x_label, "y_axis_label": y_label, "outline_line_color": None,
        "background_fill_alpha": 0, "border_fill_alpha": 0, "min_border_right": 12,
    }  # fmt: skip
    chart = figure(**{**style, **options})
    if y_label.startswith("share"):
        chart.x_range, chart.y_range = Range1d(0, 1), Range1d(0, 1)
    for axis in (chart.xaxis, chart.yaxis):
        axis.axis_line_color = axis.major_tick_line_color = "#c3cad2"
        axis.minor_tick_line_color = None
        if isinstance(axis[0], LinearAxis):
            axis.ticker.desired_num_ticks = 5
            axis.formatter.use_scientific = False
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = _INK
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "11px"
    chart.xgrid.visible = False
    chart.ygrid.grid_line_color = "#e7ebef"
    return chart


def _bars(
    chart: Any, edges: Any, counts: Any, colour: str, bottom: Any = 0, label: str | None = None
) -> None:
    named = {} if label is None else {"legend_label": label}
    chart.quad(
        left=edges[:-1], right=edges[1:], bottom=bottom, top=bottom + counts,
        fill_color=colour, line_color="#3d4a57", line_width=0.4, **named,
    )  # fmt: skip
    chart.y_range.start = 0


def add_mark(chart: Any, place: float) -> Any:
    """Add a line across the chart, and return it."""
    from bokeh.models import Span

    mark = Span(location=place, dimension="height", line_color="#d1495b", line_width=1.5)
    chart.add_layout(mark)
    return mark


def _style_legend(chart: Any) -> None:
    chart.legend.label_text_font_size = "11px"
    chart.legend.border_line_color = None
    chart.legend.background_fill_alpha = 0.7
    chart.legend.spacing = 0
    chart.legend.glyph_height = 12
    chart.legend.glyph_width = 12
