"""Several processes training one model: the same weights everywhere, gradients averaged.

Not ``DistributedDataParallel`` itself, which does not allow for the second derivatives of the gradient
penalty, but what it does: one all-reduce of all gradients after each backward pass.  Processes are
started by ``torchrun``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Attributes
    ----------
    rank, size
        Number of this one, and how many there are.
    local
        Number of this one among those of its machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this one writes files and messages."""
        return self.rank == 0

    def share(self, count: int) -> int:
        """Part of a batch that falls to each process, at least one."""
        return max(1, -(-count // self.size))


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes ``torchrun`` has started; a single one without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes()
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Processes(dist.get_rank(), size, int(os.environ.get("LOCAL_RANK", "0")))
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter], processes: Processes) -> None:
    """Give all processes the mean of their gradients."""
    if processes.size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= processes.size
    means = torch.split(flat, [g.numel() for g in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def any_of(flag: bool, processes: Processes) -> bool:
    """Whether the flag is up in any process; all get the same answer."""
    if processes.size == 1:
        return flag
    flags = torch.tensor([float(flag)])
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def from_all(value: Tensor, processes: Processes) -> list[Tensor]:
    """The values of all processes, in their order."""
    if processes.size == 1:
        return [value]
    values = [torch.empty_like(value) for _ in range(processes.size)]
    dist.all_gather(values, value)
    return values
