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

"""Recordings of streams: packets of three types become pictures with the stamps of their own."""

from __future__ import annotations

from collections.abc import Sequence
import logging
from pathlib import Path

from image_bags import header
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from streams import encode, number_of, Packet

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.bags import (
    as_compressed_image,
    COMPRESSED_IMAGE,
    COMPRESSED_VIDEO,
    FFMPEG_PACKET,
    image_typestore,
    read_message,
)
from uhr_seg_ros.replay.frame_sources import RecordedTopic
from uhr_seg_ros.replay.topic_pictures import packets_behind
from uhr_seg_ros.replay.topics import choose_topic

TYPES = image_typestore()
FORMATS = {
    (COMPRESSED_IMAGE, 'h264'): 'h264',
    (COMPRESSED_IMAGE, 'hevc'): 'H265',
    (FFMPEG_PACKET, 'h264'): 'libx264',
    (FFMPEG_PACKET, 'hevc'): 'hevc;yuv420p;bgr8;bgr8',
    (COMPRESSED_VIDEO, 'h264'): 'h264',
    (COMPRESSED_VIDEO, 'hevc'): 'h265',
}


def message(kind: str, form: str, packet: Packet) -> bytes:
    """Return a packet as a message; its stamp is a second, and the picture's number in ms."""
    head, data = header(stamp_of(packet.number)), np.frombuffer(packet.data, np.uint8)
    if kind == FFMPEG_PACKET:
        content = TYPES.types[kind](
            header=head,
            width=256,
            height=64,
            encoding=form,
            pts=packet.number,
            flags=int(packet.is_key),
            is_bigendian=False,
            data=data,
        )
    elif kind == COMPRESSED_VIDEO:
        content = TYPES.types[kind](
            timestamp=head.stamp, frame_id=head.frame_id, data=data, format=form
        )
    else:
        content = TYPES.types[kind](header=head, format=form, data=data)
    return bytes(TYPES.serialize_cdr(content, kind))


def stamp_of(number: int) -> int:
    return 10**9 + number * 10**6


def record(path: Path, kind: str, form: str, packets: Sequence[Packet], topic: str) -> Path:
    """Record packets one after the other, 1 ms apart."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(topic, kind, typestore=TYPES)
        for index, packet in enumerate(packets):
            writer.write(connection, index * 10**6, message(kind, form, packet))
    return path


@pytest.mark.parametrize(('kind', 'codec'), FORMATS)
def test_each_picture_has_the_stamp_of_its_own_packet(
    tmp_path: Path, kind: str, codec: str
) -> None:
    packets = encode(codec, 12, options={'bf': '2'})
    bag = record(tmp_path / 'bag', kind, FORMATS[kind, codec], packets, '/cam/stream')
    topic = choose_topic(bag)
    assert (topic.name, topic.type, topic.count, topic.codec) == ('/cam/stream', kind, 12, codec)
    frames = list(RecordedTopic(bag, 'bag').frames())
    assert [number_of(each.read()) for each in frames] == list(range(12))
    assert [each.stem for each in frames] == [f'bag_1.{n:03d}000000' for n in range(12)]
    places = {each.number: index for index, each in enumerate(packets)}
    assert [each.place for each in frames] == [
        f'/cam/stream message {places[number]}' for number in range(12)
    ]
    every = [each.read() for each in RecordedTopic(bag, 'bag', every=5).frames()]
    assert list(map(number_of, every)) == [0, 5, 10]


@pytest.mark.parametrize('codec', ['h264', 'hevc'])
def test_how_far_pictures_come_behind_their_packets(tmp_path: Path, codec: str) -> None:
    found = []
    for bframes in range(3):
        packets = encode(codec, 12, options={'bf': str(bframes)})
        bag = record(tmp_path / str(bframes), COMPRESSED_IMAGE, codec, packets, '/cam/stream')
        found.append(packets_behind(bag, choose_topic(bag)))
    assert found[0] == 0
    assert 0 < found[1] <= found[2] <= 4
    late = record(tmp_path / 'late', COMPRESSED_IMAGE, codec, encode(codec, 12)[3:], '/cam/stream')
    assert packets_behind(late, choose_topic(late)) == 0  # what waits for a key picture


def test_what_has_no_picture_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Late, with a loss, and with a damaged packet, which is a fault of its own."""
    packets = encode('h264', 32)
    damaged = packets[18]._replace(data=b'\0\0\1\x65' + packets[18].data[:9])
    left = [*packets[3:10], *packets[11:18], damaged, *packets[19:]]
    bag = record(tmp_path / 'bag', FFMPEG_PACKET, 'h264_nvenc', left, '/cam/image_raw/ffmpeg')
    found, faults = [], 0
    with caplog.at_level(logging.WARNING):
        for frame in RecordedTopic(bag, 'bag').frames():
            try:
                found.append(number_of(frame.read()))
            except RecordingError as err:
                faults += 1
                assert 'H.264 packet (13 bytes) cannot be decoded' in str(err)
    assert found == [8, 9, 16, 17, *range(24, 32)]
    assert faults == 1
    assert '15 of 28 packets on /cam/image_raw/ffmpeg have no picture' in caplog.text
    assert '1 times a picture was lost' in caplog.text


@pytest.mark.parametrize('kind', [FFMPEG_PACKET, COMPRESSED_VIDEO])
def test_packets_are_played_as_a_type_that_is_installed(kind: str) -> None:
    (packet,) = encode('hevc', 1)
    played = as_compressed_image(message(kind, FORMATS[kind, 'hevc'], packet), kind)
    image = read_message(played, COMPRESSED_IMAGE)
    assert (image.format, bytes(image.data)) == ('hevc', packet.data)
    assert (image.header.stamp.sec, image.header.frame_id) == (1, 'lens')


def test_a_stream_that_is_not_decoded_is_named(tmp_path: Path) -> None:
    bag = record(tmp_path / 'bag', COMPRESSED_VIDEO, 'av1', encode('h264', 1), '/cam')
    with pytest.raises(RecordingError, match='codec that is not decoded: H.264 and H.265 are'):
        choose_topic(bag, '/cam')
