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

"""Objects of a mask: pixels of one class that touch each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from uhr_seg_ros.pipelines.mask_runs import components, Runs, runs_of

MAX_OBJECTS = 1000
"""So many of a mask at most, the largest: a mask of noise has a million."""


# A mask of shorter runs, on average, is one of noise.
_PIXELS_PER_RUN = 8


class MaskObject(NamedTuple):
    """
    Pixels of one class that touch each other, by a side or a corner.

    Attributes:
        class_id: of all of them.
        area: how many there are, px.
        box: left, top, width and height, px.
        centroid: their mean, x and y, px from the corner of the mask: a pixel's center is at 0.5.
        score: their mean confidence, 0 to 1; 1 where none is known.

    """

    class_id: int
    area: int
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]
    score: float


def find_objects(
    mask: np.ndarray, ids: Iterable[int], min_area: int, confidence: np.ndarray | None = None
) -> list[MaskObject]:
    """
    Find the objects of a mask.

    Args:
        mask: (H, W) uint8 or uint16 class ids.
        ids: classes to look for.
        min_area: smaller ones are left out, px.
        confidence: (H, W) uint8, 255 times the largest softmax; or None.

    Returns:
        At most `MAX_OBJECTS`, the largest first; of the same area by class, and from the top.

    """
    ids = list(ids)
    runs = runs_of(mask)
    if runs.starts.size * _PIXELS_PER_RUN > mask.size:
        found = [
            each for class_id in ids for each in _objects_of(mask, class_id, min_area, confidence)
        ]
    else:
        found = _objects_of_runs(runs, ids, min_area, confidence)
    order = {class_id: place for place, class_id in enumerate(ids)}

    def rank(each: MaskObject) -> tuple[int, int, int, int]:
        return -each.area, order[each.class_id], each.box[1], each.box[0]

    return sorted(found, key=rank)[:MAX_OBJECTS]


def _objects_of_runs(
    runs: Runs, ids: Sequence[int], min_area: int, confidence: np.ndarray | None
) -> list[MaskObject]:
    """Find the largest objects of all classes in one go."""
    order = np.full(1 << 8 * runs.ids.itemsize, len(ids))
    for place, class_id in enumerate(ids):
        order[class_id : class_id + 1] = place
    wanted = np.flatnonzero(order[runs.ids] < len(ids))
    first = components(runs, wanted)[wanted]
    lengths = (runs.ends - runs.starts)[wanted]
    areas = np.bincount(first, lengths, minlength=1).astype(np.int64)
    chosen = np.flatnonzero(areas >= max(min_area, 1))
    largest = np.lexsort((order[runs.ids[chosen]], -areas[chosen]))[:MAX_OBJECTS]
    chosen = np.sort(chosen[largest])
    if not chosen.size:
        return []
    is_chosen = np.zeros(areas.size, bool)
    is_chosen[chosen] = True
    of_chosen = np.flatnonzero(is_chosen[first])
    # The runs of one object after the other, in the order of their first pixels.
    of_chosen = of_chosen[np.argsort(first[of_chosen], kind='stable')]
    begins = np.searchsorted(first[of_chosen], chosen)
    own = wanted[of_chosen]
    rows, lefts = np.divmod(runs.starts[own], runs.width)
    sizes = lengths[of_chosen]
    rights = lefts + sizes
    left = np.minimum.reduceat(lefts, begins)
    right = np.maximum.reduceat(rights, begins)
    bottom = np.maximum.reduceat(rows, begins) + 1
    top = rows[begins]
    sum_x = np.add.reduceat((lefts + rights - 1) * sizes // 2, begins)
    sum_y = np.add.reduceat(rows * sizes, begins)
    scores = np.ones(chosen.size)
    if confidence is not None:
        flat = np.ascontiguousarray(confidence).reshape(-1)
        of_runs = np.add.reduceat(flat, runs.starts, dtype=np.int64)
        scores = np.add.reduceat(of_runs[own], begins) / areas[chosen] / 255
    columns = runs.ids[chosen], areas[chosen], left, top, right, bottom, sum_x, sum_y, scores
    return [
        MaskObject(
            class_id, area, (x, y, right - x, bottom - y), _centroid(sum_x, sum_y, area), score
        )
        for class_id, area, x, y, right, bottom, sum_x, sum_y, score in zip(
            *(each.tolist() for each in columns), strict=True
        )
    ]


def _centroid(sum_x: int, sum_y: int, area: int) -> tuple[float, float]:
    return sum_x / area + 0.5, sum_y / area + 0.5


def _objects_of(
    mask: np.ndarray, class_id: int, min_area: int, confidence: np.ndarray | None
) -> list[MaskObject]:
    """Find the largest objects of one class, in a mask of so many runs that pixels are faster."""
    pixels = (mask == class_id).view(np.uint8)
    left, top, width, height = cv2.boundingRect(pixels)
    if width * height < max(min_area, 1):
        return []
    inside = np.s_[top : top + height, left : left + width]
    pixels = np.ascontiguousarray(pixels[inside])
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    candidates = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= max(min_area, 1))
    x, y, _, _, areas = stats[candidates].T
    objects = []
    for label in candidates[np.lexsort((x, y, -areas))[:MAX_OBJECTS]].tolist():
        x, y, wide, high, area = (int(value) for value in stats[label])
        score = 1.0
        if confidence is not None:
            part = np.s_[y : y + high, x : x + wide]
            # Not by cv2.compare: it takes a number for an array, where the box is of 4 px.
            own = (labels[part] == label).view(np.uint8)
            score = int(cv2.mean(confidence[inside][part], mask=own)[0] * area + 0.5) / area / 255
        sums = [round(value * area) for value in centroids[label]]
        center = _centroid(sums[0] + left * area, sums[1] + top * area, area)
        objects.append(MaskObject(class_id, area, (left + x, top + y, wide, high), center, score))
    return objects
