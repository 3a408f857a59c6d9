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
Malformed messages through the callbacks of the real node: each counted, none fatal.

Forty thousand of each kind: pytest test/ros/test_fuzz.py --hypothesis-profile=long
"""

from __future__ import annotations

from collections.abc import Callable
import gc
from itertools import count
import math
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint

pytest.importorskip('hypothesis', reason='hypothesis makes the input')
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from uhr_seg_ros.ros.worker import Counts

MakeStage = Callable[..., Stage]

ENCODINGS = (
    'bgr8',
    'rgb8',
    'bgra8',
    'rgba8',
    'mono8',
    'mono16',
    'bgr16',
    'rgba16',
    '8UC1',
    '8UC3',
    '16UC1',
    '32FC1',
    'bayer_rggb8',
    'bayer_gbrg16',
    'yuv422',
    'yuyv',
    'nv12',
    'nv21',
    'nv24',
)

FORMATS = ('jpeg', 'png', 'bgr8; jpeg compressed bgr8', '16UC1; compressedDepth png')

#: Small ones, so that messages come close to what they claim, and those where numbers break.
SIDES = st.one_of(
    st.integers(0, 40),
    st.sampled_from([2**16, 2**16 - 1, 2**31, 2**32 - 1]),
)
STAMPS = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))
TEXTS = st.one_of(st.sampled_from(ENCODINGS), st.text(max_size=20))

#: What a node of this size may grow by while it is fed nonsense, MB.
GROWTH_MB = 30

#: Hypothesis remembers what it has tried: so many messages, then it starts anew, or its memory
#: would hide that of the node.
ROUND = 2000

#: Between two looks whether a message has been dealt with, s.
PAUSE_S = 0.001

# A long run takes as long as it takes; every wait in it has an end of its own.
pytestmark = pytest.mark.timeout(0)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """Draw sizes, step, encoding and data that may fit together, or not."""
    message = Image(height=draw(SIDES), width=draw(SIDES), encoding=draw(TEXTS))
    message.is_bigendian = draw(st.integers(0, 255))
    near = min(message.width, 100) * draw(st.integers(0, 8))
    message.step = draw(st.one_of(st.just(near), SIDES))
    rows = min(message.height, 60) * draw(st.integers(1, 3))
    size = min(message.step * rows, 20000) - draw(st.integers(0, 3))
    message.data = bytes(max(0, size))
    message.header.stamp.sec, message.header.stamp.nanosec = draw(STAMPS)
    message.header.frame_id = draw(st.text(max_size=10))
    return message


def pictures() -> list[bytes]:
    """Return a picture in several formats."""
    image = paint(example_mask(32, 48))
    return [cv2.imencode(suffix, image)[1].tobytes() for suffix in ('.jpg', '.png', '.bmp')]


@st.composite
def compressed_images(draw: st.DrawFn) -> CompressedImage:
    """Draw noise, or a picture with bytes changed, cut off or repeated."""
    data = bytearray(draw(st.one_of(st.binary(max_size=200), st.sampled_from(pictures()))))
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    data = data[: draw(st.integers(0, len(data)))] * draw(st.integers(1, 2))
    form = draw(st.one_of(st.sampled_from(FORMATS), st.text(max_size=20)))
    message = CompressedImage(format=form, data=bytes(data))
    message.header.stamp.sec, message.header.stamp.nanosec = draw(STAMPS)
    return message


@st.composite
def calibrations(draw: st.DrawFn) -> CameraInfo:
    """Draw sizes, regions and matrices, of which any number may be absurd."""
    numbers = st.floats(allow_nan=True, allow_infinity=True)
    info = CameraInfo(width=draw(SIDES), height=draw(SIDES), distortion_model=draw(TEXTS))
    info.binning_x, info.binning_y = draw(SIDES), draw(SIDES)
    for name in ('x_offset', 'y_offset', 'width', 'height'):
        setattr(info.roi, name, draw(st.one_of(st.just(0), SIDES)))
    for name, length in (('k', 9), ('p', 12)):
        values = np.eye(3, length // 3).reshape(-1)
        if draw(st.booleans()):
            values[draw(st.integers(0, length - 1))] = draw(numbers)
        setattr(info, name, values)
    info.d = draw(st.lists(numbers, max_size=3))
    info.header.stamp.sec = draw(st.integers(0, 3))
    return info


def resident_mb() -> float:
    """Return the resident memory of this process."""
    return psutil.Process().memory_info().rss / 2**20


def callback(stage: Stage, topic: str) -> Callable[[Any], None]:
    """Return the callback of the node's subscription to a topic."""
    wait_until(lambda: any(each.topic_name == topic for each in stage.node.subscriptions), topic)
    found = next(each for each in stage.node.subscriptions if each.topic_name == topic).callback
    return lambda message: found(message, {})


def counts(stage: Stage) -> Counts:
    """Return the counters of the camera."""
    return stage.node._worker.counts('')


def for_many(messages: st.SearchStrategy, check: Callable[[Any], None]) -> int:
    """
    Draw as many messages as the profile of hypothesis says, and check each.

    Returns:
        How many there were.

    """
    total, memory, numbers = settings.default.max_examples, [], count()
    size = min(ROUND, total // 3)
    for begin in range(0, total, size):

        @seed(begin)
        @settings(max_examples=min(size, total - begin))
        @given(messages)
        def draw(message: Any) -> None:
            next(numbers)
            check(message)

        draw()
        gc.collect()
        memory.append(round(resident_mb(), 1))
    sent = next(numbers)
    print(f'{sent} messages, memory after each {size} of them: {memory} MB')
    assert memory[-1] - memory[0] < GROWTH_MB  # the first ones warm up
    return sent


def feed(stage: Stage, topic: str, messages: st.SearchStrategy, good: Any) -> None:
    """Send malformed messages one by one, then a good one, and look at counters and memory."""
    stage.wait_for_state('active')
    receive, numbers = callback(stage, topic), count(1)

    def send(message: Any) -> None:
        receive(message)
        wait_until(lambda: not counts(stage).pending, 'an outcome', pause=PAUSE_S)
        found, number = counts(stage), next(numbers)
        assert found.received == number == found.processed + found.rejected

    sent = for_many(messages, send)
    found = counts(stage)
    print(found)
    assert found.rejected > sent // 4  # most of it is malformed
    receive(good)
    wait_until(lambda: counts(stage).processed == found.processed + 1, 'a mask')


def check_calibration(info: CameraInfo) -> None:
    """Look at a calibration that the node publishes."""
    assert all(math.isfinite(value) for value in [*info.k, *info.p, *info.d])
    assert info.width and info.height


def test_malformed_images(make_stage: MakeStage) -> None:
    feed(make_stage(), '/image_raw', images(), frame(paint(example_mask())))


def test_malformed_compressed_images(make_stage: MakeStage) -> None:
    stage = make_stage(image_transport='compressed')
    good = CompressedImage(format='png', data=pictures()[1])
    feed(stage, '/image_raw/compressed', compressed_images(), good)


def test_malformed_calibrations_lose_no_frame(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.wait_for_state('active')
    (infos,) = stage.outputs('camera_info', message_type=CameraInfo)
    receive, calibrate = callback(stage, '/image_raw'), callback(stage, '/camera_info')
    image, numbers, checked = frame(paint(example_mask(32, 48))), count(1), count()

    def send(info: CameraInfo) -> None:
        calibrate(info)
        receive(image)
        number = next(numbers)
        wait_until(
            lambda: counts(stage).received == number and not counts(stage).pending,
            'an outcome',
            pause=PAUSE_S,
        )
        assert counts(stage) == Counts(number, number, 0, 0, 0)
        while infos:
            check_calibration(infos.pop())
            next(checked)

    sent = for_many(calibrations(), send)
    wait_until(
        lambda: stage.values('/image_raw').get('camera_info_received') == str(sent), 'a report'
    )
    values = stage.values('/image_raw')
    assert 0 < int(values['camera_info_rejected']) < sent
    assert next(checked) > sent // 2
