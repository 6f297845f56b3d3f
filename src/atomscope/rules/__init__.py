"""Defects named by rules of chemistry."""
