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

"""Networks with random weights whose norms have seen something, so that classes differ."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Network = TypeVar('Network', bound=nn.Module)


def see(network: Network, images: torch.Tensor) -> Network:
    """
    Let the batch norms of a network see images; returns it ready for inference.

    Args:
        network: has `forward_train`.
        images: (N, 3, H, W), seen twice; the norms get the plain mean.

    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
            module.reset_running_stats()
    with torch.no_grad():
        for _ in range(2):  # once for the early layers, once for those behind them
            network.train().forward_train(images)
    return network.eval()
