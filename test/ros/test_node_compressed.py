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

"""Compressed outputs: what image_transport reads, and nothing that holds up a mask."""

from __future__ import annotations

from collections.abc import Callable
from threading import enumerate as enumerate_threads
from threading import Event

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage
from stage import example_mask, frame, pixels, Stage, wait_until
from std_msgs.msg import Header
from tiny_bundle import paint, TINY_CLASSES

from uhr_seg_ros.core.visualization import colorize, OverlayPainter
from uhr_seg_ros.ros import outputs
from uhr_seg_ros.ros.messages.compressed import parse_format
from uhr_seg_ros.ros.messages.compressing import encode_jpeg, encode_png
from uhr_seg_ros.ros.topics.latest_jobs import LatestJobs

MakeStage = Callable[..., Stage]

PICTURES = ('overlay/compressed', 'color_mask/compressed')


def decoded(message: CompressedImage) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_mask_is_lossless_and_pictures_are_jpeg(make_stage: MakeStage) -> None:
    stage = make_stage(mask__scale=0.5, overlay__scale=1.0)
    camera = stage.camera()
    mask = example_mask()
    camera.publish(frame(paint(mask)))
    stage.wait_for_count(processed=1)
    names = {thread.name for thread in enumerate_threads()}
    assert 'encoding' not in names  # nobody subscribes
    (masks,) = stage.outputs('mask/compressed', message_type=CompressedImage)
    pictures = stage.outputs(*PICTURES, message_type=CompressedImage)
    raw, confidences = stage.outputs('mask', 'confidence')
    sizes: dict[int, int] = {}
    for quality in (95, 10):
        assert stage.set_parameter('compressed.jpeg_quality', quality).successful
        count = len(masks)
        camera.publish(frame(paint(mask), stamp=count + 2.0))
        wait_until(lambda count=count: min(map(len, (masks, *pictures))) > count, 'all of them')
        sizes[quality] = len(pictures[0][-1].data)
    assert sizes[10] < sizes[95]
    assert masks[0].format == 'mono8; png compressed '
    np.testing.assert_array_equal(decoded(masks[0]), pixels(raw[0]))
    np.testing.assert_array_equal(pixels(raw[0]), mask[1::2, 1::2])
    assert (confidences[0].height, confidences[0].width) == pixels(raw[0]).shape
    for messages in pictures:
        assert messages[0].format == 'bgr8; jpeg compressed bgr8'
        assert parse_format(messages[0].format) == ('bgr8', 'jpeg', 'bgr8')
        assert messages[0].header == masks[0].header == raw[0].header
    painted = OverlayPainter(TINY_CLASSES, 0.5, 1.0).paint(paint(mask), mask)
    expected = painted, colorize(mask, TINY_CLASSES)
    for messages, picture in zip(pictures, expected, strict=True):
        assert np.abs(decoded(messages[0]).astype(int) - picture).mean() < 5


def test_encoding_holds_up_no_mask(make_stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, may_go_on = Event(), Event()

    def encode(*args: object) -> CompressedImage:
        inside.set()
        assert may_go_on.wait(30.0)
        return encode_png(*args)

    monkeypatch.setattr(outputs, 'encode_png', encode)
    stage = make_stage()
    camera = stage.camera()
    (masks,) = stage.outputs('mask')
    (compressed,) = stage.outputs('mask/compressed', message_type=CompressedImage)
    for count in range(1, 4):
        camera.publish(frame(paint(example_mask()), stamp=count))
        wait_until(lambda count=count: len(masks) == count, 'a mask')
        assert inside.wait(30.0)
    assert not compressed
    may_go_on.set()
    wait_until(lambda: len(compressed) == 2, 'the one that was begun, and the newest')
    assert [each.header.stamp.sec for each in compressed] == [1, 3]


def test_a_mask_of_a_given_size_and_its_calibration(make_stage: MakeStage) -> None:
    stage = make_stage()
    camera = stage.camera()
    infos_in = stage.camera('camera_info', CameraInfo)
    (masks,) = stage.outputs('mask')
    (infos,) = stage.outputs('camera_info', message_type=CameraInfo)
    info = CameraInfo(width=160, height=96)
    info.k[0], info.k[4], info.k[2] = 100.0, 100.0, 80.0
    infos_in.publish(info)
    wait_until(lambda: stage.values('/image_raw').get('camera_info_received') == '1', 'it')
    assert stage.set_parameter('mask.size', [40, 48]).successful
    camera.publish(frame(paint(example_mask())))
    wait_until(lambda: masks and infos, 'a mask and its calibration')
    assert (masks[0].width, masks[0].height) == (infos[0].width, infos[0].height) == (40, 48)
    assert (infos[0].k[0], infos[0].k[2], infos[0].k[4]) == (25.0, 20.0, 50.0)
    assert set(np.unique(pixels(masks[0]))) <= {0, 1, 2}
    refused = stage.set_parameter('mask.size', [40, 0])
    assert not refused.successful
    assert 'mask.size is [40, 0]' in refused.reason


def test_above_255_classes_the_png_has_16_bit() -> None:
    mask = np.arange(600, dtype=np.uint16).reshape(20, 30)
    message = encode_png(mask, 'mono16', Header(frame_id='camera'))
    assert (message.format, message.header.frame_id) == ('mono16; png compressed ', 'camera')
    np.testing.assert_array_equal(decoded(message), mask)


def test_a_mask_takes_a_fraction_of_its_bytes() -> None:
    small = np.random.default_rng(0).integers(0, 5, (27, 48), np.uint8)
    mask = cv2.resize(small, (3840, 2160), interpolation=cv2.INTER_NEAREST)
    assert len(encode_png(mask, 'mono8', Header()).data) < mask.size / 20
    assert len(encode_jpeg(np.zeros((20, 30, 3), np.uint8), 80, Header()).data) < 1000


def test_a_job_that_fails_ends_nothing() -> None:
    errors: list[Exception] = []
    done = Event()
    jobs = LatestJobs('test', errors.append)
    jobs.put('a', lambda: 1 / 0)
    jobs.put('b', done.set)
    assert done.wait(30.0)
    assert isinstance(errors[0], ZeroDivisionError)
    jobs.close()
    done.clear()
    jobs.put('b', done.set)
    assert not jobs._jobs
    assert not done.is_set()
