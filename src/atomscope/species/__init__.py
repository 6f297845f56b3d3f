"""Species of atoms: classes of brightness, and their names where elements are given."""

from atomscope.species.identify import (
    Lattices,
    Study,
    composition,
    fit_lattices,
    identify,
    study,
)

__all__ = ["Lattices", "Study", "composition", "fit_lattices", "identify", "study"]
