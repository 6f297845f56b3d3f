"""Bonds, rings and coordination of the atoms of a frame."""

from atomscope.graph.atomgraph import AtomGraph
from atomscope.graph.bonding import connect
from atomscope.graph.cycles import chordless_cycles
from atomscope.graph.faces import Rings, rings
from atomscope.graph.geometry import Angles, BondLengths, angles, bond_lengths, strain, too_close
from atomscope.graph.planar import planar
from atomscope.graph.rules import BondRules

__all__ = [
    "Angles",
    "AtomGraph",
    "BondLengths",
    "BondRules",
    "Rings",
    "angles",
    "bond_lengths",
    "chordless_cycles",
    "connect",
    "planar",
    "rings",
    "strain",
    "too_close",
]
