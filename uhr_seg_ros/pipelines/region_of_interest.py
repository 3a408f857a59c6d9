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

"""The part of a frame that somebody wants: not the sky, the bonnet or the rotor."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.core.errors import ConfigError


class RegionOfInterest:
    """
    The pixels of one camera that are looked at; the others have no class.

    Args:
        rectangles: a pixel has to lie in one of them: left, top, width and height, px, where a
            width or a height of 0 reaches to the border; none: everywhere.
        mask: (H, W) uint8, nonzero where a pixel is looked at, too; None: everywhere.

    Raises:
        ConfigError: a rectangle with a negative number, or a mask of another form or of no pixel.

    """

    def __init__(
        self, rectangles: Sequence[Sequence[int]] = (), mask: np.ndarray | None = None
    ) -> None:
        for rectangle in rectangles:
            if len(rectangle) != 4 or min(rectangle) < 0:
                msg = (
                    f'region of interest {list(rectangle)}: expected left, top, width and height, '
                    'px, none below 0'
                )
                raise ConfigError(msg)
        if mask is not None and (mask.ndim != 2 or not mask.any()):
            what = 'has no pixel to look at' if mask.ndim == 2 else f'has the shape {mask.shape}'
            msg = f'the mask of a region of interest {what}: expected one channel, nonzero = look'
            raise ConfigError(msg)
        self._rectangles = tuple(rectangles)
        self._mask = mask
        self._seen = np.empty((0, 0), np.uint8)

    def pixels(self, size: tuple[int, int]) -> np.ndarray:
        """
        Return which pixels of a frame of (height, width) are looked at.

        Returns:
            (H, W) uint8, 255 or 0; the same array as long as the size does not change.

        Raises:
            ConfigError: the mask has another size, or no pixel is left.

        """
        if self._seen.shape != size:
            self._seen = self._pixels(size)
        return self._seen

    def leave_out(
        self, mask: np.ndarray, confidence: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """
        Take away what was found elsewhere.

        Args:
            mask: (H, W) uint8 or uint16 class ids.
            confidence: (H, W) uint8, or None.

        Returns:
            `mask`, elsewhere `UNLABELED` or 65535, ids that no class has; and `confidence`,
            elsewhere 0, if it was given.

        """
        inside = self.pixels(mask.shape[:2])
        outside = cv2.bitwise_not(inside)
        nobody = UNLABELED if mask.dtype == np.uint8 else np.iinfo(mask.dtype).max
        results = {'mask': np.bitwise_or(mask, outside.astype(mask.dtype) // 255 * nobody)}
        if confidence is not None:
            results['confidence'] = cv2.bitwise_and(confidence, inside)
        return results

    def _pixels(self, size: tuple[int, int]) -> np.ndarray:
        height, width = size
        seen = np.zeros(size, np.uint8)
        for left, top, wide, high in self._rectangles or [(0, 0, 0, 0)]:
            right = left + wide if wide else width
            seen[top : top + high if high else height, left:right] = 255
        if self._mask is not None:
            if self._mask.shape != size:
                rows, columns = self._mask.shape
                msg = (
                    f'the mask of the region of interest is {columns} x {rows} px, the frame '
                    f'{width} x {height}: make it in the size of the frames'
                )
                raise ConfigError(msg)
            seen[self._mask == 0] = 0
        if not seen.any():
            msg = (
                f'the region of interest leaves no pixel of a frame of {width} x {height}: '
                f'rectangles {[list(each) for each in self._rectangles]}'
            )
            raise ConfigError(msg)
        return seen
