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

"""Flights that are recorded whole or not at all, and what a recording cannot be asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import pytest

from uhr_seg_ros.benchmark import sources
from uhr_seg_ros.benchmark.sources import prepare_bag, recording_of
from uhr_seg_ros.cli.arguments import parse_rate
from uhr_seg_ros.core.errors import ConfigError, RecordingError
from uhr_seg_ros.core.interruption import progress_note
from uhr_seg_ros.replay.bags import describe_bag, IMAGE, read_frame, read_messages, stamp_ns
from uhr_seg_ros.replay.image_source import read_frames
from uhr_seg_ros.replay.topics import choose_topic
from uhr_seg_ros.replay.video import Video

SIZE = (24, 40)


@pytest.fixture
def mosaic(tmp_path: Path) -> Path:
    """Return a mosaic to fly over."""
    path = tmp_path / 'mosaic.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    return path


def test_a_flight_that_is_interrupted_leaves_nothing(
    tmp_path: Path, mosaic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / 'out/flight'

    def interrupt(text: str, *values: object) -> None:
        if text.startswith('recorded frame') and values[:2] == (2, 4):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt) as info:
        patch.setattr(sources._LOG, 'info', interrupt)
        prepare_bag([mosaic], folder, count=4, rate_hz=1.0, size=SIZE)
    assert progress_note(info.value).startswith('2 of 4 frames were recorded')
    assert not list(folder.parent.iterdir())
    # The next one is whole, and may be replaced by another.
    for count in (3, 2):
        prepare_bag([mosaic], folder, count=count, rate_hz=1.0, size=SIZE)
        assert len(list(read_messages(folder, '/image_raw'))) == count


def test_a_topic_is_one_of_a_recording(tmp_path: Path, mosaic: Path) -> None:
    with pytest.raises(ConfigError, match='--topic /cam: only with a recording'):
        prepare_bag([mosaic], tmp_path / 'flight', count=1, rate_hz=1.0, topic='/cam')


def test_rates_whose_stamps_cannot_be_stored(tmp_path: Path, mosaic: Path) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"'1e-9' is not a rate: expected 0, or"):
        parse_rate('1e-9')
    with pytest.raises(ConfigError, match='stamps go to 2000000000 s'):
        prepare_bag([mosaic], tmp_path / 'flight', count=300_000, rate_hz=1e-4, size=SIZE)


def test_other_inputs_are_recorded_frame_by_frame(tmp_path: Path) -> None:
    """A folder becomes a recording, a recording stays one, and every second frame is taken."""
    for index in range(5):
        path = tmp_path / f'in/{index}.png'
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((24, 40, 3), index, np.uint8))
    folder = prepare_bag([tmp_path / 'in'], tmp_path / 'bag', count=12, rate_hz=2.0, every=2)
    stamps = [time_ns for time_ns, _ in read_messages(folder, '/image_raw')]
    assert [stamp - stamps[0] for stamp in stamps] == [0, 500_000_000, 1_000_000_000]
    with recording_of([folder], '/image_raw', 3) as found:
        assert found == (folder, '/image_raw', 3)
    with recording_of([tmp_path / 'in/*.png'], '', 1) as (made, topic, every):
        assert [frame[0, 0, 0] for frame in read_frames(made, topic, 2)] == [0, 2, 4]
        assert every == 1
    assert not made.exists()
    with pytest.raises(ConfigError, match='no such file: nowhere'):
        prepare_bag([Path('nowhere')], tmp_path / 'flight', count=1, rate_hz=1.0)


def test_a_video_is_played_at_its_own_rate(tmp_path: Path) -> None:
    path, codec = tmp_path / 'flight.avi', cv2.VideoWriter_fourcc(*'MJPG')
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 5, (64, 48))
    for value in range(4):
        video.write(np.full((48, 64, 3), 60 * value, np.uint8))
    video.release()
    with recording_of([tmp_path], '', 2) as found:  # the only thing in its folder
        assert found == (path, '', 2)
    assert prepare_bag([path], tmp_path / 'flight', count=1, rate_hz=1.0) == path
    topic = choose_topic(path)
    assert (topic.name, topic.type, topic.count) == ('/image_raw', IMAGE, 4)
    assert describe_bag(path, topic)['bytes'] == path.stat().st_size
    messages = list(read_messages(path, '/image_raw'))
    assert np.diff([time_ns for time_ns, _ in messages]).tolist() == [200_000_000] * 3
    for value, (time_ns, message) in enumerate(messages):
        header, frame = read_frame(message, IMAGE)
        assert stamp_ns(message) == time_ns
        assert header.frame_id == 'camera_optical_frame'
        assert frame.bgr.shape == (48, 64, 3)
        assert abs(frame.bgr.mean() - 60 * value) < 3
    span = messages[1][0], messages[3][0]
    assert [time_ns for time_ns, _ in read_messages(path, '/image_raw', span)] == [
        messages[1][0],
        messages[2][0],
    ]
    with (
        pytest.raises(RecordingError, match=r'flight.avi is no recording, and a topic \(/cam\)'),
        recording_of([path], '/cam', 1),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_video_that_is_cut_gives_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, codec = tmp_path / 'flight.avi', cv2.VideoWriter_fourcc(*'MJPG')
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 5, (64, 48))
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8)
    for frame in noise:
        video.write(frame)
    video.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    there = len(list(read_messages(path, '/image_raw')))
    assert 5 < there < 15
    assert f'ends after {there} of' in caplog.text


def test_a_video_with_varying_distances_is_whole_until_it_is_cut(tmp_path: Path) -> None:
    """Matroska has a length and no number of frames: with a third left out it looked cut."""
    av = pytest.importorskip('av', reason='PyAV (av) is not installed')
    path = tmp_path / 'phone.mkv'
    noise = np.random.default_rng(0).integers(0, 256, (60, 48, 64, 3), np.uint8)
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('mpeg4', rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
        for number in (each for each in range(60) if each % 3):
            frame = av.VideoFrame.from_ndarray(noise[number], format='bgr24')
            frame.pts = number
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    video = Video(path)
    assert (video.count, len(list(video.grab()))) == (60, 40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError, match='it is cut short or damaged'):
        list(Video(path).grab())
