"""The training loop: seeded, resumable, best weights by validation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from atomscope.models.unet import UNet, fold
from atomscope.train.checkpoint import claim, fill, plain, record, resume, save, save_checkpoint
from atomscope.train.data import TRAINING, VALIDATION, Batch, Batches, class_balance
from atomscope.train.launch import Crew, crew
from atomscope.train.settings import TrainingPhase, TrainingRecipe
from atomscope.train.start import START, start_weights

HEAD_START = 4.0  # learning rate of a new head, in units of that of the trained rest


class Losses(NamedTuple):
    """Cross-entropy of the heat, mean error of the offsets (px), cross-entropy of the classes."""

    heat: Tensor
    offset: Tensor
    label: Tensor


def train(
    recipe: TrainingRecipe, out: Path, *, workers: int = 1, threads: int = 1, device: str = "cpu"
) -> Path:
    """Train a detector, phase by phase, and keep the best weights by validation loss.

    A run that was stopped goes on from its last checkpoint in `out`. Where torchrun started
    several processes, each draws its own patches, a batch is that of all together, and the first
    process alone writes files and validates.

    Args:
        recipe: What to train.
        out: Folder of the run; each phase has its checkpoints (safetensors) and metrics.csv.
        workers: Processes that draw patches.
        threads: Threads of the training; with as many as cores, the drawing slows it down.
        device: A torch device.

    Returns:
        The file with the best weights of the last phase.

    Raises:
        UsageError: `out` holds the run of another recipe.
    """
    torch.set_num_threads(max(1, threads))
    with crew(device) as us:
        weights = None
        if us.first:
            out.mkdir(parents=True, exist_ok=True)
            claim(out, recipe.model_dump_json(indent=1))
            for number in range(len(recipe.phases)):
                (out / f"phase-{number + 1}").mkdir(exist_ok=True)
            weights = start_weights(recipe.start, out) if recipe.start else None
        elif recipe.start:
            weights = out / START
        for number, phase in enumerate(recipe.phases, start=1):
            us.wait()
            folder = out / f"phase-{number}"
            weights = _train_phase(recipe, phase, folder, weights, workers=workers, us=us)
    assert weights is not None
    return weights


def _train_phase(
    recipe: TrainingRecipe,
    phase: TrainingPhase,
    out: Path,
    start: Path | None,
    *,
    workers: int,
    us: Crew,
) -> Path:
    """Train one phase from the weights `start`, or from random ones."""
    torch.manual_seed(phase.seed)
    network = _network(recipe, phase, start, us.device)
    mean = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True
    )
    optimiser = _optimiser(network, phase.learning_rate)
    reached = resume(out, network, mean, optimiser)
    batches = Batches(recipe, phase, TRAINING, reached["step"], phase.steps, us.rank)
    loader = DataLoader(
        batches, batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None
    )
    shared, short = us.shared(network), _bfloat16(us.device)
    rarity = class_balance(recipe, phase).to(us.device)
    started, running = time.monotonic() - reached["seconds"], 0.0
    for step, batch in enumerate(loader, start=reached["step"] + 1):
        losses = _losses(shared, _to(batch, us.device), phase.balance, rarity, short)
        rate = phase.learning_rate * _schedule(step / phase.steps)
        running += _step(network, optimiser, _total(recipe, losses), rate)
        mean.update_parameters(network)
        if us.first and (step % recipe.validate_every == 0 or step == phase.steps):
            losses = _validate(mean.module, recipe, phase, rarity, us.device)
            total, seconds = float(_total(recipe, losses)), time.monotonic() - started
            average = running / (step - reached["step"])  # of the steps since the last record
            record(out, (step, average, total, *map(float, losses), seconds))
            if total < reached["best"]:
                save(plain(mean.module), out / "best.safetensors")
            reached = {"step": step, "best": min(total, reached["best"]), "seconds": seconds}
            save_checkpoint(out, reached, network, mean, optimiser)
            running = 0.0
    return out / "best.safetensors"


def _network(recipe: TrainingRecipe, phase: TrainingPhase, start: Path | None, device: str) -> UNet:
    network = UNet(recipe.widths, folded=phase.fold, classes=len(recipe.classes))
    network = network.to(device, memory_format=torch.channels_last)
    if start is not None:
        tensors = load_file(start, device=device)
        # a new head starts from its own random weights
        new = ("classes.",) if recipe.classes else ()
        fill(network, fold(tensors) if phase.fold else tensors, start, new=new)
    return network


def _optimiser(network: UNet, learning_rate: float) -> torch.optim.Optimizer:
    head = [p for name, p in network.named_parameters() if name.startswith("classes.")]
    rest = [p for name, p in network.named_parameters() if not name.startswith("classes.")]
    groups = [{"params": rest, "share": 1.0}, {"params": head, "share": HEAD_START}]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=1e-4)


def _step(network: UNet, optimiser: torch.optim.Optimizer, loss: Tensor, rate: float) -> float:
    """Go down the gradient at a learning rate; return the loss."""
    for group in optimiser.param_groups:
        group["lr"] = group["share"] * rate
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware; without, it is slower than float32."""
    if device != "cpu":
        return True
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "_bf16" in cpuinfo.read_text()


def _schedule(done: float) -> float:
    """Warm up over 2 % of the run, then fall along a cosine."""
    warm = min(done / 0.02, 1.0)
    return float(warm * 0.5 * (1 + torch.cos(torch.tensor(done * torch.pi))) + 1e-3)


def _losses(
    network: torch.nn.Module,
    batch: Batch,
    balance: float | None,
    rarity: Tensor,
    bfloat16: bool,
) -> Losses:
    """Losses of one batch; patches are weighted in that of the heat, classes in their own."""
    frames, heat, offset, near, label = batch
    with torch.autocast(frames.device.type, torch.bfloat16, enabled=bfloat16):
        maps = network(frames.contiguous(memory_format=torch.channels_last))
    maps = maps.float()
    weight = torch.ones_like(heat[:, :1, :1, :1])
    if balance is not None:
        weight = 1 / (heat.mean((1, 2, 3), keepdim=True) + balance)
        weight = weight / weight.mean()
    heat_loss = functional.binary_cross_entropy_with_logits(
        maps[:, :1], heat, weight=weight.expand_as(heat)
    )
    error = functional.smooth_l1_loss(maps[:, 1:3], offset, beta=0.5, reduction="none")
    offset_loss = (error.sum(1, keepdim=True) * near).sum() / near.sum().clamp(min=1)
    class_loss = torch.zeros_like(heat_loss)
    if maps.shape[1] > 3:
        class_loss = functional.cross_entropy(maps[:, 3:], label, rarity, ignore_index=-1)
    return Losses(heat_loss, offset_loss, class_loss)


def _total(recipe: TrainingRecipe, losses: Losses) -> Tensor:
    return losses.heat + recipe.offset_weight * losses.offset + recipe.class_weight * losses.label


@torch.no_grad()
def _validate(
    network: torch.nn.Module,
    recipe: TrainingRecipe,
    phase: TrainingPhase,
    rarity: Tensor,
    device: str,
) -> Losses:
    network.eval()
    batches = Batches(recipe, phase, VALIDATION, 0, recipe.validation_batches)
    each = [
        _losses(network, _to(batches[i], device), phase.balance, rarity, False)
        for i in range(len(batches))
    ]
    return Losses(*(torch.stack(column).mean() for column in zip(*each, strict=True)))


def _to(batch: Batch, device: str) -> Batch:
    frames, heat, offset, near, label = (tensor.to(device) for tensor in batch)
    return frames, heat, offset, near, label
