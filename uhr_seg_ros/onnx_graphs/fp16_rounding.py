# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Weights in float16 whose rounding errors cancel in the sums that they are part of."""

from __future__ import annotations

import numpy as np


def summed_axes(operator: str, place: int) -> tuple[int, ...]:
    """Return the axes of an input of an ONNX operator that its sums run over."""
    if operator == 'Conv' and place == 1:
        return (1, 2, 3)
    if operator == 'MatMul':
        return (-1,) if place == 0 else (-2,)
    return ()


def rounded(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """
    Round weights to half so that their sums stay.

    Each weight takes over the rounding error of the one before it. Rounding each by itself
    shifts all pixels of a channel the same way, which is most of the error of a float16 network:
    with the shipped model on real frames, twice as many pixels changed their class.

    Args:
        values: of any shape, float32, within the range of half.
        axes: what the sums run over; none for numbers that are not summed.

    Returns:
        The same shape, float16.

    """
    if not axes or values.ndim < max(len(axes), 2):
        return values.astype(np.float16)
    firsts = range(len(axes))
    moved = np.moveaxis(values, axes, firsts)
    rows = moved.reshape(int(np.prod(moved.shape[: len(axes)])), -1)
    result, error = np.empty(rows.shape, np.float16), np.zeros(rows.shape[1], np.float32)
    for row, target in zip(rows, result, strict=True):
        target[:] = row + error
        error += row - target
    return np.ascontiguousarray(np.moveaxis(result.reshape(moved.shape), firsts, axes))
