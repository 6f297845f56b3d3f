"""What refinement may be told; unknown keys are refused."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RefineOptions(BaseModel):
    """Options of `refine`; the defaults are meant for any image of atoms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: Literal["own", "shared"] = Field(
        "own",
        description="'own': each column has its width, drawn towards the typical one as far as "
        "the spread of the widths allows; 'shared': one width for the whole frame",
    )
    elliptical: bool = Field(False, description="fit the ellipticity of each column too")
    weights: Literal["auto", "poisson", "gaussian"] = Field(
        "auto",
        description="'auto': noise variance linear in brightness, read from the image; "
        "'poisson': the values are counts; 'gaussian': the same variance in every pixel",
    )
    max_shift: float = Field(
        0.5, gt=0, le=1, description="largest shift, in distances to the nearest neighbour"
    )
    iterations: int = Field(20, ge=1, le=200, description="most Gauss-Newton steps")
