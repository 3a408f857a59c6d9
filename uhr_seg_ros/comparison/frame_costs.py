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

"""What a variant costs whatever the machine: parameters, multiply-adds of a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from uhr_seg_ros.comparison.plan import Size
from uhr_seg_ros.core.bundle import DEFAULT_MEMORY_LIMIT_MB, load_bundle
from uhr_seg_ros.networks.cost import multiply_adds, parameters, shapes_only
from uhr_seg_ros.networks.presets import build_network
from uhr_seg_ros.pipelines.tiling import padded_size, tile_spans, TileLimit


class FrameCost(NamedTuple):
    """Weights that inference needs, and multiply-adds of one frame."""

    parameters: int
    multiply_adds: int


def frame_cost(path: Path, options: dict[str, Any], size: Size) -> FrameCost:
    """
    Count the multiply-adds of a frame as it is run, in tiles or whole.

    Args:
        path: The bundle of the variant.
        options: Of its network.
        size: Height and width of the frame, px.
    """
    bundle = load_bundle(path)
    with shapes_only():
        network = build_network(bundle.network, len(bundle.classes), **options)
    weights = parameters(network)
    if bundle.patches:
        return FrameCost(weights, multiply_adds(network, *size))
    height, width = padded_size(size, network.stride)
    tile = TileLimit(bundle, DEFAULT_MEMORY_LIMIT_MB, None).side_for(height, width)
    if tile is None:
        return FrameCost(weights, multiply_adds(network, height, width))
    rows, columns = (tile_spans(side, tile, network.stride) for side in (height, width))
    sides = (spans[0][1] - spans[0][0] for spans in (rows, columns))
    return FrameCost(weights, len(rows) * len(columns) * multiply_adds(network, *sides))
