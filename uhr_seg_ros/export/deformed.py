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
Bundles of kinds ``deformed`` and ``uniform``: learned downsampling, and its baseline.

All graphs have fixed sizes. The frame is sampled between them and not by a GridSample of
``segment``: that would take every frame as normalized float32 planes, of which it reads a few
percent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from uhr_seg_ros.backends.options import EngineOptions
from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.export.exporter import Exporter, Graphs, LOGIT_TOLERANCE, Size
from uhr_seg_ros.networks.backbones.normalization import normalized
from uhr_seg_ros.networks.deformation.grid import sample_image
from uhr_seg_ros.networks.deformation.network import DeformedNetwork, UniformNetwork
from uhr_seg_ros.networks.deformation.saliency import saliency_map
from uhr_seg_ros.pipelines.deformed import Deformed
from uhr_seg_ros.pipelines.pipeline import TilingOptions

#: Largest error of a sampling grid, in -1..1.
GRID_TOLERANCE = 1e-4
#: Smallest share of the points of a warped image with the same arg max: of these few a single one
#: may be nearly undecided.
POINT_AGREEMENT = 0.999


class SaliencyGraph(nn.Module):
    """Reduced image (1, 3, h, w), normalized as the network's -> sampling grid (1, h', w', 2)."""

    def __init__(self, network: DeformedNetwork) -> None:
        super().__init__()
        self.saliency, self.deformation = network.saliency, network.deformation

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.deformation(saliency_map(self.saliency(image)))


class SegmentGraph(nn.Module):
    """Warped image (1, 3, h', w'), normalized as the network's -> probabilities of the classes."""

    def __init__(self, network: DeformedNetwork) -> None:
        super().__init__()
        self.inner = network.inner

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.inner(image).softmax(1)


def deformed_graphs(network: DeformedNetwork) -> Graphs:
    """Return the graphs by name, each with an example of its inputs."""
    size, warped_size = network.deformation.size, network.warped_size
    return {
        'saliency': (SaliencyGraph(network), {'image': torch.randn(1, 3, *size)}),
        'segment': (SegmentGraph(network), {'image': torch.randn(1, 3, *warped_size)}),
    }


def uniform_graphs(network: UniformNetwork) -> Graphs:
    """Return the graph of the network inside."""
    return {'network': (network.inner, {'image': torch.randn(1, 3, *network.warped_size)})}


def compare_warped(network: DeformedNetwork, bundle: Bundle, image: np.ndarray) -> None:
    """
    Segment the warped form of an image by torch and by the graphs, and compare.

    What comes after it is not done by graphs, see ``pipelines.inverse_warp``.

    Args:
        network: In evaluation mode.
        bundle: Its bundle.
        image: (H, W, 3) uint8 BGR.

    Raises:
        BundleError: Grids, probabilities or classes differ by more than the tolerances above;
            names the figures.
    """
    planes = network.normalize(normalized(image[None]))
    _, grid = network.look(planes)
    probabilities = network.inner(sample_image(planes, grid)).softmax(1)[0].numpy()
    pipeline = Deformed.open(bundle, TilingOptions(), EngineOptions(precision='fp32'))
    found_grid, found = pipeline.warped(image, StageClock())
    pipeline.close()
    grid_error = float(np.abs(grid[0].numpy() - found_grid).max())
    error = float(np.abs(probabilities - found).max())
    agreement = float((found.argmax(0) == probabilities.argmax(0)).mean())
    if not (grid_error <= GRID_TOLERANCE and error <= LOGIT_TOLERANCE) or (
        agreement < POINT_AGREEMENT
    ):
        msg = (
            f'bundle {bundle.path} disagrees with torch at {image.shape[1]}x{image.shape[0]}: '
            f'grid error {grid_error:.2e} (limit {GRID_TOLERANCE:.0e}), error of probabilities '
            f'{error:.2e} (limit {LOGIT_TOLERANCE:.0e}), same class at {agreement:.2%} of the '
            f'points (limit {POINT_AGREEMENT:.1%})'
        )
        raise BundleError(msg)


def _fields(network: DeformedNetwork) -> dict[str, Any]:
    """Return mean and standard deviation as a bundle names them, where they are its own."""
    if network.statistics is None:
        return {}
    mean, std = (tuple(255.0 * value for value in values) for values in network.statistics)
    return {'mean': mean, 'std': std}


def _warped_size(network: DeformedNetwork | UniformNetwork) -> Size:
    return network.warped_size


EXPORTER = Exporter(DeformedNetwork, deformed_graphs, _warped_size, _fields, compare_warped)
UNIFORM_EXPORTER = Exporter(UniformNetwork, uniform_graphs, _warped_size)
