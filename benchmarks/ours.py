"""The program under test, called as a user would: no setting but the pixel size where known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from baselines import Array, Frame


def found_by(
    frames: Sequence[Frame], model: str | None = None, *, refined: bool = True
) -> list[Array]:
    """Positions found in every frame; none where the program refuses the frame.

    Args:
        frames: Frames to look at, one by one.
        model: Folder or name of a detector in place of the built-in one.
        refined: Positions after the joint fit, else those of the detector.
    """
    return [_found(frame, model, refined) for frame in frames]


def _found(frame: Frame, model: str | None, refined: bool) -> Array:
    import atomscope
    from atomscope.errors import InputError

    options = {"pixel_size": frame.pixel_size} | ({"model": model} if model else {})
    try:
        if refined:
            atoms = atomscope.analyze(frame.data, **options).atoms
        else:
            atoms = atomscope.detect(frame.data, **options)
    except InputError as refusal:
        print(f"{frame.name}: {refusal}")
        return np.empty((0, 2))
    return atoms[["x_px", "y_px"]].to_numpy(float)
