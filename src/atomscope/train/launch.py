"""Several processes train one network, each on its own GPU, where torchrun started them.

torchrun sets RANK, WORLD_SIZE and LOCAL_RANK (https://docs.pytorch.org/docs/stable/elastic/run.html);
gradients are averaged by DistributedDataParallel (Li et al., VLDB 13, 3005 (2020)).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Crew:
    """The processes of a run, as one of them sees it.

    Attributes:
        device: Where this one computes.
        rank: Its number; the first, 0, alone writes files.
        size: How many there are.
    """

    device: str
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def shared(self, network: torch.nn.Module) -> torch.nn.Module:
        """Return the network with gradients averaged over all processes."""
        return DistributedDataParallel(network) if self.size > 1 else network

    def wait(self) -> None:
        """Wait for all others, so that what the first wrote can be read."""
        if self.size > 1:
            distributed.barrier()


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def crew(device: str) -> Iterator[Crew]:
    """Join the other processes of a run, if there are any.

    Args:
        device: A torch device; 'cuda' becomes the GPU of the process's number on its machine.
    """
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= os.environ.keys():
        yield Crew(device)
        return
    rank, size, local = (int(os.environ[k]) for k in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    on_gpu = torch.device(device).type == "cuda"
    if on_gpu:
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Crew(device, rank, size)
    finally:
        distributed.destroy_process_group()
