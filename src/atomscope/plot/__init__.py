"""Pictures: the micrograph with its atoms, and what reports and training runs draw."""

from atomscope.plot.colours import (
    KNOWN_COLOUR,
    PALETTE,
    UNKNOWN_COLOUR,
    UNNAMED_COLOUR,
    Classes,
    classify_colours,
    ring_colour,
)
from atomscope.plot.curves import curves
from atomscope.plot.network import Network, circles, network
from atomscope.plot.overlay import overlay
from atomscope.plot.pixels import (
    grey,
    scale_bar,
    shrink,
    shrink_factor,
    view_of,
)

__all__ = [
    "KNOWN_COLOUR", "PALETTE", "UNKNOWN_COLOUR", "UNNAMED_COLOUR", "Classes", "Network", "circles",
    "classify_colours", "curves", "grey", "network", "overlay", "ring_colour",
    "scale_bar", "shrink", "shrink_factor", "view_of",
]  # fmt: skip
