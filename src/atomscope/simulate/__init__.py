"""Simulated specimens and their images; everything is drawn from explicit seeds."""
