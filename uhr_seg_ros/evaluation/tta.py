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
Test-time augmentation: an image is segmented as it is and turned, the probabilities are averaged.

From above nothing tells which way is up: 4 rotations, each with and without a flip. Where gravity
does, only the horizontal flip is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class View:
    """
    One way to look at an image.

    Attributes:
        turns: Quarter turns counter-clockwise.
        flip: Whether it is then flipped horizontally.
    """

    turns: int = 0
    flip: bool = False

    def of(self, image: np.ndarray) -> np.ndarray:
        """Turn an image (H, W, 3); the result is contiguous."""
        turned = np.rot90(image, self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.flip else turned)

    def back(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores (C, h, w) of the view back to (C, H, W)."""
        turned = scores[..., ::-1] if self.flip else scores
        return np.rot90(turned, -self.turns, axes=(1, 2))


#: Choice of test-time augmentation -> views.
VIEWS: dict[str, tuple[View, ...]] = {
    'none': (View(),),
    'flip': (View(), View(flip=True)),
    'all': tuple(View(turns, flip) for turns in range(4) for flip in (False, True)),
}


def zeros_in_memory(shape: tuple[int, ...]) -> np.ndarray:
    """Make an array for sums, float32."""
    return np.zeros(shape, np.float32)


def averaged(
    image: np.ndarray,
    views: Sequence[View],
    predict: Callable[[np.ndarray], np.ndarray],
    zeros: Callable[[tuple[int, ...]], np.ndarray] = zeros_in_memory,
) -> np.ndarray:
    """
    Average the softmax over the views; a single view gives the logits themselves.

    Args:
        image: (H, W, 3) uint8 BGR.
        views: How to look at it.
        predict: Image -> logits (C, H, W) float32.
        zeros: Makes the float32 array of the sums, such as one on disk.

    Returns:
        (C, H, W) float32.
    """
    if len(views) == 1:
        return views[0].back(predict(views[0].of(image)))
    scores = (view.back(softmax(predict(view.of(image)))) for view in views)
    first = next(scores)
    total = zeros(first.shape)
    total += first
    del first  # it is as large as the sums
    for each in scores:
        total += each
    total /= len(views)
    return total


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits (C, h, w) float32 into probabilities, in place."""
    logits -= logits.max(0)
    np.exp(logits, out=logits)
    logits /= logits.sum(0)
    return logits
