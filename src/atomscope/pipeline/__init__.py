"""The way of the data: read, detect, refine, identify, judge, write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atomscope import recipe as recipes
from atomscope.columns import conform
from atomscope.detect import look
from atomscope.detect.view import View
from atomscope.io.frames import cut
from atomscope.memory import need
from atomscope.models.store import load
from atomscope.pipeline.blank import blank_frames, blankness, with_data
from atomscope.pipeline.card import judge, models_used, run_card, versions
from atomscope.pipeline.chain import chain_of, chained
from atomscope.pipeline.chemistry import brightness_of, chemistry_of, composed, doubt_of_size
from atomscope.pipeline.clock import Clock
from atomscope.pipeline.discovered import discovered, searchable
from atomscope.pipeline.faint import faintness
from atomscope.pipeline.frames import Progress, all_frames, in_angstrom
from atomscope.pipeline.known import known, warned
from atomscope.pipeline.material import Known, Measured, absent, known_material, measured
from atomscope.pipeline.movie import followed
from atomscope.pipeline.naming import reconciled
from atomscope.pipeline.periodic import on_sites
from atomscope.pipeline.result import Result
from atomscope.pipeline.statistics import measured_structures
from atomscope.pipeline.taught import strange_to
from atomscope.pipeline.zoo import detector_for
from atomscope.recipe import Recipe
from atomscope.types import Image, check_pixel_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pandas as pd

    from atomscope.species import Lattices

__all__ = ["Progress", "Result", "analyze", "versions"]

# Of memory per pixel that an analysis takes beside what it takes of any frame (0.4 GB): measured
# at 2048 and 4096 px with a column per 100 px, 13 bytes as float32 and 14 as float64.
_BYTES = 16


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
        frames: First frame of a movie and the one after the last, either may be None; frames keep
            the numbers that they have in the movie.
        model: Detector in place of the recipe's.
        contrast: 'auto', 'bright' or 'dark', in place of the recipe's.
        rules: Rule book or YAML file that names defects, in place of the recipe's; the host is
            recognised where neither says.
        material: What the image shows, such as 'graphene' or '1H-MoS2': names the columns where
            no elements are given, and measures a pixel size that is not known; does neither,
            with a warning, where the lattice seen is another one.
        jobs: Frames of a movie that are worked on at the same time.
        progress: Called with (frames done, frames in all).
        complete: Called with the table of atoms as soon as nothing changes it any more.

    Raises:
        InputError: The input cannot be read, holds no finite value, is under-sampled, or needs
            more memory than there is.
        UsageError: An argument is wrong.
    """
    clock = Clock()
    plan = recipe if isinstance(recipe, Recipe) else recipes.load(recipe)
    plan = plan.with_detect(model=model, contrast=contrast).with_elements(elements)
    plan = plan.with_rules(rules)
    chain = chain_of(plan)
    axes = known_material(material) if material else ()
    with clock.stage("read"):
        image = cut(_opened(source, select, pixel_size), frames)
        need(_BYTES, image.name, image.frame_shape, min(jobs, image.n_frames))
        blank = blank_frames(image)
    with clock.stage("scale"):
        detector = load(detector_for(plan, image), 1 if jobs > 1 and image.n_frames > 1 else 0)
        shown, how = with_data(image, blank), plan.detect
        view = look(shown, detector, factor=how.factor, contrast=how.contrast)
    plan = _nameable(plan, view, asked=bool(elements or rules or material or chain.steps))
    atoms, weak = all_frames(image, plan, detector, view, jobs, clock, progress)
    with clock.stage("lattice"):
        atoms, lattices = _lattices(atoms, image, plan)
        atoms, lattices, evidence = reconciled(image, atoms, weak, lattices, plan, view)
    named_as = _of_material(image, axes, atoms, lattices)
    image, plan = _with_material(image, plan, named_as)
    atoms = in_angstrom(conform(atoms), image.pixel_size)
    hosts = named_as.axis.elements if named_as.axis else ()
    chemistry = chemistry_of(image, atoms, lattices, plan, detector, view, hosts, clock)
    remarks = (*named_as.lines, *absent(named_as, chemistry.atoms))
    defects = chemistry.defects
    with clock.stage("classify", ran=bool(chain.steps)):
        strange = strange_to(chain, chemistry.atoms, lattices, image.pixel_size)
        links = chained(chemistry.atoms, defects, chain, material, strange)
    with clock.stage("track"):
        movie = followed(image, links.atoms, defects, lattices, plan)
    with clock.stage("know"):
        atoms, verdict = known(image, movie.atoms, detector, view)
    if complete is not None:
        complete(atoms)
    with clock.stage("measure", ran=plan.measure is not None):
        measures = measured_structures(image, movie.atoms, defects, movie.tracks, plan)
    chosen = searchable(movie.atoms, lattices, plan)
    with clock.stage("discover", ran=bool(chosen)):
        new = discovered(image, movie.atoms, defects, chosen)
    doubts = () if material else doubt_of_size(image, plan, lattices, chemistry)
    quality, judged = judge(image, atoms, view, doubts)
    lines = [*image.warnings, *remarks, *judged, *warned(verdict), *faintness(image, view)]
    lines += blankness(blank)
    lines += [*chemistry.warnings, *links.warnings, *movie.warnings, *new.warnings]
    asked = {"select": select, "pixel_size_given": pixel_size, "material": material}
    card = run_card(source, image, plan, detector, view, asked | {"blank_frames": blank}) | {
        "zoo": chemistry.zoo,
        "species": composed(chemistry.species, atoms),
        "defects": chemistry.named | evidence,
        "events": movie.facts,
        **({"structures": links.facts} if chain.steps else {}),
        **new.facts,
        "models": models_used(
            detector, chemistry.zoo["model"], chain.classifiers.values(), discovered=bool(chosen)
        ),
        "seeds": new.seeds,
        "verdict": verdict.to_dict(),
        "seconds": clock.seconds,
        "warnings": lines,
    }
    return Result(
        image=image,
        atoms=atoms,
        defects=defects,
        tracks=movie.tracks,
        events=movie.events,
        steps=links.steps,
        measures=measures,
        quality=quality,
        card=card,
        discoveries=new.discoveries,
    )


def _opened(source: Any, select: int | str | None, pixel_size: float | None) -> Image:
    from atomscope.io import read

    check_pixel_size(pixel_size, "pixel_size")
    if not isinstance(source, Image):
        return read(source, select=select, pixel_size=pixel_size)
    return source if pixel_size is None else source.with_pixel_size(pixel_size)


def _nameable(plan: Recipe, view: View, *, asked: bool) -> Recipe:
    """Leave naming out where it means nothing.

    An average says nothing of single sites; and without a lattice or a word of the user there is
    nothing that atoms on a support could deviate from.
    """
    if view.faint or not (view.lattice or asked):
        return plan.without("name", "discover")
    return plan


def _lattices(atoms: pd.DataFrame, image: Image, plan: Recipe) -> tuple[pd.DataFrame, Lattices]:
    from atomscope.species import fit_lattices

    lattices = fit_lattices(atoms)
    if plan.detect.periodic:
        atoms = on_sites(conform(atoms), lattices, image.frame_shape)
        lattices = fit_lattices(atoms)
    return atoms, lattices


def _of_material(
    image: Image, axes: tuple[Known, ...], atoms: pd.DataFrame, lattices: Lattices
) -> Measured:
    """Compare the image with a known material, where one is named."""
    if not axes:
        return Measured(None, image.pixel_size)
    return measured(
        axes, lattices, brightness_of(image, atoms, lattices), image.pixel_size, image.name
    )


def _with_material(image: Image, plan: Recipe, found: Measured) -> tuple[Image, Recipe]:
    """Image and plan with what a known material tells: the pixel size and the columns."""
    if found.axis and not (plan.identify and plan.identify.elements):
        plan = plan.with_elements(found.axis.elements + found.axis.single)
    return image.with_pixel_size(found.size), plan
