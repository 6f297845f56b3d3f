"""Structures taught by examples: mark a handful of atoms, and the others are found."""

from atomscope.classify.classifier import Classifier, classify, label_sets, load
from atomscope.classify.examples import read_examples
from atomscope.classify.teaching import suggest, teach

__all__ = ["Classifier", "classify", "label_sets", "load", "read_examples", "suggest", "teach"]
