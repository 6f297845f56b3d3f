"""Frames with named defects of which everything is known: tables of atoms, and counts.

    frame = named_frame("graphene", ("V1", "Si1C3", "SW(55-77)"), seed=1, dose=14.0)
    frame.atoms, frame.defects, frame.image

Defects lie at random places and in random orientations, well apart, in a layer that is turned
and mirrored at random. The frames are like the sample that comes with the package (`samples`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from atomscope.errors import UsageError
from atomscope.formula import EXPONENT
from atomscope.simulate.crystals import columns_along
from atomscope.simulate.materials import material
from atomscope.simulate.named_field import (
    SIGMA,
    Field,
    NamedFrame,
    columns_in,
    counted,
    random_matrix,
    tables_of,
)
from atomscope.simulate.named_kinds import HOSTS
from atomscope.simulate.named_templates import (
    CORE,
    Laid,
    Template,
    fits,
    kind_of,
    lay,
    random_turn,
    template,
)
from atomscope.simulate.scene import Floats

__all__ = ["EXPONENT", "LOW", "MEDIUM", "SIGMA", "NamedFrame", "kinds_of", "named_frame"]

APART = 10.0  # Å between the middles of two point defects
CLEAR = 6.0  # Å between the atoms of a defect and the border
MARGIN = 20.0  # Å of the layer around the frame, so that no pattern ends in the void
STARTS, TRIES = 20, 200  # at finding places
LOW, MEDIUM = 14.0, 50.0  # counts in the peak pixel of the weakest column of a host


def kinds_of(host: str) -> tuple[str, ...]:
    """Return the names of the defects that a host can have.

    Raises:
        UsageError: There is no such host.
    """
    if host not in HOSTS:
        raise UsageError(f"host {host!r}: expected one of {', '.join(HOSTS)}.")
    return tuple(kind.name for kind in HOSTS[host])


def named_frame(
    host: str,
    kinds: Sequence[str],
    seed: int,
    *,
    size_px: int = 384,
    pixel_size: float = 0.11,
    dose: float | None = None,
    sigma: float = SIGMA,
    tail: float = 0.12,
    background: float = 0.35,
    jitter: float = 0.25,
    drift: tuple[float, float] = (0.0, 0.0),
    strain: float = 0.0,
) -> NamedFrame:
    """Simulate one layer with some defects.

    Args:
        host: graphene, hBN, 1H-MoS2 or 1H-WSe2.
        kinds: Names of the defects, as often as they shall occur; '5-7' makes two of them.
        seed: Of everything random.
        size_px: Edge of the square frame.
        pixel_size: Å.
        dose: Counts in the peak pixel of the weakest column of the perfect host, without
            background; None for tables alone.
        sigma: Standard deviation of the probe in Å.
        tail: Share of the peak in a second one, 2.5 times as wide.
        background: Even background in units of that peak.
        jitter: Rms shift of the scan lines in px.
        drift: Way (x, y) in Å of the specimen while the frame is scanned; the truth goes along.
        strain: Extension along a random direction.

    Raises:
        UsageError: Unknown host or kind, a value out of range, or no room for the defects.
    """
    kinds_of(host)
    _check(size_px=size_px, pixel_size=pixel_size, sigma=sigma, dose=1.0 if dose is None else dose)
    rng = np.random.default_rng(seed)
    field = Field(size_px, pixel_size, random_matrix(rng, strain), np.array(drift, dtype=float))
    laid = _with_defects(rng, host, kinds, field)
    xy, numbers, owner = columns_in(laid, field)
    atoms, defects = tables_of(xy, numbers, owner, laid, field)
    image = None
    if dose is not None:
        weight = np.array([sum(z**EXPONENT for z in n) for n in numbers]) / _weakest(host)
        optics = {"sigma": sigma, "tail": tail, "background": background, "jitter": jitter}
        image = counted(rng, xy, weight, field, dose, **optics)
    return NamedFrame(atoms, defects, image, pixel_size, (size_px, size_px), host)


def _check(**above_zero: float) -> None:
    for name, value in above_zero.items():
        if not value > 0:
            raise UsageError(f"{name} {value}: expected a value above 0.")


def _with_defects(rng: np.random.Generator, host: str, kinds: Sequence[str], field: Field) -> Laid:
    """Lay defects on a perfect layer that covers the frame."""
    sheet = _perfect(host, field.edge / np.sqrt(2) + MARGIN, rng.uniform(-2, 2, 2))
    variants = [rng.integers(len(kind_of(host, name).builds)) for name in kinds]
    patterns = [template(host, name, int(v)) for name, v in zip(kinds, variants, strict=True)]
    tree = cKDTree(sheet.positions)
    for _ in range(STARTS):
        chosen = _placed(rng, sheet, tree, patterns, field)
        if chosen is not None:
            return lay(sheet, chosen, tree)
    raise UsageError(
        f"{len(kinds)} defects in {field.edge:.0f} Å: found no room; give fewer or a larger frame."
    )


def _perfect(host: str, radius: float, origin: Floats) -> Laid:
    """Return a round piece of a layer about the origin."""
    unit = material(host).atoms
    cell = np.asarray(unit.cell[:2])
    count = int(np.ceil(radius * np.linalg.norm(np.linalg.pinv(cell), axis=0).max())) + 1
    steps = np.stack(np.meshgrid(*[np.arange(-count, count + 1)] * 2), -1).reshape(-1, 1, 2)
    positions = (unit.positions + steps @ cell).reshape(-1, 3) - [*origin, 0.0]
    numbers = np.tile(unit.numbers, len(steps))
    kept = np.hypot(positions[:, 0], positions[:, 1]) < radius
    return Laid(positions[kept], numbers[kept], np.full(int(kept.sum()), -1))


def _placed(
    rng: np.random.Generator, sheet: Laid, tree: cKDTree, patterns: list[Template], field: Field
) -> list[tuple[int, Template]] | None:
    """Choose sites and turns for patterns, the largest first; None where one finds no room."""
    flat = field.to_frame(sheet.positions)
    chosen: list[tuple[int, Template]] = []
    centres, extents = np.zeros((0, 2)), np.zeros(0)
    for pattern in sorted(patterns, key=lambda p: -p.extent):
        number = pattern.was[0]
        height = sheet.positions[sheet.numbers == number, 2].max()
        like = (sheet.numbers == number) & (sheet.positions[:, 2] > height - 0.1)
        low = CLEAR + CORE + pattern.extent
        if low > field.edge / 2:
            return None
        for _ in range(TRIES):
            wanted = rng.uniform(low, field.edge - low, 2)
            turned = pattern.turned(random_turn(rng))
            anchor = wanted - field.matrix @ turned.middle.mean(axis=0)[:2]
            site = int(np.argmin(np.where(like, np.linalg.norm(flat - anchor, axis=1), np.inf)))
            centre = field.to_frame(sheet.positions[site] + turned.middle).mean(axis=0)
            apart = np.linalg.norm(centres - centre, axis=1) - extents - pattern.extent
            if np.all(apart >= APART) and fits(sheet, tree, turned, site):
                chosen.append((site, turned))
                centres, extents = np.vstack([centres, centre]), np.append(extents, pattern.extent)
                break
        else:
            return None
    return chosen


def _weakest(host: str) -> float:
    """Sum of Z**EXPONENT of the weakest column of a perfect layer."""
    basis = columns_along(material(host).atoms).basis
    return float(min(sum(z**EXPONENT for z in numbers) for numbers in basis.numbers))
