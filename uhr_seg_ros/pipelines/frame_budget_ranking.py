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

"""Which tiles of a frame gain most by a closer look."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.pipelines.frame_budget_tiles import TileMemory

#: What a cell beside another class counts for, where a cell between two equal classes is 1.
EDGE_GAIN = 0.5

#: The semantic branch is never quite sure, so that no tile waits for ever.
LEAST_GAIN = 0.01

#: A tile that has waited for so many frames counts for ...
LONG_WAIT = 30
#: ... this much more than one that was looked at just now.
WAIT_BONUS = 0.5


def expected_gain(logits: np.ndarray) -> np.ndarray:
    """
    Guess from the semantic branch where the detail branch changes the mask.

    Args:
        logits: (C, h, w) float32.

    Returns:
        (h, w) float32: how close the two best classes are, as the difference of their softmax,
        and more where a neighbor has another class.

    """
    best, second = logits[0], np.full(logits.shape[1:], -np.inf, np.float32)
    ids = np.zeros(best.shape, np.float32)
    for index, plane in enumerate(logits[1:], 1):
        ids[plane > best] = index
        second = np.maximum(second, np.minimum(best, plane))
        best = np.maximum(best, plane)
    total = np.exp(logits - best).sum(0)
    unsure = 1.0 - (1.0 - np.exp(second - best)) / total
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    edges = cv2.dilate(ids, cross) != cv2.erode(ids, cross)
    return LEAST_GAIN + unsure + EDGE_GAIN * edges


def rank_tiles(memory: TileMemory, gain: np.ndarray, wanted: np.ndarray) -> list[int]:
    """
    Rank the tiles of a frame.

    Args:
        memory: tells which cells have a result that holds, and how long tiles have waited.
        gain: (h, w) float32, what a closer look is worth per cell.
        wanted: (h, w) float32, share of the px of each cell that anybody wants.

    Returns:
        Indices of tiles with anything to gain, the best first.

    """
    worth = memory.sums(np.maximum(gain, LEAST_GAIN) * wanted * ~memory.valid)
    worth *= 1.0 + WAIT_BONUS * np.minimum(memory.ages / LONG_WAIT, 1.0)
    order = np.argsort(-worth, kind='stable')
    return [int(index) for index in order if worth[index] > 0.0]
