"""Frame by frame: detect and refine; only tables are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from atomscope.detect import as_table, find
from atomscope.detect.choose import View
from atomscope.detect.prepare import usable
from atomscope.errors import UsageError
from atomscope.models.store import Model
from atomscope.recipe import Recipe
from atomscope.refine.tails import Tail, excess, heavy_of, instead, measure_tail, tails
from atomscope.types import FloatArray, Image

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[int, int], None]
WEAK = 0.05  # least probability of a candidate that the lattice may bring back
_LOOKS = 3  # more at a frame with heavy atoms: what they feigned has a say in the first ones
_BRIGHTEST = 3.0  # times the lattice: what detection is shown of heavy atoms, tails being off
LONE_SHIFT = 1.0  # canonical px: twice the detector's own error on isolated atoms


def all_frames(
    image: Image,
    plan: Recipe,
    detector: Model,
    view: View,
    jobs: int,
    progress: Progress | None,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Detect and refine frame by frame; only tables are kept.

    Returns:
        The atoms; candidates below the recipe's least probability; seconds of each stage.
    """
    import pandas as pd

    spent = {"detect": 0.0, "refine": 0.0}
    tables, candidates = [], []
    for index, done in enumerate(_work(image, plan, detector, view, jobs)):
        tables.append(done.atoms.assign(frame=index))
        candidates.append(done.weak.assign(frame=index))
        spent["detect"] += done.detect_s
        spent["refine"] += done.refine_s
        if progress:
            progress(index + 1, image.n_frames)
    atoms = pd.concat(tables, ignore_index=True)
    return atoms, pd.concat(candidates, ignore_index=True), spent


@dataclass(frozen=True)
class _Done:
    """One frame: atoms, weaker candidates, seconds."""

    atoms: pd.DataFrame
    weak: pd.DataFrame
    detect_s: float
    refine_s: float


def _work(image: Image, plan: Recipe, detector: Model, view: View, jobs: int) -> Iterator[_Done]:
    """Yield what each frame gives, in order."""

    def one(index: int) -> _Done:
        frame = image.frame(index)
        done = _looked(frame, plan, detector, view)
        before: Tail | None = None
        for _ in range(_LOOKS):
            tail = tail_of(frame, done.atoms, view)
            if tail is None or tail.near(before):
                break
            clean, before = without(tail, frame, done.atoms), tail
            now = _looked(clean, plan, detector, view, heavy_of(done.atoms, _BRIGHTEST))
            spent = (done.detect_s + now.detect_s, done.refine_s + now.refine_s)
            atoms = _settled(clean, now.atoms, plan, view)
            done = _Done(atoms, now.weak, *spent)
        return done

    if jobs <= 1 or image.n_frames == 1:
        yield from map(one, range(image.n_frames))
        return
    with ThreadPoolExecutor(jobs) as pool:  # the runtime and numpy let go of the interpreter
        for start in range(0, image.n_frames, 8 * jobs):  # few frames in memory at a time
            yield from pool.map(one, range(start, min(start + 8 * jobs, image.n_frames)))


def _looked(
    frame: FloatArray,
    plan: Recipe,
    detector: Model,
    view: View,
    heavy: pd.DataFrame | None = None,
) -> _Done:
    """Detect and refine; beside heavy atoms that are known, what stands around them."""
    started = time.perf_counter()
    shown = frame if heavy is None else frame - excess(heavy, (frame.shape[0], frame.shape[1]))
    found = find(shown, detector, view, min_p=min(WEAK, plan.detect.min_p))
    strong = found.found.p >= plan.detect.min_p
    weak = as_table([replace(found, found=found.found.keep(~strong))])
    found = replace(found, found=found.found.keep(strong))
    detected = time.perf_counter()
    detections = as_table([found])
    if heavy is not None and len(heavy):
        detections = instead(detections, heavy)
    table = numbered(refined(frame, detections, found.good, plan, view))
    return _Done(table, weak, detected - started, time.perf_counter() - detected)


def _settled(frame: FloatArray, atoms: pd.DataFrame, plan: Recipe, view: View) -> pd.DataFrame:
    """Fit again, from where the others are, if columns beside heavy ones did not come to rest."""
    if plan.refine is None or not atoms["flags"].astype(str).str.contains("unrefined").any():
        return atoms
    return numbered(refined(frame, atoms, usable(frame), plan, view))


def without_tails(frame: FloatArray, atoms: pd.DataFrame, view: View) -> FloatArray:
    """Return the frame without the tails of heavy atoms, or itself where none are seen."""
    tail = tail_of(frame, atoms, view)
    return frame if tail is None else without(tail, frame, atoms)


def without(tail: Tail, frame: FloatArray, atoms: pd.DataFrame) -> FloatArray:
    """Return the frame without a tail."""
    return np.asarray(frame - tails(atoms, tail, (frame.shape[0], frame.shape[1])))


def tail_of(frame: FloatArray, atoms: pd.DataFrame, view: View) -> Tail | None:
    """Tail of the columns of a lattice of bright atoms, or None."""
    return None if view.dark or not view.lattice else measure_tail(frame, atoms)


def refined(
    frame: FloatArray, table: pd.DataFrame, good: Any, plan: Recipe, view: View
) -> pd.DataFrame:
    """Fit columns of one frame together, as the recipe says; each keeps its number."""
    if plan.refine is None:
        return table
    from atomscope.refine import RefineOptions, hold, refine

    options = RefineOptions(**plan.refine.model_dump(exclude={"stage"}))
    fitted = refine(frame, table, options=options, mask=good, dark=view.dark)
    if not view.lattice:
        fitted = hold(fitted, table, LONE_SHIFT / view.factor)
    return _within(fitted, frame.shape)


def _within(table: pd.DataFrame, shape: tuple[int, ...]) -> pd.DataFrame:
    """Drop columns whose fit ran to the border: their centres lie beyond it."""
    x, y = table["x_px"], table["y_px"]
    inside = (x > 0) & (x < shape[1] - 1) & (y > 0) & (y < shape[0] - 1)
    return table[inside].reset_index(drop=True)


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Number the atoms of one frame from 0."""
    return table.reset_index(drop=True).assign(atom=range(len(table)))


def in_angstrom(table: pd.DataFrame, pixel_size: float | None) -> pd.DataFrame:
    """Fill the columns in Å from those in px that the table has."""
    if pixel_size is None:
        return table
    pairs = {name: f"{name}_px" for name in ("x", "y", "x_err", "y_err")}
    return table.assign(**{a: table[px] * pixel_size for a, px in pairs.items() if px in table})


def cut(image: Image, frames: tuple[int | None, int | None] | None) -> Image:
    """Keep frames A:B of a movie, without loading them."""
    if frames is None:
        return image
    first, last, _ = slice(*frames).indices(image.n_frames)
    if first >= last:
        raise UsageError(
            f"{image.name}: frames {frames[0]}:{frames[1]} asked for; the movie has "
            f"{image.n_frames} frames, 0:{image.n_frames}."
        )
    if image.n_frames == 1:
        return image
    times = image.times[first:last] if image.times else None
    return replace(image, data=Window(image.data, first, last), times=times)


@dataclass(frozen=True)
class Window:
    """Frames first to last - 1 of a movie, fetched when asked for."""

    whole: Any
    first: int
    last: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (t, y, x)."""
        return (self.last - self.first, *self.whole.shape[1:])

    @property
    def dtype(self) -> Any:
        """Type of the values."""
        return self.whole.dtype

    def __getitem__(self, index: int) -> Any:
        """Return one frame."""
        return self.whole[self.first + index]
