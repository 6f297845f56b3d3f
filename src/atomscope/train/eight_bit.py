"""Networks with weights and features of 8 bits: a quarter of the size, about twice as fast."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomscope.simulate.dataset import patch
from atomscope.train.data import CALIBRATION, shown
from atomscope.train.settings import TrainingRecipe

PATCHES = 160  # of the training world tell how large features become
STEPS = ["Conv", "Relu", "Add", "Resize"]
PRECISE = ("network.stem", "network.head", "network.classes")  # layers that stay as they are


def quantise(path: Path, recipe: TrainingRecipe) -> None:
    """Bring an exported detector to 8 bits, in place.

    The first convolution, which sees the frame, and those that give heat, offsets and classes stay
    as they are. Weights have a scale per channel and 7 bits: with 8, sums overflow on processors
    without instructions for them. Features have the range that they reach in the training world.

    Args:
        path: ONNX file.
        recipe: Of the detector.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    layers = [node for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    short = path.with_suffix(".short")
    with _without_advice():
        quantize_static(
            path,
            short,
            _Reader(recipe),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=STEPS,
            nodes_to_exclude=[node.name for node in layers if node.input[1].startswith(PRECISE)],
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    short.replace(path)


class _Reader:
    """Gives one normalised patch after the other to the runtime's calibration."""

    def __init__(self, recipe: TrainingRecipe) -> None:
        self._frames = _frames(recipe)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the input of one run, or None at the end."""
        frame = next(self._frames, None)
        return None if frame is None else {"frame": frame[None]}


def _frames(recipe: TrainingRecipe) -> Iterator[NDArray[np.float32]]:
    """Draw patches that neither training, nor calibration of p, nor scores see."""
    last = recipe.phases[-1]
    world = last.world.world(recipe.class_names)
    for i in range(PATCHES):
        rng = np.random.default_rng((last.seed, CALIBRATION, 2 * 10**6 + i))
        yield shown(patch(rng, recipe.size, world).frame, world)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep the runtime from recommending a step that changes nothing here."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
