"""Bonds, rings and coordination of the atoms of a frame."""
