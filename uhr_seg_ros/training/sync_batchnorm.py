# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Sums over the processes of a training that gradients flow through, and the batch norm made of them.

The gradient of a sum is the sum of the gradients of all processes. Where every process has the
same loss in its hands, that is the loss times their number, and DistributedDataParallel, which
takes the mean of the gradients, divides it out again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Sum of ``x`` over all processes, or ``x`` itself where there is only one."""
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
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _follow(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def synchronized(network: nn.Module) -> nn.Module:
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
