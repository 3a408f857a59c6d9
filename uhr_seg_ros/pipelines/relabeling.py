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

"""Masks whose ids mean what their user wants: one table for everything that is made of them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from uhr_seg_ros.core.class_edits import ClassEdits
from uhr_seg_ros.core.classes import ClassSet, mask_dtype, UNLABELED


class Relabeling:
    """
    Gives pixels other ids: those of merged, hidden and doubtful classes.

    Args:
        classes: of the bundle.
        edits: what becomes of them.
        threshold: pixels with less confidence, 0 to 1, are unlabeled; 0: none is.

    Attributes:
        classes: what the ids mean afterwards.
        threshold: as given.
        changes: whether any mask, or a picture of one, is another one by it.

    Raises:
        ConfigError: a name that the bundle does not have, see `ClassEdits.apply`.

    """

    def __init__(
        self,
        classes: ClassSet,
        edits: ClassEdits = ClassEdits(),  # noqa: B008 - it cannot change
        threshold: float = 0.0,
    ) -> None:
        self.classes, became = edits.apply(classes)
        self.threshold = threshold
        dtype = mask_dtype(len(classes))
        self._nobody = UNLABELED if dtype == np.uint8 else int(np.iinfo(dtype).max)
        table = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
        table[: len(classes)] = [self._nobody if each is None else each for each in became]
        moves = any(target != number for number, target in enumerate(became))
        self._table = table if moves else None
        self.changes = self.classes != classes or threshold > 0

    def apply(self, mask: np.ndarray, confidence: np.ndarray | None = None) -> np.ndarray:
        """
        Give the pixels of a mask their ids.

        Args:
            mask: (H, W) uint8 or uint16.
            confidence: (H, W) uint8, 255 times the largest softmax; needed with a threshold.

        Returns:
            Another array (H, W) of the same type; `UNLABELED` or 65535 where a class is hidden or
            doubtful.

        """
        if self._table is not None:
            mask = _look_up(mask, self._table)
        if self.threshold and confidence is not None:
            least: Any = round(255 * self.threshold)
            doubtful = cv2.compare(confidence, least, cv2.CMP_LT)
            if mask.dtype == np.uint8:
                return cv2.bitwise_or(mask, doubtful)
            return np.where(doubtful, mask.dtype.type(self._nobody), mask)
        return mask


def _look_up(mask: np.ndarray, table: np.ndarray) -> np.ndarray:
    if mask.dtype == np.uint8:
        return cv2.LUT(mask, table)
    return table.take(mask)
