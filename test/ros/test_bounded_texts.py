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

"""However long a text in a message is: short lines in the log and in the diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from stage import example_mask, frame, Stage, wait_until
from tiny_bundle import paint

from uhr_seg_ros.core.errors import ConfigError, ImageError, MessageError
from uhr_seg_ros.ros.messages import images
from uhr_seg_ros.ros.messages.camera_info import camera_of
from uhr_seg_ros.ros.messages.cloud_reading import read_points
from uhr_seg_ros.ros.messages.compressed import decode_compressed
from uhr_seg_ros.ros.messages.depth import read_depth
from uhr_seg_ros.ros.messages.images import view_image

LONG = 'mono8\n' + 'x' * 2_000_000
MAX = 1500
"""Longest line, characters: more than one text of a message may be in it."""


@pytest.mark.parametrize(
    ('topic', 'bad'),
    [
        ('image_raw', Image(width=16, height=16, step=48, encoding=LONG, data=bytes(768))),
        ('image_raw/compressed', CompressedImage(format=LONG, data=b'none')),
        ('image_raw/compressed', CompressedImage(format='bayer_rggb8; png ' + LONG)),
    ],
)
def test_of_the_node(
    make_stage: Callable[..., Stage], topic: str, bad: Image | CompressedImage
) -> None:
    stage = make_stage(image_transport='compressed' if 'compressed' in topic else 'raw')
    camera = stage.camera(topic, type(bad))
    camera.publish(bad)
    stage.wait_for_count(f'/{topic}', received=1, rejected=1)
    stage.wait_for_log('frame rejected')
    status = wait_until(lambda: stage.status(f'/{topic}'), 'diagnostics')
    texts = [*stage.log_lines(), status.message, *(pair.value for pair in status.values)]
    assert max(map(len, texts)) < MAX
    assert all('\n' not in text for text in texts)
    good = frame(paint(example_mask()))
    if topic != 'image_raw':
        data = cv2.imencode('.png', paint(example_mask()))[1].tobytes()
        good = CompressedImage(header=good.header, format='png', data=data)
    camera.publish(good)
    stage.wait_for_count(f'/{topic}', received=2, rejected=1, processed=1)


def calibration() -> CameraInfo:
    info = CameraInfo(width=16, height=16, distortion_model=LONG[:20_000], d=[0.0] * 5)
    info.k[0] = info.k[4] = info.k[8] = 1.0
    return info


class Bridge:
    def imgmsg_to_cv2(self, message: Image, _encoding: str) -> None:
        msg = f'Unrecognized image encoding [{message.encoding}]'
        raise RuntimeError(msg)


def cloud() -> PointCloud2:
    fields = [PointField(name=LONG), *(PointField(name='a' * 50) for _ in range(1000))]
    return PointCloud2(width=1, height=1, fields=fields)


def through_bridge() -> None:
    view_image(Image(width=1, height=1, encoding=LONG))


@pytest.mark.parametrize(
    ('read', 'error'),
    [
        (lambda: camera_of(calibration(), 16, 16), ConfigError),
        (lambda: read_points(cloud()), MessageError),
        (lambda: read_depth(Image(width=1, height=1, encoding=LONG)), ImageError),
        (lambda: decode_compressed(SimpleNamespace(format=LONG, data=b'x')), ImageError),
        (through_bridge, ImageError),
    ],
    ids=['distortion', 'fields', 'depth', 'format', 'cv_bridge'],
)
def test_of_errors(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], object], error: type[Exception]
) -> None:
    monkeypatch.setattr(images, '_cv_bridge', Bridge)
    with pytest.raises(error) as found:
        read()
    assert len(str(found.value)) < MAX
    assert '\n' not in str(found.value)


def test_of_remarks() -> None:
    remarks: list[str] = []
    gray = cv2.imencode('.png', np.zeros((4, 4), np.uint8))[1].tobytes()
    form = 'rgb8; png compressed mono8' + ' ' * 500 + LONG
    decode_compressed(CompressedImage(format=form, data=gray), remarks.append)
    assert [text for text in remarks if 'gray picture' in text]
    assert max(map(len, remarks)) < MAX


def test_that_vary_are_one_kind(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    camera = stage.camera()
    for count in range(1, 41):
        encoding = ''.join(chr(97 + int(digit)) for digit in f'{count * 7919}')
        camera.publish(Image(width=16, height=16, step=48, encoding=encoding, data=bytes(768)))
        if count % 5 == 0:
            wait_until(lambda count=count: stage.received() == count, f'{count} frames')
    stage.wait_for_log('frame rejected')
    assert sum('frame rejected' in line for line in stage.log_lines()) < 10
