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

"""Bundles of kind ``single``: one graph, on the frame reduced by ``low_res_factor``."""

from __future__ import annotations

import torch

from uhr_seg_ros.export.exporter import Exporter, Graphs, Size
from uhr_seg_ros.networks.baselines.single import SingleNetwork

#: Height and width of the image that is traced, px.
TRACE_SIZE = (192, 256)


def single_graphs(network: SingleNetwork) -> Graphs:
    """Return the graph of the network without what reduces the image and enlarges the logits."""
    height, width = (max(-(-size // network.stride), 1) * network.stride for size in TRACE_SIZE)
    image = torch.randn(1, 3, height, width)
    return {'network': (network.body, {'image': network.reduce(image)})}


def _stride(network: SingleNetwork) -> Size:
    return network.stride, network.stride


EXPORTER = Exporter(SingleNetwork, single_graphs, _stride)
