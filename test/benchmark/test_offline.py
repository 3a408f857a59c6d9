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

"""A recording with masks added, made without ROS."""

from __future__ import annotations

import json
from pathlib import Path
import subprocess
import sys

import cv2
from image_bags import image, record
import numpy as np
import pytest
from results_files import check_provenance
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from small_disk import SmallDisk
from tiny_bundle import paint

from uhr_seg_ros.benchmark import offline
from uhr_seg_ros.benchmark.offline import OfflineRun, segment_recording
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.errors import RecordingError
from uhr_seg_ros.core.interruption import progress_note
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import IMAGE, read_all, read_frame
from uhr_seg_ros.replay.topics import choose_topic

SHARED_BAGS = Path(__file__).resolve().parents[3] / 'shared/data/bags'
TYPES = get_typestore(Stores.ROS2_HUMBLE)
STRIPES = np.tile(np.repeat(np.arange(3, dtype=np.uint8), 32), (64, 1))


def messages(bag: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Return times and messages of every topic."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for connection, time_ns, data in read_all(bag):
        found.setdefault(connection.topic, []).append((time_ns, data))
    return found


def record_with_noise(path: Path) -> None:
    """Record three frames, the second of them truncated, and chatter between them."""
    types = TYPES.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        images = writer.add_connection('/cam', IMAGE, typestore=TYPES)
        talk = writer.add_connection('/chatter', 'std_msgs/msg/String', typestore=TYPES)
        for index in range(3):
            pixels = paint(STRIPES)
            stamp = types['builtin_interfaces/msg/Time'](sec=7 + index, nanosec=9)
            message = types[IMAGE](
                header=types['std_msgs/msg/Header'](stamp=stamp, frame_id=f'lens_{index}'),
                height=64,
                width=96,
                encoding='bgr8',
                is_bigendian=0,
                step=288,
                data=pixels.reshape(-1)[: 100 if index == 1 else None],
            )
            writer.write(images, 10**9 * index, TYPES.serialize_cdr(message, IMAGE))
            text = types['std_msgs/msg/String'](data=f'word {index}')
            data = TYPES.serialize_cdr(text, 'std_msgs/msg/String')
            writer.write(talk, 10**9 * index + 1, data)


def test_masks_are_added_and_all_else_is_copied(
    tiny_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_with_noise(tmp_path / 'in')
    topic = choose_topic(tmp_path / 'in')
    with Segmenter(tiny_bundle) as segmenter:
        run = segment_recording(tmp_path / 'in', topic, tmp_path / 'out', segmenter)
    assert (len(run.total_ms), run.rejected) == (2, 1)
    (line,) = caplog.messages
    assert 'truncated: 100 bytes' in line
    before, after = messages(tmp_path / 'in'), messages(tmp_path / 'out')
    for name, content in before.items():
        assert after[name] == content
    assert [time_ns for time_ns, _ in after['/segmentation/mask']] == [0, 2 * 10**9]
    for number, (_, data) in zip((0, 2), after['/segmentation/mask'], strict=True):
        mask = TYPES.deserialize_cdr(data, IMAGE)
        assert (mask.encoding, mask.step) == ('mono8', 96)
        np.testing.assert_array_equal(mask.data.reshape(64, 96), STRIPES)
        assert mask.header.frame_id == f'lens_{number}'
        assert (mask.header.stamp.sec, mask.header.stamp.nanosec) == (7 + number, 9)
    for name in ('/segmentation/overlay', '/segmentation/color_mask'):
        header, picture = read_frame(after[name][0][1], IMAGE)
        assert (header.frame_id, picture.bgr.shape) == ('lens_0', (32, 48, 3))


def test_what_was_there_already_stays(tiny_bundle: Path, tmp_path: Path) -> None:
    record_with_noise(tmp_path / 'in')
    with (
        Segmenter(tiny_bundle) as segmenter,
        pytest.raises(RecordingError, match='exists already'),
    ):
        segment_recording(tmp_path / 'in', choose_topic(tmp_path / 'in'), tmp_path, segmenter)


def test_compressed_images(tiny_bundle: Path, tmp_path: Path) -> None:
    kind = 'sensor_msgs/msg/CompressedImage'
    types = TYPES.types
    with Writer(tmp_path / 'in', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/cam/compressed', kind, typestore=TYPES)
        stamp = types['builtin_interfaces/msg/Time'](sec=1, nanosec=0)
        message = types[kind](
            header=types['std_msgs/msg/Header'](stamp=stamp, frame_id='lens'),
            format='bgr8; png compressed bgr8',
            data=cv2.imencode('.png', paint(STRIPES))[1].reshape(-1),
        )
        writer.write(connection, 5, TYPES.serialize_cdr(message, kind))
    with Segmenter(tiny_bundle) as segmenter:
        segment_recording(
            tmp_path / 'in', choose_topic(tmp_path / 'in'), tmp_path / 'out', segmenter
        )
    ((_, data),) = messages(tmp_path / 'out')['/segmentation/mask']
    mask = TYPES.deserialize_cdr(data, IMAGE)
    np.testing.assert_array_equal(mask.data.reshape(64, 96), STRIPES)


def test_what_ends_it_early_leaves_nothing_and_says_how_far_it_came(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bag = record(tmp_path / 'in', {'/cam': [image('bgr8')] * 5})
    frames = iter(range(3))

    def on_frame(run: OfflineRun) -> None:
        assert len(run.total_ms) == next(frames) + 1
        if len(run.total_ms) == 3:
            raise KeyboardInterrupt

    with Segmenter(tiny_bundle) as segmenter, pytest.raises(KeyboardInterrupt) as info:
        segment_recording(bag, choose_topic(bag), tmp_path / 'out', segmenter, on_frame=on_frame)
    assert progress_note(info.value).startswith('3 of 5 frames were done')
    assert [each.name for each in tmp_path.iterdir()] == ['in']


def test_figures_until_a_signal_comes_are_kept(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bag = record(tmp_path / 'in', {'/cam': [image('bgr8')] * 5})
    added = iter(range(3))

    def end_at_the_third(*_: object) -> None:
        if next(added) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(offline, 'add_masks', end_at_the_third)
    report = tmp_path / 'report.json'
    command = ['benchmark', 'offline', str(bag), '--output', str(tmp_path / 'out')]
    assert main([*command, '--bundle', str(tiny_bundle), '--json', str(report)]) == 130
    content = json.loads(report.read_text(encoding='utf-8'))
    assert content['interrupted'] is True
    assert content['total_ms']['p50'] > 0
    said = capsys.readouterr()
    assert '3 of 5 frames were done' in said.err
    assert 'backend: ONNX Runtime on the CPU' in said.out


def test_messages_that_are_not_whole_are_copied_and_counted(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    topics = {'/cam': [b'', image('bgr8'), b'\0\1\0\0', image('bgr8')[:40]]}
    bag = record(tmp_path / 'in', topics)
    with Segmenter(tiny_bundle) as segmenter:
        run = segment_recording(bag, choose_topic(bag), tmp_path / 'out', segmenter)
    assert (len(run.total_ms), run.rejected) == (1, 3)
    after = messages(tmp_path / 'out')
    assert [data for _, data in after['/cam']] == topics['/cam']
    assert len(after['/segmentation/mask']) == 1


def test_new_masks_are_not_mixed_with_old_ones(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = {'/cam': [image('bgr8')], '/segmentation/front/mask': [image('mono8')]}
    bag = record(tmp_path / 'in', topics)
    places = [str(bag), str(tmp_path / 'out')]
    command = ['benchmark', 'offline', *places, '--bundle', str(tiny_bundle)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert '/segmentation/front/mask already' in error
    assert error.strip().endswith('--prefix /segmentation_2')
    assert not (tmp_path / 'out').exists()
    assert main([*command, '--prefix', 'seg/new/']) == 0
    after = messages(tmp_path / 'out')
    added = {f'/seg/new/{name}' for name in ('mask', 'color_mask', 'overlay')}
    assert after.keys() == {*topics, *added}
    assert after['/segmentation/front/mask'] == messages(bag)['/segmentation/front/mask']


def test_prefixes_and_places_that_cannot_be(tiny_bundle: Path, tmp_path: Path) -> None:
    bag = record(tmp_path / 'in', {'/cam': [image('bgr8')]})
    topic = choose_topic(bag)
    with Segmenter(tiny_bundle) as segmenter:
        for prefix in ('', '/', '2nd', 'a//b', 'a b', 'a__b', '~/a', 'ä', 'a-b', 'a' * 240):
            with pytest.raises(RecordingError, match='is not a prefix of topics'):
                segment_recording(bag, topic, tmp_path / 'out', segmenter, prefix=prefix)
        (tmp_path / 'link').symlink_to(bag)
        for source, output in (
            (bag, bag / 'out'),
            (bag, bag),
            (bag, tmp_path / 'link/a/out'),
            (bag / 'in.mcap', bag / 'in.mcap'),
            (bag / 'in.mcap', bag / 'out'),
        ):
            with pytest.raises(RecordingError, match='lies in the recording'):
                segment_recording(source, topic, output, segmenter)
    assert {each.name for each in bag.iterdir()} == {'in.mcap', 'metadata.yaml'}


@pytest.mark.parametrize(
    'name', ['talker_mcap', 'talker_sqlite3', 'split_mcap_no_metadata', 'soccer_goal_12.mcap']
)
def test_messages_of_others_are_copied(tmp_path: Path, name: str) -> None:
    if not SHARED_BAGS.is_dir():
        pytest.skip('../shared is not there')
    with BagWriter(tmp_path / 'out') as bag:
        for connection, time_ns, data in read_all(SHARED_BAGS / name):
            bag.copy(connection, time_ns, data)
    assert messages(tmp_path / 'out') == messages(SHARED_BAGS / name)
    with Reader(tmp_path / 'out') as reader:
        for connection in reader.connections:
            assert connection.digest.startswith('RIHS01_')
            assert connection.msgdef.data


def test_command_needs_no_ros(tiny_bundle: Path, tmp_path: Path) -> None:
    record_with_noise(tmp_path / 'in')
    # Importing a module that is None in sys.modules fails, as if it were not installed.
    program = (
        "import sys; sys.modules['rclpy'] = sys.modules['sensor_msgs'] = None; "
        'from uhr_seg_ros.cli.main import main; sys.exit(main(sys.argv[1:]))'
    )
    arguments = [
        'benchmark',
        'offline',
        tmp_path / 'in',
        tmp_path / 'out',
        '--bundle',
        tiny_bundle,
        '--json',
        tmp_path / 'figures.json',
    ]
    result = subprocess.run(
        [sys.executable, '-c', program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stderr  # one frame was left out
    assert '2 frames segmented, 1 left out' in result.stdout
    assert len(messages(tmp_path / 'out')['/segmentation/mask']) == 2
    check_provenance(json.loads((tmp_path / 'figures.json').read_text('utf-8')))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_full_disk_leaves_no_half_of_a_recording(small_disk: SmallDisk, storage: str) -> None:
    path = small_disk.path / 'out'
    frame = np.zeros((200, 200, 3), np.uint8)  # two of them fit
    with pytest.raises(RecordingError, match=r'out cannot be written \(.*full|No space'):
        with BagWriter(path, storage=storage) as bag:
            for stamp_ns in range(10):
                bag.write(frame, stamp_ns)
    assert not path.exists()
    with BagWriter(path, storage=storage) as bag:
        bag.write(frame, 0)
    assert len(messages(path)['/image_raw']) == 1


def test_full_disk_ends_the_command_in_one_line(
    small_disk: SmallDisk, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record_with_noise(tmp_path / 'in')
    small_disk.fill()
    arguments = ['offline', tmp_path / 'in', small_disk.path / 'out', '--bundle', tiny_bundle]
    assert main(['benchmark', *map(str, arguments)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('uhr_seg: error: recording') and 'make room' in last
    assert not (small_disk.path / 'out').exists()
