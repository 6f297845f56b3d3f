"""Putting the page together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import atomscope
from atomscope.columns import DEFECTS, EVENTS, TRACKS, conform, empty
from atomscope.io.write import plain, write_whole
from atomscope.plot import Classes, classify_colours
from atomscope.quality import Quality
from atomscope.report import charts
from atomscope.report.composition import composition
from atomscope.report.defects import kinds
from atomscope.report.discovery import findings
from atomscope.report.layers import add_layers
from atomscope.report.measures import statistics
from atomscope.report.motifs import gallery
from atomscope.report.pictures import MAX_FRAMES, Pictures, embed, pick_frames
from atomscope.report.timeline import event_rows, timeline
from atomscope.report.viewer import (
    MAX_ATOMS,
    Drawn,
    choose_atoms,
    frames_that_fit,
    make_viewer,
    word_names,
)
from atomscope.report.words import describe_image, percent, quality_rows, verdict_row
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.discover import Discoveries


def write_report(
    path: str | Path,
    image: Image,
    atoms: pd.DataFrame,
    *,
    quality: Quality,
    card: Mapping[str, Any],
    reliability: Mapping[str, Any] | None = None,
    defects: pd.DataFrame | None = None,
    tracks: pd.DataFrame | None = None,
    events: pd.DataFrame | None = None,
    discoveries: Discoveries | None = None,
    measures: Mapping[str, pd.DataFrame] | None = None,
) -> Path:
    """Write one HTML file with image, atoms, defects, quality and run card; it needs no network.

    Frames are embedded as pictures, at most 64 spread evenly over a movie and about 20 MB in
    all; at most 250,000 atoms are embedded, and 50,000 drawn at a time. The page says where it
    shows less than all. Coordinates are always those of the input image.

    Args:
        path: The HTML file to write.
        image: The image or movie.
        atoms: Atoms table (`columns.ATOMS`) of all frames; may be empty.
        quality: What `quality.quality` returned for the table.
        card: The run card: plain values, shown folded away; its `warnings` stand on top.
        reliability: Curve of the detector from its model card: `stated` probability of each bin,
            `observed` share and `counts`.
        defects: Defects table (`columns.DEFECTS`) of all frames.
        tracks: Tracks table (`columns.TRACKS`) of a movie.
        events: Events table (`columns.EVENTS`) of a movie.
        measures: Tables of `atomscope.measure`, by name.
        discoveries: What recurs and has no name.

    Returns:
        The path that was written.

    Raises:
        UsageError: The file cannot be written.
    """
    atoms = conform(atoms)
    defects, tracks, events = (
        conform(empty(columns) if table is None else table, columns)
        for table, columns in ((defects, DEFECTS), (tracks, TRACKS), (events, EVENTS))
    )
    fitting = frames_that_fit(atoms, image.n_frames, MAX_FRAMES)
    picked = pick_frames(image.n_frames, fitting)
    pictures = embed(image, tuple(image.numbers[i] for i in picked))
    drawn = choose_atoms(atoms, pictures.frames)
    every = classify_colours(atoms)
    classes = replace(every, index=every.index[drawn.table.index])
    models = make_viewer(image, drawn, pictures, classes)
    details = plain(card)
    host, shown = host_of(details), pictures.frames
    layers = add_layers(models["viewer"], image, atoms, drawn, shown, defects, host)
    figures, mark = _charts(image, atoms, every, quality, reliability)
    life = timeline(tracks, events, atoms, defects, image.numbers)
    if life is not None:
        figures["timeline"] = life.chart
    words = {
        **_about(image, details, quality),
        "composition": composition(atoms),
        "statistics": statistics(measures),
        "classes": _legend(classes),
        "notes": [*_notes(image, drawn, pictures), *layers.notes],
        "kinds": kinds(defects, image) if len(defects) else None,
        "motifs": gallery(image, atoms, defects, host),
        "findings": findings(image, discoveries),
        "events": event_rows(events, tracks),
        "n_events": len(events),
        "timeline": life.note if life else "",
        "has_bonds": layers.settings["bond_starts"][-1] > 0,
        "last_frame": len(pictures.frames) - 1,
        "pictures": pictures.uris,
        "charts": [(name, *_TITLES[name]) for name in figures if name in _TITLES],
    }
    settings = _settings(image, drawn, pictures, classes) | layers.settings
    marks = [line for line in (mark, life and life.mark) if line is not None]
    models |= {"layers": layers.models, "marks": marks, "settings": settings}
    html = _render(models, figures, words)
    return write_whole(path, lambda draft: draft.write_text(html, encoding="utf-8"))


def _about(image: Image, card: Mapping[str, Any], quality: Quality) -> dict[str, Any]:
    """What the page says of image and run, before any atom."""
    return {
        "name": image.name,
        "facts": describe_image(image),
        "warnings": list(dict.fromkeys([*image.warnings, *(card.get("warnings") or ())])),
        "rows": [*quality_rows(quality), *verdict_row(card.get("verdict"))],
        "steps": (card.get("structures") or {}).get("steps"),
        "card": card,
    }


def host_of(card: Mapping[str, Any]) -> str:
    """Return the name of the rules by which defects were named, empty without any."""
    facts = card.get("defects")
    return str(facts.get("host") or "") if isinstance(facts, Mapping) else ""


def _render(models: dict[str, Any], charts: dict[str, Any], words: dict[str, Any]) -> str:
    """Return the page; `models` go to its script, by name, once they are on the screen."""
    from bokeh.document import Document
    from bokeh.embed import file_html
    from bokeh.events import DocumentReady
    from bokeh.models import CustomJS
    from bokeh.resources import Resources
    from jinja2 import Environment

    document = Document()
    with document.models.freeze():  # else all is gone through again for each figure
        for name, figure in {"viewer": models["viewer"], **charts}.items():
            figure.name = name
            document.add_root(figure)
    code = "startPage({" + ", ".join(models) + "})"
    document.js_on_event(DocumentReady, CustomJS(args=models, code=code))
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    scripts = "\n".join(_asset(name) for name in ("layers.js", "page.js"))
    assets = {"style": _asset("page.css"), "script": scripts}
    page: str = file_html(
        document,
        Resources(mode="inline"),
        title=f"{words['name']} – atomscope",
        template=environment.from_string(_asset("page.html.jinja")),
        template_variables={"version": atomscope.__version__, **assets, **words},
    )
    return page


_TITLES = {
    "spacings": ("Spacings", "The line marks the median."),
    "intensities": ("Intensities", "Separate peaks speak for different elements or thicknesses."),
    "frames": ("Atoms in each frame", "The line marks the frame that is shown above."),
    "reliability": (
        "Reliability of the detector",
        "On its test set, with known truth. On the dashed line a stated 80 % is right in 80 %.",
    ),
}


def _charts(
    image: Image,
    atoms: pd.DataFrame,
    classes: Classes,
    quality: Quality,
    reliability: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], Any]:
    """Return the charts that have something to show, and the mark of the shown frame."""
    frames, mark = charts.frames_chart(atoms, image.numbers)
    found = {
        "frames": frames,
        "spacings": charts.spacing_chart(quality),
        "intensities": charts.intensity_chart(atoms, classes),
        "reliability": charts.reliability_chart(reliability),
    }
    return {name: chart for name, chart in found.items() if chart is not None}, mark


def _settings(image: Image, drawn: Drawn, pictures: Pictures, classes: Classes) -> dict[str, Any]:
    height, width = image.frame_shape
    return {
        "width": width,
        "height": height,
        "pixel_size": image.pixel_size,
        "frames": list(pictures.frames),
        "span": [image.numbers[0], image.numbers[-1]],
        "times": _times(image, pictures),
        "starts": drawn.starts,
        "most": MAX_ATOMS,
        "counts": drawn.counts,
        "labels": list(classes.labels),
        "colours": list(classes.colours),
        "words": word_names(drawn.table),
    }


def _times(image: Image, pictures: Pictures) -> list[float] | None:
    if image.times is None:
        return None
    return [image.times[number - image.first_frame] for number in pictures.frames]


def _legend(classes: Classes) -> list[tuple[int, str, str]]:
    present = set(classes.index.tolist())
    pairs = zip(classes.labels, classes.colours, strict=True)
    return [(i, label, colour) for i, (label, colour) in enumerate(pairs) if i in present]


def _notes(image: Image, drawn: Drawn, pictures: Pictures) -> list[str]:
    """Say where the page shows less than all."""
    notes = []
    if len(pictures.frames) < image.n_frames:
        notes.append(
            f"{len(pictures.frames)} of {image.n_frames:,} frames are shown, spread evenly; "
            "the numbers are those of all."
        )
    if drawn.thinned:
        share = drawn.starts[-1] / sum(drawn.counts)
        notes.append(f"This page holds a random {percent(share)} of the atoms.")
    if max(drawn.counts) > MAX_ATOMS:
        notes.append(f"At most {MAX_ATOMS:,} atoms are drawn at a time; zoom in to see more.")
    if pictures.factor > 1:
        notes.append(
            f"The picture is averaged over {pictures.factor} × {pictures.factor} pixels; "
            "coordinates are those of the full image."
        )
    return notes


def _asset(name: str) -> str:
    return files("atomscope.report").joinpath(name).read_text(encoding="utf-8")
