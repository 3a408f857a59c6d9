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

"""Cameras that send H.264 and H.265, over DDS: each mask has the stamp of its own picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from stage import example_mask, pixels, Stage, wait_until
from std_msgs.msg import Header
from streams import encode_images, Packet
from tiny_bundle import paint

from uhr_seg_ros.ros.topics.names import message_class

MakeStage = Callable[..., Stage]

TOPIC = '/image_raw/compressed'
FORMATS = {'h264': 'h264', 'hevc': 'h265'}


def flight(codec: str, count: int, size: tuple[int, int] = (96, 160), **more: Any) -> list[Packet]:
    """Encode pictures whose masks are `example_mask` with their numbers for a seed."""
    first = more.get('first', 0)
    images = [paint(example_mask(*size, seed=first + number)) for number in range(count)]
    return encode_images(codec, images, **more)


def message(packet: Packet, codec: str) -> CompressedImage:
    """Return a packet as a message; its stamp is the number of its picture, in s and ns."""
    header = Header(frame_id=f'lens_{packet.number}')
    header.stamp.sec, header.stamp.nanosec = 100, packet.number * 10**7
    return CompressedImage(header=header, format=FORMATS[codec], data=packet.data)


def check(masks: Sequence[Image]) -> list[int]:
    """Check that each mask is of the picture that its header names; return their numbers."""
    numbers = [each.header.stamp.nanosec // 10**7 for each in masks]
    for number, mask in zip(numbers, masks, strict=True):
        assert mask.header.frame_id == f'lens_{number}'
        expected = example_mask(mask.height, mask.width, seed=number)
        np.testing.assert_array_equal(pixels(mask), expected, str(number))
    return numbers


@pytest.mark.parametrize('codec', FORMATS)
def test_a_mask_for_each_packet_at_once(make_stage: MakeStage, codec: str) -> None:
    stage = make_stage(image_transport='compressed')
    camera = stage.camera(TOPIC, CompressedImage)
    (masks,) = stage.outputs('mask')
    packets = [*flight(codec, 6), *flight(codec, 3, (64, 192), first=6)]
    for count, packet in enumerate(packets, 1):
        camera.publish(message(packet, codec))  # the next one only when its mask is there
        wait_until(lambda count=count: len(masks) == count, 'a mask')
    assert check(masks) == list(range(9))
    values = stage.wait_for_count(TOPIC, received=9, processed=9)
    assert (values['packets_received'], values['packets_decoded']) == ('9', '9')
    assert values['encoding'] == FORMATS[codec]


def test_late_with_a_loss_and_damage(make_stage: MakeStage) -> None:
    """All that is wrong is counted, and the node goes on with the next key picture."""
    stage = make_stage(image_transport='compressed')
    camera = stage.camera(TOPIC, CompressedImage)
    (masks,) = stage.outputs('mask')
    packets = flight('h264', 32)
    damaged = packets[20]._replace(data=packets[20].data[:-3] + b'\0\0\1\x67')
    nothing = packets[21]._replace(data=b'no packet')
    sent = [*packets[5:10], *packets[11:20], damaged, nothing, *packets[22:]]
    expected = [8, 9, *range(16, 20), *range(24, 32)]
    for packet in sent:
        camera.publish(message(packet, 'h264'))
        if packet.number in expected:
            place = expected.index(packet.number) + 1
            wait_until(lambda place=place: len(masks) == place, f'mask {place}')
    assert check(masks) == expected
    values = stage.wait_for_count(TOPIC, processed=len(expected), rejected=2)
    assert values['packets_received'] == str(len(sent))
    assert (values['stream_losses'], values['packets_corrupt']) == ('1', '2')
    assert values['packets_without_key'] == str(len(sent) - len(expected) - 2)
    assert 'H.264 packet (9 bytes) cannot be decoded' in stage.wait_for_log('9 bytes')


def test_b_frames_come_in_order_and_cameras_apart(make_stage: MakeStage) -> None:
    cameras = {'front': 'h264', 'rear': 'hevc'}
    stage = make_stage(image_transport='compressed', cameras=list(cameras))
    publishers = {
        name: stage.camera(f'{name}/image_raw/compressed', CompressedImage) for name in cameras
    }
    masks = dict(zip(cameras, stage.outputs('front/mask', 'rear/mask'), strict=True))
    packets = {
        name: flight(codec, 10, first=first, options={'bf': '2', 'g': '16'})
        for first, (name, codec) in zip((0, 50), cameras.items(), strict=True)
    }
    for index in range(10):
        for name, codec in cameras.items():
            camera = publishers[name]
            before = int(stage.values(f'/{name}/image_raw/compressed').get('packets_received', 0))
            camera.publish(message(packets[name][index], codec))
            wait_until(
                lambda name=name, before=before: (
                    int(stage.values(f'/{name}/image_raw/compressed').get('packets_received', 0))
                    > before
                ),
                'the packet',
            )
    for first, name in zip((0, 50), cameras, strict=True):
        wait_until(lambda name=name: len(masks[name]) >= 4, f'masks of {name}')
        found = check(masks[name])
        assert found == sorted(found) and set(found) <= set(range(first, first + 10))


@pytest.mark.parametrize(
    ('transport', 'package'),
    [('ffmpeg', 'ffmpeg_image_transport_msgs'), ('foxglove', 'foxglove_msgs')],
)
def test_a_type_that_is_not_installed_is_named(
    make_stage: MakeStage, transport: str, package: str
) -> None:
    if find_spec(package):
        pytest.skip(f'{package} is installed')
    stage = make_stage(image_transport=transport)
    line = stage.wait_for_log('cannot be configured')
    assert f'image_transport {transport} takes {package}/msg/' in line
    assert 'apt install ros-$ROS_DISTRO-' in line


@pytest.mark.parametrize(
    ('transport', 'package', 'codec'),
    [
        ('ffmpeg', 'ffmpeg_image_transport_msgs', 'h264'),
        ('foxglove', 'foxglove_msgs', 'hevc'),
    ],
)
def test_packets_of_other_types(
    make_stage: MakeStage, transport: str, package: str, codec: str
) -> None:
    if not find_spec(package):
        pytest.skip(f'{package} is not installed')
    kind = message_class(transport)
    stage = make_stage(image_transport=transport)
    camera = stage.camera(f'/image_raw/{transport}', kind)
    (masks,) = stage.outputs('mask')
    for count, packet in enumerate(flight(codec, 5), 1):
        image = message(packet, codec)
        if transport == 'ffmpeg':
            sent = kind(header=image.header, encoding='libx264', pts=packet.number)
        else:
            stamp, frame_id = image.header.stamp, image.header.frame_id
            sent = kind(timestamp=stamp, frame_id=frame_id, format=image.format)
        sent.data = image.data
        camera.publish(sent)
        wait_until(lambda count=count: len(masks) == count, 'a mask')
    assert check(masks) == list(range(5))
    values = stage.wait_for_count(f'/image_raw/{transport}', processed=5)
    assert values['encoding'] == ('libx264' if transport == 'ffmpeg' else 'h265')
