"""Refinement of columns to the limit that the noise sets, with error bars."""

from atomscope.recipe.stages import RefineOptions
from atomscope.refine.hold import hold
from atomscope.refine.limits import cramer_rao
from atomscope.refine.pairs import split_pairs
from atomscope.refine.table import refine

__all__ = ["RefineOptions", "cramer_rao", "hold", "refine", "split_pairs"]
