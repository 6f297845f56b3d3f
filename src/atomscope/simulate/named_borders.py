"""Frames of one straight border of known kind: what `named` does for point defects.

    frame = border_frame("antiphase boundary", seed=1, dose=50.0)
    frame.atoms, frame.defects, frame.image

The border passes through the whole frame, near its middle, in a random direction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from atomscope.errors import UsageError
from atomscope.formula import EXPONENT
from atomscope.simulate import domains
from atomscope.simulate.materials import material
from atomscope.simulate.named_field import (
    Field,
    NamedFrame,
    columns_in,
    counted,
    random_matrix,
    tables_of,
)
from atomscope.simulate.named_templates import Laid
from atomscope.simulate.sheets import Sheet

if TYPE_CHECKING:
    from ase import Atoms

Build = Callable[["Atoms", tuple[float, float]], Sheet]

AWAY = 3.0  # Å: largest distance of the border from the middle of the frame
MARGIN = 6.0  # Å of the layer around the frame
SEEN = 0.1  # of the strongest column of the host: the weakest that the dose is counted in

# name of the border or region: its host, and how the sheet is made
BORDERS: Mapping[str, tuple[str, Build]] = {
    "line 5-8-5": ("graphene", domains.pentagon_line),
    "mirror twin boundary 4|4P": ("1H-MoS2", partial(domains.mirror_twin, kind="4|4P")),
    "mirror twin boundary 4|4E": ("1H-MoS2", partial(domains.mirror_twin, kind="4|4E")),
    "mirror twin boundary": ("1H-MoS2", partial(domains.mirror_twin, kind="8")),
    "antiphase boundary": ("SrTiO3", domains.antiphase),
    "1T'": ("1H-MoS2", partial(domains.distorted, share=0.65)),
}


@cache
def _sheet(kind: str, edge: float) -> Sheet:
    host, build = BORDERS[kind]
    return build(material(host).atoms, (edge, edge))


def border_frame(
    kind: str,
    seed: int,
    *,
    size_px: int = 448,
    pixel_size: float = 0.11,
    dose: float | None = None,
    strain: float = 0.0,
) -> NamedFrame:
    """Simulate a frame with one border, or the region beyond it.

    Args:
        kind: One of `BORDERS`.
        seed: Of everything random.
        size_px: Edge of the square frame.
        pixel_size: Å.
        dose: Counts in the peak pixel of the weakest column of the host that has a tenth of the
            strongest one's brightness, without background; None for tables alone.
        strain: Extension along a random direction.

    Returns:
        The frame; its one defect holds the atoms near the border, and `direction` in degrees from
        x towards -y (up), 0 to 180.

    Raises:
        UsageError: There is no such kind.
    """
    if kind not in BORDERS:
        raise UsageError(f"border {kind!r}: expected one of {', '.join(BORDERS)}.")
    rng = np.random.default_rng(seed)
    field = Field(size_px, pixel_size, random_matrix(rng, strain), np.zeros(2))
    host = BORDERS[kind][0]
    sheet = _sheet(kind, field.edge * np.sqrt(2) + 2 * (MARGIN + AWAY))
    number = np.full(len(sheet.atoms), -1)
    number[list(sheet.defects[-1].atoms)] = 0
    centre = np.array([*sheet.defects[-1].centre, 0.0])
    shift = np.append(rng.uniform(-AWAY, AWAY, 2), 0.0)
    places = sheet.atoms.positions - centre + shift
    laid = Laid(places, sheet.atoms.numbers, number, (kind,), shift[None])
    xy, numbers, owner = columns_in(laid, field)
    atoms, defects = tables_of(xy, numbers, owner, laid, field)
    x, y = field.matrix[:, 1]
    defects = defects.assign(direction=float(np.degrees(np.arctan2(-y, x)) % 180))
    image = None
    if dose is not None:
        strength = np.array([sum(z**EXPONENT for z in n) for n in numbers])
        usual = np.unique(np.round(strength, 6))
        weight = strength / usual[usual > SEEN * usual.max()].min()
        image = counted(rng, xy, weight, field, dose)
    return NamedFrame(atoms, defects, image, pixel_size, (size_px, size_px), host)
