"""The way of the data: read, detect, refine, judge, write."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope import recipe as recipes
from atomscope.detect import FrameColumns, as_table, find, look
from atomscope.detect.choose import View
from atomscope.errors import UsageError
from atomscope.models.store import Model, load
from atomscope.recipe import Recipe
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.quality import Quality

Progress = Callable[[int, int], None]
LONE_SHIFT = 1.0  # canonical px: twice the detector's own error on isolated atoms
PLAUSIBLE_SPACING = (0.8, 12.0)  # Å between neighbouring columns, from dumbbells to adatoms


@dataclass(frozen=True)
class Result:
    """What an analysis gives.

    Attributes:
        image: The input.
        atoms: Table of `atomscope.columns.ATOMS`, all frames.
        quality: Numbers that tell where the result is weak.
        card: Run card: hashes, recipe, versions, timings, warnings.
    """

    image: Image
    atoms: pd.DataFrame
    quality: Quality
    card: dict[str, Any]

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each thing that a user should know."""
        return tuple(self.card["warnings"])

    def save(self, out: str | Path, *, parquet: bool = False) -> Path:
        """Write atoms.csv, structures.extxyz, overlay.png, report.html and run.json into a folder.

        Every file is written whole or not at all; atoms.csv comes first, run.json last.
        """
        from atomscope.io.write import write_extxyz, write_json, write_table
        from atomscope.plot import overlay
        from atomscope.report import write_report

        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        write_table(self.atoms, out / "atoms.csv")
        if parquet:
            write_table(self.atoms, out / "atoms.parquet")
        shape, pixel_size = self.image.frame_shape, self.image.pixel_size
        count = self.image.n_frames
        write_extxyz(self.atoms, shape, pixel_size, out / "structures.extxyz", n_frames=count)
        curve = self.card["model"]["reliability"]
        first = self.atoms[self.atoms["frame"] == 0]
        overlay(self.image.frame(0), first, out / "overlay.png", pixel_size=pixel_size)
        write_report(
            out / "report.html",
            self.image,
            self.atoms,
            quality=self.quality,
            card=self.card,
            reliability={**curve, "bins": curve["stated"]},
        )
        write_json({**self.card, "quality": self.quality.to_dict()}, out / "run.json")
        return out


def analyze(
    source: Any,
    *,
    pixel_size: float | None = None,
    recipe: Recipe | str | Path = "columns",
    select: int | str | None = None,
    frames: tuple[int | None, int | None] | None = None,
    model: str | None = None,
    contrast: str | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Result:
    """Analyse one micrograph or movie.

    Args:
        source: Path, array (y, x) or (t, y, x), or `Image`.
        pixel_size: Å per px; by default what the file says.
        recipe: A recipe, the name of a built-in one, or a YAML file.
        select: Image of a file that holds several.
        frames: First and last-but-one frame of a movie, either may be None.
        model: Detector in place of the recipe's.
        contrast: 'auto', 'bright' or 'dark', in place of the recipe's.
        jobs: Frames of a movie that are worked on at the same time.
        progress: Called with (frames done, frames in all).

    Raises:
        InputError: The input cannot be read, or is under-sampled.
        UsageError: An argument is wrong.
    """
    from atomscope.io import input_hash, read

    started = time.perf_counter()
    plan = recipe if isinstance(recipe, Recipe) else recipes.load(recipe)
    plan = plan.with_detect(model=model, contrast=contrast)
    if isinstance(source, Image):
        image = source if pixel_size is None else source.with_pixel_size(pixel_size)
    else:
        image = read(source, select=select, pixel_size=pixel_size)
    image = _cut(image, frames)
    read_s = time.perf_counter() - started
    detector = load(plan.detect.model, 1 if jobs > 1 and image.n_frames > 1 else 0)
    view = look(image, detector, factor=plan.detect.factor, contrast=plan.detect.contrast)
    looked_s = time.perf_counter() - started
    atoms, spent = _all_frames(image, plan, detector, view, jobs, progress)
    atoms = _in_angstrom(atoms, image.pixel_size)
    verdict = _judge(image, atoms)
    path = source if isinstance(source, str | Path) else None
    card = {
        "input": {
            "name": image.name,
            "sha256": input_hash(str(path).rpartition("::")[0] or path) if path else None,
            "shape": list(image.data.shape),
            "dtype": str(image.data.dtype),
            "pixel_size_angstrom": image.pixel_size,
            "modality": image.modality,
        },
        "model": {
            "name": detector.card.name,
            "version": detector.card.version,
            "sha256": detector.sha256,
            "reliability": detector.card.reliability.model_dump(),
        },
        "view": {
            "factor": view.factor,
            "contrast": "dark" if view.dark else "bright",
            "lattice": view.lattice,
            "levelled": view.level,
            "spacing_px": view.scale.spacing,
            "order": view.scale.order,
            "sigma_px": view.scale.sigma,
        },
        "recipe": plan.model_dump(mode="json"),
        "versions": versions(),
        "seeds": {},
        "seconds": {"read": read_s, "scale": looked_s - read_s, **spent},
        "warnings": [*image.warnings, *verdict[1]],
    }
    return Result(image, atoms, verdict[0], card)


def versions() -> dict[str, str]:
    """Return the versions of what an analysis depends on."""
    from importlib.metadata import version

    packages = ("atomscope", "numpy", "scipy", "pandas", "onnxruntime")
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def _all_frames(
    image: Image,
    plan: Recipe,
    detector: Model,
    view: View,
    jobs: int,
    progress: Progress | None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Detect and refine frame by frame; only tables are kept."""
    import pandas as pd

    spent = {"detect": 0.0, "refine": 0.0}
    tables = []
    for index, (table, detect_s, refine_s) in enumerate(_work(image, plan, detector, view, jobs)):
        tables.append(table.assign(frame=index))
        spent["detect"] += detect_s
        spent["refine"] += refine_s
        if progress:
            progress(index + 1, image.n_frames)
    return pd.concat(tables, ignore_index=True), spent


def _work(
    image: Image, plan: Recipe, detector: Model, view: View, jobs: int
) -> Iterator[tuple[pd.DataFrame, float, float]]:
    """Yield the table of each frame with the seconds spent, in order."""

    def one(index: int) -> tuple[pd.DataFrame, float, float]:
        started = time.perf_counter()
        frame = image.frame(index)
        found = find(frame, detector, view, min_p=plan.detect.min_p)
        detected = time.perf_counter()
        table = _refined(frame, found, plan, view)
        return table, detected - started, time.perf_counter() - detected

    if jobs <= 1 or image.n_frames == 1:
        yield from map(one, range(image.n_frames))
        return
    with ThreadPoolExecutor(jobs) as pool:  # the runtime and numpy let go of the interpreter
        for start in range(0, image.n_frames, 8 * jobs):  # few frames in memory at a time
            yield from pool.map(one, range(start, min(start + 8 * jobs, image.n_frames)))


def _refined(frame: Any, found: FrameColumns, plan: Recipe, view: View) -> pd.DataFrame:
    table = as_table([found])
    if plan.refine is None:
        return table
    from atomscope.refine import RefineOptions, hold, refine

    options = RefineOptions(**plan.refine.model_dump(exclude={"stage"}))
    fitted = refine(frame, table, options=options, mask=found.good, dark=view.dark)
    if not view.lattice:
        fitted = hold(fitted, table, LONE_SHIFT / view.factor)
    return _within(fitted, frame.shape)


def _within(table: pd.DataFrame, shape: tuple[int, ...]) -> pd.DataFrame:
    """Drop columns whose fit ran to the border: their centres lie beyond it."""
    x, y = table["x_px"], table["y_px"]
    inside = (x > 0) & (x < shape[1] - 1) & (y > 0) & (y < shape[0] - 1)
    kept = table[inside].reset_index(drop=True)
    return kept.assign(atom=range(len(kept)))


def _cut(image: Image, frames: tuple[int | None, int | None] | None) -> Image:
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


def _in_angstrom(atoms: pd.DataFrame, pixel_size: float | None) -> pd.DataFrame:
    if pixel_size is None:
        return atoms
    pairs = {"x": "x_px", "y": "y_px", "x_err": "x_err_px", "y_err": "y_err_px"}
    return atoms.assign(**{name: atoms[source] * pixel_size for name, source in pairs.items()})


def _judge(image: Image, atoms: pd.DataFrame) -> tuple[Quality, list[str]]:
    """Return the quality numbers, and a line for each doubt about the result as a whole."""
    from atomscope.quality import quality

    numbers = quality(atoms, image.frame_shape, image.n_frames, image.pixel_size)
    lines = []
    if numbers.n_atoms == 0:
        lines.append(
            "No atoms found: the image has no columns that stand out from noise and texture. "
            "Where you see some, try --contrast dark or give --pixel-size."
        )
    if numbers.ordered and numbers.spacing_angstrom and image.pixel_size:
        lines += _unit_doubt(numbers.spacing_angstrom, image.pixel_size)
    return numbers, lines


def _unit_doubt(spacing: float, pixel_size: float) -> list[str]:
    """Say so where a lattice's spacing in Å cannot be one: the unit of the pixel size is wrong."""
    low, high = PLAUSIBLE_SPACING
    if low <= spacing <= high:
        return []
    line = f"Columns lie {spacing:.3g} Å apart at {pixel_size:.4g} Å per px, which no crystal has."
    likely = [f for f in (10.0, 0.1, 100.0, 0.01) if 1.2 <= spacing * f <= 6.0]
    if likely:
        line += (
            f" Was nm taken for Å, or Å for nm? {pixel_size * likely[0]:.4g} Å per px is likely; "
            "give it with --pixel-size."
        )
    return [line]
