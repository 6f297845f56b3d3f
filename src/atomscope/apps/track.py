"""`atomscope track`: from the atoms of a movie to tracks, events and rates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope.errors import InputError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.track import Tracking


def track_run(
    source: Path, out: Path, *, frame_time: float | None = None, dose: float | None = None
) -> dict[str, Any]:
    """Track a run and write tracks.csv, events.csv, transitions.csv, atoms.csv and events.json.

    Args:
        source: Folder of a run, or its atoms.csv; defects.csv is read from beside it.
        out: Folder for the results.
        frame_time: Time from frame to frame in s.
        dose: Per frame, in e/Å².

    Returns:
        Counts for the terminal: frames, atoms, vacancies, defects, events by kind.

    Raises:
        InputError: There is no table of atoms, or it cannot be read.
        UsageError: Its columns are not those of a run, or `out` cannot be written.
    """
    from atomscope.track import find_events, summary, track

    if frame_time is not None and not frame_time > 0:
        raise UsageError(f"--frame-time {frame_time:g}; expected seconds above 0.")
    if dose is not None and not dose > 0:
        raise UsageError(f"--dose {dose:g}; expected electrons per Å² and frame, above 0.")
    path = source / "atoms.csv" if source.is_dir() else source
    atoms = read_table(path)
    beside = path.with_name("defects.csv")
    tracking = track(atoms, defects=read_table(beside) if beside.is_file() else None)
    times = None
    if frame_time is not None:
        times = [frame_time * int(number) for number in tracking.frames]
    events = find_events(tracking, times=times, dose_per_frame=dose)
    numbers = summary(events, tracking, times=times, dose_per_frame=dose)
    report = about(tracking, events)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out, tracking, events, numbers.rates, report | numbers.to_dict())
    except OSError as error:
        raise UsageError(
            f"{out}: cannot be written ({error.strerror or error}); "
            "give a folder that can be written with -o."
        ) from error
    return report


def about(tracking: Tracking, events: pd.DataFrame) -> dict[str, Any]:
    """Count tracks and events."""
    kinds = tracking.lives["kind"].value_counts()
    return {
        "frames": len(tracking.frames),
        "tracks": {kind: int(kinds.get(kind, 0)) for kind in ("atom", "vacancy", "defect")},
        "events": {str(k): int(n) for k, n in events["kind"].value_counts().sort_index().items()},
    }


def say(report: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Print what `track_run` returned."""
    if as_json:
        from json import dumps

        print(dumps(report))
        return
    found = ", ".join(f"{n} {kind}" for kind, n in report["events"].items()) or "none"
    atoms, frames = report["tracks"]["atom"], report["frames"]
    print(f"{out}: {atoms} atoms in {frames} frames; events: {found}")


def _write(
    out: Path, tracking: Tracking, events: pd.DataFrame, rates: pd.DataFrame, report: dict[str, Any]
) -> None:
    from atomscope.io.write import plain, write_json, write_table

    write_table(tracking.tracks, out / "tracks.csv")
    write_table(events, out / "events.csv")
    write_table(rates, out / "transitions.csv")
    write_json(plain(report), out / "events.json")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a run; words that are empty stay words.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    import pandas as pd

    from atomscope.columns import ATOMS, DEFECTS
    from atomscope.track.states import PHASES

    known = {column.name for column in (*ATOMS, *DEFECTS) if column.dtype == "string"}
    try:
        header = pd.read_csv(path, nrows=0).columns
        words = {name: "string" for name in header if name in known.union(PHASES)}
        table = pd.read_csv(path, dtype=words, keep_default_na=True)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"{path}: cannot be read ({what}); expected a table that atomscope analyze wrote. "
            "Give the folder of a run, or its atoms.csv."
        ) from error
    for name in words:
        table[name] = table[name].fillna("").astype(object)
    return table
