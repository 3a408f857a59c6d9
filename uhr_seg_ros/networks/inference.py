# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Sliding-window inference as the published evaluation does it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """Give the starts of the windows along one axis in px; the last one is moved inside."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(index * stride, size - window), 0) for index in range(count)]


def _windows(shape: torch.Size, window: int, stride: int) -> Iterator[tuple[slice, slice]]:
    for top in window_starts(shape[2], window, stride):
        for left in window_starts(shape[3], window, stride):
            yield slice(top, top + window), slice(left, left + window)


def slide_logits(
    network: nn.Module, image: torch.Tensor, window: int, stride: int
) -> torch.Tensor:
    """
    Average the logits of overlapping square windows.

    Args:
        network: (N, 3, h, w) -> logits (N, C, h, w).
        image: Normalised image (N, 3, H, W).
        window: Side of a window in px; an image smaller than it is one window.
        stride: Step between windows in px.

    Returns:
        (N, C, H, W) logits.
    """
    total, count = None, image.new_zeros(1, 1, *image.shape[2:])
    for rows, columns in _windows(image.shape, window, stride):
        logits = network(image[:, :, rows, columns])
        if total is None:
            total = image.new_zeros(*logits.shape[:2], *image.shape[2:])
        total[:, :, rows, columns] += logits
        count[:, :, rows, columns] += 1
    return total / count
