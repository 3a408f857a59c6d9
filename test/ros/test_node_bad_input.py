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

"""Frames that are wrong: a clear message, a counter, and the next good frame is processed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticStatus
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from stage import BEST_EFFORT, example_mask, frame, pixels, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.image_io.jpeg import damage_is_told

MakeStage = Callable[..., Stage]

GOOD = example_mask()


def changed(**fields: Any) -> Image:
    message = frame(paint(GOOD))
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def jpeg(data: bytes, form: str = 'jpeg') -> CompressedImage:
    return CompressedImage(format=form, data=data)


def encoded(suffix: str) -> bytes:
    return cv2.imencode(suffix, paint(GOOD))[1].tobytes()


def holed(data: bytes) -> bytes:
    """Return a JPEG that lost bytes on the way, but not its end marker."""
    return data[:-250] + data[-100:]


@pytest.mark.parametrize(
    ('bad', 'text'),
    [
        pytest.param(changed(data=bytes(100)), 'truncated: 100 bytes', id='truncated data'),
        pytest.param(changed(data=b''), 'truncated: 0 bytes', id='no data'),
        pytest.param(changed(encoding='mono8', step=160), 'too long: 46080', id='too much data'),
        pytest.param(changed(step=479), 'step 479 is smaller than width 160', id='small step'),
        pytest.param(changed(width=0), 'width and height must be at least 1', id='no width'),
        pytest.param(changed(height=0), 'width and height must be at least 1', id='no height'),
        pytest.param(changed(width=2**32 - 1, height=2**32 - 1), 'pixels', id='absurd size'),
        pytest.param(changed(encoding='infrared'), "encoding 'infrared'", id='unknown encoding'),
        pytest.param(Image(), 'width and height', id='empty message'),
    ],
)
def test_bad_image(make_stage: MakeStage, bad: Image, text: str) -> None:
    check_bad_then_good(make_stage(), 'image_raw', bad, frame(paint(GOOD), 2.0), text)


@pytest.mark.parametrize(
    ('bad', 'text'),
    [
        pytest.param(jpeg(b'\xff\xd8 no jpeg \xff\xd9'), 'could not be decoded', id='no jpeg'),
        pytest.param(jpeg(encoded('.jpg')[:-500]), 'end marker is missing', id='truncated jpeg'),
        pytest.param(
            jpeg(holed(encoded('.jpg'))),
            'is damaged',
            id='hole',
            marks=pytest.mark.skipif(not damage_is_told(), reason='simplejpeg is not installed'),
        ),
        pytest.param(jpeg(b''), '0 bytes', id='no data'),
        pytest.param(jpeg(b'', '16UC1; compressedDepth png'), 'is depth', id='depth'),
    ],
)
def test_bad_compressed_image(make_stage: MakeStage, bad: CompressedImage, text: str) -> None:
    stage = make_stage(image_transport='compressed')
    check_bad_then_good(stage, 'image_raw/compressed', bad, jpeg(encoded('.png'), 'png'), text)


def check_bad_then_good(stage: Stage, topic: str, bad: Any, good: Any, text: str) -> None:
    camera = stage.camera(topic, type(bad))
    (masks,) = stage.outputs('mask')
    camera.publish(bad)
    stage.wait_for_count(f'/{topic}', received=1, rejected=1)
    line = stage.wait_for_log('frame rejected', text)
    assert 'Traceback' not in line
    wait_until(
        lambda: stage.status(f'/{topic}').level != DiagnosticStatus.OK, 'a warning or silence'
    )
    camera.publish(good)
    stage.wait_for_count(f'/{topic}', received=2, processed=1, rejected=1)
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), GOOD)


def test_a_camera_of_an_unknown_encoding_is_an_error_that_names_it(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()

    def told() -> DiagnosticStatus | None:
        camera.publish(changed(encoding='infrared'))
        status = stage.status('/image_raw')
        return status if status and status.level == DiagnosticStatus.ERROR else None

    status = wait_until(told, 'an error')
    assert status.message.startswith("every frame is rejected: image encoding 'infrared'")
    assert stage.values('/image_raw')['encoding'] == 'infrared'


def test_what_is_odd_is_told_once(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    message = changed(data=bytes(frame(paint(GOOD)).data) + bytes(7))
    for count in range(1, 4):
        camera.publish(message)
        wait_until(lambda count=count: len(masks) == count, 'a mask')
    np.testing.assert_array_equal(pixels(masks[-1]), GOOD)
    stage.wait_for_count(received=3, processed=3)
    assert '7 bytes longer' in stage.values('/image_raw')['remarks']
    # STALE where the machine is too busy to look before the silence is too long.
    assert stage.status('/image_raw').level in (DiagnosticStatus.OK, DiagnosticStatus.STALE)
    assert sum('7 bytes longer' in line for line in stage.log_lines()) == 1


def test_bad_frames_do_not_fill_the_log(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    for count in range(1, 11):
        camera.publish(changed(data=bytes(count)))
        camera.publish(changed(encoding='infrared'))
        wait_until(lambda count=count: stage.received() == 2 * count, 'both frames')
    lines = [line for line in stage.log_lines() if 'frame rejected' in line]
    assert 1 <= len(lines) <= 6  # two kinds, every 5 s


@pytest.mark.parametrize(
    ('sec', 'nanosec'), [(-(2**31), 0), (2**31 - 1, 2**32 - 1), (0, 0), (-1, 999_999_999)]
)
def test_absurd_stamp_is_handed_on(make_stage: MakeStage, sec: int, nanosec: int) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    message = frame(paint(GOOD))
    message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
    camera.publish(message)
    wait_until(lambda: masks, 'a mask')
    assert masks[0].header == message.header
    camera.publish(frame(paint(GOOD)))
    stage.wait_for_count(received=2, processed=2)


def test_resolution_that_changes(make_stage: MakeStage) -> None:
    stage = make_stage(overlay__scale=0.5)
    camera = stage.camera()
    masks, overlays = stage.outputs('mask', 'overlay')
    for count, size in enumerate([(96, 160), (192, 320), (50, 70), (96, 160)], 1):
        mask = example_mask(*size)
        camera.publish(frame(paint(mask), stamp=count))
        wait_until(lambda count=count: len(masks) == len(overlays) == count, 'mask and overlay')
        np.testing.assert_array_equal(pixels(masks[-1]), mask)
        assert (overlays[-1].height, overlays[-1].width) == (size[0] // 2, size[1] // 2)


@pytest.mark.parametrize('size', [(15, 15), (1, 40), (2, 2)])
def test_image_smaller_than_one_stride(make_stage: MakeStage, size: tuple[int, int]) -> None:
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    camera.publish(frame(paint(example_mask(*size))))
    wait_until(lambda: masks, 'a mask')
    np.testing.assert_array_equal(pixels(masks[0]), example_mask(*size))


def test_no_camera_at_all(make_stage: MakeStage) -> None:
    stage = make_stage(no_frame_warning_s=0.5)
    stage.wait_for_log('no frame on /image_raw for', 'publishers: none', 'subscribed reliable')
    status = wait_until(lambda: stage.status('/image_raw'), 'diagnostics of the topic')
    assert status.level == DiagnosticStatus.STALE
    stage.wait_for_count(received=0)
    stage.camera().publish(frame(paint(GOOD)))
    stage.wait_for_count(received=1, processed=1)


def test_camera_that_does_not_fit_is_named(make_stage: MakeStage) -> None:
    stage = make_stage(no_frame_warning_s=0.5, image_qos='reliable')
    stage.watcher.create_publisher(Image, 'image_raw', BEST_EFFORT)
    stage.wait_for_log(
        'no frame on /image_raw', '/watcher (best_effort, sensor_msgs/msg/Image)', 'reliable'
    )
