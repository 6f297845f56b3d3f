"""`atomscope analyze`: several inputs, progress, summaries and exit codes."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope.apps.faults import interrupted, told
from atomscope.apps.imports import import_all
from atomscope.apps.progress import progress_bar
from atomscope.errors import InputError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.pipeline import Result
    from atomscope.recipe import Recipe

SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Options:
    """What the user asked for, for every input."""

    out: Path
    pixel_size: float | None = None
    elements: str | None = None
    select: str | None = None
    frames: str | None = None
    contrast: str | None = None
    model: str | None = None
    recipe: str = "columns"
    rules: str | None = None
    material: str | None = None
    jobs: int = 1
    parquet: bool = False
    json: bool = False
    classifiers: tuple[Path, ...] = ()


def run_all(inputs: list[Path], sample: str | None, options: Options) -> int:
    """Analyse all inputs; one that fails does not stop the others.

    Returns:
        0 when all are done; 4 when some failed; the error's own code when all did, 1 where it
        was not foreseen.

    Raises:
        UsageError: Nothing was given, an option is malformed, there is no such recipe or
            model, or the output folder cannot be written.
        MissingExtraError: Parquet was asked for and is not installed.
    """
    if sample is not None:
        inputs = [*inputs, _sample(sample)]
    if not inputs:
        raise UsageError(
            "no input given; expected one or more files. Try: atomscope analyze --sample "
            "graphene-si"
        )
    _check(options)
    import_all()
    plan = _plan(options)
    made = _make(options.out)
    folders = _folders(inputs, options.out)
    summaries, codes = [], []
    for path, folder in zip(inputs, folders, strict=True):
        try:
            summaries.append(_one(path, folder, plan, options))
            codes.append(0)
        except Exception as error:
            if interrupted(error) or isinstance(error, BrokenPipeError):
                raise  # nobody waits for the others
            code, line = told(error, path)
            codes.append(code)
            print(f"atomscope: {line}", file=sys.stderr)
            summaries.append({"input": str(path), "error": line})
    if made and not any(options.out.iterdir()):
        options.out.rmdir()
    if options.json:
        print(json.dumps(summaries, indent=1, allow_nan=False))
    if all(code == 0 for code in codes):
        return 0
    return 4 if 0 in codes else max(codes)


def _one(path: Path, folder: Path, plan: Recipe, options: Options) -> dict[str, Any]:
    from atomscope.io.write import plain

    started = time.perf_counter()
    result = _analysed(path, folder, plan, options)
    try:
        result.save(folder, parquet=options.parquet)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be written ({error.strerror or error}); "
            "give a folder that can be written with -o."
        ) from error
    except MemoryError as error:
        raise _too_large(path) from error
    seconds = time.perf_counter() - started
    if not options.json:
        _say(result, folder, seconds)
    return {
        "input": str(path),
        "out": str(folder),
        "frames": result.image.n_frames,
        "first_frame": result.image.first_frame,
        "atoms": len(result.atoms),
        "defects": result.defects["name"].value_counts().to_dict(),
        "events": result.events["kind"].value_counts().to_dict(),
        "pixel_size_angstrom": result.image.pixel_size,
        "seconds": round(seconds, 3),
        "species": plain(result.card["species"].get("composition", {})),
        "warnings": list(result.warnings),
        "verdict": {k: result.card["verdict"][k] for k in ("verdict", "score", "reasons")},
        "quality": plain(result.quality.to_dict()),
    }


def _analysed(path: Path, folder: Path, plan: Recipe, options: Options) -> Result:
    from atomscope.pipeline import analyze
    from atomscope.pipeline.outputs import begin

    try:
        with progress_bar(path.name) as progress:
            return analyze(
                path,
                pixel_size=options.pixel_size,
                recipe=plan,
                material=options.material,
                select=options.select,
                frames=_range(options.frames),
                jobs=options.jobs,
                progress=progress,
                # The first result: statistics, pictures and the report take as long again.
                complete=lambda atoms: begin(folder, atoms),
            )
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); expected a file. "
            "Check the disk and the permissions."
        ) from error
    except MemoryError as error:
        raise _too_large(path) from error


def _too_large(path: Path) -> InputError:
    return InputError(
        f"{path}: the memory is used up; expected frames and tables that fit into it. Crop or bin "
        "the frames, take fewer of them (--frames), or fewer at the same time (--jobs)."
    )


def _say(result: Result, folder: Path, seconds: float) -> None:
    """Print what was found in a few lines."""
    image, numbers = result.image, result.quality
    frames = f" in {image.n_frames} frames" if image.n_frames > 1 else ""
    line = f"{image.name}: {len(result.atoms)} atoms{frames}"
    if numbers.spacing_angstrom:
        line += f", {numbers.spacing_angstrom:.2f} Å apart"
    elif numbers.spacing_px:
        line += f", {numbers.spacing_px:.1f} px apart (pixel size unknown)"
    if numbers.error_pm:
        line += f", position error {numbers.error_pm:.1f} pm"
    elif numbers.error_px:
        line += f", position error {numbers.error_px:.3f} px"
    if result.card["view"]["contrast"] == "dark":
        line += ", dark on bright ground"
    print(f"{line}; {seconds:.1f} s")
    parts = result.card["species"].get("composition", {})
    if parts:
        counts = {name: part["atoms"] for name, part in parts.items()}
        unknown = len(result.atoms) - sum(counts.values())
        counts |= {"unknown": unknown} if unknown else {}
        print("  " + ", ".join(f"{name} {count:,}" for name, count in counts.items()))
    structures = result.atoms["structure"]
    structures = structures[structures != ""]
    counted = (
        ("defects", result.defects["name"]),
        ("events", result.events["kind"]),
        ("structures", structures),
    )
    for what, names in counted:
        if len(names):
            print(f"  {what}: {_counted(names)}")
    for warning in result.warnings:
        print(f"  note: {warning}")
    print(f"  {folder / 'report.html'}")


def _counted(names: pd.Series, most: int = 8) -> str:
    """The commonest names after their numbers; the rest are added up."""
    counts = names.value_counts()
    parts = [f"{count:,} {name}" for name, count in counts.iloc[:most].items()]
    rest = int(counts.iloc[most:].sum())
    return ", ".join([*parts, *([f"{rest:,} of other kinds"] if rest else [])])


def _check(options: Options) -> None:
    from atomscope.io.extras import need

    if options.pixel_size is not None and not 0 < options.pixel_size < 1e4:
        raise UsageError(f"--pixel-size {options.pixel_size}: expected Å per pixel above 0.")
    if options.jobs < 1:
        raise UsageError(f"--jobs {options.jobs}: expected 1 or more.")
    _range(options.frames)
    if options.parquet:
        need("pyarrow", "--format parquet", "'atomscope[parquet]'")


def _plan(options: Options) -> Recipe:
    """Return the recipe with the options in it; a wrong one is told before any work is done."""
    from atomscope.models.store import read_card
    from atomscope.pipeline.chain import chain_of
    from atomscope.pipeline.material import known_material
    from atomscope.pipeline.zoo import AUTO
    from atomscope.recipe import load
    from atomscope.rules import load as read_book

    plan = load(options.recipe).with_detect(model=options.model, contrast=options.contrast)
    plan = plan.with_elements(options.elements).with_rules(options.rules)
    plan = plan.with_classifiers(options.classifiers)
    chain_of(plan)
    if plan.naming and plan.naming.rules:
        read_book(plan.naming.rules)
    if options.material:
        known_material(options.material)
    if plan.detect.model != AUTO:
        read_card(plan.detect.model)
    return plan


def _make(out: Path) -> bool:
    """Make the output folder before any work is done; tell whether it is new."""
    try:
        new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"-o {out}: a file of this name exists; expected a folder.") from error
    except OSError as error:
        raise UsageError(
            f"-o {out}: cannot be made ({error.strerror}); give a folder that can be written."
        ) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise UsageError(f"-o {out}: no permission to write; give a folder that can be written.")
    return new


def _range(text: str | None) -> tuple[int | None, int | None] | None:
    """Read A:B, A: or :B."""
    if text is None:
        return None
    first, colon, last = text.partition(":")
    try:
        if colon:
            return (int(first) if first else None, int(last) if last else None)
    except ValueError:
        pass
    raise UsageError(f"--frames {text!r}: expected A:B, for example 0:10.")


def _sample(name: str) -> Path:
    known = {p.stem: p for p in SAMPLES.glob("*.tif")}
    if name not in known:
        raise UsageError(f"--sample {name!r}: expected one of {', '.join(sorted(known))}.")
    return known[name]


def _folders(inputs: list[Path], out: Path) -> list[Path]:
    """One folder per input: `out` itself for one, subfolders with unique names for several."""
    from atomscope.io.registry import split_path

    if len(inputs) == 1:
        return [out]
    folders: list[Path] = []
    for path in inputs:
        stem = split_path(path)[0].stem or "input"
        names = (stem if n == 1 else f"{stem}-{n}" for n in count(1))
        folders.append(next(out / name for name in names if out / name not in folders))
    return folders
