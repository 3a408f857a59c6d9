# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
Region-pixel association experts (RPAE): a sparse mixture that gives the affinity of a cell.

Every 1/16 cell is answered by the ``top_k`` experts that its gate prefers. All experts are
computed and the others weighted with zero: the graph has no data-dependent control flow, and the
result equals routing each cell to its experts.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from uhr_seg_ros.networks.backbones.layers import phase_kernels

SUBPIXELS = 16
NEIGHBORS = 9
AFFINITY_CHANNELS = SUBPIXELS * NEIGHBORS


class Experts(nn.Module):
    """
    Cells (N, h, w, C) -> affinity (N, h, w, 144) before ReLU, and gate logits (N, h, w, E).

    The 144 channels are ``(4 i + j) * 9 + 3 (dy + 1) + (dx + 1)``: sub-row i and sub-column j of
    the cell's 4x4 block, then the neighbour at (dy, dx).

    Args:
        channels: Channels of a cell.
        experts: Number of experts.
        hidden: Width inside an expert.
        top_k: Experts that answer a cell.
        offset: Add a learnt offset to every answer, which starts as bilinear enlargement: the
            tokens are of use from the first step on.
    """

    def __init__(
        self, channels: int, experts: int, hidden: int, top_k: int = 2, *, offset: bool = False
    ) -> None:
        super().__init__()
        self.top_k = min(top_k, experts)
        self.gate = nn.Linear(channels, experts, bias=False)
        self.first = nn.Parameter(torch.empty(experts, hidden, channels))
        self.second = nn.Parameter(torch.empty(experts, hidden, hidden))
        self.last = nn.Parameter(torch.empty(experts, AFFINITY_CHANNELS, hidden))
        kernels = phase_kernels(4).reshape(AFFINITY_CHANNELS)
        self.offset = nn.Parameter(kernels) if offset else None
        for weight in (self.gate.weight, self.first, self.second, self.last):
            nn.init.trunc_normal_(weight, std=0.02)

    def route(self, logits: torch.Tensor) -> torch.Tensor:
        """Gate logits (..., E) -> weights (..., E): softmax over the top k, zero elsewhere."""
        chosen = logits.topk(self.top_k, -1).indices
        ids = torch.arange(logits.shape[-1], device=logits.device)
        keep = (chosen[..., None] == ids).any(-2)
        return logits.float().masked_fill(~keep, float('-inf')).softmax(-1)

    def forward(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.gate(cells)
        weights = self.route(logits).to(cells.dtype)
        hidden = functional.linear(cells, self.first.flatten(0, 1)).relu()
        answers = [
            functional.linear(part, weight).relu() * weights[..., index : index + 1]
            for index, (part, weight) in enumerate(
                zip(hidden.chunk(len(self.second), -1), self.second, strict=True)
            )
        ]
        last = torch.cat(list(self.last), 1)
        return functional.linear(torch.cat(answers, -1), last, self.offset), logits
