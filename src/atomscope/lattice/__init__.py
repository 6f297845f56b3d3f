"""The lattice of a frame, found from the positions of its atoms."""

from atomscope.lattice.fit import Lattice, fit_lattice
from atomscope.lattice.sites import empty_sites

__all__ = ["Lattice", "empty_sites", "fit_lattice"]
