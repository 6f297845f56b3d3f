"""Making models: training from a recipe, calibration, and the folder that is shipped."""

from atomscope.train.run import train

__all__ = ["train"]
