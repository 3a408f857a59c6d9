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
Flicker: the share of the pixels whose class changes between consecutive frames.

Of a still recording, every change is flicker: the scene, the sun and the lens are the same, the
noise of the sensor is not. Of a moving one, the frame before is moved to where it is seen now,
by the poses that the recording was generated with, and only pixels that both frames see count. A
pixel within `EDGE` px of a boundary of both masks may change because it was sampled anew; what
changes elsewhere is counted a second time, as flicker inside of areas.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.evaluation.boundary_metrics import near_other_class, square
from uhr_seg_ros.evaluation.metrics import ratio
from uhr_seg_ros.synthetic.flight import (
    cut_frame,
    enlarged,
    flight_path,
    frame_to_mosaic,
    Pose,
    turned_size,
)

#: What a resampled boundary may move, px.
EDGE = 2
#: Standard deviation of the noise of a sensor, grey levels of 255.
NOISE_LEVELS = 2.0
#: Frames that a flight over the whole mosaic would take, so that the picture moves slowly.
FLIGHT_FRAMES = 300


class Flicker:
    """
    Count changes between the masks of a recording, which come in order.

    Attributes:
        changed: pixels with another class than in the frame before.
        changed_inside: those of them that are away from boundaries.
        compared: pixels that both frames see.

    """

    def __init__(self) -> None:
        self.changed = self.changed_inside = self.compared = 0
        self._before: tuple[np.ndarray, np.ndarray] | None = None

    def add(self, mask: np.ndarray, to_ground: np.ndarray) -> None:
        """
        Count one frame against the one before.

        Args:
            mask: (H, W) uint8.
            to_ground: (2, 3) float64 from column, row and 1 of the frame to the ground, px.

        """
        if self._before is not None:
            earlier = moved(*self._before, to_ground)
            seen = earlier != UNLABELED
            differs = (earlier != mask) & seen
            edge = near_other_class(mask, square(EDGE)) | near_other_class(earlier, square(EDGE))
            self.compared += int(np.count_nonzero(seen))
            self.changed += int(np.count_nonzero(differs))
            self.changed_inside += int(np.count_nonzero(differs & ~edge))
        self._before = mask, to_ground

    def figures(self) -> dict[str, float]:
        """Return the shares of what was compared; nan before the second frame."""
        pixels = np.array([self.changed, self.changed_inside])
        changed, inside = ratio(pixels, np.full(2, self.compared)).tolist()
        return {'changed': changed, 'changed_inside': inside}


def moved(mask: np.ndarray, before: np.ndarray, now: np.ndarray) -> np.ndarray:
    """
    Move a mask to where the camera sees it now, each px from the nearest one.

    Args:
        mask: (H, W) uint8.
        before: (2, 3), from its px to the ground.
        now: the same of the frame that it is compared with.

    Returns:
        (H, W) uint8, `UNLABELED` where it was not seen.

    """
    if np.array_equal(before, now):
        return mask
    last = np.array([[0.0, 0.0, 1.0]])
    to_before = (np.linalg.inv(np.vstack([before, last])) @ np.vstack([now, last]))[:2]
    return cv2.warpAffine(
        mask,
        to_before,
        mask.shape[::-1],
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=UNLABELED,
    )


def recording(
    mosaic: np.ndarray, count: int, size: tuple[int, int], *, moves: bool, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """
    Generate a recording over a mosaic, with the noise of a sensor.

    Args:
        mosaic: (H, W, 3) uint8 BGR; enlarged if a frame does not fit in.
        count: number of frames.
        size: height and width of a frame, px.
        moves: whether the camera flies on from frame to frame, or hovers.
        seed: of the noise.

    Yields:
        (height, width, 3) uint8 BGR, and the matrix from its px to the mosaic, as `Flicker.add`
        takes it.

    """
    generator = np.random.default_rng(seed)
    mosaic = enlarged(mosaic, turned_size(size))
    poses = flight_path(mosaic.shape[:2], FLIGHT_FRAMES, size)[FLIGHT_FRAMES // 3 :]
    for index in range(count):
        pose: Pose = poses[index if moves else 0]
        frame = cut_frame(mosaic, pose, size)
        noise = generator.standard_normal(frame.shape, np.float32) * NOISE_LEVELS
        noisy = np.clip(frame + noise + 0.5, 0, 255).astype(np.uint8)
        yield noisy, frame_to_mosaic(pose, size)
