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

"""The size that a mask is handed on in, where that is not the frame's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from uhr_seg_ros.pipelines.segmenter import Segmentation


@dataclass(frozen=True)
class MaskSize:
    """
    Which size mask and confidence get.

    Attributes:
        scale: relative to the frame, above 0.
        size: height and width, px, in place of the scale; zeros: the scale counts.

    """

    scale: float = 1.0
    size: tuple[int, int] = (0, 0)

    def of(self, frame: tuple[int, int]) -> tuple[int, int]:
        """Return height and width for a frame of height and width, px, at least 1."""
        if all(self.size):
            return self.size
        height, width = (max(1, round(side * self.scale)) for side in frame)
        return height, width

    def fit(self, result: Segmentation) -> Segmentation:
        """Return a result with mask and confidence in this size; the rest is as it was."""
        size = self.of(result.mask.shape)
        if size == result.mask.shape:
            return result
        confidence = result.confidence
        return replace(
            result,
            mask=nearest(result.mask, size),
            confidence=None if confidence is None else nearest(confidence, size),
        )


def nearest(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """
    Resize a mask by the pixel whose center is nearest: between two classes there is no third one.

    Args:
        array: (H, W).
        size: height and width, px.
    """
    # Not INTER_NEAREST, which takes the upper left one and shifts masks by up to half a pixel.
    return cv2.resize(array, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
