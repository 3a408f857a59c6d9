# Copyright 2026 uhr_seg_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""The processes that train together, as torchrun started them, and the device of this one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
import logging
import os
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from uhr_seg_ros.core.errors import TrainingError

DEVICES = ('auto', 'cpu', 'cuda')

M = TypeVar('M', bound=nn.Module)


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
def process_group(device: str = 'auto') -> Iterator[DistContext]:
    """
    Join the processes that torchrun started; without torchrun there is only this one.

    Args:
        device: One of ``DEVICES``; ``auto`` is a GPU where there is one.

    Raises:
        TrainingError: There is no GPU, or fewer than processes on this machine.
    """
    size, rank = int(os.environ.get('WORLD_SIZE', 1)), int(os.environ.get('RANK', 0))
    chosen = _device(device, int(os.environ.get('LOCAL_RANK', 0)))
    if size == 1:
        yield DistContext(chosen)
        return
    distributed.init_process_group('nccl' if chosen.type == 'cuda' else 'gloo')
    try:
        with _only_first_logs(rank):
            yield DistContext(chosen, rank, size)
    finally:
        distributed.destroy_process_group()


@contextmanager
def _only_first_logs(rank: int) -> Iterator[None]:
    """Keep what is no error to the first process, which speaks for all."""
    logger = logging.getLogger('uhr_seg_ros')
    level = logger.level
    if rank:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


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


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """
    Sum ``x`` over all processes, or return ``x`` itself where there is only one.

    Gradients flow through it: that of a sum is the sum of the gradients of all processes. Where
    every process has the same loss in its hands, that is the loss times their number, and
    DistributedDataParallel, which takes the mean of the gradients, divides it out again.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return x
    return _Sum.apply(x)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.forward(context, gradient)


class SyncNorm(nn.BatchNorm2d):
    """
    Batch norm over the batches of all processes.

    ``torch.nn.SyncBatchNorm`` refuses tensors on the CPU; on a GPU it is the faster one.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        count = x.numel() / x.shape[1] * distributed.get_world_size()
        mean = sum_over_processes(x.float().sum((0, 2, 3))) / count
        centered = x.float() - mean[:, None, None]
        variance = sum_over_processes(centered.square().sum((0, 2, 3))) / count
        self._update(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _update(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        counter, running_mean = self.num_batches_tracked, self.running_mean
        running_var, momentum = self.running_var, self.momentum
        assert counter is not None and running_mean is not None
        assert running_var is not None and momentum is not None
        counter += 1
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(variance, momentum)


def synchronized(network: M) -> M:
    """Return network with every batch norm replaced by one over all processes, same weights."""
    if next(network.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                norm = SyncNorm(child.num_features, child.eps, child.momentum)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm)
    return network
