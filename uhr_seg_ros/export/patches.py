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

"""The graphs of a network of patches, as its bundle has them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from uhr_seg_ros.core.bundle import Patches
from uhr_seg_ros.export.exporter import Exporter, Graphs, Size
from uhr_seg_ros.networks.fctl.patch_network import PatchNetwork

#: Patches of the example that is traced.
TRACED = 2


class ContextGraph(nn.Module):
    """Reduced contexts (N, 3, side, side) -> their map."""

    def __init__(self, network: PatchNetwork, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network.encode(self.name, image)


class PatchGraph(nn.Module):
    """Patches (N, 3, side, side), maps of their contexts and places (N, 4) -> logits."""

    def __init__(self, network: PatchNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        *maps, place = rest
        named = dict(zip(self.network.contexts, maps, strict=True))
        return self.network.segment(image, named, place)


def patch_graphs(network: PatchNetwork) -> Graphs:
    """Return the graphs by name, each with an example of its inputs."""
    network = network.exported()
    image = torch.randn(TRACED, 3, network.side, network.side)
    graphs: Graphs = {}
    inputs = {'image': image}
    for name, context in network.contexts.items():
        seen = image[:1] if context.is_whole else image
        graph = ContextGraph(network, name)
        graphs[name] = graph, {'image': seen}
        inputs[name] = graph(seen)
    place = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(TRACED, -1)
    graphs['patch'] = PatchGraph(network), {**inputs, 'place': place}
    return graphs


def _fields(network: PatchNetwork) -> dict[str, Any]:
    """Return how the network cuts frames, as its bundle does."""
    contexts = {name: context.factor for name, context in network.contexts.items()}
    return {'patches': Patches(network.side, contexts)}


def _side(network: PatchNetwork) -> Size:
    return network.side, network.side


EXPORTER = Exporter(PatchNetwork, patch_graphs, _side, _fields)
