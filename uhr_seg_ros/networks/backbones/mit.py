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

from collections.abc import Mapping
import re

import torch
from torch import nn

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


def published_name(name: str) -> str:
    """Translate one of our state-dict names into that of a classifier of transformers."""
    return name.replace('encoder.', 'segformer.', 1)


#: Our name -> that of the authors' file; stages count from 1 there, key and value are one layer.
_AUTHORS_RULES = (
    (r'^encoder\.encoder\.', ''),
    (r'^patch_embeddings\.(\d)\.proj', r'patch_embed\1.proj'),
    (r'^patch_embeddings\.(\d)\.layer_norm', r'patch_embed\1.norm'),
    (r'^layer_norm\.(\d)', r'norm\1'),
    (r'^block\.(\d)', r'block\1'),
    (r'layer_norm_(\d)', r'norm\1'),
    (r'attention\.self\.query', 'attn.q'),
    (r'attention\.self\.(key|value)', 'attn.kv'),
    (r'attention\.self\.sr', 'attn.sr'),
    (r'attention\.self\.layer_norm', 'attn.norm'),
    (r'attention\.output\.dense', 'attn.proj'),
    (r'mlp\.dense(\d)', r'mlp.fc\1'),
)


def authors_name(name: str) -> str:
    """Translate one of our state-dict names into that of the authors' classifier."""
    for pattern, replacement in _AUTHORS_RULES:
        name = re.sub(pattern, replacement, name, count=1)
    return re.sub(r'^(patch_embed|norm|block)(\d)', lambda m: f'{m[1]}{int(m[2]) + 1}', name)


def from_authors(
    module: nn.Module, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the tensors of the authors' classifier under our names: keys lie above values."""
    found = {}
    for name in module.state_dict():
        value = tensors[authors_name(name)]
        if part := re.search(r'\.self\.(key|value)\.', name):
            value = value.chunk(2)[part[1] == 'value']
        found[name] = value
    return found
