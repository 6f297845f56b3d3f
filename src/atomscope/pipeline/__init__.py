"""The way of the data: read, detect, refine, identify, judge, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope import recipe as recipes
from atomscope.detect import look
from atomscope.errors import UsageError
from atomscope.models.store import load
from atomscope.pipeline.card import judge, run_card, versions
from atomscope.pipeline.chain import chain_of, chained
from atomscope.pipeline.discovered import discovered, write_found
from atomscope.pipeline.frames import Progress, all_frames, cut, faintness, in_angstrom
from atomscope.pipeline.known import known, warned
from atomscope.pipeline.material import known_material, measured
from atomscope.pipeline.movie import followed
from atomscope.pipeline.naming import named, reconciled
from atomscope.pipeline.periodic import on_sites, with_vacancies
from atomscope.pipeline.statistics import file_of, measured_structures
from atomscope.pipeline.zoo import detector_for, labelled, species_of, told
from atomscope.recipe import Recipe
from atomscope.types import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from ase import Atoms

    from atomscope.discover import Discoveries
    from atomscope.quality import Quality
    from atomscope.species import Lattices

__all__ = ["Progress", "Result", "analyze", "versions"]

# Contrast that rises with the atomic number, or may.
_Z_CONTRAST = ("unknown", "haadf", "adf")


@dataclass(frozen=True)
class Result:
    """What an analysis gives.

    Attributes:
        image: The input.
        atoms: Table of `atomscope.columns.ATOMS`, all frames.
        defects: Table of `atomscope.columns.DEFECTS`: what rules of chemistry name, with the
            empty sites that a model with classes or the fitted lattice shows.
        tracks: Table of `atomscope.columns.TRACKS`; no rows where the input is one image.
        events: Table of `atomscope.columns.EVENTS`.
        steps: Table of `atomscope.columns.STEPS`; no rows where the recipe has no task chain.
        measures: Tables of `atomscope.measure` by name; none where the recipe does not ask.
        quality: Numbers that tell where the result is weak.
        card: Run card: hashes, recipe, versions, timings, warnings.
        discoveries: What recurs and has no name; None where it was not looked for.
    """

    image: Image
    atoms: pd.DataFrame
    defects: pd.DataFrame
    tracks: pd.DataFrame
    events: pd.DataFrame
    steps: pd.DataFrame
    measures: dict[str, pd.DataFrame]
    quality: Quality
    card: dict[str, Any]
    discoveries: Discoveries | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each thing that a user should know."""
        return tuple(self.card["warnings"])

    def cell(self, defect: int, *, frame: int = 0, repeat: int = 6) -> Atoms:
        """Cut a defect out as a periodic cell for a calculator; see `rules.cell.defect_cell`.

        Args:
            defect: Its number in `defects`.
            frame: Of the movie.
            repeat: Edge of the box in primitive cells.

        Raises:
            UsageError: There is no such defect, no lattice, no pixel size, or species are unknown.
        """
        from atomscope.rules.cell import defect_cell
        from atomscope.species import fit_lattices

        rows = self.defects[(self.defects["frame"] == frame) & (self.defects["defect"] == defect)]
        if len(rows) == 0:
            raise UsageError(f"frame {frame} has no defect {defect}; see the table `defects`.")
        atoms = self.atoms[self.atoms["frame"] == frame]
        lattice = fit_lattices(atoms).get(frame)
        if lattice is None or self.image.pixel_size is None:
            raise UsageError(
                f"{self.image.name}: a cell needs a lattice and a pixel size; give "
                "pixel_size or material."
            )
        place = (float(rows["x_px"].iloc[0]), float(rows["y_px"].iloc[0]))
        return defect_cell(atoms, place, lattice, self.image.pixel_size, repeat=repeat)

    def save(self, out: str | Path, *, parquet: bool = False) -> Path:
        """Write atoms.csv, structures.extxyz, overlay.png, report.html and run.json into a folder.

        With defects.csv, of a task chain steps.csv, of statistics measures.csv and others, of what
        was discovered discoveries.csv and cells, and of a movie tracks.csv and events.csv. Every
        file is written whole or not at all; atoms.csv comes first, run.json last.
        """
        from atomscope.io.write import write_extxyz, write_json, write_table
        from atomscope.plot import network, overlay
        from atomscope.report import write_report

        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        write_table(self.atoms, out / "atoms.csv")
        write_table(self.defects, out / "defects.csv")
        if len(self.steps):
            write_table(self.steps, out / "steps.csv")
        for name, table in self.measures.items():
            write_table(table, out / file_of(name))
        write_found(self.discoveries, self.atoms, self.image, out)
        if self.image.n_frames > 1:
            write_table(self.tracks, out / "tracks.csv")
            write_table(self.events, out / "events.csv")
        if parquet:
            write_table(self.atoms, out / "atoms.parquet")
        shape, pixel_size = self.image.frame_shape, self.image.pixel_size
        count = self.image.n_frames
        write_extxyz(self.atoms, shape, pixel_size, out / "structures.extxyz", n_frames=count)
        curve = self.card["model"]["reliability"]
        first = self.atoms[self.atoms["frame"] == 0]
        host = self.card["defects"].get("host")
        overlay(
            self.image.frame(0),
            first,
            out / "overlay.png",
            pixel_size=pixel_size,
            net=network(first, host=host, shape=shape, pixel_size=pixel_size),
            defects=self.defects[self.defects["frame"] == 0],
        )
        write_report(
            out / "report.html",
            self.image,
            self.atoms,
            quality=self.quality,
            card=self.card,
            reliability={**curve, "bins": curve["stated"]},
            defects=self.defects,
            tracks=self.tracks,
            events=self.events,
            measures=self.measures,
            discoveries=self.discoveries,
        )
        write_json({**self.card, "quality": self.quality.to_dict()}, out / "run.json")
        return out


def analyze(
    source: Any,
    *,
    pixel_size: float | None = None,
    elements: str | Sequence[str] | None = None,
    recipe: Recipe | str | Path = "columns",
    select: int | str | None = None,
    frames: tuple[int | None, int | None] | None = None,
    model: str | None = None,
    contrast: str | None = None,
    rules: str | None = None,
    material: str | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    complete: Callable[[pd.DataFrame], object] | None = None,
) -> Result:
    """Analyse one micrograph or movie.

    Args:
        source: Path, array (y, x) or (t, y, x), or `Image`.
        pixel_size: Å per px; by default what the file says.
        elements: What columns may be, such as 'C,Si' or ('Mo', 'S2', 'S'), in place of the
            recipe's; without any, species stay empty.
        recipe: A recipe, the name of a built-in one, or a YAML file.
        select: Image of a file that holds several.
        frames: First and last-but-one frame of a movie, either may be None.
        model: Detector in place of the recipe's.
        contrast: 'auto', 'bright' or 'dark', in place of the recipe's.
        rules: Rule book or YAML file that names defects, in place of the recipe's; the host is
            recognised where neither says.
        material: What the image shows, such as 'graphene' or '1H-MoS2': names the columns where
            no elements are given, and measures a pixel size that is not known.
        jobs: Frames of a movie that are worked on at the same time.
        progress: Called with (frames done, frames in all).
        complete: Called with the table of atoms as soon as nothing changes it any more.

    Raises:
        InputError: The input cannot be read, or is under-sampled.
        UsageError: An argument is wrong.
    """
    clock = [time.perf_counter()]
    plan = recipe if isinstance(recipe, Recipe) else recipes.load(recipe)
    plan = plan.with_detect(model=model, contrast=contrast).with_elements(elements)
    plan = plan.with_rules(rules)
    chain = chain_of(plan)
    axes = known_material(material) if material else ()
    image = cut(_opened(source, select, pixel_size), frames)
    clock.append(time.perf_counter())
    detector = load(detector_for(plan, image), 1 if jobs > 1 and image.n_frames > 1 else 0)
    view = look(image, detector, factor=plan.detect.factor, contrast=plan.detect.contrast)
    clock.append(time.perf_counter())
    atoms, weak, spent = all_frames(image, plan, detector, view, jobs, progress)
    atoms, lattices = _lattices(atoms, image, plan, spent)
    atoms, lattices, evidence = reconciled(image, atoms, weak, lattices, plan, view)
    remarks, hosts = tuple[str, ...](), tuple[str, ...]()
    if axes:
        crystal, size, remarks = measured(axes, lattices, image.pixel_size, image.name)
        image, hosts = image.with_pixel_size(size), crystal.elements
        if not (plan.identify and plan.identify.elements):
            plan = plan.with_elements(hosts)
    atoms = in_angstrom(atoms, image.pixel_size)
    atoms, defects, classes, zoo = labelled(image, atoms, lattices, plan, detector, view)
    hosts = hosts or species_of(classes, atoms)
    atoms, facts, doubts = _identified(atoms, lattices, image, plan, spent, hosts)
    atoms = told(classes, atoms)
    if plan.detect.periodic:
        defects = with_vacancies(defects, image, atoms, lattices)
    started = time.perf_counter()
    atoms, defects, chemistry, lines = named(image, atoms, defects, lattices, plan)
    spent["name"] = time.perf_counter() - started
    links = chained(atoms, defects, chain, material)
    spent |= {"classify": time.perf_counter() - started - spent["name"]} if chain.steps else {}
    started = time.perf_counter()
    movie = followed(image, links.atoms, defects, lattices, plan)
    spent["track"] = time.perf_counter() - started
    clock.append(time.perf_counter())
    atoms, verdict = known(image, movie.atoms, detector, view)
    spent["know"] = time.perf_counter() - clock[-1]
    if complete is not None:
        complete(atoms)
    measures = measured_structures(image, movie.atoms, defects, movie.tracks, plan, spent)
    new = discovered(image, movie.atoms, defects, lattices, plan, spent)
    doubts = (*faintness(image, view), *doubts, *lines)
    doubts = (*doubts, *links.warnings, *movie.warnings, *new.warnings)
    quality, judged = judge(image, atoms)
    read_s, look_s = clock[1] - clock[0], clock[2] - clock[1]
    card = run_card(source, image, plan, detector, view) | {
        "zoo": zoo,
        "species": facts,
        "defects": chemistry | evidence,
        "events": movie.facts,
        **({"structures": links.facts} if chain.steps else {}),
        **new.facts,
        "verdict": verdict.to_dict(),
        "seconds": {"read": read_s, "scale": look_s, **spent},
        "warnings": [*image.warnings, *remarks, *judged, *warned(verdict), *doubts],
    }
    tables = (atoms, defects, movie.tracks, movie.events, links.steps)
    return Result(image, *tables, measures, quality, card, new.discoveries)


def _opened(source: Any, select: int | str | None, pixel_size: float | None) -> Image:
    from atomscope.io import read

    if not isinstance(source, Image):
        return read(source, select=select, pixel_size=pixel_size)
    return source if pixel_size is None else source.with_pixel_size(pixel_size)


def _lattices(
    atoms: pd.DataFrame, image: Image, plan: Recipe, spent: dict[str, float]
) -> tuple[pd.DataFrame, Lattices]:
    from atomscope.species import fit_lattices

    started = time.perf_counter()
    lattices = fit_lattices(atoms)
    if plan.detect.periodic:
        atoms = on_sites(atoms, lattices, image.frame_shape)
        lattices = fit_lattices(atoms)
    spent["lattice"] = time.perf_counter() - started
    return atoms, lattices


def _identified(
    atoms: pd.DataFrame,
    lattices: Lattices,
    image: Image,
    plan: Recipe,
    spent: dict[str, float],
    hosts: tuple[str, ...],
) -> tuple[pd.DataFrame, dict[str, Any], tuple[str, ...]]:
    """Fill sublattices and species; adds the seconds to `spent`."""
    if plan.identify is None:
        return atoms, {}, ()
    from atomscope.species import study

    started = time.perf_counter()
    elements, doubts = plan.identify.elements, tuple[str, ...]()
    if elements and image.modality not in _Z_CONTRAST:
        elements, doubts = (
            (),
            (
                f"Species are left unknown: the brightness of {image.modality.upper()} images does "
                "not rise with the atomic number in a known way.",
            ),
        )
    found = study(atoms, elements=elements, lattices=lattices, hosts=hosts, shape=image.frame_shape)
    spent["identify"] = time.perf_counter() - started
    return found.atoms, found.facts, (*doubts, *found.warnings)
