# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
SegFormer-B0, from the package transformers.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021, https://arxiv.org/abs/2105.15203.
"""

from __future__ import annotations

import torch
from torch import nn


class SegFormer(nn.Module):
    """
    Image (N, 3, H, W) -> logits (N, classes, H / 4, W / 4), with random weights.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Only who compares with it needs the package.
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        # The defaults of the configuration are those of B0.
        self.network = SegformerForSemanticSegmentation(SegformerConfig(num_labels=classes))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image).logits
