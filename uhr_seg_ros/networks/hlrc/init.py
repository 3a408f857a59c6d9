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
The random weights that the published networks start from.

Where a layer is not named here, PyTorch's own start is the published one too (FELC, compression,
reduction), or its constructor sees to it (gate and experts, position biases). Swin and
EfficientViT start from ImageNet: see ``pretrained``.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from uhr_seg_ros.networks.backbones.layers import ConvNorm
from uhr_seg_ros.networks.hlrc.network import HLRC

#: Standard deviation of the classifiers' weights.
CLASSIFIER_STD = 0.01


def init_published(network: HLRC) -> None:
    """Draw the published initial weights, in place, from torch's random numbers."""
    for conv in _kaiming(network):
        nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    for classify in (network.semantic.classify, network.auxiliary.classify):
        nn.init.normal_(classify.weight, std=CLASSIFIER_STD)
        if classify.bias is not None:
            nn.init.zeros_(classify.bias)
    # The published code treats the batch norm in the last classifier like its convolutions: its
    # scale starts around zero, not at one.
    fuse = network.decoder.fuse
    assert isinstance(fuse.norm, nn.BatchNorm2d)
    for layer in (fuse.conv, fuse.norm, network.decoder.classify):
        nn.init.normal_(layer.weight, std=CLASSIFIER_STD)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _kaiming(network: HLRC) -> Iterator[nn.Conv2d]:
    """Convolutions of the decoders and of the affinity head; not those of the backbones."""
    rooms = [network.semantic.decoder, network.auxiliary, network.region.affinity_head]
    if network.reconstruction is not None:
        rooms += [network.reconstruction.ups, network.reconstruction.fuse]
    for room in rooms:
        for module in room.modules():
            if isinstance(module, ConvNorm):
                yield module.conv
    yield network.region.affinity_head.out
