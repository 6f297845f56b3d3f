"""Statistics of the structures that were found, where the recipe asks for them."""

from __future__ import annotations

import pandas as pd

from atomscope.recipe import Recipe
from atomscope.types import Image


def measured_structures(
    image: Image,
    atoms: pd.DataFrame,
    defects: pd.DataFrame,
    tracks: pd.DataFrame,
    plan: Recipe,
) -> dict[str, pd.DataFrame]:
    """Return the tables of `atomscope.measure` by name; none without that stage."""
    stage = plan.measure
    if stage is None:
        return {}
    from atomscope.measure import measure

    return measure(
        atoms,
        defects,
        pixel_size=image.pixel_size,
        tracks=tracks if image.n_frames > 1 else None,
        shape=image.frame_shape,
        times=_times(image),
        dose=stage.dose,
        phases=stage.phases or None,
        vacancies=stage.vacancies or None,
    )


def _times(image: Image) -> tuple[float, ...] | None:
    """Times by the number of the frame, unknown before the first."""
    return None if image.times is None else (*[float("nan")] * image.first_frame, *image.times)


def file_of(name: str) -> str:
    """Name of the file of a table: measures.csv for the numbers."""
    return "measures.csv" if name == "numbers" else f"measures-{name}.csv"
