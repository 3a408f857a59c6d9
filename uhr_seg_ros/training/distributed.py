# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The processes that train together, as torchrun started them, and the device of this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import os

import torch
from torch import distributed

from uhr_seg_ros.core.errors import TrainingError

DEVICES = ('auto', 'cpu', 'cuda')


@dataclass(frozen=True)
class DistContext:
    """
    Where this process stands among all.

    Attributes:
        device: What this process computes on.
        rank: 0 to size - 1; process 0 writes the files.
        size: Number of processes.
    """

    device: torch.device = torch.device('cpu')
    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the processes, the same for each of them."""
        return self.sum(values) / self.size

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, the same for each of them."""
        if self.size == 1:
            return values
        total = values.to(self.device, copy=True)
        distributed.all_reduce(total)
        return total

    def wait(self) -> None:
        """Go on when all processes are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str = 'auto') -> Iterator[DistContext]:
    """
    Join the processes that torchrun started; without torchrun there is only this one.

    Args:
        device: One of ``DEVICES``; ``auto`` is a GPU where there is one.

    Raises:
        TrainingError: There is no GPU, or fewer than processes on this machine.
    """
    size, rank = (int(os.environ.get(name, low)) for name, low in (('WORLD_SIZE', 1), ('RANK', 0)))
    chosen = _device(device, int(os.environ.get('LOCAL_RANK', 0)))
    if size == 1:
        yield DistContext(chosen)
        return
    distributed.init_process_group('nccl' if chosen.type == 'cuda' else 'gloo')
    try:
        yield DistContext(chosen, rank, size)
    finally:
        distributed.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    count = torch.cuda.device_count()
    if name == 'cpu' or (name == 'auto' and not count):
        return torch.device('cpu')
    if not count:
        msg = 'device is cuda, but PyTorch finds no GPU: use --device cpu'
        raise TrainingError(msg)
    if local_rank >= count:
        msg = (
            f'process {local_rank} of this machine has no GPU, there are {count}: start torchrun '
            f'with --nproc_per_node {count}'
        )
        raise TrainingError(msg)
    torch.cuda.set_device(local_rank)
    return torch.device('cuda', local_rank)
