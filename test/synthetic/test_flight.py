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

"""The flight: size, path, and what the frames show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from uhr_seg_ros.synthetic.flight import cut_frame, enlarged, flight_path, fly, Pose, turned_size

SIZE = (54, 96)


def mosaic(height: int = 200, width: int = 300) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX)


def test_frames_have_the_size_and_differ() -> None:
    frames = list(fly(mosaic(), 4, SIZE))
    assert [frame.shape for frame in frames] == [(*SIZE, 3)] * 4
    assert all(np.any(first != second) for first, second in zip(frames, frames[1:], strict=False))


def test_straight_pose_is_a_plain_crop() -> None:
    image = mosaic()
    frame = cut_frame(image, Pose(x=100.0, y=80.0, heading=0.0), SIZE)
    np.testing.assert_array_equal(frame, image[80 - 27 : 80 + 27, 100 - 48 : 100 + 48])


def test_turned_pose_shows_the_mosaic_turned() -> None:
    image = mosaic()
    pose = Pose(x=150.0, y=100.0, heading=0.1)
    frame = cut_frame(image, pose, SIZE)
    # Turned back around its middle, the frame lies over the straight crop again.
    turn = cv2.getRotationMatrix2D((47.5, 26.5), np.degrees(-pose.heading), 1.0)
    back = cv2.warpAffine(frame, turn, SIZE[::-1])
    straight = cut_frame(image, pose._replace(heading=0.0), SIZE)
    inner = np.s_[15:39, 30:66]
    turned_back = np.abs(back[inner].astype(int) - straight[inner]).mean()
    turned = np.abs(frame[inner].astype(int) - straight[inner]).mean()
    assert 5 * turned_back < turned


@pytest.mark.parametrize('size', [(200, 300), (64, 102), (500, 120)])
def test_path_stays_over_the_mosaic_and_is_smooth(size: tuple[int, int]) -> None:
    height, width = turned_size(SIZE)
    poses = flight_path(size, 30, SIZE)
    for pose in poses:
        assert height / 2 - 1 <= pose.y <= size[0] - height / 2 + 1
        assert width / 2 - 1 <= pose.x <= size[1] - width / 2 + 1
    turns = np.diff([pose.heading for pose in poses])
    assert np.abs(turns).max() < np.radians(2.5)
    assert np.abs(turns).max() > 0


def test_only_a_small_mosaic_is_enlarged() -> None:
    image = mosaic()
    assert enlarged(image, (100, 100)) is image
    assert enlarged(image, (400, 300)).shape == (400, 600, 3)
    assert [frame.shape for frame in fly(mosaic(20, 30), 2, SIZE)] == [(*SIZE, 3)] * 2


def test_frames_of_a_flight_never_show_a_border() -> None:
    white = np.full((200, 300, 3), 255, np.uint8)
    assert all(frame.min() == 255 for frame in fly(white, 5, SIZE))


def test_one_frame_is_a_flight_too() -> None:
    assert len(list(fly(mosaic(), 1, SIZE))) == 1
