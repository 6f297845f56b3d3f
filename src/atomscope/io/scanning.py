"""Scanning probe formats that need an optional package: Gwyddion and Omicron MATRIX."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomscope.errors import InputError
from atomscope.io.candidate import Axis, Candidate
from atomscope.io.extras import need

_TOPOGRAPHY = ("z", "topography", "height", "topo")


def read_gwy(path: Path) -> list[Candidate]:
    """Describe each data field of a Gwyddion file."""
    gwyfile = need("gwyfile", path.name)
    tree = gwyfile.load(str(path))
    return [_field(str(name), field) for name, field in gwyfile.util.get_datafields(tree).items()]


def _field(name: str, field: Any) -> Candidate:
    data = np.asarray(field.data)
    unit = str(getattr(field.get("si_unit_xy"), "unitstr", "") or "")
    axes = (Axis(field.yreal / data.shape[0], unit), Axis(field.xreal / data.shape[1], unit))
    # The first word of a title such as 'Z (Forward)' names the channel.
    channel = name.casefold().replace("_", " ").split(" ")[0]
    return Candidate(
        name,
        data.shape,
        data.dtype,
        lambda: data,
        axes,
        "stm",
        preference=2.0 * (channel in _TOPOGRAPHY) - ("back" in name.casefold()),
        metadata={"title": name},
    )


def read_mtrx(path: Path) -> list[Candidate]:
    """Describe the traces of an Omicron MATRIX scan, whose settings are in a file beside it."""
    if not path.name.casefold().endswith("_mtrx"):
        raise InputError(
            f"{path.name}: a MATRIX parameter file; expected a scan. "
            "Give the .Z_mtrx file beside it."
        )
    module = need("access2thematrix", path.name)
    file = module.MtrxData()
    traces, message = file.open(str(path))
    if not traces:
        raise InputError(
            f"{path.name}: {' '.join(str(message).split())}; expected a scan and its "
            "*_0001.mtrx parameter file in one folder. Copy both."
        )
    topography = path.name.casefold().endswith(".z_mtrx")
    found = []
    for number, trace in traces.items():
        image, _ = file.select_image(trace)
        height, width = np.shape(image.data)
        axes = (Axis(image.height / height, "m"), Axis(image.width / width, "m"))
        found.append(
            Candidate(
                str(trace),
                (height, width),
                np.asarray(image.data).dtype,
                # Row 0 of the package is the bottom of the scan.
                partial(_upright, np.asarray(image.data)),
                axes,
                "stm",
                preference=2.0 * topography - int(number),
            )
        )
    return found


def _upright(values: NDArray[Any]) -> NDArray[Any]:
    return values[::-1]
