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

"""Convolutions with their batch norm folded in."""

from __future__ import annotations

import torch
from torch import nn

from uhr_seg_ros.networks.backbones.layers import ConvNorm


def folded(block: ConvNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution with its batch norm (running statistics) folded in."""
    norm = block.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return block.conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
