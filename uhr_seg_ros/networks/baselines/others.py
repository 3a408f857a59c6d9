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
U-Net and DeepLabV3+, from the package segmentation-models-pytorch.

Sources: Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, https://arxiv.org/abs/1505.04597; Chen et al., "Encoder-Decoder with Atrous Separable
Convolution for Semantic Image Segmentation", ECCV 2018, https://arxiv.org/abs/1802.02611.
"""

from __future__ import annotations

from importlib import import_module

import torch
from torch import nn

from uhr_seg_ros.core.errors import ConfigError

#: The encoder unless told otherwise: that of hlrc_s, whole, which starts from the same file.
ENCODER = 'tu-tf_efficientnet_lite0'
#: Architecture -> arguments that are not the package's own: logits are not enlarged.
ARCHITECTURES = {'unet': {}, 'deeplabv3plus': {'upsampling': 1}}


class OthersNetwork(nn.Module):
    """
    Image (N, 3, H, W) -> logits (N, classes, H / s, W / s), with random weights.

    The stride s is 1 for ``unet`` and 4 for ``deeplabv3plus``.

    Args:
        classes: Number of classes.
        architecture: Key of ``ARCHITECTURES``.
        encoder: As the package calls it, such as ``resnet18``; ``tu-`` and the name of a network
            of the package timm.

    Raises:
        ConfigError: The package is missing, or does not know the encoder.
    """

    def __init__(self, classes: int, architecture: str, encoder: str = ENCODER) -> None:
        super().__init__()
        # Only who compares with it needs the package.
        try:
            others = import_module('segmentation_models_pytorch')
        except ImportError as err:
            msg = (
                f'{architecture} needs a package that is not installed: '
                'pip install segmentation-models-pytorch'
            )
            raise ConfigError(msg) from err
        try:
            # Without weights: the package would fetch them.
            self.network = others.create_model(
                architecture,
                encoder,
                encoder_weights=None,
                classes=classes,
                **ARCHITECTURES[architecture],
            )
        except (KeyError, RuntimeError, ValueError) as err:
            msg = (
                f'encoder {encoder!r} is none that segmentation-models-pytorch builds '
                f'{architecture} on, such as resnet18 or {ENCODER}'
            )
            raise ConfigError(msg) from err
        self.classifiers = ('network.segmentation_head.0',)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image)
