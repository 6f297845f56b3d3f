"""Detection: from an image to columns with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from atomscope.detect.average import averaged
from atomscope.detect.choose import choose_view, is_dark
from atomscope.detect.events import beyond_chance, counted
from atomscope.detect.prepare import Mask, Shown, fill, level, usable, whole_frame
from atomscope.detect.tiles import Found, class_maps, columns
from atomscope.detect.trials import dimmed
from atomscope.detect.view import View
from atomscope.errors import InputError, UsageError
from atomscope.models.normalise import BLOCK
from atomscope.models.store import ColumnClass, Model, load
from atomscope.sampling import resample, to_input
from atomscope.scale import LEAST_SPACING, Scale
from atomscope.types import FloatArray, Image

if TYPE_CHECKING:
    import pandas as pd

Contrast = Literal["auto", "bright", "dark"]
LEAST_P = 0.5  # of columns in a lattice
SURER = 9.0  # odds of columns in an averaged lattice are divided by it
DARK_MODALITIES = ("bf", "abf")

__all__ = [
    "Contrast", "FrameColumns", "class_map", "detect", "find", "look",
    "shown_to_network",
]  # fmt: skip


@dataclass(frozen=True)
class FrameColumns:
    """Columns of one frame, in px of the input, and its good pixels.

    Attributes:
        found: Columns with probabilities; sites that a model calls vacant are not among them.
        vacant: Vacant sites.
        classes: Classes that the columns of `found.label` and `vacant.label` stand for.
        good: Pixels with data, (y, x).
        least: Probability from which on columns count; less probable ones are candidates.
    """

    found: Found
    vacant: Found
    classes: tuple[ColumnClass, ...]
    good: Mask
    least: float = LEAST_P

    @property
    def xy(self) -> NDArray[np.float64]:
        """Positions of the columns in px, shape (N, 2)."""
        return self.found.xy

    @property
    def p(self) -> NDArray[np.float64]:
        """Probabilities of the columns, shape (N,)."""
        return self.found.p


def detect(
    image: Image | Any,
    *,
    model: str = "universal",
    pixel_size: float | None = None,
    factor: float | None = None,
    contrast: Contrast = "auto",
    min_p: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Find the columns of every frame.

    Args:
        image: An `Image`, or an array (y, x) or (t, y, x).
        model: Name or folder of the detector.
        pixel_size: Å per px; by default the image's own.
        factor: Canonical px per px of the input; by default found from the image.
        contrast: Whether atoms are bright or dark; 'auto' decides from image and metadata.
        min_p: Least probability of a column that is kept, 0 to 1; by default one half, and for
            isolated atoms that with which the highest F1 is expected.
        progress: Called with (frames done, frames in all).

    Returns:
        The table of `atomscope.columns.ATOMS` with frame, atom, x_px, y_px and p filled.

    Raises:
        InputError: The image is under-sampled, or holds no finite value.
        UsageError: An argument is out of range.
    """
    if not isinstance(image, Image):
        image = Image(np.asarray(image), pixel_size=pixel_size)
    if pixel_size is not None:
        image = image.with_pixel_size(pixel_size)
    loaded = load(model)
    view = look(image, loaded, factor=factor, contrast=contrast)
    frames = []
    for index, frame in enumerate(image.frames()):
        frames.append(find(frame, loaded, view, min_p=min_p))
        if progress:
            progress(index + 1, image.n_frames)
    return as_table(frames, image.first_frame)


def look(
    image: Image, model: Model, *, factor: float | None = None, contrast: Contrast = "auto"
) -> View:
    """Decide once per image at which sampling and contrast it is shown to the network.

    Movies are judged by up to three frames; the middle opinion wins.

    Raises:
        InputError: The image is under-sampled, or holds no finite value.
        UsageError: The factor is not above 0.
    """
    if factor is not None and not (np.isfinite(factor) and factor > 0):
        raise UsageError(f"factor {factor!r}: expected canonical px per px of the image, above 0.")
    picks = sorted({0, image.n_frames // 2, image.n_frames - 1})
    judged = [_look_at(image, image.first_frame + i, model, contrast) for i in picks]
    views = [view for view in judged if view is not None]
    if not views:
        return View(factor or 1.0, contrast == "dark", Scale(None, 0.0, None))
    dark = sum(v.dark for v in views) * 2 > len(views)
    middle = sorted(views, key=lambda v: v.factor)[len(views) // 2]
    view = replace(middle, dark=dark, factor=factor or middle.factor)
    if sum(v.scale.too_fine for v in views) * 2 > len(views):
        raise InputError(
            f"{image.name}: the pattern repeats in less than {LEAST_SPACING} px; expected columns "
            "at least that far apart. Record at a higher magnification."
        )
    return view


def find(
    frame: FloatArray,
    model: Model,
    view: View,
    *,
    min_p: float | None = None,
    weakest: float = 1.0,
) -> FrameColumns:
    """Find the columns of one frame (y, x) at a given view; `min_p` as in `detect`.

    Less probable ones are kept as well, down to `weakest`.
    """
    good = usable(frame)
    classes = model.card.classes
    none = Found(np.empty((0, 2)), np.empty(0), np.empty((0, len(classes))))
    shown = shown_to_network(frame, good, view)
    if shown is None:
        return FrameColumns(none, none, classes, good)
    found = columns(model, shown, lattice=view.lattice)
    if view.faint:  # chance repeats as well, and looks surer in the average
        found = replace(found, p=found.p / (found.p + SURER * (1 - found.p)))
    found = replace(found, xy=to_input(found.xy, view.factor))
    counts = None if view.dark or view.level else counted(frame, good)
    if counts is not None:
        some, atom = ~_vacant(found, classes), model.card.sigma_px / view.factor
        how = {"lattice": view.lattice, "averaged": view.faint}
        p = found.p.copy()  # an empty site has no events to count
        p[some] = beyond_chance(p[some], counts, found.xy[some], atom, **how)
        found = replace(found, p=p)
    least = _least(found.p, model, view) if min_p is None else min_p
    height, width = frame.shape
    inside = np.all((found.xy > -0.5) & (found.xy < (width - 0.5, height - 0.5)), axis=1)
    found = found.keep(inside & (found.p >= min(least, weakest)))
    if not good.all():
        col, row = np.rint(found.xy).astype(int).T
        found = found.keep(good[row.clip(0, height - 1), col.clip(0, width - 1)])
    found = found.keep(np.lexsort((found.xy[:, 0], np.rint(found.xy[:, 1]))))
    vacant = _vacant(found, classes)
    return FrameColumns(found.keep(~vacant), found.keep(vacant), classes, good, least)


def _vacant(found: Found, classes: tuple[ColumnClass, ...]) -> NDArray[np.bool_]:
    """Which of the sites found are empty ones, shape (N,)."""
    if not classes:
        return np.zeros(len(found.p), dtype=bool)
    vacant = np.array([c.vacant for c in classes])
    return np.asarray(vacant[found.label.argmax(1)])


def _least(p: NDArray[np.float64], model: Model, view: View) -> float:
    """Probability from which on columns count where nobody says another.

    Isolated atoms: half of the F1 that can be expected (Lipton et al., arXiv:1402.1892), that is
    one half where all are sure, less on supports on which they are not; and not less than the
    model says, as there may be none.
    """
    isolated = model.card.calibration.isolated
    if view.lattice or isolated is None:
        return LEAST_P
    falling = np.sort(p)[::-1]
    expected = 2 * np.cumsum(falling) / (np.arange(1, len(p) + 1) + falling.sum() + 1e-12)
    return max(isolated.least_p, 0.5 * float(expected.max(initial=0.0)))


def class_map(
    image: Image | Any, frame: int = 0, *, model: str = "universal", factor: float | None = None
) -> NDArray[np.float32]:
    """Return the class map of one frame, of the frame's own size: (C, y, x), 0 to 1.

    Class 0 is the background; the others are those of the model, or 'column' where it does
    not tell columns apart. They add up to 1 in every pixel.
    """
    if not isinstance(image, Image):
        image = Image(np.asarray(image))
    loaded = load(model)
    view = look(image, loaded, factor=factor)
    values = image.frame(frame)
    shown = shown_to_network(values, usable(values), view)
    if shown is None:
        count = 1 + max(len(loaded.card.classes), 1)
        return np.repeat(np.eye(1, count, dtype=np.float32)[0], values.size).reshape(
            count, *values.shape
        )
    maps = class_maps(loaded, shown, lattice=view.lattice)
    back = np.stack([resample(one, 1 / view.factor) for one in maps])
    fill_up = [(0, max(0, n - m)) for n, m in zip(values.shape, back.shape[1:], strict=True)]
    return np.pad(back, [(0, 0), *fill_up], mode="edge")[:, : values.shape[0], : values.shape[1]]


def as_table(frames: list[FrameColumns], first: int = 0) -> pd.DataFrame:
    """Return the columns of frames numbered from `first` as a table; vacant sites are left out."""
    import pandas as pd

    from atomscope.columns import conform

    if not frames:
        return conform(pd.DataFrame({"frame": []}))
    counts = [len(f.p) for f in frames]
    xy = np.concatenate([f.xy for f in frames])
    table = pd.DataFrame(
        {
            "frame": np.repeat(np.arange(first, first + len(frames)), counts),
            "atom": np.concatenate([np.arange(n) for n in counts]),
            "x_px": xy[:, 0],
            "y_px": xy[:, 1],
            "p": np.concatenate([f.p for f in frames]),
        }
    )
    classes = frames[0].classes
    if classes:
        label = np.concatenate([f.found.label for f in frames])
        best = label.argmax(1)
        table["label"] = np.array([c.name for c in classes], dtype=object)[best]
        table["label_p"] = label[np.arange(len(best)), best]
    return conform(table)


def shown_to_network(frame: FloatArray, good: Mask, view: View) -> Shown | None:
    """Return the frame as the network sees it, or None where there is nothing to see."""
    if min(frame.shape) * view.factor < BLOCK or good.mean() < 0.05:
        return None
    values = whole_frame(frame, good)
    if float(values.max()) == float(values.min()):
        return None
    if view.dimmed:
        bright = -1.0 if view.dark else 1.0
        values = bright * dimmed(bright * fill(values, good | True), view.factor)
    if view.level:
        values = level(fill(values, good | True))
    if view.faint and view.scale.spacing is not None:
        values = averaged(fill(values, good | True), view.scale.spacing)
    return Shown(values, view.factor, dark=view.dark)


def _look_at(image: Image, index: int, model: Model, contrast: Contrast) -> View | None:
    """Opinion of one frame; None where it is blank."""
    frame = image.frame(index)
    good = usable(frame)
    if image.n_frames == 1 and not np.isfinite(frame).any():
        raise InputError(
            f"{image.name}: no finite value; expected numbers. "
            "Check the file or pick another image with --select."
        )
    values = fill(frame, good)
    if min(frame.shape) < BLOCK or float(values.max()) == float(values.min()):
        return None
    lines = image.modality == "stm"
    if lines:
        values = level(values)
    dark = contrast == "dark" or (contrast == "auto" and image.modality in DARK_MODALITIES)
    if contrast == "auto" and image.modality == "unknown":
        dark = is_dark(values)
    view = choose_view(model, -values if dark else values, image.pixel_size, lines=lines)
    return replace(view, dark=dark, level=lines)
