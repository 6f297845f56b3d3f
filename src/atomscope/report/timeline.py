"""The life of dopants and defects in a movie: a row each over the frames, events as marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atomscope.plot import PALETTE, UNKNOWN_COLOUR
from atomscope.report.charts import add_mark, empty_chart
from atomscope.report.words import percent
from atomscope.track.tracker import RARE

if TYPE_CHECKING:
    from bokeh.models import ColumnDataSource

MAX_TRACKS = 30
MAX_EVENTS = 200  # rows of the table
_LEAST = 0.1  # share of the frames: what is seen less may be a missed atom
_ELSEWHERE = "others"


@dataclass(frozen=True)
class Timeline:
    """The chart, the line that marks the shown frame, and what is left out."""

    chart: Any
    mark: Any
    note: str


@dataclass(frozen=True)
class EventRow:
    """One event as texts, and its frame."""

    frame: int
    kind: str
    what: str
    change: str
    p: str


def timeline(
    tracks: pd.DataFrame,
    events: pd.DataFrame,
    atoms: pd.DataFrame,
    defects: pd.DataFrame,
    numbers: range,
) -> Timeline | None:
    """Draw the tracks of dopants, vacancies and defects; None without any, or for one image.

    A dopant has the colour of its coordination where it switches, as the events tell, else of the
    defect that it belongs to; a defect that of its name.

    Args:
        tracks: Table of `atomscope.columns.TRACKS`.
        events: Table of `atomscope.columns.EVENTS`.
        atoms: Atoms of all frames.
        defects: Defects of all frames.
        numbers: Of the frames of the movie.
    """
    if len(numbers) < 2 or len(tracks) == 0:
        return None
    states = states_of(tracks, events, atoms, defects)
    order = _by_interest(states, events, len(numbers))
    if not order:
        return None
    shown = order[:MAX_TRACKS]
    bars = runs(states[states["track"].isin(shown)])
    labels = _labels(tracks, shown)
    chart, mark = _draw(bars, events, labels, numbers)
    note = "A row for each dopant, vacancy and defect; diamonds are events; click to see a frame."
    every = states["track"].nunique()
    if every > len(shown):
        note += f" Of {every:,} tracks those with events, then the longest, are drawn"
        note += f"; not those without events in less than {percent(_LEAST)} of the frames."
    return Timeline(chart, mark, note)


def states_of(
    tracks: pd.DataFrame, events: pd.DataFrame, atoms: pd.DataFrame, defects: pd.DataFrame
) -> pd.DataFrame:
    """Return track, frame and state of dopants, vacancies and defects, sorted.

    Defects around a dopant that is followed itself are left out: its own row tells their name.
    """
    dopants = _dopants(tracks, events)
    joined = _with_defect(dopants, atoms, defects)
    switched = _switched(dopants, events)
    word = joined["name"].where(joined["name"].notna(), joined["species"]).astype(object)
    word = word.where(switched == "", joined["species"].astype(object) + " " + switched)
    own = joined.assign(state=word)[["track", "frame", "state"]]
    told = set(zip(joined["frame"], joined["defect"].fillna(-1), strict=True))
    others = tracks[tracks["kind"].isin(["vacancy", "defect"])]
    pairs = zip(others["frame"], others["atom"].fillna(-2), strict=True)
    twin = np.array([pair in told for pair in pairs], dtype=bool)
    twin &= (others["kind"] == "defect").to_numpy(bool)
    share = pd.Series(twin, index=others["track"].to_numpy()).groupby(level=0).mean()
    others = others[others["track"].map(share).to_numpy(float) <= 0.5]
    word = others["species"].where(others["species"].fillna("") != "", others["kind"])
    rest = others.assign(state=word.astype(object))[["track", "frame", "state"]]
    found = pd.concat([own, rest]).sort_values(["track", "frame"], ignore_index=True)
    return found.drop_duplicates(["track", "frame"], ignore_index=True)


def runs(states: pd.DataFrame) -> pd.DataFrame:
    """Join frames that follow each other in one state: track, state, first, last."""
    table = states.sort_values(["track", "frame"], ignore_index=True)
    new = (table["track"] != table["track"].shift()) | (table["state"] != table["state"].shift())
    new |= table["frame"] != table["frame"].shift() + 1
    grouped = table.groupby(new.cumsum().to_numpy())
    columns = {"track": "first", "state": "first", "frame": ["first", "last"]}
    found = grouped.agg(columns)
    found.columns = pd.Index(["track", "state", "first", "last"])
    return found.reset_index(drop=True)


def event_rows(events: pd.DataFrame, tracks: pd.DataFrame) -> list[EventRow]:
    """Return the first events in the order of time, as texts."""
    species = tracks.drop_duplicates("track").set_index("track")["species"]
    ordered = events.sort_values(["frame", "event"]).head(MAX_EVENTS)
    rows = []
    for row in ordered.to_dict("records"):
        track = None if pd.isna(row["track"]) else int(row["track"])
        what = "" if track is None else f"{species.get(track, '') or 'track'} {track}"
        p = f"{row['p']:.2f}" if np.isfinite(row["p"]) else ""
        change = " → ".join(str(row[side] or "–") for side in ("from", "to"))
        rows.append(EventRow(int(row["frame"]), str(row["kind"]), what, change, p))
    return rows


def _dopants(tracks: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Atoms of rare species, and those that something other than a border happened to."""
    single = tracks[tracks["kind"] == "atom"]
    species = single.groupby("track")["species"].first().fillna("")
    share = species.map(species.value_counts(normalize=True)).astype(float)
    rare = species.index[(share < RARE) & (species != "")]
    touched = events.loc[events["kind"] != "border", "track"].dropna().astype(np.int64)
    return single[single["track"].isin({*rare, *touched})]


def _with_defect(dopants: pd.DataFrame, atoms: pd.DataFrame, defects: pd.DataFrame) -> pd.DataFrame:
    """Add the number and the name of the defect that each atom belongs to."""
    of_atom = atoms[["frame", "atom", "defect"]].astype("Int64")
    of_atom = of_atom.drop_duplicates(["frame", "atom"])
    names = defects[["frame", "defect", "name"]].astype({"frame": "Int64", "defect": "Int64"})
    names = names.drop_duplicates(["frame", "defect"])
    table = dopants[["track", "frame", "atom", "species"]]
    table = table.astype({"frame": "Int64", "atom": "Int64"})
    table = table.merge(of_atom, how="left", on=["frame", "atom"])
    return table.merge(names, how="left", on=["frame", "defect"])


def _switched(dopants: pd.DataFrame, events: pd.DataFrame) -> np.ndarray:
    """Coordination of each row where its track switches, else ''."""
    found = np.full(len(dopants), "", dtype=object)
    track, frame = dopants["track"].to_numpy(np.int64), dopants["frame"].to_numpy(np.int64)
    switches = events[(events["kind"] == "switch") & events["track"].notna()]
    for number, rows in switches.sort_values("frame").groupby("track"):
        here = np.flatnonzero(track == int(str(number)))
        words = np.array([str(rows["from"].iloc[0]), *rows["to"].astype(str)], dtype=object)
        found[here] = words[np.searchsorted(rows["frame"], frame[here], side="right")]
    return found


def _by_interest(states: pd.DataFrame, events: pd.DataFrame, n_frames: int) -> list[int]:
    """Tracks with the most events first, then the longest; short ones without any not at all."""
    length = states["track"].value_counts()
    number = events["track"].dropna().astype(np.int64).value_counts()
    happened = number.reindex(length.index).fillna(0).to_numpy()
    order = np.lexsort((length.index.to_numpy(), -length.to_numpy(), -happened))
    order = order[(happened > 0)[order] | (length.to_numpy()[order] >= _LEAST * n_frames)]
    return [int(track) for track in length.index.to_numpy()[order]]


def _labels(tracks: pd.DataFrame, shown: list[int]) -> dict[int, str]:
    about = tracks.drop_duplicates("track").set_index("track")
    words = {t: str(about.loc[t, "species"] or about.loc[t, "kind"]) for t in shown}
    return {track: f"{word} · {track}" for track, word in words.items()}


def _draw(
    bars: pd.DataFrame, events: pd.DataFrame, labels: dict[int, str], numbers: range
) -> tuple[Any, Any]:
    from bokeh.events import Tap
    from bokeh.models import CustomJS, FactorRange, HoverTool

    source = _event_source(events, labels)
    rows = [*labels.values()] + [_ELSEWHERE] * (_ELSEWHERE in set(source.data["row"]))
    chart = empty_chart("frame", "", y_range=FactorRange(*rows[::-1]), height=70 + 24 * len(rows))
    chart.x_range.update(start=numbers.start - 0.5, end=numbers.stop - 0.5)
    place = {state: k for k, state in enumerate(bars["state"].value_counts().index)}
    number = np.minimum(bars["state"].map(place).to_numpy(np.int64), len(PALETTE))
    for k in np.unique(number):
        here = bars[number == k]
        few = k < len(PALETTE)
        label = str(here["state"].iloc[0] or "unknown") if few else "other"
        chart.hbar(
            y=[labels[track] for track in here["track"]], height=0.62,
            left=here["first"].to_numpy() - 0.5, right=here["last"].to_numpy() + 0.5,
            fill_color=PALETTE[k] if few else UNKNOWN_COLOUR, line_color="#3d4a57",
            line_width=0.4, legend_label=label,
        )  # fmt: skip
    marks = chart.scatter(
        "frame", "row", source=source, marker="diamond", size=12, fill_color="#d1495b",
        line_color="white", line_width=1,
    )  # fmt: skip
    chart.add_layout(chart.legend[0], "right")
    chart.add_tools(HoverTool(renderers=[marks], tooltips=_TOOLTIP))
    chart.js_on_event(Tap, CustomJS(code="showMovieFrame(cb_obj.x)"))
    return chart, add_mark(chart, numbers[0])


def _event_source(events: pd.DataFrame, labels: dict[int, str]) -> ColumnDataSource:
    from bokeh.models import ColumnDataSource

    tracks = [None if pd.isna(track) else int(track) for track in events["track"]]
    return ColumnDataSource(
        {
            "frame": events["frame"].to_numpy(),
            "row": [labels.get(track, _ELSEWHERE) if track is not None else _ELSEWHERE
                    for track in tracks],
            "kind": events["kind"].astype(str).tolist(),
            "change": [f"{a or '–'} → {b or '–'}" for a, b in
                       zip(events["from"], events["to"], strict=True)],
            "p": events["p"].to_numpy(float).round(3),
        }
    )  # fmt: skip


_TOOLTIP = [("event", "@kind"), ("change", "@change"), ("p", "@p"), ("frame", "@frame")]
