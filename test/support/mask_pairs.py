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

"""Labels and masks to measure: regions of several sizes, ignored pixels, plausible errors."""

from __future__ import annotations

import cv2
import numpy as np

from uhr_seg_ros.core.timing import StageClock
from uhr_seg_ros.data.sample import ArraySample
from uhr_seg_ros.evaluation.block import MemmapMask
from uhr_seg_ros.evaluation.evaluator import Evaluator

CLASSES = 4


def regions(seed: int, size: tuple[int, int], grain: float = 3.0) -> np.ndarray:
    """Draw (H, W) uint8 ids of `CLASSES` classes in regions of about `grain` px."""
    noise = np.random.default_rng(seed).standard_normal((CLASSES, *size)).astype(np.float32)
    return (
        np.stack([cv2.GaussianBlur(plane, None, grain) for plane in noise])
        .argmax(0)
        .astype(np.uint8)
    )


def pair(
    seed: int, size: tuple[int, int], grain: float = 3.0, ignored: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels and a mask that is moved by a pixel, with some other regions in it."""
    labels = regions(seed, size, grain)
    mask = np.roll(labels, (1, -1), (0, 1))
    other = regions(seed + 1, size, 2 * grain)
    mask[other == 0] = regions(seed + 2, size, grain)[other == 0]
    if ignored:
        labels[regions(seed + 3, size, 1.5 * grain) == 1] = 255
    return labels, mask


def measured(labels: np.ndarray, mask: np.ndarray, side: int, classes: int = CLASSES) -> Evaluator:
    """Measure one mask in blocks of `side` px."""
    results = Evaluator(classes, StageClock())
    image = ArraySample('a', np.zeros((*labels.shape, 3), np.uint8), labels)
    with MemmapMask(labels.shape) as stored:
        stored.append(mask)
        results.add(image, stored, side=side)
    return results
