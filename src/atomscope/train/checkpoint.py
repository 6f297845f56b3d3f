"""What a training run keeps on disk: its recipe, metrics, checkpoints; whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as packed
from torch import Tensor

from atomscope.errors import UsageError

FIELDS = (
    "step",
    "train_loss",
    "validation_loss",
    "heat_loss",
    "offset_px",
    "class_loss",
    "seconds",
)


def claim(out: Path, recipe: str) -> None:
    """Bind the folder to one recipe (JSON), so that no run goes on with another's weights.

    Raises:
        UsageError: It holds the run of another recipe.
    """
    note = out / "recipe.json"
    if note.exists() and json.loads(note.read_text()) != json.loads(recipe):
        raise UsageError(f"{out} holds a run of another recipe; give a new folder with -o.")
    _write(note, recipe.encode())


def record(out: Path, row: tuple[float, ...]) -> None:
    """Add a line to metrics.csv."""
    path = out / "metrics.csv"
    before = path.read_text() if path.exists() else ",".join(FIELDS) + "\n"
    _write(path, (before + ",".join(f"{value:.6g}" for value in row) + "\n").encode())


def save(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, whole or not at all.

    Raises:
        OSError: They cannot be written; safetensors' own writing raises an error of its own.
    """
    _write(path, packed(tensors))


def plain(network: torch.nn.Module) -> dict[str, Tensor]:
    """Return the state of a network on the CPU."""
    return {k: v.detach().cpu().contiguous().clone() for k, v in network.state_dict().items()}


def save_checkpoint(
    out: Path,
    state: dict[str, Any],
    network: torch.nn.Module,
    mean: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write all that a resumed run needs; the state file last, so that it is never ahead."""
    tensors = {f"network.{k}": v for k, v in plain(network).items()}
    tensors |= {f"mean.{k}": v for k, v in plain(mean).items()}
    for number, slots in optimiser.state_dict()["state"].items():
        tensors |= {
            f"optimiser.{number}.{k}": v.cpu().contiguous().clone() for k, v in slots.items()
        }
    save(tensors, out / "last.safetensors")
    _write(out / "state.json", json.dumps(state).encode())


def resume(
    out: Path,
    network: torch.nn.Module,
    mean: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> dict[str, Any]:
    """Load the last checkpoint, if there is one, and return step, best loss and seconds.

    Raises:
        UsageError: The checkpoint is of another architecture.
    """
    if not (out / "state.json").exists():
        return {"step": 0, "best": float("inf"), "seconds": 0.0}
    tensors = load_file(out / "last.safetensors")

    def part(name: str) -> dict[str, Tensor]:
        return {k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(name + ".")}

    fill(network, part("network"), out / "last.safetensors")
    mean.load_state_dict(part("mean"))
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in part("optimiser").items():
        number, slot = key.split(".", 1)
        slots.setdefault(int(number), {})[slot] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
    state: dict[str, Any] = json.loads((out / "state.json").read_text())
    return state


def fill(
    network: torch.nn.Module, state: dict[str, Tensor], source: Path, *, new: tuple[str, ...] = ()
) -> None:
    """Load weights into a network; parts named in `new` may be missing and stay as they are.

    Raises:
        UsageError: The weights are of another architecture.
    """
    try:
        missing = network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise _other(source, " ".join(str(error).split())[:160]) from error
    lacking = (
        [name for name in missing.missing_keys if not name.startswith(new)]
        if new
        else (missing.missing_keys)
    )
    if lacking or missing.unexpected_keys:
        raise _other(source, ", ".join([*lacking, *missing.unexpected_keys][:4]))


def _other(source: Path, detail: str) -> UsageError:
    return UsageError(
        f"{source}: weights of another architecture ({detail}); "
        "give a new folder with -o, or the recipe that made them."
    )


def _write(path: Path, content: bytes) -> None:
    """Write beside, then in place; leave nothing half-written on a full disc.

    The draft has one name, so that what a killed run left of it is written over.
    """
    beside = path.with_suffix(".tmp")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
