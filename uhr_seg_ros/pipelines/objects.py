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

from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np

MAX_OBJECTS = 1000
"""So many of a mask at most, the largest: a mask of noise has a million."""


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
        At most `MAX_OBJECTS`, the largest first.

    """
    found = [
        each for class_id in ids for each in _objects_of(mask, class_id, min_area, confidence)
    ]
    return sorted(found, key=lambda each: each.area, reverse=True)[:MAX_OBJECTS]


def _objects_of(
    mask: np.ndarray, class_id: int, min_area: int, confidence: np.ndarray | None
) -> list[MaskObject]:
    number: Any = class_id  # the types of OpenCV know no numbers beside arrays
    pixels = cv2.compare(mask, number, cv2.CMP_EQ)
    left, top, width, height = cv2.boundingRect(pixels)
    if width * height < max(min_area, 1):
        return []
    inside = np.s_[top : top + height, left : left + width]
    pixels = np.ascontiguousarray(pixels[inside])
    _, labels, stats, centroids = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    largest = np.argsort(areas)[::-1][:MAX_OBJECTS]
    objects = []
    label: Any
    for label in (1 + largest[areas[largest] >= min_area]).tolist():
        x, y, wide, high, area = (int(value) for value in stats[label])
        score = 1.0
        if confidence is not None:
            part = np.s_[y : y + high, x : x + wide]
            own = cv2.compare(labels[part], label, cv2.CMP_EQ)
            score = cv2.mean(confidence[inside][part], mask=own)[0] / 255
        center_x, center_y = centroids[label] + (left + 0.5, top + 0.5)
        box = (left + x, top + y, wide, high)
        objects.append(MaskObject(class_id, area, box, (float(center_x), float(center_y)), score))
    return objects
