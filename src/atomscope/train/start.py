"""Fine-tuning starts from the weights of a finished model."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from atomscope.models.store import load, read_card
from atomscope.train.checkpoint import save

PREFIX = "network."
START = "start.safetensors"
FULL = "weights.safetensors"  # beside an ONNX file of 8 bits
FOLDED = "weight_bias"  # what the exporter calls the bias that a batch norm left


def start_weights(model: str, out: Path) -> Path:
    """Write the weights of a model, given by name or folder, as `out`/start.safetensors.

    They are read back from its ONNX file, in which the batch norms are folded away, or, where that
    has 8 bits, from what it was made of.

    Raises:
        UsageError: There is no such model, or its weights are not those of its card.
    """
    import onnx
    from onnx import numpy_helper

    load(model)  # checks the hash and the test pair
    _, folder = read_card(model)
    path = out / START
    if (folder / FULL).is_file():
        save(load_file(folder / FULL), path)
        return path
    graph = onnx.load(folder / "weights.onnx").graph
    state = {}
    for tensor in graph.initializer:
        if tensor.name.startswith(PREFIX):
            name = tensor.name.removeprefix(PREFIX).replace(FOLDED, "bias")
            state[name] = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    save(state, path)
    return path
