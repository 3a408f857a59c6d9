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

"""
SegFormer-B0, from the package transformers.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021, https://arxiv.org/abs/2105.15203.
"""

from __future__ import annotations

import torch
from torch import nn

from uhr_seg_ros.core.errors import ConfigError


class SegFormer(nn.Module):
    """
    Image (N, 3, H, W) -> logits (N, classes, H / 4, W / 4), with random weights.

    Args:
        classes: Number of classes.

    Raises:
        ConfigError: The package is missing.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Only who compares with it needs the package.
        try:
            from transformers import SegformerConfig, SegformerForSemanticSegmentation
        except ImportError as err:
            msg = 'SegFormer needs a package that is not installed: pip install transformers'
            raise ConfigError(msg) from err

        # The defaults of the configuration are those of B0.
        self.network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes))
        self.classifiers = ('network.decode_head.classifier',)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image).logits
