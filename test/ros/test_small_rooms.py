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

"""Calibration, log throttle and allocator settings."""

from __future__ import annotations

import copy
import math
import platform
import subprocess
import sys
from typing import Any

import pytest
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.ros.messages.camera_info import CameraInfoCache, fit_camera_info
from uhr_seg_ros.ros.messages.remarks import Remarks, Throttle


def calibration(stamp: int = 0, **fields: int) -> CameraInfo:
    info = CameraInfo(width=640, height=480, **fields)
    info.header.stamp.sec = stamp
    info.k = [500.0, 0.0, 320.0, 0.0, 510.0, 240.0, 0.0, 0.0, 1.0]
    info.p = [500.0, 0.0, 320.0, -50.0, 0.0, 510.0, 240.0, 5.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.1, -0.2, 0.0, 0.0, 0.0]
    return info


def test_same_size_changes_the_header_only() -> None:
    info = calibration()
    header = Header(frame_id='camera')
    fitted = fit_camera_info(info, header, 480, 640)
    assert fitted.header is header
    fitted.header = info.header
    assert fitted == info


def test_other_size_scales_the_pinhole() -> None:
    info = calibration()
    info.roi.x_offset = 0
    before = copy.deepcopy(info)
    fitted = fit_camera_info(info, Header(), 240, 1280)
    assert (fitted.width, fitted.height) == (1280, 240)
    assert list(fitted.k) == [1000.0, 0.0, 640.0, 0.0, 255.0, 120.0, 0.0, 0.0, 1.0]
    assert list(fitted.p)[:8] == [1000.0, 0.0, 640.0, -100.0, 0.0, 255.0, 120.0, 2.5]
    assert fitted.d == info.d
    assert info == before


def test_binned_or_cut_frame_is_the_size_that_was_calibrated() -> None:
    info = calibration(binning_x=2, binning_y=2)
    assert fit_camera_info(info, info.header, 240, 320) == info
    info.roi.width, info.roi.height, info.roi.x_offset, info.roi.y_offset = 400, 300, 10, 20
    assert fit_camera_info(info, info.header, 150, 200) == info
    fitted = fit_camera_info(info, info.header, 300, 600)
    assert (fitted.roi.width, fitted.roi.x_offset, fitted.k[0]) == (1200, 30, 1500.0)
    assert (fitted.roi.height, fitted.roi.y_offset, fitted.k[4]) == (600, 40, 2 * info.k[4])


def test_uncalibrated_camera_gets_the_size() -> None:
    fitted = fit_camera_info(CameraInfo(), Header(), 48, 64)
    assert (fitted.width, fitted.height) == (64, 48)
    assert not any(fitted.k)


def test_cache_prefers_the_stamp_of_the_frame() -> None:
    cache = CameraInfoCache()
    assert cache.find(Header()) is None
    for stamp in range(1, 4):
        cache.add(calibration(stamp))
    header = Header()
    header.stamp.sec = 2
    assert cache.find(header).header.stamp.sec == 2
    header.stamp.sec = 99
    assert cache.find(header).header.stamp.sec == 3


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'width': 70000, 'height': 1}, 'is of 70000 x 1: a side has at most 65536 px'),
        ({'width': 1, 'height': 70000}, 'is of 1 x 70000: a side has at most 65536 px'),
        ({'binning_x': 641}, 'a binning of 641 for a side of 640 px'),
        ({'binning_y': 481}, 'a binning of 481 for a side of 480 px'),
        ({'roi': RegionOfInterest(x_offset=600, width=41, height=1)}, 'a roi of 41 x 1 at 600, 0'),
        ({'roi': RegionOfInterest(y_offset=440, width=1, height=41)}, 'a roi of 1 x 41 at 0, 440'),
        ({'d': [0.1, math.nan]}, 'camera_info has nan in d'),
        ({'k': [math.inf] * 9}, 'camera_info has inf in k'),
        ({'p': [0.0] * 11 + [-1e300]}, 'camera_info has -1e+300 in p: no camera has more than'),
    ],
)
def test_absurd_calibration_is_rejected_and_the_older_one_stays(
    fields: dict[str, Any], text: str
) -> None:
    errors: list[Exception] = []
    cache = CameraInfoCache(errors.append)
    good = calibration(1)
    cache.add(good)
    bad = calibration(2)
    for name, value in fields.items():
        setattr(bad, name, value)
    cache.add(bad)
    assert (cache.received, cache.rejected) == (2, 1)
    assert text in str(errors[0])
    assert cache.find(bad.header) is good


def test_throttle_goes_by_the_kind_of_message() -> None:
    throttle = Throttle(period=1e6)
    assert throttle.allows('front', 'step 10 is too small')
    assert not throttle.allows('front', 'step 11 is too small')
    assert throttle.allows('left', 'step 10 is too small')
    assert throttle.allows('front', 'encoding is unknown')
    assert Throttle(period=0.0).allows('', 'x')


def test_throttle_goes_by_the_place_of_an_error() -> None:
    def fail(value: object, how: str = 'size') -> MessageError:
        try:
            if how == 'size':
                msg = f'it is {value}'
                raise MessageError(msg)
            try:
                raise KeyError(value) if how == 'key' else OSError(value)
            except (KeyError, OSError) as err:
                msg = f'{value} is not there'
                raise MessageError(msg) from err
        except MessageError as err:
            return err

    throttle = Throttle(period=1e6)
    values = [*range(300), 0.5, -1e-300, float('nan'), 'a', 'b' * 100, 'mono8', 'x\'y"z']
    assert sum(throttle.allows('front', 'frame', fail(value)) for value in values) == 1
    assert throttle.allows('front', 'cloud', fail(1))
    assert throttle.allows('left', 'frame', fail(1))
    assert sum(throttle.allows('front', 'frame', fail(value, 'key')) for value in values) == 1
    assert throttle.allows('front', 'frame', fail(1, 'file'))
    assert len(throttle._next) == 5


def test_a_full_throttle_neither_grows_nor_floods() -> None:
    throttle = Throttle(period=1e6)
    assert sum(throttle.allows('front', chr(0x4E00 + number)) for number in range(1000)) == 64
    assert not throttle.allows('front', 'another one')


def test_remarks_go_by_their_kind() -> None:
    remarks = Remarks()
    told = [
        remarks.add(f"format 'rgb8; {'z' * each}' holds {each * 0.5} of 'x'")
        for each in range(100)
    ]
    assert told == [True] + 99 * [False]
    assert remarks.add('a' * 10_000)
    assert len(str(remarks)) < 1000


def test_throttle_does_not_grow_without_end() -> None:
    throttle = Throttle(period=1e6)
    for length in range(1000):
        throttle.allows('', 'x' * length)
    assert len(throttle._next) <= 64


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the settings are of glibc')
def test_freed_frame_buffers_are_used_again() -> None:
    # In a process of its own, as the settings hold for all of it.
    code = """
import resource
from uhr_seg_ros.core.memory import tune_malloc
assert tune_malloc()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(25_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
assert faults() < 1000, 'ten buffers of 25 MB have 61000 pages'
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='the settings are of glibc')
def test_freed_memory_is_given_back() -> None:
    code = """
from uhr_seg_ros.core.memory import trim_heap, tune_malloc
tune_malloc()
def pages():
    return int(open('/proc/self/statm').read().split()[1])
before = pages()
kept = [bytearray(4_000_000) for _ in range(10)]
above = bytearray(1000)
del kept
assert pages() - before > 8000
assert trim_heap()
assert pages() - before < 1000
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=60)
