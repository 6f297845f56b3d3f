"""What a reader finds in a file: one `Candidate` for each array that could be an image."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from atomscope.errors import InputError
from atomscope.io import units
from atomscope.types import Modality

# Below this a side is a profile or a table of numbers, not a picture.
SMALLEST_SIDE = 4
MEAN_BELOW, REFUSE_ABOVE = 0.01, 0.20
DIFFRACTION = "a diffraction pattern (reciprocal units); give the real-space image"
PROFILE = "a profile or table"
SURVEY = "give the image that was taken with it"
SPECTRUM = f"a spectrum or a spectrum image; {SURVEY}"
# Of detectors that saw the same field; atoms are sharpest where the contrast is incoherent.
DETECTOR_PREFERENCE: dict[Modality, float] = {"haadf": 3, "adf": 2, "abf": 1, "bf": 0.5}


@dataclass(frozen=True)
class Axis:
    """Calibration of one axis: step between samples, its unit, and the first value."""

    scale: float | None = None
    unit: str = ""
    offset: float = 0.0


@dataclass(frozen=True)
class Candidate:
    """One array of a file, described without loading it.

    Attributes:
        name: Name of the array in the file.
        shape: Shape of the array.
        dtype: Type of its values.
        load: Gives the array, best lazily (memory map, HDF5 dataset, `Frames`).
        axes: Calibration of the last axes, at most one for each axis of the array; may be empty.
        modality: How the contrast came about, where the file says so.
        times: Time of each frame in s; where empty, a first axis in s gives them.
        preference: The highest is read unless the user selects another.
        reason: Why the reader knows that this is no image; empty where it may be one.
        warnings: Lines for the user.
        metadata: Plain values that the file says about the array.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    load: Callable[[], Any]
    axes: tuple[Axis, ...] = ()
    modality: Modality = "unknown"
    times: tuple[float, ...] | None = None
    preference: float = 0.0
    reason: str = ""
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


def why_no_image(candidate: Candidate) -> str:
    """Return what the array is instead of an image, and what to do; empty where it may be one."""
    shape, ndim = candidate.shape, len(candidate.shape)
    dtype = np.dtype(candidate.dtype)
    names = [axis.unit for axis in candidate.axes]
    checks = (
        (dtype.names is not None, "a table of records or coloured pixels; save plain grey values"),
        (dtype.kind == "c", "complex values; take the modulus first"),
        (dtype.kind not in "buif", f"values of type {dtype.name}, not numbers; save numbers"),
        (0 in shape, f"an empty array of shape {shape}; save or export the image again"),
        (any(map(units.is_spectral, names)), SPECTRUM),
        (ndim < 2, f"{'a spectrum or a profile' if ndim else 'a single number'}; {SURVEY}"),
        (any(map(units.is_reciprocal, names[-2:])), DIFFRACTION),
        (any(units.seconds(unit) for unit in names[-2:]), f"a time trace; {SURVEY}"),
        (ndim > 3, f"{ndim}-D data; reduce it to (y, x) or (t, y, x) first"),
        (
            min(shape[-2:], default=0) < SMALLEST_SIDE,
            f"{PROFILE} of shape {shape}; give an image of {SMALLEST_SIDE} x {SMALLEST_SIDE} "
            "pixels or more",
        ),
    )
    return candidate.reason or next((text for wrong, text in checks if wrong), "")


def pixel_size(candidate: Candidate) -> tuple[float | None, tuple[str, ...]]:
    """Return the pixel size in Å (None where unknown) and lines for the user.

    Raises:
        InputError: The pixels are far from square.
    """
    steps = [_angstroms(axis) for axis in candidate.axes[-2:]]
    known = [step for step in steps if step]
    if not known:
        loose = [a.scale for a in candidate.axes[-2:] if a.scale not in (None, 0.0, 1.0)]
        if loose and not units.plain(candidate.axes[-1].unit):
            return None, (
                f"The file gives a scale of {loose[-1]:.6g} without a unit; it is not used. "
                "Give pixel_size in Å.",
            )
        return None, ()
    across = known[-1]
    difference = abs(known[0] / across - 1)
    if difference < MEAN_BELOW:
        return float(np.mean(known)), ()
    text = f"The pixels are {known[0]:.4g} Å high and {across:.4g} Å wide"
    if difference > REFUSE_ABOVE:
        raise InputError(
            f"{candidate.name}: {text[0].lower()}{text[1:]}; expected square pixels. "
            "Resample the image, or give pixel_size to take it as it is."
        )
    return across, (f"{text}; the width is used for both.",)


def frame_times(candidate: Candidate) -> tuple[float, ...] | None:
    """Return the time of each frame in s, or None where the file does not say."""
    if candidate.times is not None or len(candidate.shape) != 3 or len(candidate.axes) != 3:
        return candidate.times
    axis = candidate.axes[0]
    second = units.seconds(axis.unit)
    if second is None or not axis.scale:
        return None
    steps = axis.offset + axis.scale * np.arange(candidate.shape[0])
    return tuple((steps * second).tolist())


def modality_of(*texts: object) -> Modality:
    """Return the modality that a title, detector or channel name speaks of."""
    text = " ".join(str(t) for t in texts if t).casefold()
    patterns: tuple[tuple[Modality, str], ...] = (
        ("haadf", r"haadf|high[ -]angle annular"),
        ("abf", r"(?<![a-z])abf|annular bright"),
        ("adf", r"(?<![a-z])[lm]?a?adf(?![a-z])|(?<![a-z])df\d?(?![a-z])|dark[ -]?field"),
        ("bf", r"(?<![a-z])bf\d?(?![a-z])|bright[ -]?field"),
        ("stm", r"(?<![a-z])stm(?![a-z])|tunnel"),
        ("tem", r"(?<![a-z])(hr)?tem(?![a-z])"),
    )
    return next((name for name, pattern in patterns if re.search(pattern, text)), "unknown")


def _angstroms(axis: Axis) -> float | None:
    factor = units.angstroms(axis.unit)
    if factor is None or axis.scale is None or not np.isfinite(axis.scale):
        return None
    return abs(float(axis.scale)) * factor or None
