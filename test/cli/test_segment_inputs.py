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

"""`uhr_seg segment` on folders, patterns, recordings and videos, and its `summary.csv`."""

from __future__ import annotations

import csv
from pathlib import Path
import shutil

import cv2
import numpy as np
import pytest
from test_segment_results import results_in, segment
from tiny_bundle import paint

from uhr_seg_ros.cli import segment_frames
from uhr_seg_ros.cli.segment_frames import TimeLeft
from uhr_seg_ros.replay import frame_sources

RED, GREEN, BLUE = range(3)


def bands(*classes: int, width: int = 16) -> np.ndarray:
    """Return vertical bands of 16 x `width` px, which the tiny bundle reads back."""
    return paint(np.repeat(np.array(classes, np.uint8), width)[None].repeat(16, 0))


def picture(path: Path, *classes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), bands(*classes))
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / 'summary.csv').open(newline='') as file:
        return list(csv.DictReader(file))


def test_folders_with_the_same_names(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / 'in/north/1.png', RED)
    picture(tmp_path / 'in/south/1.png', GREEN)
    picture(tmp_path / 'in/south/2.png', BLUE)
    shutil.copy(tmp_path / 'in/south/2.png', tmp_path / 'in/south/2.bmp.png')
    out = tmp_path / 'out'
    folders = tmp_path / 'in/north', tmp_path / 'in/south', tmp_path / 'in/north/1.png'
    assert segment(tiny_bundle, out, *folders, '--no-overlay', '--format', 'tif') == 0
    names = ['2.bmp', '2', 'north_1', 'south_1']
    assert results_in(out) == [f'{name}_mask.tif' for name in names]
    mask = cv2.imread(str(out / 'south_1_mask.tif'), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (16, 16) and (mask == GREEN).all()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == 'of all pixels: blue 50.0 %, red 25.0 %, green 25.0 %'
    # A pattern finds all of them again, and not what the first run has written.
    assert segment(tiny_bundle, tmp_path / 'in/out', tmp_path / 'in/**/*.png', '--every', 2) == 0
    assert segment(tiny_bundle, tmp_path / 'in/out', tmp_path / 'in/**/*.png', '--every', 2) == 0
    assert len(rows(tmp_path / 'in/out')) == 2 + 1


def test_recording_frame_by_frame(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stamps name the files; a message that is no frame fails alone, and --every counts it."""
    pytest.importorskip('rosbags', reason='recordings are read with rosbags')
    from image_bags import image, record

    stamps = (2_500_000_000, 0, 2_500_000_000, 9)
    messages = [image('bgr8', bands(GREEN), stamp) for stamp in stamps]
    messages.insert(1, messages[0][:70])
    bag = record(tmp_path / 'bag', {'/cam': messages, '/depth': [image('16UC1')] * 9})
    out = tmp_path / 'out'
    assert segment(tiny_bundle, out, bag, '--no-overlay') == 1
    names = ['bag_0.000000009', 'bag_000002', 'bag_2.500000000', 'bag_2.500000000_000003']
    # The message that is cut has the stamp of the first one.
    assert set(results_in(out)) == {f'{name}_mask.png' for name in names}
    captured = capsys.readouterr()
    assert captured.err.count(f'error: {bag} /cam message 1 is left out: a message of 70') == 1
    assert '[1/5] bag_2.500000000  16x16' in captured.out
    assert captured.out.splitlines()[-1].startswith('4 segmented, 1 unreadable')
    assert rows(out)[0]['source'] == f'{bag} /cam message 0'
    words = ('--topic', '/cam', '--every', 2, '--no-overlay')
    assert segment(tiny_bundle, tmp_path / 'second', next(bag.glob('*.mcap')), *words) == 0
    assert len(results_in(tmp_path / 'second')) == 3


def test_video_frame_by_frame(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, size = cv2.VideoWriter_fourcc(*'MJPG'), (64, 16)
    path = tmp_path / 'clip.avi'
    video = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 5, size)
    if not video.isOpened():
        pytest.skip('this OpenCV has no FFmpeg')
    for index in range(10):
        video.write(bands(index % 2, width=64))
    video.release()
    out = tmp_path / 'out'
    assert segment(tiny_bundle, out, path, '--every', 3, '--no-overlay') == 0
    assert [row['image'] for row in rows(out)][:4] == [f'clip_00000{n}' for n in (0, 3, 6, 9)]
    for row, middle in zip(rows(out), ('red', 'green', 'red', 'green'), strict=False):
        assert int(row[f'{middle}_px']) > 1000
    cut, playlist = tmp_path / 'cut.avi', tmp_path / 'list.mp4'
    cut.write_bytes(b'00dc'.join(path.read_bytes().split(b'00dc')[:5]))  # head, four frames
    playlist.write_text('#EXTM3U\nclip.avi\n')
    assert segment(tiny_bundle, out, cut, playlist) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0].endswith(
        'list.mp4 begins like no video that is read (MP4, MOV, AVI, MKV, WebM, MPEG-PS or MPEG-TS)'
    )
    assert 'of 10 frames: it is cut short or damaged' in errors[1]
    assert results_in(out)[0].startswith('clip_') and 'cut_000000_mask.png' in results_in(out)


def test_areas_of_classes(tiny_bundle: Path, tmp_path: Path) -> None:
    first, second = picture(tmp_path / 'a.png', RED, RED, BLUE), picture(tmp_path / 'b.png', BLUE)
    out = tmp_path / 'out'
    assert segment(tiny_bundle, out, first, second, '--ground-resolution', 0.5) == 0
    a, b, total = rows(out)
    assert (a['image'], a['width'], a['m2_per_pixel']) == ('a', '48', '0.25')
    assert (a['red_px'], a['red_share'], a['red_m2']) == ('512', '0.666667', '128')
    assert (b['red_px'], b['blue_share'], b['blue_m2']) == ('0', '1.000000', '64')
    assert (total['image'], total['source'], total['red_m2']) == ('total', '2 images', '128')
    assert (total['blue_px'], total['blue_share'], total['blue_m2']) == ('512', '0.500000', '128')
    assert segment(tiny_bundle, out, first) == 0
    assert 'red_m2' not in rows(out)[0]


def test_only_what_is_new_when_a_run_goes_on(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(tmp_path / f'in/{name}.png', RED) for name in 'abc']
    out, read = tmp_path / 'out', []
    whole = frame_sources.read_image
    monkeypatch.setattr(frame_sources, 'read_image', lambda path: read.append(path) or whole(path))

    def run(*words: object) -> list[str]:
        read.clear()
        assert segment(tiny_bundle, out, tmp_path / 'in', '--no-overlay', *words) == 0
        return [path.name for path in read]

    assert run('--resume') == ['a.png', 'b.png', 'c.png']
    picture(images[1], GREEN, GREEN)
    picture(tmp_path / 'in/d.png', BLUE)
    (out / 'c_mask.png').unlink()
    journal = out / '.uhr_seg_segment.jsonl'
    with journal.open('a') as file:
        file.write('{"key": "cut')
    assert run('--resume') == ['b.png', 'c.png', 'd.png']
    assert [row['image'] for row in rows(out)] == ['a', 'b', 'c', 'd', 'total']
    assert rows(out)[1]['green_px'] == '512'
    assert run('--resume') == []
    assert len(rows(out)) == 5
    assert run() == ['a.png', 'b.png', 'c.png', 'd.png']


def test_a_run_with_other_options_does_not_go_on(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = picture(tmp_path / 'a.png', RED)
    assert segment(tiny_bundle, tmp_path / 'out', image) == 0
    assert segment(tiny_bundle, tmp_path / 'out', image, '--resume', '--tile', 256) == 2
    assert 'holds results of a run with another --tile: give' in capsys.readouterr().err
    assert segment(tiny_bundle, tmp_path / 'out', image, '--resume', '--no-overlay') == 2
    assert 'with another set of files: give' in capsys.readouterr().err


def test_inputs_that_are_none(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to segment is an error, and leaves no folder behind."""
    image = picture(tmp_path / 'in/sub/a.png', RED)
    (tmp_path / 'old.bag').write_bytes(b'#ROSBAG V2.0\n')
    (tmp_path / 'cam.h264').write_bytes(b'\0\0\0\1')
    for words, text in (
        (['nowhere'], 'no such file: nowhere'),
        ([tmp_path / 'in/*.jpg'], 'in/*.jpg matches no image, recording or video'),
        ([tmp_path / 'in'], f"give a pattern: '{tmp_path}/in/**/*.jpg'"),
        ([tmp_path / 'old.bag'], '`rosbags-convert --src old.bag --dst old` makes one of ROS 2'),
        ([tmp_path / 'cam.h264'], '`ffmpeg -framerate 30 -i cam.h264 -c copy cam.mp4` makes'),
        ([image, '--topic', '/cam'], 'a.png is no recording, and a topic (/cam) is one of'),
    ):
        assert segment(tiny_bundle, tmp_path / 'out', *words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert text in line
    assert not (tmp_path / 'out').exists()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/summary.csv').write_text('my, own\n')
    assert segment(tiny_bundle, tmp_path / 'out', image) == 2
    assert 'summary.csv is there already, and not of this command' in capsys.readouterr().err
    assert (tmp_path / 'out/summary.csv').read_text() == 'my, own\n'


def test_time_left() -> None:
    now = iter((100.0, 110.0, 112.0, 113.0))
    left = TimeLeft(lambda: next(now))
    texts = [left.after_frame(frames) for frames in (700, 699, 10, 0)]
    assert texts == ['', ', 1 h 56 min left', ', 1 min 0 s left', '']
    assert segment_frames._duration(59.4) == '59 s'
