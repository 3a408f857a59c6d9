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

"""The demo from end to end: files in, DDS, the node in its own process, files out."""

from __future__ import annotations

from contextlib import suppress
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import cv2
from image_bags import image, record
import numpy as np
import psutil
import pytest
from results_files import check_provenance
from tiny_bundle import paint, TINY_CLASSES

pytest.importorskip('rclpy', reason='rclpy is not installed')

from uhr_seg_ros.benchmark import demo
from uhr_seg_ros.benchmark.demo_cloud import cloud_figures
from uhr_seg_ros.benchmark.sources import prepare_bag
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.core.work_folders import lock_folder
from uhr_seg_ros.pipelines.segmenter import Segmenter
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import read_topics, stamp_ns
from uhr_seg_ros.replay.collector import NodeReport
from uhr_seg_ros.replay.ply import read_ply, VERTEX, write_ply
from uhr_seg_ros.replay.results import Replay
from uhr_seg_ros.replay.topics import choose_topic
from uhr_seg_ros.synthetic.flight import Pose
from uhr_seg_ros.synthetic.flight_cloud import Ground, node_parameters, scan, scan_pixels

BLOCKS = np.random.default_rng(3).integers(0, 3, (3, 12, 20)).astype(np.uint8)
MASKS = BLOCKS.repeat(16, 1).repeat(16, 2)


def run_demo(*arguments: object) -> subprocess.CompletedProcess:
    # The domain of this test process would be shared by tests that run beside it.
    environment = {key: value for key, value in os.environ.items() if key != 'ROS_DOMAIN_ID'}
    command = [sys.executable, '-m', 'uhr_seg_ros.cli', 'demo', *map(str, arguments)]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.usefixtures('hostile_folder')
def test_images_become_masks_overlays_clouds_and_a_report(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f'{index}.png' for index in range(len(MASKS))]
    for file, mask in zip(files, MASKS, strict=True):
        cv2.imwrite(str(file), paint(mask))
    output = tmp_path / 'out'

    result = run_demo(
        *files, '--bundle', tiny_bundle, '--output', output, '--rate', 0.5, '--cloud'
    )

    assert result.returncode == 0, result.stdout + result.stderr
    saved = sorted((output / 'masks').iterdir())
    assert [file.name for file in saved] == [
        '0000000001.000000000_mask.png',
        '0000000003.000000000_mask.png',
        '0000000005.000000000_mask.png',
    ]
    with Segmenter(tiny_bundle) as segmenter:
        for file, mask in zip(saved, MASKS, strict=True):
            expected = segmenter(paint(mask)).mask
            np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), expected)
    assert len(list((output / 'overlays').glob('*_overlay.jpg'))) == 3
    assert cv2.imread(str(output / 'overview.jpg')) is not None
    report = json.loads((output / 'report.json').read_text())
    check_provenance(report)
    assert report['frames_played'] == report['frames_received'] == 3
    assert report['frames_processed'] == report['masks_saved'] == 3
    assert report['frames_dropped'] == report['frames_rejected'] == report['node_exit_code'] == 0
    assert 0 < report['latency_ms']['p50'] <= report['latency_ms']['max']
    for stage in ('convert', 'preprocess', 'semantic', 'detail', 'fusion', 'publish'):
        assert report['stage_ms'][stage]['p50'] > 0
    assert 'received' in result.stdout and 'rejected' in result.stdout
    check_clouds(report, output, tiny_bundle)


@pytest.mark.slow  # test_bag_benchmark.py has a rate that is too fast always
def test_recording_that_is_too_fast_loses_frames_and_says_so(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    frames = [image('bgr8', paint(MASKS[index % 3]), index + 1) for index in range(30)]
    record(tmp_path / 'bag', {'/front/image': frames, '/front/depth': [image('16UC1')] * 40})
    output = tmp_path / 'out'

    result = run_demo(tmp_path / 'bag', '--bundle', tiny_bundle, '--output', output)

    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads((output / 'report.json').read_text())
    assert report['topic'] == '/front/image'
    assert 'topic /front/image (' in result.stdout and '/front/depth (' in result.stdout
    assert report['frames_played'] == 30
    assert report['frames_received'] == report['frames_processed'] + report['frames_dropped']
    assert 1 <= report['frames_processed'] <= 30
    assert report['masks_saved'] <= report['frames_processed']


def as_in_the_background() -> None:
    """Ignore SIGINT, as what a shell runs in the background, and not SIGHUP, as behind nohup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    ('number', 'to_all'),
    [(signal.SIGTERM, False), pytest.param(signal.SIGHUP, True, marks=pytest.mark.slow)],
    ids=['terminated', 'terminal closed'],
)
def test_demo_that_is_told_to_end(
    number: int, to_all: bool, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Nothing of an earlier run is told of, what only looks like its results stays."""
    files = [tmp_path / f'{index}.png' for index in range(len(MASKS))]
    for file, mask in zip(files, MASKS, strict=True):
        cv2.imwrite(str(file), paint(mask))
    output, temporary = tmp_path / 'out', tmp_path / 'tmp'
    temporary.mkdir()
    earlier = [
        output / name
        for name in (
            'masks/0000000009.000000000_mask.png',
            'overview.jpg',
            'report.json',
            'overlays/0000000009.000000000_overlay.jpg',
            'masks/street_mask.png',
        )
    ]
    for file in earlier:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('earlier')
    environment = os.environ | {'TMPDIR': str(temporary), 'PYTHONUNBUFFERED': '1'}
    environment.pop('ROS_DOMAIN_ID', None)
    command = [
        sys.executable,
        '-m',
        'uhr_seg_ros.cli',
        'demo',
        *map(str, files),
        '--bundle',
        str(tiny_bundle),
        '--output',
        str(output),
        '--rate',
        '0.01',
    ]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=as_in_the_background,
    ) as process:
        try:
            while 'mask 1 arrived' not in (line := process.stdout.readline()):
                assert line, process.stderr.read()
            (os.killpg if to_all else os.kill)(process.pid, number)
            _, errors = process.communicate(timeout=60)
            left = processes_of(process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number
    name = signal.Signals(number).name
    assert errors.splitlines()[-1] == f'uhr_seg: ended by {name}; 1 masks saved: {output}'
    assert not left
    assert not list(temporary.glob('uhr_seg*'))
    assert [file.exists() for file in earlier] == [False] * 4 + [True]
    assert not list(output.rglob('.*unfinished*'))
    masks = {file.name for file in (output / 'masks').iterdir()}
    assert masks == {'0000000001.000000000_mask.png', 'street_mask.png'}


@pytest.mark.skipif(sys.platform != 'linux', reason='elsewhere children stay')
def test_node_and_player_end_with_a_killed_demo(tiny_bundle: Path, tmp_path: Path) -> None:
    files = [tmp_path / f'{index}.png' for index in range(2)]
    for file, mask in zip(files, MASKS[:2], strict=True):
        cv2.imwrite(str(file), paint(mask))
    environment = os.environ | {'TMPDIR': str(tmp_path), 'PYTHONUNBUFFERED': '1'}
    environment.pop('ROS_DOMAIN_ID', None)
    command = [
        sys.executable,
        '-m',
        'uhr_seg_ros.cli',
        'demo',
        *map(str, files),
        '--bundle',
        str(tiny_bundle),
        '--output',
        str(tmp_path / 'out'),
        '--rate',
        '0.01',
    ]
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            printed = ''
            while 'mask 1 arrived' not in printed:
                assert (line := process.stdout.readline()), printed
                printed += line
            assert len(processes_of(process.pid)) == 3
            process.kill()
            process.wait()
            deadline = time.monotonic() + 60
            while left := processes_of(process.pid):
                assert time.monotonic() < deadline, [each.cmdline() for each in left]
                time.sleep(0.05)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def processes_of(session: int) -> list[psutil.Process]:
    return [each for each in psutil.process_iter() if session_of(each) == session]


def session_of(process: psutil.Process) -> int | None:
    """Return the session of a process that has not ended."""
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else os.getsid(process.pid)
    except (psutil.Error, OSError):
        return None


def test_two_demos_in_one_folder(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lock_folder(tmp_path):
        assert main(['demo', '--bundle', str(tiny_bundle), '--output', str(tmp_path)]) == 2
    assert 'another run' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--bundle', 'no_such_model'], "no bundle 'no_such_model'"),
        (['{tmp}/missing.png'], 'no such file: '),
        (['{tmp}/text.png'], 'begin like no format that is read'),
        (['{tmp}/broken.mcap'], 'cannot be read as a rosbag2 recording'),
        (['--size', '4K'], 'expected <width>x<height>'),
    ],
)
def test_bad_input_ends_in_one_line(
    tiny_bundle: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ('text.png', 'broken.mcap'):
        (tmp_path / name).write_text('neither')
    words = ['--bundle', str(tiny_bundle), '--output', str(tmp_path / 'out')]
    try:
        code = main(['demo', *words, *(word.format(tmp=tmp_path) for word in arguments)])
    except SystemExit as err:  # as argparse ends
        code = err.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_generated_flight(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level('INFO', 'uhr_seg_ros.benchmark')
    bag = prepare_bag([], tmp_path / 'flight', count=3, rate_hz=2.0, size=(96, 160))
    assert choose_topic(bag).count == 3
    assert caplog.messages[-1] == 'recorded frame 3 of 3, 160x96'
    # Recorded again, it takes the place of the first.
    prepare_bag([], tmp_path / 'flight', count=2, rate_hz=2.0, size=(96, 160))
    assert choose_topic(bag).count == 2


def check_clouds(report: dict[str, Any], output: Path, tiny_bundle: Path) -> None:
    """Check the clouds of a flight over `MASKS`."""
    clouds = report['clouds']
    for name in ('played', 'received', 'paired', 'saved'):
        assert clouds[f'clouds_{name}'] == 3
    for name in ('unpaired', 'waiting', 'rejected', 'dropped'):
        assert clouds[f'clouds_{name}'] == 0
    size = MASKS[0].shape
    rows, columns = scan_pixels(size)
    assert clouds['points'] == clouds['like_mask_points'] == 3 * rows.size
    assert (clouds['unlabelled_share'], clouds['like_mask_share']) == (0.0, 1.0)
    assert report['stage_ms']['cloud']['p50'] > 0
    saved = sorted((output / 'clouds').iterdir())
    assert [file.name for file in saved] == [
        f'000000000{second}.010000000_points.ply' for second in (1, 3, 5)
    ]
    with Segmenter(tiny_bundle) as segmenter:
        labels = [segmenter(paint(mask)).mask[rows, columns].reshape(-1) for mask in MASKS]
    for index, (file, label) in enumerate(zip(saved, labels, strict=True)):
        vertices = read_ply(file)
        np.testing.assert_array_equal(vertices['label'], label)
        color = np.stack([vertices[name] for name in ('red', 'green', 'blue')], axis=-1)
        np.testing.assert_array_equal(color, np.array(TINY_CLASSES.colors)[label])
        pose = Pose((index + 0.5) * size[1], size[0] / 2, 0.0)
        points = np.stack([vertices[axis] for axis in 'xyz'], axis=-1)
        expected = scan(size, pose, Ground(size[1])).reshape(-1, 3)
        np.testing.assert_array_equal(points, expected)
    shares = np.bincount(np.concatenate(labels), minlength=3) / clouds['points']
    np.testing.assert_allclose(
        [clouds['label_share'][name] for name in TINY_CLASSES.names], shares, atol=1e-4
    )
    picture = cv2.imread(str(output / 'cloud.jpg'))
    # Each class has pixels of its own, pure up to the losses of JPEG.
    for channel, others in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        pure = (picture[..., channel] > 200) & (picture[..., others] < 90).all(-1)
        assert pure.mean() > 0.01


def test_a_recording_of_a_mosaic_with_clouds(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'mosaic.png'), paint(MASKS[0]))
    bag = prepare_bag(
        [tmp_path / 'mosaic.png'],
        tmp_path / 'flight',
        count=2,
        rate_hz=40.0,
        size=(96, 160),
        cloud=True,
    )
    stamps = [
        (topic, stamp_ns(message) - 1_000_000_000)
        for topic, _, message in read_topics(bag, '/image_raw', ['/camera_info', '/points'])
    ]
    # A quarter of the time between frames later.
    assert stamps == [
        ('/camera_info', 0),
        ('/image_raw', 0),
        ('/points', 6_250_000),
        ('/camera_info', 25_000_000),
        ('/image_raw', 25_000_000),
        ('/points', 31_250_000),
    ]


@pytest.mark.slow
def test_clouds_over_a_flight(tiny_bundle: Path, tmp_path: Path) -> None:
    output = tmp_path / 'out'
    options = ['--bundle', tiny_bundle, '--output', output, '--frames', 3, '--size', '160x96']
    result = run_demo(*options, '--cloud')
    assert result.returncode == 0, result.stdout + result.stderr
    clouds = json.loads((output / 'report.json').read_text())['clouds']
    assert clouds['clouds_played'] == 3
    assert clouds['like_mask_points'] > 0
    assert clouds['like_mask_share'] == 1.0
    assert '100.00% of the labels' in result.stdout
    # Without clouds nothing of them stays.
    result = run_demo(*options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'clouds' not in json.loads((output / 'report.json').read_text())
    assert not [*output.glob('clouds/*'), *output.glob('cloud.jpg')]


@pytest.mark.slow  # a whole run; clouds of a demo are checked above always
def test_no_labelled_cloud_is_an_error(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    elsewhere = {**node_parameters(), 'cloud.points_frame': 'radar'}
    monkeypatch.setattr(demo, 'node_parameters', lambda: elsewhere)
    monkeypatch.delenv('ROS_DOMAIN_ID', raising=False)
    output = tmp_path / 'out'
    options = ['--bundle', str(tiny_bundle), '--output', str(output), '--size', '160x96']
    assert main(['demo', *options, '--frames', '2', '--cloud']) == 1
    assert 'error: no labeled cloud came' in capsys.readouterr().out
    report = json.loads((output / 'report.json').read_text())
    assert report['clouds']['clouds_rejected'] > 0
    assert report['clouds']['unlabelled_share'] is None
    assert report['masks_saved'] > 0
    assert 'no transform from lidar to camera_optical_frame' in (output / 'node.log').read_text()


def test_clouds_beside_a_recording_are_refused(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write(paint(MASKS[0]), 0)
    options = ['--bundle', str(tiny_bundle), '--output', str(tmp_path / 'out'), '--cloud']
    assert main(['demo', str(tmp_path / 'bag'), *options]) == 2
    error = capsys.readouterr().err
    assert 'is a recording, and --cloud makes clouds for flights and images' in error
    assert 'ros2 bag play' in error


def test_labels_unlike_the_mask_are_counted(tmp_path: Path) -> None:
    size = (24, 40)
    rows, columns = scan_pixels(size)
    mask = np.random.default_rng(0).integers(0, 3, size).astype(np.uint8)
    for folder in ('masks', 'clouds'):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / 'masks/0000000001.000000000_mask.png'), mask)
    vertices = np.zeros(rows.size, VERTEX)
    vertices['label'] = mask[rows, columns].reshape(-1)
    vertices['label'][:96] = 255
    vertices['label'][96:192] = (vertices['label'][96:192] + 1) % 3
    write_ply(tmp_path / 'clouds/0000000001.000000007_points.ply', vertices)
    # Its frame has no mask.
    write_ply(tmp_path / 'clouds/0000000002.000000007_points.ply', vertices)
    result = Replay([], [], NodeReport(), extra_counts={'/points': 5})
    found = cloud_figures(result, tmp_path, TINY_CLASSES, 7)
    assert (found['clouds_played'], found['clouds_saved'], found['points']) == (5, 2, 1920)
    assert found['unlabelled_share'] == 0.1
    assert found['like_mask_points'] == 864
    assert found['like_mask_share'] == round((864 - 96) / 864, 4)


def test_no_room_for_a_recording(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='MB free, the recording takes'):
        prepare_bag([], tmp_path / 'flight', count=10**9, rate_hz=1.0)


def test_recording_of_somebody_else_stays(tmp_path: Path) -> None:
    folder = tmp_path / 'flight'
    with BagWriter(folder, topic='/cam') as bag:
        bag.write(paint(MASKS[0]), 0)
    with pytest.raises(ConfigError, match='not made by the demo'):
        prepare_bag([], folder, count=1, rate_hz=1.0, size=(96, 160))
    assert choose_topic(folder).name == '/cam'
