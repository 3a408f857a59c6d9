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
Learned downsampling around a network: warp the image, segment it, warp the answer back.

``deform_cityscapes`` and ``deform_deepglobe`` are the networks that were released.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.networks.backbones.base import SegmentationNetwork
from uhr_seg_ros.networks.backbones.hrnet import hrnet_segmenter
from uhr_seg_ros.networks.backbones.layers import without_autocast
from uhr_seg_ros.networks.backbones.normalization import unit_range
from uhr_seg_ros.networks.baselines.single import SingleNetwork
from uhr_seg_ros.networks.deformation.grid import Deformation, sample_image, sample_labels
from uhr_seg_ros.networks.deformation.inverse import inverse_grid, whole_inverse_grid
from uhr_seg_ros.networks.deformation.saliency import (
    coarsened,
    reduced,
    saliency_map,
    SaliencyNetwork,
)

#: Mean and standard deviation of the images of DeepGlobe, RGB in 0..1, as released.
DEEPGLOBE_STATISTICS = ((0.282, 0.379, 0.408), (0.089, 0.101, 0.127))


class DeformedNetwork(SegmentationNetwork):
    """
    Segment an image through a small one that shows salient places larger.

    ``forward``: normalized RGB image (N, 3, H, W) -> logits (N, classes, H, W).

    Args:
        inner: Segments the warped image; has ``classes``, ``forward`` and ``forward_train`` as all
            networks here.
        size: Height and width of what the saliency network sees, px.
        warped_size: Height and width of the warped image, px.
        radius: Of ``Deformation``.
        ignore_image_border: Edges at the border of the image are no edges, see
            ``training.boundaries``.
        statistics: Mean and standard deviation, RGB in 0..1, of the images that saliency and
            inner network take; None: those of ImageNet, as the images come.
    """

    kind = 'deformed'
    #: Whether training shows the saliency network images of random lower resolution.
    low_res_saliency = False

    def __init__(
        self,
        inner: SegmentationNetwork,
        *,
        size: tuple[int, int],
        warped_size: tuple[int, int],
        radius: int,
        ignore_image_border: bool = False,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.classes = inner.classes
        self.ignore_image_border, self.statistics = ignore_image_border, statistics
        self.warped_size = warped_size
        self.saliency = SaliencyNetwork()
        self.deformation = Deformation(size, warped_size, radius)
        self.inner = inner

    def normalize(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image, (N, 3, H, W), with the statistics that the weights expect."""
        if self.statistics is None:
            return image
        mean, std = (image.new_tensor(values)[:, None, None] for values in self.statistics)
        return (unit_range(image) - mean) / std

    def look(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Decide where to sample.

        Args:
            image: (N, 3, H, W) of ``normalize``.

        Returns:
            Saliency map (N, 1, h, w), which adds up to one, and sampling grid (N, h', w', 2).
        """
        return self._decide(reduced(image, self.deformation.size))

    def _decide(self, small: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        saliency = saliency_map(self.saliency(small).float())
        return saliency, self.deformation(saliency)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = self.normalize(image)
        _, grid = self.look(image)
        probabilities = self.inner(sample_image(image, grid)).float().softmax(1)
        inverse = whole_inverse_grid(inverse_grid(grid, (image.shape[2], image.shape[3])))
        # It is probabilities that are warped back; the softmax of their logarithms are they again.
        smallest = torch.finfo(probabilities.dtype).tiny
        return sample_image(probabilities, inverse).clamp(min=smallest).log()

    def forward_train(self, image: torch.Tensor) -> Mapping[str, torch.Tensor | slice]:
        """
        Segment the warped image.

        Returns:
            What the inner network gives for the warped image; ``grid`` (N, h', w', 2): along which
            labels are sampled; ``saliency`` (N, 1, h, w): what the edge loss looks at.
        """
        image = self.normalize(image)
        small = reduced(image, self.deformation.size)
        saliency, grid = self._decide(coarsened(small) if self.low_res_saliency else small)
        outputs = self.inner.forward_train(sample_image(image, grid))
        return {**outputs, 'grid': grid, 'saliency': saliency}

    def visible_labels(
        self, labels: torch.Tensor, outputs: Mapping[str, torch.Tensor | slice]
    ) -> torch.Tensor:
        return _along_grid(self.inner, labels, outputs)


class UniformNetwork(SegmentationNetwork):
    """
    The same with uniform sampling: what learned downsampling is compared with.

    The image is resized bilinearly, without antialiasing as released, and the logits are resized
    back. ``forward``, ``forward_train``: as of ``DeformedNetwork``, without saliency.

    Args:
        inner: As of ``DeformedNetwork``.
        warped_size: Height and width of the reduced image, px.
    """

    kind = 'uniform'

    def __init__(self, inner: SegmentationNetwork, warped_size: tuple[int, int]) -> None:
        super().__init__()
        self.classes, self.warped_size = inner.classes, warped_size
        self.inner = inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.inner(reduced(image, self.warped_size))
        return functional.interpolate(logits, size=image.shape[2:], mode='bilinear')

    def forward_train(self, image: torch.Tensor) -> Mapping[str, torch.Tensor | slice]:
        same = torch.eye(2, 3, device=image.device).expand(len(image), -1, -1)
        with without_autocast(image):  # see ``Deformation``
            grid = functional.affine_grid(
                same, [len(image), 3, *self.warped_size], align_corners=False
            )
        return {**self.inner.forward_train(reduced(image, self.warped_size)), 'grid': grid}

    def visible_labels(
        self, labels: torch.Tensor, outputs: Mapping[str, torch.Tensor | slice]
    ) -> torch.Tensor:
        return _along_grid(self.inner, labels, outputs)


def _along_grid(
    inner: SegmentationNetwork,
    labels: torch.Tensor,
    outputs: Mapping[str, torch.Tensor | slice],
) -> torch.Tensor:
    """Return the labels of the warped image, as far as the network inside shows it."""
    grid = outputs['grid']
    assert isinstance(grid, torch.Tensor)
    return inner.visible_labels(sample_labels(labels, grid, outside=UNLABELED), outputs)


def deform_cityscapes(classes: int) -> DeformedNetwork:
    """Build the released network of Cityscapes: 64x128 px, from images of 1024x2048."""
    size = (64, 128)
    return DeformedNetwork(
        _hrnet(classes), size=size, warped_size=size, radius=15, ignore_image_border=True
    )


def deform_deepglobe(classes: int) -> DeformedNetwork:
    """Build the released network of DeepGlobe: 300x300 px, from images of 2448x2448."""
    size = (300, 300)
    return DeformedNetwork(
        _hrnet(classes), size=size, warped_size=size, radius=30, statistics=DEEPGLOBE_STATISTICS
    )


def _hrnet(classes: int) -> SingleNetwork:
    return SingleNetwork(hrnet_segmenter(classes), classes, factor=1, stride=1)
