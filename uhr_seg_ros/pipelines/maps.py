# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The maps that pass between the graphs of a two-branch bundle, on either back end."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from uhr_seg_ros.core.bundle import Bundle
from uhr_seg_ros.core.classes import MAX_UINT8_CLASSES
from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.pipelines.outputs import lengths
from uhr_seg_ros.pipelines.tiling import blend_weights, padded_size, Span

#: px of the frame per row and column of every map between the graphs.
STEPS = {'tokens': 16, 'affinity': 16, 'local': 4}
CELL = STEPS['tokens']

#: Axis of the rows; the columns are the next one (`affinity` has its channels last).
ROW_AXES = {'tokens': 2, 'affinity': 1, 'local': 2}

#: What tiles of the detail branch give.
DETAIL_MAPS = ('affinity', 'local')

#: What frames may be padded to multiples of, px: whole cells, at most what tiles overlap by.
MULTIPLES = (16, 32, 64)


class BlendAxis:
    """
    Where tiles lie along one axis of a map, and how much each counts.

    Args:
        spans: spans of the tiles along that axis of the frame, px.
        step: px of the frame per row or column of the map.

    Attributes:
        spans: the same along the map.
        size: length of the axis of the map.
        weights: one float32 array per tile; where tiles overlap, they add up to one.

    """

    def __init__(self, spans: Sequence[Span], step: int) -> None:
        self.spans = [(start // step, stop // step) for start, stop in spans]
        self.size = self.spans[-1][1]
        self.weights: list[np.ndarray] = blend_weights(self.spans, self.size)


class TileBlender:
    """
    Add up the weighted tiles of one map.

    Args:
        rows: spans of the tiles along the height of the frame, px.
        columns: spans along the width, px.
        step: px of the frame per row or column of the map.
        axis: axis of the rows in the map; the columns are the next one.

    """

    def __init__(
        self, rows: Sequence[Span], columns: Sequence[Span], step: int, axis: int = 2
    ) -> None:
        self._axis = axis
        self._rows, self._columns = BlendAxis(rows, step), BlendAxis(columns, step)
        self.total = np.empty(0, np.float32)

    def add(self, tile: np.ndarray, row: int, column: int) -> None:
        """Add the tile at a place of the grid; the values of `tile` are used up."""
        before, after = tile.shape[: self._axis], tile.shape[self._axis + 2 :]
        if not self.total.size:
            size = self._rows.size, self._columns.size
            self.total = np.zeros((*before, *size, *after), np.float32)
        weight = self._rows.weights[row][:, None] * self._columns.weights[column]
        tile *= weight.reshape(*weight.shape, *(1,) * len(after))
        place = slice(*self._rows.spans[row]), slice(*self._columns.spans[column])
        self.total[(*(slice(None),) * self._axis, *place)] += tile


def map_shape(name: str, tile: Sequence[int], rows: int, columns: int) -> tuple[int, ...]:
    """
    Return the shape of a map over a whole frame.

    Args:
        name: name of the map.
        tile: its shape over a tile.
        rows: height of the padded frame, px.
        columns: width of the padded frame, px.

    """
    shape, axis = list(tile), ROW_AXES[name]
    shape[axis : axis + 2] = rows // STEPS[name], columns // STEPS[name]
    return tuple(shape)


def map_sizes(name: str, rows: int, columns: int) -> dict[str, int]:
    """
    Return the lengths of the axes of a map.

    Args:
        name: name of the map.
        rows: height of the padded frame or tile, px.
        columns: its width, px.

    """
    return lengths(rows // STEPS[name], columns // STEPS[name])


def check_sizes(bundle: Bundle) -> None:
    """
    Refuse a bundle whose frames are padded to sizes that its graphs cannot take.

    Raises:
        BundleError: names the fields of the bundle.

    """
    if bundle.multiple not in MULTIPLES or bundle.multiple % bundle.low_res_factor:
        msg = (
            f'bundle {bundle.path}: input.multiple {bundle.multiple} must be one of '
            f'{", ".join(map(str, MULTIPLES))} and a multiple of input.low_res_factor '
            f'{bundle.low_res_factor}: export it again'
        )
        raise BundleError(msg)


#: What `enlarged_arg_max` takes per pixel beside its result: the best logit, the next one, and
#: where that is larger, twice.
ARG_MAX_BYTES = 11


def enlarged_arg_max(logits: np.ndarray, size: tuple[int, int], multiple: int) -> np.ndarray:
    """
    Enlarge logits bilinearly to the padded size of a frame and take the arg max.

    Args:
        logits: (C, h, w) float32.
        size: height and width of the frame, px.
        multiple: the frame is padded to multiples of this, px.

    Returns:
        (H, W) uint8, or uint16 above 255 classes.

    """
    rows, columns = padded_size(size, multiple)
    best = np.full((rows, columns), -np.inf, np.float32)
    small = len(logits) <= MAX_UINT8_CLASSES
    mask = np.zeros((rows, columns), np.uint8 if small else np.uint16)
    for index, plane in enumerate(logits):
        large = cv2.resize(plane, (columns, rows), interpolation=cv2.INTER_LINEAR)
        mask[large > best] = index
        np.maximum(best, large, out=best)
    return mask[: size[0], : size[1]].copy()


def enlarged_confidence(
    logits: np.ndarray, size: tuple[int, int], padded: tuple[int, int]
) -> np.ndarray:
    """
    Return the confidence of enlarged logits, plane by plane: all of them would be the most memory.

    Args:
        logits: (C, h, w) float32.
        size: height and width of the frame, px.
        padded: the same of the padded frame.

    Returns:
        (H, W) uint8, as `confidence_of`.

    """
    best, below = np.full(size, -np.inf, np.float32), np.zeros(size, np.float32)
    for plane in logits:
        np.maximum(best, enlarged(plane, size, padded), out=best)
    for plane in logits:
        below += np.exp(enlarged(plane, size, padded) - best)
    return (255.0 / below + 0.5).astype(np.uint8)


def enlarged(plane: np.ndarray, size: tuple[int, int], padded: tuple[int, int]) -> np.ndarray:
    """Enlarge (h, w) bilinearly to the padded frame and give what lies in the frame."""
    height, width = size
    return cv2.resize(plane, padded[::-1], interpolation=cv2.INTER_LINEAR)[:height, :width]


def confidence_of(logits: np.ndarray) -> np.ndarray:
    """Return 255 times the largest softmax: (C, h, w) float32 -> (h, w) uint8."""
    below = np.exp(logits - logits.max(0)).sum(0)
    return (255.0 / below + 0.5).astype(np.uint8)


def arg_max(scores: np.ndarray) -> np.ndarray:
    """
    Return the class of the largest score, the first of equal ones.

    Args:
        scores: (C, h, w) float32.

    Returns:
        (h, w) uint8, or uint16 above 255 classes.

    """
    best = scores[0].copy()
    small = len(scores) <= MAX_UINT8_CLASSES
    mask = np.zeros(best.shape, np.uint8 if small else np.uint16)
    for index in range(1, len(scores)):
        better = scores[index] > best
        mask[better] = index
        np.copyto(best, scores[index], where=better)
    return mask
