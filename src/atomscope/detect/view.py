"""How a frame is shown to the network."""

from __future__ import annotations

from dataclasses import dataclass

from atomscope.scale import Scale


@dataclass(frozen=True)
class View:
    """How a frame is shown to the network.

    Attributes:
        factor: Canonical px per px of the input.
        dark: True where the atoms are darker than their surroundings.
        scale: What the frame's autocorrelation said.
        lattice: True where columns repeat, False for isolated atoms on a support.
        level: True where scan lines are brought to one height first (STM).
        faint: True where noise hides the single columns of a lattice, which is then shown
            averaged; see `average`.
        dimmed: True where a few atoms are so bright that they would hide all others.
        pairs: True where columns stand in pairs far from each other, closer than the network's
            own spacing.
    """

    factor: float
    dark: bool
    scale: Scale
    lattice: bool = True
    level: bool = False
    faint: bool = False
    dimmed: bool = False
    pairs: bool = False
