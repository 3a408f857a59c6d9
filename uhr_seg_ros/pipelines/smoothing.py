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
A filter over time: a pixel of the mask changes its class only when several frames agree on it.

That is hysteresis, as debouncing a switch: causal, cheap, and of whole classes, so that it needs
neither logits nor confidence. Where the picture stands still it takes away the flicker of a single
frame; what moves shows so many frames later. So it begins anew where the past says nothing of the
present: after a jump of stamps, with another size, and when a large share of the picture changes.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

MAX_FRAMES = 30
"""The most frames that may have to agree."""

BYTES_PER_PIXEL = 5
"""What is kept of a camera, and the scratch of a frame, in bytes per pixel of masks of uint8."""

MOTION_SHARE = 0.05
"""
Where so large a share of the pixels has another class than one frame ago, the picture moved.

Noise of a sensor and a change of light change 1 to 4 % of a generated town, a shift of 3 px 6 %.
So of what moves unnoticed no more than this is late.
"""

GAP = 5
"""So many times the usual time between frames is a gap."""

# Pixels of a strip of rows, which stays in the cache from one step to the next.
_STRIP = 1 << 17


class MaskSmoother:
    """
    Smooths the masks of one camera over time.

    Example:
        >>> smoother = MaskSmoother(frames=2)
        >>> road, tree = np.full((1, 12), 2, np.uint8), np.full((1, 12), 2, np.uint8)
        >>> tree[0, 0] = 3
        >>> int(smoother(road)[0, 0]), int(smoother(tree)[0, 0]), int(smoother(tree)[0, 0])
        (2, 2, 3)

    Args:
        frames: how many frames in a row have to agree on a new class, 1 to `MAX_FRAMES`; with 1
            nothing changes.

    """

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self._shown = self._last = self._run = self._same = np.empty((0, 0), np.uint8)
        self._stamp_ns: int | None = None
        self._interval_ns = 0

    def __call__(self, mask: np.ndarray, stamp_ns: int | None = None) -> np.ndarray:
        """
        Smooth the mask of the next frame.

        Args:
            mask: (H, W) uint8 or uint16; it is overwritten.
            stamp_ns: of the frame; None where nobody knows, and no jump is seen.

        Returns:
            The same array, now with the classes that are shown.

        """
        jumped = self._note_stamp(stamp_ns)
        if jumped or self._last.shape != mask.shape or self._last.dtype != mask.dtype:
            return self._begin(mask)
        cv2.compare(mask, self._last, cv2.CMP_EQ, dst=self._same)
        if mask.size - cv2.countNonZero(self._same) > MOTION_SHARE * mask.size:
            return self._begin(mask)
        rows = max(1, _STRIP // mask.shape[1])
        for top in range(0, len(mask), rows):
            self._smooth(mask, np.s_[top : top + rows])
        return mask

    def _smooth(self, mask: np.ndarray, rows: slice) -> None:
        """Smooth some rows, whose class is that of one frame ago where `_same` is 255."""
        new, last = mask[rows], self._last[rows]
        run = self._run[rows]
        np.copyto(last, new)
        # How many frames before this one had the class in a row; sums of bytes end at 255.
        # The types of OpenCV know no numbers beside arrays.
        one: Any = 1
        before: Any = self.frames - 1
        cv2.add(run, one, dst=run)
        cv2.bitwise_and(run, self._same[rows], dst=run)
        agreed = cv2.compare(run, before, cv2.CMP_GE)
        shown = self._shown[rows]
        cv2.copyTo(new, agreed, shown)
        np.copyto(new, shown)

    def _begin(self, mask: np.ndarray) -> np.ndarray:
        self._shown, self._last = mask.copy(), mask.copy()
        # As if it had been there for ever: the next class takes as long as any other.
        self._run = np.full(mask.shape, MAX_FRAMES, np.uint8)
        self._same = np.empty(mask.shape, np.uint8)
        return mask

    def _note_stamp(self, stamp_ns: int | None) -> bool:
        """Note the stamp of the next frame, and tell if the past is none of its own."""
        last, self._stamp_ns = self._stamp_ns, stamp_ns
        if last is None or stamp_ns is None:
            return False
        step, usual = stamp_ns - last, self._interval_ns
        # A camera that repeats its stamps says nothing about time.
        self._interval_ns = step if step > 0 else usual
        return step < 0 or (0 < usual < step / GAP)
