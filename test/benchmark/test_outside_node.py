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

"""Any node measured from the outside: a stand-in for those of others, over real DDS."""

from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
import re
import signal
import sys
from threading import Thread
from typing import Any

from built_once import built_once
import numpy as np
import onnx
import psutil
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from results_files import check_provenance
from sensor_msgs.msg import Image
from std_msgs.msg import String
from tiny_bundle import paint, TINY_CLASSES

from tools.shrinking_node import ShrinkingNode
from tools.shrunk_network import whole_network
from uhr_seg_ros.benchmark.figures import figures
from uhr_seg_ros.benchmark.subjects import OutsideNode
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import ProcessError, UhrSegError
from uhr_seg_ros.export.bundle_writing import write_bundle
from uhr_seg_ros.replay import command_process
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.replay.bags import ImageTopic
from uhr_seg_ros.replay.command_process import command_words, CommandProcess
from uhr_seg_ros.replay.mask_collector import ids_of
from uhr_seg_ros.replay.outside_session import match, OutsideSession, refuse_stamps, Wiring
from uhr_seg_ros.replay.player_process import Pacing
from uhr_seg_ros.reports import bag_page
from uhr_seg_ros.reports.bag_compare import compare_files, print_comparison
from uhr_seg_ros.reports.benchmark_console import print_bag
from uhr_seg_ros.ros.messages.images import encode_image

#: Of the network, and twice that of the frames, px.
SIZE = (64, 96)
STRIPES = np.tile(np.repeat(np.arange(3, dtype=np.uint8), 64), (128, 1))
FRAMES = 4

COMMAND = (
    f'{sys.executable} -m tools.shrinking_node --ros-args -p bundle:={{bundle}} '
    '-r image:={{image_topic}} -r mask:={{mask_topic}}'
)


@pytest.fixture(scope='module')
def shrunk(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of kind `single` of all of the tiny network, which sees half of a frame."""

    def build(folder: Path) -> None:
        onnx.save(whole_network(load_bundle(tiny_bundle), SIZE), folder / 'network.onnx')
        about = {'name': 'shrunk', 'network': 'tiny', 'kind': 'single', 'input_size': SIZE}
        write_bundle(folder, classes=TINY_CLASSES, low_res_factor=1, **about)

    return built_once(tmp_path_factory, 'shrunk', build)


@pytest.fixture(scope='module')
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('outside') / 'bag'
    with BagWriter(folder, topic='/cam/image') as bag:
        for index in range(FRAMES):
            bag.write(paint(STRIPES), 10**9 + index * 10**8)
    return folder


def test_the_reference_node_gives_the_mask_of_the_shrunk_frame(shrunk: Path) -> None:
    rclpy.init()
    try:
        node = ShrinkingNode(parameter_overrides=[Parameter('bundle', value=str(shrunk))])
        np.testing.assert_array_equal(node.mask(paint(STRIPES)), STRIPES[::2, ::2])
    finally:
        rclpy.try_shutdown()


@pytest.mark.slow  # four processes; the next one and those below run always
def test_a_node_of_anyone_is_measured_as_ours(
    shrunk: Path,
    recording: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    file = tmp_path / 'peer.json'
    words = ['benchmark', 'node', str(recording), '--mask-topic', 'peer/mask', '--rate', 'max']
    command = COMMAND.format(bundle=shrunk)
    assert main([*words, '--command', command, '--json', str(file)]) == 0
    report = json.loads(file.read_text(encoding='utf-8'))
    check_provenance(report)
    frames, load = report['figures']['frames'], report['figures']['load']
    assert frames == {'sent': FRAMES, 'masks': FRAMES, 'unanswered': 0}
    assert report['figures']['odd_masks'] == {'unknown_stamp': 0, 'repeated': 0}
    assert 0 < report['figures']['latency_ms']['p50'] <= report['figures']['latency_ms']['max']
    assert load['cpu_percent']['node'] > 0 and load['peak_mb'] > 30
    node = report['node']
    # One more of the frame that the node was warmed up with.
    forms = [{'encoding': 'mono8', 'size': list(SIZE), 'count': FRAMES + 1}]
    assert node['masks'] == forms and node['mask_topic'] == '/peer/mask'
    assert str(shrunk.parent) not in json.dumps(report) and 'bundle:=shrunk' in node['command']
    assert report['accuracy'] is None and not report['figures']['stage_ms']
    printed = ' '.join(capsys.readouterr().out.split())
    assert 'masks: mono8 96x64 for frames of 192x128' in printed
    assert 'Not known from the outside' in printed
    assert 'time of each stage' in bag_page.build(report, [])
    compare_files(file, file, file)
    assert 'measured from the outside only' in capsys.readouterr().out


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a node of this process, as somebody else's."""
    from uhr_seg_ros.replay.environment import isolate

    isolate()
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node('peer', context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)


IDLE = [sys.executable, '-c', 'import time; time.sleep(600)']
TOPIC = ImageTopic('/cam/image', 'sensor_msgs/msg/Image', 4)


def opened(wiring: Wiring, folder: Path) -> None:
    """Start a session, and end it."""
    with OutsideSession(wiring, TOPIC, folder):
        pass


def test_frames_are_accounted_for_by_the_stamps_of_masks(
    recording: Path, tmp_path: Path, peer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first frame gets its mask, the second one two, the third a stamp of another clock."""
    publisher, frames = peer.create_publisher(Image, '/peer/mask', 5), []

    def answer(frame: Image) -> None:
        frames.append(frame)
        mask = encode_image(np.zeros(SIZE, np.uint8), 'mono8', frame.header)
        if len(frames) == 3:
            mask.header.stamp.sec += 60
        for _ in range((1, 2, 1, 0)[len(frames) - 1]):
            publisher.publish(mask)

    peer.create_subscription(Image, '/frames', answer, 5)
    executor = SingleThreadedExecutor(context=peer.context)
    executor.add_node(peer)
    spinning = Thread(target=executor.spin)
    spinning.start()
    try:
        with OutsideSession(Wiring(IDLE, '/frames', '/peer/mask'), TOPIC, tmp_path) as session:
            replay = session.play(recording, Pacing(lockstep=True, live=True), TOPIC)
            described = OutsideNode('peer run', '/peer/mask').describe(session)
    finally:
        executor.shutdown()
        spinning.join()
    found = figures(replay)
    assert found['frames'] == {'sent': FRAMES, 'masks': 2, 'unanswered': 2}
    assert found['odd_masks'] == {'unknown_stamp': 1, 'repeated': 1}
    assert found['answered'] == 0.5 and len(replay.latencies()) == 2
    masks = described['node']['masks']
    assert masks == [{'encoding': 'mono8', 'size': list(SIZE), 'count': 4}]
    assert described['dds']['mask_qos'].startswith('reliable')
    about = {'bag': {'frame_size': [128, 192]}, 'machine': {'idle_percent': 100.0}}
    report = {**about, **described, 'figures': found, 'accuracy': None}
    print_bag(report)
    print_comparison({'ours': report, 'theirs': report})
    printed = ' '.join(capsys.readouterr().out.split())
    for text in (
        'masks: mono8 96x64 for frames of 192x128, 4 of them',
        'with a stamp that no frame has, which count nowhere: 1',
        'beyond the first one of a frame, which count nowhere: 1',
        '2 of 4 frames have no mask',
        'Not known from the outside',
        'measured from the outside only: ours, theirs',
    ):
        assert text in printed


def test_a_node_that_listens_to_another_topic_is_told_of_ours(tmp_path: Path, peer: Any) -> None:
    peer.create_subscription(Image, '/elsewhere', print, 1)
    expected = (
        r'nobody subscribed to /frames.* listened to on /elsewhere \(sensor_msgs/msg/Image\)'
    )
    # A session tells of what it has found by then, which takes longer on a busy machine.
    for patience_s in (1.0, 4.0, 16.0):
        with pytest.raises(ProcessError) as refused:
            opened(Wiring(IDLE, '/frames', '/mask', start_timeout_s=patience_s), tmp_path)
        if '/elsewhere' in str(refused.value):
            break
    assert re.search(expected, str(refused.value))


def test_a_node_that_listens_to_another_type_is_told_of_ours(tmp_path: Path, peer: Any) -> None:
    peer.create_subscription(String, '/frames', print, 1)
    with pytest.raises(ProcessError, match='to /frames as std_msgs/msg/String, the frames'):
        opened(Wiring(IDLE, '/frames', '/mask', start_timeout_s=30.0), tmp_path)


def test_masks_of_another_type_are_refused(tmp_path: Path, peer: Any) -> None:
    peer.create_publisher(String, '/mask', 1)
    with pytest.raises(ProcessError, match='/mask is std_msgs/msg/String, masks are sensor_msgs'):
        opened(Wiring(IDLE, '/frames', '/mask', start_timeout_s=30.0), tmp_path)


def test_a_node_that_ends_at_once_leaves_its_log(tmp_path: Path) -> None:
    words = ['sh', '-c', 'echo no such model; exit 3']
    with pytest.raises(ProcessError, match=r'the node has ended, its log .*:\nno such model'):
        opened(Wiring(words, '/frames', '/mask'), tmp_path)


def test_masks_belong_to_frames_by_their_stamps() -> None:
    played = [(10, 0, 0), (20, 0, 0), (30, 0, 0)]
    arrivals = [(10, 1), (5, 2), (20, 3), (20, 4), (99, 5)]
    answers, odd = match(played, arrivals, earlier={5})
    assert answers == [(10, 1), (20, 3)]
    assert odd == {'unknown_stamp': 1, 'repeated': 1}


def test_masks_by_another_clock_are_refused() -> None:
    expected = '1 masks came, none with the stamp of a frame: .* 5.000 s, 3.000 s after the last'
    with pytest.raises(ProcessError, match=expected):
        refuse_stamps([(2 * 10**9, 0, 0)], [(5 * 10**9, 1)])


def test_what_a_command_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One child is in the group, one in another; all ignore the first signal."""
    patience = [
        (number, min(seconds, 0.2 if number == signal.SIGINT else seconds))
        for number, seconds in command_process.ENDING
    ]
    monkeypatch.setattr(command_process, 'ENDING', patience)
    inner = 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)'
    outer = (
        'import signal, subprocess, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); '
        f'a = subprocess.Popen([sys.executable, "-c", {inner!r}]); '
        f'b = subprocess.Popen([sys.executable, "-c", {inner!r}], start_new_session=True); '
        'print("up", flush=True); time.sleep(600)'
    )
    with CommandProcess([sys.executable, '-c', outer], tmp_path) as process:
        while process.last_lines() != 'up':
            assert process.is_running()
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) == 2
    assert not [each for each in started if each.is_running() and each.status() != 'zombie']
    assert process.stop() == -signal.SIGTERM


@pytest.mark.parametrize(
    ('command', 'words'),
    [
        ('run -r image:={image_topic}', ['run', '-r', 'image:=/cam']),
        ("run '{bag}' '{{bag}}' '{a: 1}'", ['run', '/my bag', '{bag}', '{a: 1}']),
    ],
)
def test_placeholders_of_a_command(command: str, words: list[str]) -> None:
    assert command_words(command, {'image_topic': '/cam', 'bag': '/my bag'}) == words


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--command', 'a'], 'needs a recording to play to the node'),
        (['{bag}'], 'uhr_seg benchmark bag '),
        (['{bag}', '--command', 'a'], '--command needs --mask-topic'),
        (['{bag}', '--command', 'a', '--mask-topic', 'a b'], "'a b' is not the name of a topic"),
        (
            ['{bag}', '--command', 'a', '--mask-topic', 'm', '--bundle', 'b'],
            '--bundle has no effect',
        ),
        (['--mask-topic', 'm'], '--mask-topic has no effect without --command'),
        (['{bag}', '--command', '', '--mask-topic', 'm'], '--command is empty'),
        (['{bag}', '--command', '"', '--mask-topic', 'm'], 'cannot be split into words'),
        (['{bag}', '--command', 'none_such', '--mask-topic', 'm'], 'no program none_such'),
        (['{bag}', '--command', 'a {b}', '--mask-topic', 'm'], '{b} is no placeholder: there are'),
        (
            ['{bag}', '--command', 'a {camera_info_topic}', '--mask-topic', 'm'],
            'has none of sensor_msgs/msg/CameraInfo for /cam/image: expected /cam/camera_info',
        ),
    ],
)
def test_bad_calls_end_in_one_line(
    arguments: list[str],
    message: str,
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr('uhr_seg_ros.benchmark.bag_benchmark.idle_percent', lambda: 100.0)
    words = [each.replace('{bag}', str(recording)) for each in arguments]
    try:
        code = main(['benchmark', 'node', *words])
    except SystemExit as err:  # as argparse ends
        code = err.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('encoding', 'kind'), [('mono8', 'u1'), ('16UC1', '>u2'), ('32SC1', '<i4')]
)
def test_ids_of_masks(encoding: str, kind: str) -> None:
    ids = np.array([[0, 1, 2], [3, 4, 255]], kind)
    rows = np.zeros((2, ids.strides[0] + 4), np.uint8)  # with padding behind each row
    rows[:, : ids.strides[0]] = ids.view(np.uint8)
    message = Image(encoding=encoding, height=2, width=3, step=rows.shape[1])
    message.is_bigendian, message.data = int(kind[0] == '>'), rows.tobytes()
    np.testing.assert_array_equal(ids_of(message), ids)


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'encoding': 'bgr8', 'step': 3}, "of encoding 'bgr8' has no class ids"),
        ({'encoding': 'mono8', 'step': 0}, 'with a step of 0'),
        ({'encoding': '32SC1', 'step': 4}, 'ids from -1 to -1'),
    ],
)
def test_masks_without_ids(fields: dict[str, Any], reason: str) -> None:
    message = Image(height=1, width=1, data=b'\xff' * 4, **fields)
    with pytest.raises(UhrSegError, match=reason):
        ids_of(message)
