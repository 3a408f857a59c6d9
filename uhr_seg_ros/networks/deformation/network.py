# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Learned downsampling around a network: bend the image, segment it, bend the answer back.

``deform_cityscapes`` and ``deform_deepglobe`` are the networks that were released.

Source: Jin et al., "Learning to Downsample for Segmentation of Ultra-High Resolution Images",
ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.hrnet import hrnet_segmenter
from uhr_seg_ros.networks.backbones.normalization import unit_range
from uhr_seg_ros.networks.baselines.single import SingleBranch
from uhr_seg_ros.networks.deformation.grid import Deformation, sample_image
from uhr_seg_ros.networks.deformation.inverse import inverse_grid, whole_inverse_grid
from uhr_seg_ros.networks.deformation.saliency import reduced, saliency_map, SaliencyNetwork

#: Mean and standard deviation of the images of DeepGlobe, RGB in 0..1, as released.
DEEPGLOBE_STATISTICS = ((0.282, 0.379, 0.408), (0.089, 0.101, 0.127))


class DeformedNetwork(nn.Module):
    """
    Segment an image through a small one that shows salient places larger.

    ``forward``: normalised RGB image (N, 3, H, W) -> logits (N, classes, H, W).

    Args:
        inner: Segments the bent image; has ``classes``, ``forward`` and ``forward_train`` as all
            networks here.
        size: Height and width of what the saliency network sees, px.
        bent: Height and width of the bent image, px.
        radius: Of ``Deformation``.
        framed: Edges at the border of the image are no edges, see ``training.boundaries``.
        statistics: Mean and standard deviation, RGB in 0..1, of the images that saliency and
            inner network take; None: those of ImageNet, as the images come.
    """

    #: The kind of bundle that it is exported as.
    kind = 'deformed'
    #: Any size is fine.
    stride = 1
    low_res_factor = 1

    def __init__(
        self,
        inner: nn.Module,
        *,
        size: tuple[int, int],
        bent: tuple[int, int],
        radius: int,
        framed: bool = False,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.classes = inner.classes
        self.framed, self.statistics = framed, statistics
        self.bent = bent
        self.saliency = SaliencyNetwork()
        self.deformation = Deformation(size, bent, radius)
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
            image: (N, 3, H, W) of ``normalise``.

        Returns:
            Saliency map (N, 1, h, w), which adds up to one, and sampling grid (N, h', w', 2).
        """
        logits = self.saliency(reduced(image, self.deformation.size))
        saliency = saliency_map(logits.float())
        return saliency, self.deformation(saliency)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        image = self.normalize(image)
        _, grid = self.look(image)
        probabilities = self.inner(sample_image(image, grid)).float().softmax(1)
        inverse = whole_inverse_grid(inverse_grid(grid, (image.shape[2], image.shape[3])))
        # It is probabilities that are bent back; the softmax of their logarithms are they again.
        smallest = torch.finfo(probabilities.dtype).tiny
        return sample_image(probabilities, inverse).clamp(min=smallest).log()

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor | slice]:
        """
        Segment the bent image.

        Returns:
            What the inner network gives for the bent image; ``grid`` (N, h', w', 2): along which
            the labels are to be sampled; ``saliency`` (N, 1, h, w): what the edge loss looks at.
        """
        image = self.normalize(image)
        saliency, grid = self.look(image)
        outputs = self.inner.forward_train(sample_image(image, grid))
        return outputs | {'grid': grid, 'saliency': saliency}


class UniformNetwork(nn.Module):
    """
    The same with uniform sampling: what learned downsampling is compared with.

    The image is resized bilinearly, without antialiasing as released, and the logits are resized
    back. ``forward``, ``forward_train``: as of ``DeformedNetwork``, without saliency.

    Args:
        inner: As of ``DeformedNetwork``.
        bent: Height and width of the reduced image, px.
    """

    kind = 'uniform'
    stride = 1
    low_res_factor = 1

    def __init__(self, inner: nn.Module, bent: tuple[int, int]) -> None:
        super().__init__()
        self.classes, self.bent = inner.classes, bent
        self.inner = inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = self.inner(reduced(image, self.bent))
        return functional.interpolate(logits, size=image.shape[2:], mode='bilinear')

    def forward_train(self, image: torch.Tensor) -> dict[str, torch.Tensor | slice]:
        same = torch.eye(2, 3, device=image.device).expand(len(image), -1, -1)
        with torch.autocast(image.device.type, enabled=False):  # see ``Deformation``
            grid = functional.affine_grid(same, [len(image), 3, *self.bent], align_corners=False)
        return self.inner.forward_train(reduced(image, self.bent)) | {'grid': grid}


def deform_cityscapes(classes: int) -> DeformedNetwork:
    """Build the released network of Cityscapes: 64x128 px, from images of 1024x2048."""
    size = (64, 128)
    return DeformedNetwork(_hrnet(classes), size=size, bent=size, radius=15, framed=True)


def deform_deepglobe(classes: int) -> DeformedNetwork:
    """Build the released network of DeepGlobe: 300x300 px, from images of 2448x2448."""
    size = (300, 300)
    return DeformedNetwork(
        _hrnet(classes), size=size, bent=size, radius=30, statistics=DEEPGLOBE_STATISTICS
    )


def _hrnet(classes: int) -> SingleBranch:
    return SingleBranch(hrnet_segmenter(classes), classes, factor=1, stride=1)
