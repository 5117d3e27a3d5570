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
class Group:
    """The processes of a training.

    Attributes
    ----------
    rank, size
        Number of this one, and how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes and speaks."""
        return self.rank == 0

    def share(self, count: int) -> int:
        """Part of a batch that falls to each process, at least one."""
        return max(1, -(-count // self.size))


@contextmanager
def joined() -> Iterator[Group]:
    """Join the processes ``torchrun`` has started; a group of one without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group()
        return
    dist.init_process_group("gloo")
    try:
        yield Group(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def average_gradients(parameters: Iterable[nn.Parameter], group: Group) -> None:
    """Give all processes the mean of their gradients."""
    if group.size == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= group.size
    means = torch.split(flat, [g.numel() for g in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view_as(gradient))


def any_of(flag: bool, group: Group) -> bool:
    """Whether the flag is up in any process; all get the same answer."""
    if group.size == 1:
        return flag
    flags = torch.tensor([float(flag)])
    dist.all_reduce(flags, dist.ReduceOp.MAX)
    return bool(flags.item())


def from_all(value: Tensor, group: Group) -> list[Tensor]:
    """The values of all processes, in their order."""
    if group.size == 1:
        return [value]
    values = [torch.empty_like(value) for _ in range(group.size)]
    dist.all_gather(values, value)
    return values
