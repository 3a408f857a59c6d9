# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

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
