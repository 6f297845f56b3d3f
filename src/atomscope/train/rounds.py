"""The rounds of the network of structures as graphs of ONNX, one each.

    python -m atomscope.train.rounds FOLDER

writes those of a folder again from its weights: networks that were trained on for someone before
there were two are one graph, which works, but takes twice the time. The network stays the same one,
and classifiers that were taught with it know it.
"""

from __future__ import annotations

import argparse
import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from atomscope.documents import parse_yaml
from atomscope.io.write import write_whole
from atomscope.models.equivariant import StructureNet
from atomscope.train.plain import make_plain

BETWEEN = ["h", "real", "imaginary"]  # what the second round reads of the first
BONDS = ["rows", "index", "unit", "edge", "weight"]


class _Round(nn.Module):
    """One round of a network as a module of its own."""

    def __init__(self, network: StructureNet, second: bool) -> None:
        super().__init__()
        self.network, self.second = network, second

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        network = self.network
        return network.second_round(*inputs) if self.second else network.first_round(*inputs)


def write_rounds(network: StructureNet, inputs: tuple[Tensor, ...], folder: Path) -> list[str]:
    """Write first.onnx and second.onnx.

    Args:
        network: Trained.
        inputs: Of some atoms: node, index, unit, edge, weight.
        folder: Of the network.

    Returns:
        Their SHA-256.
    """
    node, index, *rest = inputs
    bonds = torch.arange(len(node), dtype=torch.int32), index.to(torch.int32), *rest
    some = tuple(values[: len(node) // 2] for values in bonds)  # of all atoms, those of a chunk
    with torch.no_grad():
        between = network.first_round(node, *bonds)
    first, second = folder / "first.onnx", folder / "second.onnx"
    _export(_Round(network, False), (node, *some), ["node", *BONDS], BETWEEN, first)
    _export(_Round(network, True), (*between, *some), [*BETWEEN, *BONDS], ["embedding"], second)
    return [sha256_of(first), sha256_of(second)]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], path: Path
) -> None:
    def write(part: Path) -> None:
        torch.onnx.export(
            module.eval(),
            inputs,
            str(part),
            dynamo=True,
            input_names=names,
            output_names=outputs,
            dynamic_shapes={"inputs": tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)},
            external_data=False,
            verbose=False,
        )
        make_plain(part)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_whole(path, write)


def renew(folder: Path) -> None:
    """Write the rounds of a folder again from its weights, and name them in its card."""
    network = StructureNet()
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    with np.load(folder / "test_pair.npz", allow_pickle=False) as pair:
        names = ("node", "index", "unit", "edge", "weight")
        inputs = tuple(torch.from_numpy(pair[name]) for name in names)
    card = parse_yaml((folder / "structures.yaml").read_text(encoding="utf-8"))
    card["rounds_sha256"] = write_rounds(network.eval(), inputs, folder)
    write_whole(folder / "structures.yaml", lambda path: path.write_text(yaml.safe_dump(card)))
    (folder / "weights.onnx").unlink(missing_ok=True)


def main() -> None:
    """Renew a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    renew(parser.parse_args().folder)


if __name__ == "__main__":
    main()
