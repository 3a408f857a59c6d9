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

"""Frames from images, folders and recordings."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.replay.image_source import read_frames


def picture(value: int) -> np.ndarray:
    """Return a plain picture."""
    return np.full((20, 30, 3), value, np.uint8)


def test_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), picture(7))
    (frame,) = read_frames(tmp_path / 'a.png')
    np.testing.assert_array_equal(frame, picture(7))


def test_folder_in_the_order_of_names(tmp_path: Path) -> None:
    for name, value in (('b.png', 2), ('a.PNG', 1), ('c.bmp', 3)):
        cv2.imwrite(str(tmp_path / name), picture(value))
    (tmp_path / 'notes.txt').write_text('no image')
    (tmp_path / '._a.png').write_bytes(b'of macOS')
    assert [frame[0, 0, 0] for frame in read_frames(tmp_path)] == [1, 2, 3]


def test_recording(tmp_path: Path) -> None:
    pytest.importorskip('rosbags', reason='recordings are read with rosbags')
    from uhr_seg_ros.replay.bag_writing import BagWriter

    with BagWriter(tmp_path / 'bag') as bag:
        for stamp in (1, 2, 3):
            bag.write(picture(stamp), stamp * 10**9)
    frames = list(read_frames(tmp_path / 'bag'))
    assert [frame[0, 0, 0] for frame in frames] == [1, 2, 3]
    assert frames[0].shape == (20, 30, 3)


def test_bad_messages_of_a_recording_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip('rosbags', reason='recordings are read with rosbags')
    from image_bags import image, record

    from uhr_seg_ros.core.errors import RecordingError

    whole, bad = image('bgr8'), [b'', b'\0\1\0\0', image('bgr8')[:60]]
    bag = record(tmp_path / 'bag', {'/cam': [whole, *bad, whole], '/depth': [image('16UC1')] * 9})
    caplog.set_level('INFO', 'uhr_seg_ros')
    assert len(list(read_frames(bag))) == len(list(read_frames(bag, 'cam/'))) == 2
    lines = caplog.messages
    assert lines[0].startswith('topic /cam (') and '/depth (' in lines[0]
    assert lines[1].startswith('bag: frame left out: a message of 0 bytes')
    assert lines[4] == 'bag: 3 of 5 frames on /cam left out'
    with pytest.raises(RecordingError, match='/depth .*is depth'):
        next(read_frames(bag, '/depth'))
    bag = record(tmp_path / 'none', {'/cam': bad})
    with pytest.raises(RecordingError, match='none of the 3 messages on /cam is a frame'):
        list(read_frames(bag))


def test_images_beside_a_recording_are_not_chosen_silently(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), picture(7))
    with pytest.raises(RecordingError, match=r'a topic \(/cam\) is one of a recording'):
        next(read_frames(tmp_path, '/cam'))
    (tmp_path / 'flight.mcap').touch()
    with pytest.raises(RecordingError, match=r'images and a recording.*flight\.mcap or .*a\.png'):
        next(read_frames(tmp_path))
    (frame,) = read_frames(tmp_path / 'a.png')
    np.testing.assert_array_equal(frame, picture(7))


def test_recording_of_others() -> None:
    pytest.importorskip('rosbags', reason='recordings are read with rosbags')
    path = Path(__file__).parents[3] / 'shared/data/bags/soccer_goal_12.mcap'
    if not path.is_file():
        pytest.skip('../shared is not there')
    assert [frame.shape for frame in read_frames(path)] == [(480, 640, 3)] * 2


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match='no such file: .*nowhere'):
        list(read_frames(tmp_path / 'nowhere'))
    (tmp_path / 'broken.jpg').write_bytes(b'\xff\xd8 no picture')
    with pytest.raises(RecordingError, match=r'broken\.jpg cannot be read: JPEG has a dam'):
        list(read_frames(tmp_path))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(RecordingError, match='is neither an image nor a recording'):
        list(read_frames(tmp_path / 'empty'))
