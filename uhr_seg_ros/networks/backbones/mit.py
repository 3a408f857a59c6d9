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
Mix Transformer encoders (MiT), from the package transformers.

Source: Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers", NeurIPS 2021, https://arxiv.org/abs/2105.15203, table 6.
"""

from __future__ import annotations

import torch

from uhr_seg_ros.networks.backbones.layers import Encoder

#: Blocks per stage; all of these have the same widths.
DEPTHS = {'mit_b2': (3, 4, 6, 3), 'mit_b5': (3, 6, 40, 3)}
WIDTHS = (64, 128, 320, 512)


class MixTransformer(Encoder):
    """
    Image (N, 3, H, W) -> maps at 1/8, 1/16 and 1/32, with random weights.

    Args:
        name: Key of ``DEPTHS``.
    """

    #: Channels of the maps.
    widths = WIDTHS[1:]

    def __init__(self, name: str) -> None:
        super().__init__()
        # Only who uses it needs the package.
        from transformers import SegformerConfig, SegformerModel

        config = SegformerConfig(depths=list(DEPTHS[name]), hidden_sizes=list(WIDTHS))
        self.encoder = SegformerModel(config)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        found = self.encoder(image, output_hidden_states=True)
        return list(found.hidden_states[1:])
