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
Labels that are better not learnt from.

Annotators draw one outline around a block of houses as often as one around a house. Trained on
both, a network answers with blocks where it should see houses. And a few labels are plainly
wrong, as shallow water called vegetation: one such region can spoil a class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.data.image_io import Window
from uhr_seg_ros.data.sample import Sample


@dataclass(frozen=True)
class NoisyRegion:
    """
    Where labels of some classes are wrong.

    Attributes:
        window: Top, left, height and width in px of the image.
        class_ids: The classes.
    """

    window: Window
    class_ids: tuple[int, ...]


class MaskNoisyLabels(Sample):
    """
    A labelled image that ignores doubtful labels.

    What is ignored is found once, from all labels of the image, and kept as a bit per pixel.

    Args:
        whole: The labelled image.
        limits: Class id -> px above which a region (8-connected) of the class is ignored.
        doubts: Where classes are ignored altogether.
        blocks: Class id -> px from which a region is ignored if it is a block of buildings.
    """

    def __init__(
        self,
        whole: Sample,
        limits: Mapping[int, int],
        doubts: Sequence[NoisyRegion] = (),
        blocks: Mapping[int, int] | None = None,
    ) -> None:
        self.name = whole.name
        self._whole, self._limits, self._doubts = whole, limits, doubts
        self._blocks = blocks or {}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in px."""
        return self._whole.size

    @property
    def ground(self) -> str:
        """Ground of the whole image."""
        return self._whole.ground

    @cached_property
    def _ignored(self) -> np.ndarray:
        labels = self._whole.read_labels()
        ignored = np.zeros(labels.shape, bool)
        for class_id, limit in self._limits.items():
            ignored |= larger_regions(labels == class_id, limit)
        if self._blocks:
            image = self._whole.read_image()
            for class_id, limit in self._blocks.items():
                ignored |= blocks_of_buildings(image, labels == class_id, limit)
        for doubt in self._doubts:
            top, left, height, width = doubt.window
            place = np.s_[top : top + height, left : left + width]
            ignored[place] |= np.isin(labels[place], doubt.class_ids)
        return np.packbits(ignored, axis=1)

    def _image(self, window: Window) -> np.ndarray:
        return self._whole.read_image(window)

    def _labels(self, window: Window) -> np.ndarray:
        top, left, height, width = window
        first, end = left // 8, -(-(left + width) // 8)
        bits = np.unpackbits(self._ignored[top : top + height, first:end], axis=1)
        ignored = bits[:, left - 8 * first :][:, :width].astype(bool)
        return np.where(ignored, np.uint8(UNLABELED), self._whole.read_labels(window))


def larger_regions(region: np.ndarray, limit: int) -> np.ndarray:
    """
    Return the connected parts (8 neighbours) of a region that have more than ``limit`` px.

    Args:
        region: (H, W) bool.
        limit: px.

    Returns:
        (H, W) bool.
    """
    _, ids, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    large = statistics[:, cv2.CC_STAT_AREA] > limit
    large[0] = False  # what is not in the region
    return large[ids]


#: Share of edge pixels inside an outline from which it is a block of buildings. Looked at on the
#: training mosaics: halls, sheds and towers have 0.11 to 0.23, rows and rings of houses with their
#: yards and lanes 0.25 to 0.33; a house around a court may lie on the wrong side.
DENSE = 0.24
#: Thresholds of the edges (Canny, 1986), grey levels, and the blur before, px.
EDGES, BLUR = (40, 100), 1.2
#: So much of an outline's rim is left out, px: its own edge says nothing about what is inside.
RIM = 4


def blocks_of_buildings(image: np.ndarray, region: np.ndarray, limit: int) -> np.ndarray:
    """
    Return the connected parts of a region that hold what lies between buildings.

    A large roof is large and plain; an outline around a block holds yards, lanes and shadows.

    Args:
        image: (H, W, 3) uint8 BGR.
        region: (H, W) bool, all that is labelled as buildings.
        limit: Parts of fewer px are no blocks.

    Returns:
        (H, W) bool.
    """
    count, ids, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    found = np.zeros(count, bool)
    if not (statistics[1:, cv2.CC_STAT_AREA] >= limit).any():
        return found[ids]
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (0, 0), BLUR)
    edges = cv2.Canny(gray, *EDGES) > 0
    kernel = np.ones((2 * RIM + 1,) * 2, np.uint8)
    for index in range(1, count):
        left, top, width, height, area = statistics[index]
        if area < limit:
            continue
        box = np.s_[top : top + height, left : left + width]
        own = cv2.copyMakeBorder(
            (ids[box] == index).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT
        )
        inside = cv2.erode(own, kernel)[1:-1, 1:-1].astype(bool)
        found[index] = inside.any() and edges[box][inside].mean() >= DENSE
    return found[ids]
