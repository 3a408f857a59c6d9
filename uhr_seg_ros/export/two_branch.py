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
Bundles of kind ``two_branch``, HLRC: semantic, detail, and the fusion in three forms.

Semantic and detail know nothing of each other and can run side by side. Four identities, exact
in real arithmetic, save work against the network as published:

* The decoder's first convolution is linear, so tokens are projected by its kernel before they
  are assigned: the assignment then moves ``taps x hidden`` channels instead of 512, and the
  convolution over the assigned map becomes a sum of shifted slices.
* Batch norm is folded into that convolution.
* Coarse maps of the semantic branch are multiplied before they are enlarged (``pyramid``).
* Upsampling by four and arg max run on the sixteen sub-pixel phases of the quarter-resolution
  logits, and only the uint8 result is shuffled to full size.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.core.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.export.exporter import Exporter, Graphs, Size
from uhr_seg_ros.export.folded import folded
from uhr_seg_ros.export.pyramid import MIN_CHANNELS, Pyramid
from uhr_seg_ros.networks.backbones.layers import phase_kernels, resize_like
from uhr_seg_ros.networks.hlrc.assignment import assign
from uhr_seg_ros.networks.hlrc.local_perception import LocalPerception, NoLocalPerception
from uhr_seg_ros.networks.hlrc.network import HLRC
from uhr_seg_ros.networks.hlrc.region import RegionPartition
from uhr_seg_ros.networks.hlrc.semantic import SemanticBranch

UPSAMPLING = 4
#: Height and width of the image that is traced, px.
TRACE_SIZE = (192, 256)


class SemanticGraph(nn.Module):
    """
    ``low_res`` (1, 3, h, w) -> ``tokens`` and ``semantic_logits``.

    Tokens are (1, taps * hidden, h / 4, w / 4): F times the decoder's first kernel, tap by tap in
    row-major order.
    """

    def __init__(self, network: HLRC) -> None:
        super().__init__()
        self.semantic: SemanticBranch = network.semantic
        head = network.semantic.decoder
        wide = head.fpn_bottleneck.conv.out_channels >= MIN_CHANNELS
        self.pyramid = Pyramid(head) if wide else None
        weight = folded(network.decoder.fuse)[0][:, : network.decoder.region]
        hidden, channels = weight.shape[:2]
        taps = weight.permute(2, 3, 0, 1).reshape(-1, channels, 1, 1)
        self.project = nn.Parameter(taps.contiguous())
        self.hidden = hidden

    def forward(self, low_res: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.pyramid is None:
            _, feature = self.semantic(low_res)
        else:
            feature = self.pyramid(self.semantic.backbone(low_res))
        return functional.conv2d(feature, self.project), self.semantic.classify(feature)


class DetailGraph(nn.Module):
    """
    ``image`` (1, 3, H, W) -> ``affinity`` (1, H/16, W/16, 144), ``local`` (1, hidden, H/4, W/4).

    ``local`` is what the local features add to the decoder's first convolution, bias included.
    """

    def __init__(self, network: HLRC) -> None:
        super().__init__()
        self.region: RegionPartition = network.region
        self.local: LocalPerception | NoLocalPerception = network.local
        weight, bias = folded(network.decoder.fuse)
        self.weight = nn.Parameter(weight[:, network.decoder.region :].contiguous())
        self.bias = nn.Parameter(bias)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        affinity, _, maps = self.region(image)
        features = self.local(image, maps)
        pointwise = self.weight.shape[-1] == 1
        local = self.project_each(features, maps) if pointwise else self.project(features, maps)
        return affinity, local

    def project(self, features: list[torch.Tensor], maps: list[torch.Tensor]) -> torch.Tensor:
        """Convolve the resized features."""
        resized = torch.cat([resize_like(x, maps[0]) for x in features], 1)
        padding = self.weight.shape[-1] // 2
        return functional.conv2d(resized, self.weight, self.bias, padding=padding)

    def project_each(self, features: list[torch.Tensor], maps: list[torch.Tensor]) -> torch.Tensor:
        """Project before resizing: a 1x1 convolution and a bilinear resize commute."""
        parts = self.weight.split([x.shape[1] for x in features], 1)
        local = self.bias[:, None, None]
        if not features:
            return local + torch.zeros_like(maps[0][:, :1])
        for feature, weight in zip(features, parts, strict=True):
            local = local + resize_like(functional.conv2d(feature, weight), maps[0])
        return local


class QuarterGraph(nn.Module):
    """
    ``tokens``, ``affinity``, ``local`` -> ``quarter_logits`` (1, classes, H / 4, W / 4).

    The fusion for a back end that upsamples and takes the arg max by itself.
    """

    def __init__(self, network: HLRC) -> None:
        super().__init__()
        self.mixing, self.classify = network.decoder.mixing, network.decoder.classify
        self.classes = network.classes
        self.kernel = network.decoder.fuse.conv.kernel_size[0]
        self.hidden = network.decoder.fuse.conv.out_channels

    def fuse(self, tokens: torch.Tensor, affinity: torch.Tensor) -> torch.Tensor:
        """Assign the projected tokens and add up the taps of the kernel, each shifted."""
        assigned = assign(tokens, affinity)
        if self.kernel == 1:
            return assigned
        reach = self.kernel // 2
        height, width = assigned.shape[2:]
        padded = functional.pad(assigned, (reach, reach, reach, reach))

        def shifted(tap: int) -> torch.Tensor:
            dy, dx = divmod(tap, self.kernel)
            channels = slice(tap * self.hidden, (tap + 1) * self.hidden)
            return padded[:, channels, dy : dy + height, dx : dx + width]

        total = shifted(0)
        for tap in range(1, self.kernel**2):
            total = total + shifted(tap)
        return total

    def forward(
        self, tokens: torch.Tensor, affinity: torch.Tensor, local: torch.Tensor
    ) -> torch.Tensor:
        joined = (self.fuse(tokens, affinity) + local).relu()
        return self.classify(self.mixing(joined))


class FusionGraph(nn.Module):
    """
    ``tokens``, ``affinity``, ``local`` -> ``mask`` (1, H, W) at full size.

    The mask is uint8, or int32 above 255 classes: few operators take uint16.

    With ``scores`` also ``confidence`` (1, H, W) uint8, 255 times the largest softmax
    probability, and ``logits`` (1, classes, H, W) float32: a graph of its own, since a runtime
    computes every output of a graph.
    """

    kernels: torch.Tensor

    def __init__(self, network: HLRC, *, scores: bool = False) -> None:
        super().__init__()
        self.quarter = QuarterGraph(network)
        self.classes = network.classes
        self.scores = scores
        self.mask_dtype = torch.uint8 if self.classes <= MAX_UINT8_CLASSES else torch.int32
        kernels = phase_kernels(UPSAMPLING).repeat(self.classes, 1, 1, 1)
        self.register_buffer('kernels', kernels)

    def phases(
        self, tokens: torch.Tensor, affinity: torch.Tensor, local: torch.Tensor
    ) -> torch.Tensor:
        """Compute the logits of every sub-pixel: (1, classes, 16, H / 4, W / 4)."""
        quarter = self.quarter(tokens, affinity, local)
        height, width = quarter.shape[2:]
        padded = functional.pad(quarter, (1, 1, 1, 1), 'replicate')
        phases = functional.conv2d(padded, self.kernels, groups=self.classes)
        return phases.reshape(1, self.classes, UPSAMPLING**2, height, width)

    def forward(
        self, tokens: torch.Tensor, affinity: torch.Tensor, local: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        phases = self.phases(tokens, affinity, local)
        mask = shuffle(phases.argmax(1).to(self.mask_dtype))
        if not self.scores:
            return (mask,)
        # The largest softmax probability is one over the sum of exponentials below the maximum.
        below = (phases - phases.amax(1, keepdim=True)).exp().sum(1)
        confidence = shuffle((255.0 / below + 0.5).to(torch.uint8))
        return mask, confidence, shuffle(phases[0])[None]


def shuffle(phases: torch.Tensor) -> torch.Tensor:
    """(N, 16, h, w) sub-pixel phases -> (N, 4 h, 4 w), any dtype."""
    count, _, height, width = phases.shape
    grid = phases.reshape(count, UPSAMPLING, UPSAMPLING, height, width).permute(0, 3, 1, 4, 2)
    return grid.reshape(count, UPSAMPLING * height, UPSAMPLING * width)


def two_branch_graphs(network: HLRC) -> Graphs:
    """Return the graphs of HLRC by name, each with an example of its inputs."""
    image = torch.randn(1, 3, *TRACE_SIZE)
    low_res = network.low_pass(image)
    semantic, detail = SemanticGraph(network), DetailGraph(network)
    tokens, _ = semantic(low_res)
    affinity, local = detail(image)
    meeting = {'tokens': tokens, 'affinity': affinity, 'local': local}
    return {
        'semantic': (semantic, {'low_res': low_res}),
        'detail': (detail, {'image': image}),
        'fusion': (FusionGraph(network), meeting),
        'scores': (FusionGraph(network, scores=True), meeting),
        'quarter': (QuarterGraph(network), meeting),
    }


def _stride(network: HLRC) -> Size:
    return network.stride, network.stride


EXPORTER = Exporter(HLRC, two_branch_graphs, _stride)
