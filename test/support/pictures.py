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

"""Regions of several classes, and a picture of them with texture."""

from __future__ import annotations

import cv2
import numpy as np


def regions(height: int, width: int, classes: int = 4, seed: int = 0) -> np.ndarray:
    """Return touching blobs with thin parts: (H, W) uint8 class ids."""
    noise = np.random.default_rng(seed).normal(size=(classes, height, width)).astype(np.float32)
    smooth = [cv2.GaussianBlur(each, (0, 0), 6) for each in noise]
    mask = np.argmax(smooth, 0).astype(np.uint8)
    mask[height // 2 : height // 2 + 2] = 0  # a line of two pixels
    mask[:, width // 3] = 1  # and one of a single pixel
    return mask


def picture(mask: np.ndarray, texture: float = 8.0, seed: int = 1) -> np.ndarray:
    """Paint every class in a grey of its own, with texture: (H, W, 3) uint8 BGR."""
    noise = np.random.default_rng(seed).normal(0, texture, mask.shape)
    gray = np.array([50, 110, 170, 230, 80])[mask] + noise
    return cv2.cvtColor(np.clip(gray, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def coarse(mask: np.ndarray, factor: int = 4) -> np.ndarray:
    """Reduce a mask and enlarge it again, as a low-resolution network gives it."""
    small = mask[factor // 2 :: factor, factor // 2 :: factor]
    return cv2.resize(small, mask.shape[::-1], interpolation=cv2.INTER_NEAREST)
