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

"""What is kept of calibrations: bounded by bytes, and as long as a frame may be in work."""

from __future__ import annotations

import pytest
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache, KEPT_BYTES, MAX_BYTES
from uhr_seg_ros.ros.messages.headers import message_bytes


def calibration(stamp: int, **fields: object) -> CameraInfo:
    info = CameraInfo(width=640, height=480, **fields)
    info.header.stamp.sec = stamp
    return info


def found(cache: CameraInfoCache, stamp: int) -> int:
    header = Header()
    header.stamp.sec = stamp
    return cache.find(header).header.stamp.sec


def test_a_frame_that_took_long_finds_its_own() -> None:
    """8 s at 60 Hz; a number of 16 was enough for a quarter of a second."""
    cache = CameraInfoCache()
    for stamp in range(500):
        cache.add(calibration(stamp))
    assert found(cache, 20) == 20
    assert found(cache, 9999) == 499


@pytest.mark.parametrize(('of', 'count'), [('many names', 3000), ('long distortions', 100)])
def test_bytes_are_bounded(of: str, count: int) -> None:
    cache = CameraInfoCache()
    for stamp in range(count):
        info = calibration(stamp)
        if of == 'long distortions':
            info.d = [0.0] * 7000
        info.header.frame_id = f'{stamp:05}' * 1000
        cache.add(info)
    kept = list(cache._kept.values())
    assert 0 < sum(map(message_bytes, kept)) == cache._bytes <= KEPT_BYTES
    assert len(kept) < count
    assert found(cache, count - 1) == count - 1
    assert cache.rejected == 0


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'d': [0.1] * 1_000_000}, 'with 1000000 numbers in d'),
        ({'distortion_model': 'x' * 1_000_000}, '1000000 in distortion_model'),
        ({'header': Header(frame_id='x' * 1_000_000)}, '1000000 letters in frame_id'),
    ],
)
def test_giants_are_refused(fields: dict[str, object], text: str) -> None:
    errors: list[Exception] = []
    cache = CameraInfoCache(errors.append)
    cache.add(calibration(1))
    cache.add(calibration(2, **fields))
    assert (cache.received, cache.rejected) == (2, 1)
    assert found(cache, 2) == 1
    (error,) = errors
    assert text in str(error)
    assert f'at most {MAX_BYTES} are accepted' in str(error)
    assert len(str(error)) < 300


def test_stamps_that_come_again() -> None:
    """After time was set back, the newest stands for the frames until their own has come."""
    cache = CameraInfoCache()
    for stamp in range(5):
        cache.add(calibration(stamp))
    cache.forget_stamps()
    assert found(cache, 2) == 4
    cache.add(calibration(2, binning_x=2))
    header = Header()
    header.stamp.sec = 2
    assert cache.find(header).binning_x == 2
