"""Making models: training from a recipe, calibration, and the folder that is shipped."""
