"""The run card: what was done to which input, and what to doubt."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atomscope.classify.classifier import Classifier
from atomscope.classify.embedding import embedder
from atomscope.detect.view import View
from atomscope.knowing.verdict import PLAUSIBLE
from atomscope.models.store import Model, load
from atomscope.recipe import Recipe
from atomscope.types import Image

if TYPE_CHECKING:
    import pandas as pd

    from atomscope.quality import Quality

# Packages that read files and structures; which of them did is a matter of the format.
READERS = ("ase", "h5py", "imageio", "rosettasciio", "tifffile")


_SMALL = 48  # px: a side in which few columns have room
_WIDTHS = (0.15, 4.0)  # Å: grain of isolated atoms, sharp ones and those on a coarse support


def run_card(
    source: Any,
    image: Image,
    plan: Recipe,
    detector: Model,
    view: View,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the card says of input, model and recipe; `about` is added to the input."""
    from atomscope.io import input_hash
    from atomscope.io.registry import split_path

    path = split_path(source)[0] if isinstance(source, str | Path) else None
    return {
        "input": {
            "name": image.name,
            "sha256": input_hash(path) if path else None,
            "shape": list(image.data.shape),
            "frames": [image.numbers[0], image.numbers[-1]],
            "dtype": str(image.data.dtype),
            "pixel_size_angstrom": image.pixel_size,
            "modality": image.modality,
            **about,
        },
        "model": {
            "name": detector.card.name,
            "version": detector.card.version,
            "sha256": detector.sha256,
            "reliability": detector.card.reliability.model_dump(),
        },
        "view": {
            "factor": view.factor,
            "contrast": "dark" if view.dark else "bright",
            "lattice": view.lattice,
            "averaged": view.faint,
            "levelled": view.level,
            "dimmed": view.dimmed,
            "pairs": view.pairs,
            "spacing_px": view.scale.spacing,
            "order": view.scale.order,
            "sigma_px": view.scale.sigma,
        },
        "recipe": plan.model_dump(mode="json"),
        "versions": versions(),
    }


def models_used(
    detector: Model, label: str | None, classifiers: Iterable[Classifier], *, discovered: bool
) -> list[dict[str, str]]:
    """Return use, name, version and SHA-256 of every network that had a say.

    Args:
        detector: That found the columns.
        label: Name or folder of the model that wrote labels.
        classifiers: That were asked.
        discovered: Whether configurations without a name were looked for.
    """
    named = {"detect": detector} | ({"label": load(label)} if label else {})
    used = [(use, m.card.name, m.card.version, m.sha256) for use, m in named.items()]
    nets = [("structures", c.net) for c in classifiers] + [("discover", embedder())] * discovered
    used += [(use, net.folder.name, net.version, net.sha256) for use, net in nets]
    keys = ("use", "name", "version", "sha256")
    return [dict(zip(keys, row, strict=True)) for row in dict.fromkeys(used)]


def versions() -> dict[str, str]:
    """Return the versions of what an analysis depends on."""
    from importlib.metadata import version

    packages = ("atomscope", "numpy", "scipy", "pandas", "onnxruntime", *READERS)
    return {"python": platform.python_version(), **{p: version(p) for p in packages}}


def judge(
    image: Image, atoms: pd.DataFrame, view: View, size_doubts: Sequence[str] = ()
) -> tuple[Quality, list[str]]:
    """Return the quality numbers, and a line for each doubt about the result as a whole.

    `size_doubts` are those about the pixel size, where the host is known; what no crystal at all
    can have is said without them.
    """
    from atomscope.quality import quality

    numbers = quality(atoms, image.frame_shape, image.n_frames, image.pixel_size)
    lines = []
    if numbers.n_atoms == 0:
        lines.append(
            "No atoms found: the image has no columns that stand out from noise and texture. "
            f"Where you see some, {_advice(image)}."
        )
    times = view.scale.times
    if times > 1:
        lines.append(
            f"Each pixel stands {times} x {times} times, as in a picture that was enlarged: "
            f"standard errors are too small by that factor of {times}; analyse the original."
        )
    if view.scale.smooth and not view.lattice and image.pixel_size is None:
        lines.append(
            "The noise spreads over several pixels, as in a picture that was smoothed or enlarged, "
            "and may pass for atoms: give --pixel-size, or analyse the original."
        )
    if numbers.ordered and numbers.spacing_angstrom and image.pixel_size:
        lines += size_doubts or _unit_hint(numbers.spacing_angstrom, image.pixel_size)
    if not view.lattice and numbers.n_atoms and image.pixel_size:
        lines += _width_hint(view.scale.sigma, image.pixel_size)
    return numbers, lines


def _advice(image: Image) -> str:
    """What else may show columns that were not found."""
    if min(image.frame_shape) < _SMALL:
        return "give a larger part of the image: this one holds too few to tell them from noise"
    size = "" if image.pixel_size else " or give --pixel-size"
    return f"try --contrast dark{size}"


def _likely(length: float, low: float, high: float) -> float | None:
    """By which mistake of units a length in Å is not between two others; None for none."""
    return next((f for f in (10.0, 0.1, 100.0, 0.01) if low <= length * f <= high), None)


def _width_hint(sigma: float | None, pixel_size: float) -> list[str]:
    """Say which pixel size is likely where isolated atoms are far too narrow or too wide."""
    if sigma is None or _WIDTHS[0] <= sigma * pixel_size <= _WIDTHS[1]:
        return []
    likely = _likely(sigma * pixel_size, 0.4, 2.0)
    line = (
        f"What stands out is {sigma * pixel_size:.3g} Å wide (standard deviation) at "
        f"{pixel_size:.4g} Å per px, which atoms are not."
    )
    if likely:
        line += (
            f" Was nm taken for Å, or Å for nm? {pixel_size * likely:.4g} Å per px is likely; "
            "give it with --pixel-size."
        )
    return [line]


def _unit_hint(spacing: float, pixel_size: float) -> list[str]:
    """Say which pixel size is likely where a lattice's spacing in Å cannot be one.

    That no crystal has such a spacing is said by the verdict.
    """
    low, high = PLAUSIBLE
    likely = _likely(spacing, 1.2, 6.0)
    if low <= spacing <= high or not likely:
        return []
    return [
        f"Was nm taken for Å, or Å for nm? {pixel_size * likely:.4g} Å per px is likely, with "
        f"columns {spacing * likely:.3g} Å apart; give it with --pixel-size."
    ]
