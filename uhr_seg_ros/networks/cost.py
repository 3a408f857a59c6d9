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

"""What a network costs; of one that was built within ``shapes_only``, without computing."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def shapes_only() -> AbstractContextManager[object]:
    """Build networks within the block without values: counting takes neither time nor memory."""
    return torch.device('meta')


def parameters(network: nn.Module) -> int:
    """Count the weights that inference needs: those that the logits depend on."""
    weights = list(network.parameters())
    logits = network.eval()(torch.zeros(1, 3, 128, 128, device=weights[0].device))
    gradients = torch.autograd.grad(logits.sum(), weights, allow_unused=True)
    return sum(
        weight.numel()
        for weight, gradient in zip(weights, gradients, strict=True)
        if gradient is not None
    )


def multiply_adds(network: nn.Module, height: int, width: int) -> int:
    """
    Count the multiply-adds of one image in the convolutions and matrix products.

    Args:
        network: Image (1, 3, H, W) -> logits; it is run once.
        height: Of the image, px.
        width: Of the image, px.
    """
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network.eval()(torch.zeros(1, 3, height, width, device=device))
    return counter.get_total_flops() // 2
