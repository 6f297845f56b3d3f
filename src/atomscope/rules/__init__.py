"""Defects named by rules of chemistry."""

from atomscope.rules.book import Book, Rule, load, names
from atomscope.rules.name import NamedDefects, name_defects

__all__ = ["Book", "NamedDefects", "Rule", "load", "name_defects", "names"]
