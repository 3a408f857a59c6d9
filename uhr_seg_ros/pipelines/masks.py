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

"""Turn logits into masks and confidences, on the CPU."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.classes import mask_dtype
from uhr_seg_ros.pipelines.tiling import padded_size
from uhr_seg_ros.pipelines.upsampling import RunningArgMax, upsampled_arg_max

#: What `enlarged_arg_max` takes per pixel beside its result, at most: the best logit, the next
#: one, where that is larger, and its id.
ARG_MAX_BYTES = 11
#: Scores of a class that are compared at a time: they stay in the cache of a core.
_BAND_SCORES = 32768


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
    return padded_arg_max(logits, size, padded_size(size, multiple))


def padded_arg_max(
    logits: np.ndarray, size: tuple[int, int], padded: tuple[int, int]
) -> np.ndarray:
    """
    Enlarge logits as `enlarged_arg_max` does, which cover any size.

    Args:
        logits: (C, h, w) float32.
        size: height and width of the frame, px.
        padded: height and width that the logits cover, px.

    """
    rows, columns = padded
    height, width = logits.shape[1:]
    factor = rows // height
    if (factor * height, factor * width) == (rows, columns):
        return upsampled_arg_max(logits, factor, size)
    found = RunningArgMax(enlarged(logits[0], size, (rows, columns)), len(logits))
    for number in range(1, len(logits)):
        found.add(number, enlarged(logits[number], size, (rows, columns)))
    return found.ids


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
    """Enlarge (h, w) bilinearly to the padded frame, and return what lies in the frame."""
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
    mask = np.empty(scores.shape[1:], mask_dtype(len(scores)))
    rows = max(_BAND_SCORES // mask.shape[1], 1)
    for top in range(0, len(mask), rows):
        band = scores[:, top : top + rows]
        found = RunningArgMax(band[0], len(band))
        for number in range(1, len(band)):
            found.add(number, band[number])
        mask[top : top + rows] = found.ids
    return mask
