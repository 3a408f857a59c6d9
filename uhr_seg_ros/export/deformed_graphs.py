# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The graphs of learned downsampling, as its bundle has them.

Both have fixed sizes. The frame is sampled between them and not by a GridSample of ``segment``:
that would take every frame as normalised float32 planes, of which it reads a few percent.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.deformation.grid import sample_image
from uhr_seg_ros.networks.deformation.network import DeformedNetwork
from uhr_seg_ros.networks.deformation.saliency import saliency_map
from uhr_seg_ros.pipelines.deformed import Deformed
from uhr_seg_ros.pipelines.pipeline import TilingOptions


class SaliencyGraph(nn.Module):
    """Reduced image (1, 3, h, w), normalised as the network's -> sampling grid (1, h', w', 2)."""

    def __init__(self, network: DeformedNetwork) -> None:
        super().__init__()
        self.saliency, self.deformation = network.saliency, network.deformation

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.deformation(saliency_map(self.saliency(image)))


class SegmentGraph(nn.Module):
    """Warped image (1, 3, h', w'), normalised as the network's -> probabilities of the classes."""

    def __init__(self, network: DeformedNetwork) -> None:
        super().__init__()
        self.inner = network.inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.inner(image).softmax(1)


def deformed_graphs(
    network: DeformedNetwork,
) -> dict[str, tuple[nn.Module, dict[str, torch.Tensor]]]:
    """Return the graphs by name, each with an example of its inputs."""
    size, warped_size = network.deformation.size, network.warped_size
    return {
        'saliency': (SaliencyGraph(network), {'image': torch.randn(1, 3, *size)}),
        'segment': (SegmentGraph(network), {'image': torch.randn(1, 3, *warped_size)}),
    }


def statistics_of(network: DeformedNetwork) -> dict[str, tuple[float, ...]]:
    """Return mean and standard deviation as a bundle names them, where they are its own."""
    if network.statistics is None:
        return {}
    mean, std = (tuple(255.0 * value for value in values) for values in network.statistics)
    return {'mean': mean, 'std': std}


def bent_both_ways(
    network: DeformedNetwork, bundle: Bundle, image: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """
    Segment the warped form of an image in torch and by the graphs.

    What comes after it is no work of the graphs, see ``pipelines.inverse_warp``.

    Args:
        network: In evaluation mode.
        bundle: Its bundle.
        image: (H, W, 3) uint8 BGR.

    Returns:
        Grid (h', w', 2) and probabilities (C, h', w') of torch, and those of the graphs.
    """
    planes = network.normalize(normalized(image[None]))
    _, grid = network.look(planes)
    probabilities = network.inner(sample_image(planes, grid)).softmax(1)
    strategy = Deformed.open(bundle, TilingOptions(), EngineOptions(precision='fp32'))
    found = strategy.bent(image, StageClock())
    strategy.close()
    return (grid[0].numpy(), probabilities[0].numpy()), found
