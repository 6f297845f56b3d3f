"""Species of atoms: classes of brightness, and their names where elements are given."""

from atomscope.species.identify import Study, fit_lattices, identify, study

__all__ = ["Study", "fit_lattices", "identify", "study"]
