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

"""The image topic that is meant: never depth, a mask or what the node itself publishes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from image_bags import compressed, image, record, TYPES
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay import topic_probe
from uhr_seg_ros.replay.topics import choose_topic

COLOR, GRAY, DEPTH = image('bgr8'), image('mono8'), image('16UC1')
JPEG = compressed('rgb8; jpeg compressed bgr8')
MASK = image('mono8', np.tile(np.arange(5, dtype=np.uint8).repeat(8), (24, 1)))
UNLABELED = image('8UC1', np.random.default_rng(0).choice([0, 3, 255], (24, 40)).astype(np.uint8))

CHOSEN = {
    'realsense': (
        {
            '/camera/depth/image_rect_raw': [DEPTH] * 3,
            '/camera/infra1/image_rect_raw': [GRAY] * 3,
            '/camera/color/image_raw': [COLOR],
        },
        '/camera/color/image_raw',
    ),
    'depth without its name': (
        {
            '/d435/a': [DEPTH] * 3,
            '/d435/b': [image('32FC1')] * 3,
            '/d435/c': [image('mono16')] * 3,
            '/d435/z': [COLOR],
        },
        '/d435/z',
    ),
    'compressed depth': (
        {
            '/depth/image/compressedDepth': [compressed('16UC1; compressedDepth png', '.png')] * 3,
            '/aligned/image/compressed': [compressed('16UC1; png compressed ', '.png')] * 3,
            '/cam/compressed': [JPEG],
        },
        '/cam/compressed',
    ),
    'png of 16 bits that does not say so': (
        {
            '/a/compressed': [compressed('png', '.png', np.zeros((8, 8), np.uint16))] * 3,
            '/cam/compressed': [compressed('jpeg')],
        },
        '/cam/compressed',
    ),
    'what the node draws': (
        {
            '/segmentation/diagnostics_image': [COLOR] * 9,
            '/segmentation/overlay': [COLOR] * 3,
            '/segmentation/mask': [MASK],
            '/cam': [COLOR],
        },
        '/cam',
    ),
    'what a renamed node draws': (
        {'/drone/eyes/overlay': [COLOR] * 9, '/drone/eyes/mask': [MASK], '/cam': [COLOR]},
        '/cam',
    ),
    'what a node with cameras draws': (
        {
            '/eyes/front/overlay': [COLOR] * 9,
            '/eyes/front/mask': [MASK] * 3,
            '/eyes/diagnostics_image': [COLOR],
            '/front/image_raw': [COLOR],
        },
        '/front/image_raw',
    ),
    'what a node draws, compressed': (
        {
            '/eyes/overlay/compressed': [JPEG] * 9,
            '/eyes/mask/compressed': [compressed('mono8; png compressed ', '.png')],
            '/cam/image_raw': [COLOR],
        },
        '/cam/image_raw',
    ),
    'simulator': (
        {
            '/ego/semantic_front/image': [image('bgra8')] * 3,
            '/ego/depth_front/image': [COLOR] * 3,
            '/semantic_segmentation': [image('32SC1')],
            '/ego/rgb_front/image': [image('bgra8')],
        },
        '/ego/rgb_front/image',
    ),
    'masks of others': (
        {
            '/net/labelIds': [image('mono8')] * 3,
            '/net/out_seg': [image('8UC1')] * 3,
            '/net/output': [MASK] * 3,
            '/other/output': [UNLABELED],
            '/cam/image_raw': [GRAY],
        },
        '/cam/image_raw',
    ),
    'drawings of others': (
        {
            '/yolo/annotated_image': [COLOR] * 3,
            '/depth/image_colormap': [COLOR] * 3,
            '/cam/image_raw': [GRAY],
        },
        '/cam/image_raw',
    ),
    'raw and compressed': (
        {'/cam/image_raw/compressed': [JPEG] * 3, '/cam/image_raw': [COLOR] * 2},
        '/cam/image_raw',
    ),
    'hardly any raw': (
        {'/cam/image_raw/compressed': [JPEG] * 5, '/cam/image_raw': [COLOR] * 2},
        '/cam/image_raw/compressed',
    ),
    'raw without messages': (
        {'/cam/image_raw/compressed': [JPEG], '/cam/image_raw': []},
        '/cam/image_raw/compressed',
    ),
    'raw in an encoding that is not known': (
        {'/cam/image_raw/compressed': [JPEG], '/cam/image_raw': [image('i420')]},
        '/cam/image_raw/compressed',
    ),
    'video': ({'/cam/compressed': [compressed('av1')] * 3, '/other': [COLOR]}, '/other'),
    'bayer beside grey': ({'/a': [image('bayer_rggb8')], '/b': [GRAY] * 3}, '/a'),
    'a first message that is not whole': (
        {'/a': [b'', GRAY[:20], DEPTH], '/b': [b'\0' * 4, COLOR]},
        '/b',
    ),
}


@pytest.mark.parametrize('case', CHOSEN)
def test_what_is_chosen_and_logged(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    topics, expected = CHOSEN[case]
    bag = record(tmp_path / 'bag', topics)
    caplog.set_level('INFO', 'uhr_seg_ros')
    assert choose_topic(bag).name == expected
    (line,) = caplog.messages
    assert line.removeprefix('warning: ').startswith(f'topic {expected} (') and '\n' not in line
    others = line.partition('; left out: ')[2]
    assert all(f'{name} (' in others for name in topics if name != expected)


@pytest.mark.parametrize(
    'topics',
    [
        {'/front/image_raw': [COLOR] * 9, '/rear/image_raw': [COLOR]},
        {'/left/image_mono': [GRAY], '/right/image_mono': [GRAY]},
        {'/cam/image_raw': [COLOR], '/cam/image_rect_color': [COLOR]},
        {'/front/compressed': [JPEG], '/rear/compressed': [compressed('jpeg')]},
    ],
)
def test_equally_likely_topics_are_asked_for(
    tmp_path: Path, topics: dict[str, list[bytes]]
) -> None:
    bag = record(tmp_path / 'bag', {**topics, '/depth': [DEPTH]})
    with pytest.raises(RecordingError, match='2 image topics .*equally likely.*--topic') as info:
        choose_topic(bag)
    likely, left_out = str(info.value).split('(left out: ')
    for name, messages in topics.items():
        assert f'{name} (' in likely and f' 40x24, {len(messages)} messages)' in likely
        assert choose_topic(bag, name).name == name
    assert '/depth (' in left_out


def test_both_cameras_raw_and_compressed_are_two(tmp_path: Path) -> None:
    bag = record(
        tmp_path / 'bag',
        {
            f'/{name}/image{transport}': [message]
            for name in ('front', 'rear')
            for transport, message in (('', COLOR), ('/compressed', JPEG))
        },
    )
    with pytest.raises(RecordingError, match='has 2 image topics that are equally likely'):
        choose_topic(bag)


def test_a_grey_camera_alone_is_taken_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bag = record(tmp_path / 'bag', {'/cam/image_raw': [GRAY]})
    assert choose_topic(bag).name == '/cam/image_raw'
    text = "warning: topic /cam/image_raw (Image 'mono8' 40x24, 1 messages): gray"
    assert caplog.messages == [text]


@pytest.mark.parametrize(
    'topics',
    [
        {'/cam/depth': [DEPTH]},
        {'/thermal/image': [image('mono16')]},
        {'/net/output': [MASK]},
        {'/segmentation/overlay': [COLOR], '/segmentation/mask': [MASK]},
    ],
)
def test_nothing_of_a_camera(tmp_path: Path, topics: dict[str, list[bytes]]) -> None:
    bag = record(tmp_path / 'bag', topics)
    with pytest.raises(
        RecordingError, match='no images that seem to be of a camera.*--topic'
    ) as info:
        choose_topic(bag)
    assert all(name in str(info.value) for name in topics)


def test_what_sounds_like_images_but_is_not_read_is_named(tmp_path: Path) -> None:
    kind = 'stereo_msgs/msg/DisparityImage'
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/stereo', kind, typestore=TYPES)
        writer.write(connection, 1, b'')
    with pytest.raises(
        RecordingError, match=f'topics: none .*/stereo is {kind}, which is not read'
    ):
        choose_topic(tmp_path / 'bag')


def test_named_topics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = record(
        tmp_path / 'bag',
        {
            '/cam/image_raw': [COLOR],
            '/cam/depth': [DEPTH],
            '/float': [image('32FC1')],
            '/segmentation/mask': [MASK],
            '/segmentation/overlay': [COLOR],
            '/none': [],
            '/thermal/image': [image('mono16')],
            '/net/output': [MASK],
        },
    )
    for name in ('/cam/image_raw', 'cam/image_raw', '/cam/image_raw/', ' cam/image_raw'):
        assert choose_topic(bag, name).name == '/cam/image_raw'
    for name, text in {
        '/cam/depth': 'is depth',
        '/float': 'is depth',
        '/segmentation/mask': 'a mask of this',
        '/none': 'no messages',
        '/other': 'no images on /other; its image topics: /cam/image_raw',
    }.items():
        with pytest.raises(RecordingError, match=text):
            choose_topic(bag, name)
    for name in ('/segmentation/overlay', '/thermal/image', '/net/output'):
        caplog.clear()
        assert choose_topic(bag, name).name == name
        (line,) = caplog.messages
        assert line.startswith(f'warning: topic {name} (')


def test_a_topic_that_begins_late_does_not_cost_reading_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    original = topic_probe.read_topics

    def counted(*arguments: object) -> Iterator[object]:
        nonlocal count
        for item in original(*arguments):
            count += 1
            yield item

    monkeypatch.setattr(topic_probe, 'read_topics', counted)
    bag = record(tmp_path / 'bag', {'/early': [COLOR] * 300, '/late/depth': [DEPTH]})
    assert choose_topic(bag).name == '/early'
    assert count < 100
