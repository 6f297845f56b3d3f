"""Atoms and defects followed through a movie, and what happened to them."""
