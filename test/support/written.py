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

"""Small real data sets, written to disk for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

#: Beside the clone, where there is one: real sets that are no part of the product.
SHARED = Path(__file__).resolve().parents[3] / 'shared' / 'data'


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Draw soft noise, (height, width, 3) uint8: no two places are alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


def ids(seed: int, height: int, width: int, classes: int) -> np.ndarray:
    """Draw blocks of class ids, (height, width) uint8."""
    blocks = np.random.default_rng(seed).integers(0, classes, (-(-height // 8), -(-width // 8)))
    return blocks.astype(np.uint8).repeat(8, 0).repeat(8, 1)[:height, :width]


def write(path: Path, array: np.ndarray) -> None:
    """Write an image file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array), path
