"""Frame by frame: detect and refine; only tables are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from atomscope.columns import ATOMS, has_flag, joined, positions
from atomscope.detect import as_table, find
from atomscope.detect.prepare import usable
from atomscope.detect.view import View
from atomscope.models.store import Model
from atomscope.pipeline.clock import Clock
from atomscope.pipeline.faint import gentle, occupied
from atomscope.pipeline.tails import tail_of, without
from atomscope.recipe import Recipe
from atomscope.refine.tails import Tail, excess, heavy_of, instead
from atomscope.spacing import median_spacing
from atomscope.types import FloatArray, Image

Progress = Callable[[int, int], None]
WEAK = 0.05  # least probability of a candidate that the lattice may bring back
_LOOKS = 3  # more at a frame with heavy atoms: what they feigned has a say in the first ones
_BRIGHTEST = 3.0  # times the lattice: what detection is shown of heavy atoms, tails being off
_PICKED = 7  # frames
_FITTED, _ITSELF = 7.0, 0.3  # spacings around a place that is fitted again
_DIM = 0.45  # of the usual brightness
_FIRST = [c.name for c in ATOMS if c.stage in ("detect", "label", "refine")]
LONE_SHIFT = 1.0  # canonical px: twice the detector's own error on isolated atoms


def all_frames(
    image: Image,
    plan: Recipe,
    detector: Model,
    view: View,
    jobs: int,
    clock: Clock,
    progress: Progress | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Detect and refine frame by frame; only tables are kept.

    Returns:
        The atoms; candidates below the recipe's least probability.
    """
    tables, candidates = [], []
    work = _work(image, plan, detector, view, jobs)
    for count, (number, done) in enumerate(zip(image.numbers, work, strict=True), start=1):
        tables.append(done.atoms.assign(frame=number))
        candidates.append(done.weak.assign(frame=number))
        clock.add("detect", done.detect_s)
        clock.add("refine", done.refine_s)
        if progress:
            progress(count, image.n_frames)
    return joined(tables), joined(candidates)


@dataclass(frozen=True)
class _Done:
    """One frame: atoms, as they were detected and as fitted, weaker candidates, seconds.

    Tables hold what is known by then (`_FIRST`): all columns of a million atoms are 230 MB.
    """

    detected: pd.DataFrame
    atoms: pd.DataFrame
    weak: pd.DataFrame
    detect_s: float
    refine_s: float


def _work(image: Image, plan: Recipe, detector: Model, view: View, jobs: int) -> Iterator[_Done]:
    """Yield what each frame gives, in order."""

    seen: dict[int, _Done] = {}
    if image.n_frames > 1:
        seen = {n: _looked(image.frame(n), plan, detector, view) for n in _picked(image.numbers)}
    common = _common_tail(image, seen, plan, view)

    def one(number: int) -> _Done:
        frame = image.frame(number)
        done = seen.pop(number) if number in seen else _looked(frame, plan, detector, view)
        before: Tail | None = None
        for _ in range(_LOOKS if image.n_frames == 1 else 1):
            tail = tail_of(frame, done.atoms, plan, view) if image.n_frames == 1 else common
            if tail is None or tail.near(before):
                break
            clean, before = without(tail, frame, done.atoms), tail
            heavy = heavy_of(done.atoms, _BRIGHTEST)
            done = _looked_again(clean, done, heavy, plan, detector, view)
            if len(heavy) == 0:
                break
        return replace(done, detected=done.detected.iloc[:0])

    if jobs <= 1 or image.n_frames == 1:
        yield from map(one, image.numbers)
        return
    with ThreadPoolExecutor(jobs) as pool:  # the runtime and numpy let go of the interpreter
        for start in range(0, image.n_frames, 8 * jobs):  # few frames in memory at a time
            yield from pool.map(one, image.numbers[start : start + 8 * jobs])


def _picked(numbers: range) -> list[int]:
    """Frames of a movie that tell its tails."""
    return [int(n) for n in np.unique(np.linspace(numbers[0], numbers[-1], _PICKED).round())]


def _common_tail(image: Image, seen: dict[int, _Done], plan: Recipe, view: View) -> Tail | None:
    """Tail of the columns of a movie: the middle one of some frames, if most of them show one.

    One frame alone is noisy; with a tail of its own for each, brightness would step.
    """
    tails = (tail_of(image.frame(i), done.atoms, plan, view) for i, done in seen.items())
    found = [tail for tail in tails if tail is not None]
    if 2 * len(found) <= len(seen):
        return None
    height, width = (float(np.median([getattr(t, n) for t in found])) for n in ("height", "width"))
    return Tail(height, width)


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
    found = find(shown, detector, view, min_p=plan.detect.min_p, weakest=WEAK)
    strong = found.found.p >= found.least
    weak = first_columns(as_table([replace(found, found=found.found.keep(~strong))]))
    found = replace(found, found=found.found.keep(strong))
    detected = time.perf_counter()
    detections = first_columns(as_table([found]))
    if heavy is not None and len(heavy):
        detections = instead(detections, heavy)
    table = numbered(refined(frame, detections, found.good, plan, view))
    return _Done(detections, table, weak, detected - started, time.perf_counter() - detected)


def _looked_again(
    clean: FloatArray,
    before: _Done,
    heavy: pd.DataFrame,
    plan: Recipe,
    detector: Model,
    view: View,
) -> _Done:
    """Detect and refine without tails; where no atom is very bright what was found stays."""
    if len(heavy):
        now = _looked(clean, plan, detector, view, heavy)
        atoms = _settled(clean, now.atoms, plan, view)
        spent = (before.detect_s + now.detect_s, before.refine_s + now.refine_s)
        return _Done(now.detected, atoms, now.weak, *spent)
    started = time.perf_counter()
    atoms = numbered(refined(clean, before.detected, usable(clean), plan, view))
    return replace(before, atoms=atoms, refine_s=before.refine_s + time.perf_counter() - started)


def _settled(frame: FloatArray, atoms: pd.DataFrame, plan: Recipe, view: View) -> pd.DataFrame:
    """Fit again what did not come to rest beside heavy columns, with its neighbourhood alone.

    The fit of a whole frame ends when nearly all of its columns are at rest. What is dim and does
    not come to rest even so is left of the light of a heavy column.
    """
    rough = has_flag(atoms, "unrefined")
    if plan.refine is None or not rough.any():
        return atoms
    xy = positions(atoms)
    spacing = median_spacing(xy)
    if spacing is None:
        return atoms
    fitted = fitted_around(frame, atoms, xy[rough], spacing, plan, view, kept=_ITSELF)
    bright = fitted["intensity"].to_numpy(float)
    rough = has_flag(fitted, "unrefined")
    return numbered(fitted[~(rough & (bright < _DIM * np.nanmedian(bright)))])


def fitted_around(
    frame: FloatArray,
    atoms: pd.DataFrame,
    places: NDArray[np.float64],
    spacing: float,
    plan: Recipe,
    view: View,
    *,
    kept: float = 3.5,
) -> pd.DataFrame:
    """Fit the atoms of a frame around some places again, and number all anew.

    A wider neighbourhood is fitted than the one that is kept (in spacings): at its rim neighbours
    are missing. All have one width there: few columns tell too little of how widths differ.
    """
    if plan.refine is not None:
        alike = plan.refine.model_copy(update={"width": "shared"})
        plan = plan.model_copy(
            update={"stages": tuple(alike if s.stage == "refine" else s for s in plan.stages)}
        )
    table = numbered(atoms)
    away = cKDTree(places).query(positions(table))[0] / spacing
    fitted = refined(frame, table[away < _FITTED], usable(frame), plan, view)
    inner = fitted["atom"].isin(table["atom"][away < kept])
    rows = pd.concat([table[away >= kept], fitted[inner]])
    return numbered(rows.sort_values("atom", kind="stable"))


def refined(
    frame: FloatArray, table: pd.DataFrame, good: Any, plan: Recipe, view: View
) -> pd.DataFrame:
    """Fit columns of one frame together, as the recipe says; each keeps its number.

    Two isolated atoms that were found as one have its number both.
    """
    if plan.refine is None:
        return table
    from atomscope.refine import hold, refine, split_pairs

    options = gentle(plan.refine) if view.faint else plan.refine
    fitted = refine(frame, table, options=options, mask=good, dark=view.dark)
    if view.faint:
        fitted = occupied(fitted)
    if not view.lattice:
        fitted = hold(fitted, table, LONE_SHIFT / view.factor)
        fitted = split_pairs(frame, fitted, options=options, mask=good, dark=view.dark)
    return _within(first_columns(fitted), frame.shape)


def first_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that detection and refinement fill."""
    return table[[name for name in _FIRST if name in table]]


def _within(table: pd.DataFrame, shape: tuple[int, ...]) -> pd.DataFrame:
    """Drop columns whose fit ran to the border: their centres lie beyond it."""
    x, y = table["x_px"], table["y_px"]
    inside = (x > 0) & (x < shape[1] - 1) & (y > 0) & (y < shape[0] - 1)
    return table if inside.all() else table[inside].reset_index(drop=True)


def numbered(table: pd.DataFrame) -> pd.DataFrame:
    """Number the atoms of one frame from 0."""
    return table.reset_index(drop=True).assign(atom=range(len(table)))


def in_angstrom(table: pd.DataFrame, pixel_size: float | None) -> pd.DataFrame:
    """Fill the columns in Å from those in px that the table has."""
    if pixel_size is None:
        return table
    pairs = {name: f"{name}_px" for name in ("x", "y", "x_err", "y_err")}
    return table.assign(**{a: table[px] * pixel_size for a, px in pairs.items() if px in table})
