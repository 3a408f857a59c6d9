# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The range of values that eight bits represent with the smallest mean squared error."""

from __future__ import annotations

import numpy as np

#: Lowest and highest value.
Range = tuple[np.float32, np.float32]

#: Shares of the whole range that are tried.
SHARES = np.linspace(0.2, 1.0, 33)
_BINS = 4096
#: Values of one tensor and frame that are looked at.
_SAMPLES = 1 << 18


def sampled(values: np.ndarray) -> np.ndarray:
    """Take some of the values, in one row."""
    # An odd step meets all columns of a map whose width is a power of two.
    return values.reshape(-1)[:: max(1, values.size // _SAMPLES) | 1]


def best_share(values: np.ndarray, low: float, high: float, steps: int) -> float:
    """
    Find by how much to shrink a range, so that rounding and clipping err least.

    Args:
        values: one row, float32.
        low: zero or the lowest value, whichever is lower.
        high: zero or the highest value, whichever is higher; above `low`.
        steps: between the ends of the range.

    """
    counts, edges = np.histogram(values, _BINS, (low, high))
    centers = (edges[1:] + edges[:-1]) / 2
    lows, highs = (end * SHARES[:, None] for end in (low, high))
    step = (highs - lows) / steps
    errors = np.rint(np.clip(centers, lows, highs) / step) * step - centers
    return float(SHARES[(errors**2 @ counts).argmin()])


def byte_range(values: np.ndarray) -> Range:
    """
    Return the range of an activation as uint8 with a zero point; zero lies in it.

    Args:
        values: of any shape, float32.

    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    share = best_share(sampled(values), low, high, 255) if low < high else 1.0
    return np.float32(low * share), np.float32(high * share)


def union(one: Range, other: Range | None) -> Range:
    """Return the range that holds both."""
    return one if other is None else (min(one[0], other[0]), max(one[1], other[1]))
