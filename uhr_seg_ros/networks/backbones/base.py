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

"""What training and export need of a network, whoever wrote it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


def classifier_layers(network: nn.Module) -> tuple[str, ...]:
    """
    Name the layers whose outputs are the classes, for a start with other classes.

    Every module with such layers among its children names them in its attribute ``classifiers``;
    empty where none does, as in a network of a user.
    """
    return tuple(
        f'{name}.{layer}' if name else layer
        for name, module in network.named_modules()
        for layer in getattr(module, 'classifiers', ())
    )


class SegmentationNetwork(nn.Module):
    """
    A network that can be trained and exported.

    ``forward``: normalized RGB image (N, 3, H, W) -> logits (N, classes, H, W).

    Who has a module of one graph, image to logits of any stride, need not derive from this:
    ``SingleNetwork(module, classes, factor=1, stride=32)`` is one.

    Attributes:
        kind: Kind of bundle that it is exported as, a key of ``core.bundle_kinds.BUNDLE_KINDS``;
            its ``exporter`` knows how.
        classes: Number of classes of the logits.
        stride: Height and width of an image are to be multiples of this, px.
        low_res_factor: What sees a reduced image sees it reduced by this.
    """

    kind: str
    classes: int
    stride: int = 1
    low_res_factor: int = 1

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment images."""
        raise NotImplementedError

    def forward_train(self, image: torch.Tensor) -> Mapping[str, torch.Tensor | slice]:
        """
        Compute what the losses look at.

        Args:
            image: (N, 3, S, S), normalized RGB.

        Returns:
            ``refine``, logits (N, classes, h, w), and whatever else the losses of
            ``training.losses`` take.
        """
        raise NotImplementedError

    def visible_labels(
        self, labels: torch.Tensor, outputs: Mapping[str, torch.Tensor | slice]
    ) -> torch.Tensor:
        """
        Return the labels of what the logits of ``forward_train`` show: of the whole image.

        Args:
            labels: (N, S, S) int64 class ids of the image.
            outputs: What ``forward_train`` returned.
        """
        return labels
