# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The maps that pass between the graphs of a two-branch bundle: where their pixels lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uhr_seg_ros.strategies.tiling import blend_weights, Span

#: px of the frame per row and column of every map between the graphs.
STEPS = {'tokens': 16, 'affinity': 16, 'local': 4}
CELL = STEPS['tokens']

#: Axis of the rows; the columns are the next one (`affinity` has its channels last).
ROW_AXES = {'tokens': 2, 'affinity': 1, 'local': 2}

#: What tiles of the detail branch give.
DETAIL_MAPS = ('affinity', 'local')


class BlendAxis:
    """
    Where tiles lie along one axis of a map, and how much each counts.

    Args:
        name: name of the map.
        spans: spans of the tiles along that axis of the frame, px.

    Attributes:
        spans: the same along the map.
        size: length of the axis of the map.
        weights: one float32 array per tile; where tiles overlap, they add up to one.

    """

    def __init__(self, name: str, spans: Sequence[Span]) -> None:
        step = STEPS[name]
        self.spans = [(start // step, stop // step) for start, stop in spans]
        self.size = self.spans[-1][1]
        self.weights: list[np.ndarray] = blend_weights(self.spans, self.size)


def map_shape(name: str, tile: Sequence[int], rows: int, columns: int) -> tuple[int, ...]:
    """
    Give the shape of a map over a whole frame.

    Args:
        name: name of the map.
        tile: its shape over a tile.
        rows: height of the padded frame, px.
        columns: width of the padded frame, px.

    """
    shape, axis = list(tile), ROW_AXES[name]
    shape[axis : axis + 2] = rows // STEPS[name], columns // STEPS[name]
    return tuple(shape)
