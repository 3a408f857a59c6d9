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

"""The node measured on recordings: real processes, real DDS."""

from __future__ import annotations

import copy
from functools import cache
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
from typing import Any

from built_once import built_once
import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='rclpy is not installed')

from results_files import check_provenance
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from tiny_bundle import paint

from uhr_seg_ros.benchmark.run_progress import run_progress
from uhr_seg_ros.cli.main import main
from uhr_seg_ros.core.errors import ConfigError
from uhr_seg_ros.replay.bag_writing import BagWriter
from uhr_seg_ros.reports import bag_page
from uhr_seg_ros.reports.bag_compare import differences, paired_figures, read_report

STRIPES = np.tile(np.repeat(np.arange(3, dtype=np.uint8), 32), (64, 1))


def benchmark(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    command = [sys.executable, '-m', 'uhr_seg_ros.cli', 'benchmark', *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def benchmark_here(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command in this process; return what it prints."""
    capsys.readouterr()
    assert main(['benchmark', *map(str, arguments)]) == 0
    return capsys.readouterr().out


@cache
def recording(folder: Path) -> Path:
    """
    Return a recording of 10 frames at 10 Hz, each 30 ms old when it was recorded.

    Between them is a message without a byte, and depth beside them.
    """
    types = get_typestore(Stores.ROS2_HUMBLE)
    kind = 'sensor_msgs/msg/Image'
    with Writer(folder / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/front/image', kind, typestore=types)
        depth = writer.add_connection('/front/depth', kind, typestore=types)
        for index in range(10):
            when = 50 * 10**9 + index * 10**8
            sec, nanosec = divmod(when - 30_000_000, 10**9)
            stamp = types.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
            message = types.types[kind](
                header=types.types['std_msgs/msg/Header'](stamp=stamp, frame_id='lens'),
                height=64,
                width=96,
                encoding='bgr8',
                is_bigendian=0,
                step=288,
                data=paint(STRIPES).reshape(-1),
            )
            writer.write(connection, when, types.serialize_cdr(message, kind))
            if index == 4:
                writer.write(connection, when + 1, b'')
            message.encoding, message.width = '16UC1', 144
            writer.write(depth, when, types.serialize_cdr(message, kind))
            writer.write(depth, when + 2, types.serialize_cdr(message, kind))
    return folder / 'bag'


@pytest.fixture(scope='module')
def measured(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with figures.json and page.html of a run in lock step."""

    def build(folder: Path) -> None:
        result = benchmark(
            'bag',
            recording(folder),
            '--bundle',
            tiny_bundle,
            '--rate',
            'max',
            '--duration',
            2,
            '--json',
            folder / 'figures.json',
            '--report',
            folder / 'page.html',
        )
        assert result.returncode == 0, result.stderr
        assert 'published to mask' in result.stdout
        assert 'topic /front/image (' in result.stdout and '/front/depth (' in result.stdout

    return built_once(tmp_path_factory, 'measured', build)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Run the command in this process; return its exit code and what it says."""
    capsys.readouterr()
    try:
        code = main(['benchmark', *map(str, arguments)])
    except SystemExit as err:  # as argparse ends
        code = err.code
    return code, capsys.readouterr().err


def report(folder: Path) -> dict[str, Any]:
    """Read the figures."""
    return json.loads((folder / 'figures.json').read_text(encoding='utf-8'))


def check_accounts(frames: dict[str, int]) -> None:
    """Check that frames and what became of them add up."""
    assert frames['sent'] == sum(value for name, value in frames.items() if name != 'sent')
    assert all(value >= 0 for value in frames.values())


def test_lock_step_loses_nothing(measured: Path) -> None:
    result = report(measured)
    check_provenance(result)
    figures = result['figures']
    check_accounts(figures['frames'])
    # The recording has 10 frames: it was repeated.
    assert figures['frames']['masks'] == figures['frames']['sent'] > 10
    assert figures['answered'] == 1.0
    latency, stamped = figures['latency_ms'], figures['stamp_to_mask_ms']
    assert 0 < latency['p50'] <= latency['p90'] <= latency['p95'] <= latency['max']
    # Frames were 30 ms old when they were recorded.
    assert stamped['p50'] - latency['p50'] == pytest.approx(30.0, abs=0.01)
    for stage in ('wait', 'convert', 'preprocess', 'semantic', 'detail', 'fusion', 'publish'):
        assert figures['stage_ms'][stage]['max'] > 0
    assert figures['stage_ms']['latency']['p50'] < latency['p50']
    assert len(result['series']['latency_ms']) == figures['frames']['masks']
    load = figures['load']
    assert set(load['cpu_percent']) == {'node', 'player', 'collector'}
    assert all(value > 0 for value in load['cpu_percent'].values())
    assert 20 < load['memory_mb'][1] <= load['peak_mb']


def test_everything_that_makes_figures_comparable_is_told(measured: Path) -> None:
    result = report(measured)
    assert result['mode'] == {'rate': 'max', 'duration_s': 2.0}
    assert result['bag']['topic'] == '/front/image'
    assert result['bag']['messages'] == 11
    assert len(result['bag']['sha256']) == len(result['node']['bundle_sha256']) == 64
    assert result['node']['backend'] == 'onnxruntime'
    assert result['node']['parameters']['memory_limit_mb'] == 768
    assert result['node']['parameters']['image_transport'] == 'raw'
    assert result['dds']['rmw'].startswith('rmw_')
    assert result['dds']['image_qos'].startswith('reliable')
    assert result['machine']['cpu'] and result['machine']['memory_mb'] > 100
    assert 0 <= result['machine']['idle_percent'] <= 100
    assert result['date'].endswith('+00:00')


def test_page_needs_nothing_else(measured: Path) -> None:
    text = (measured / 'page.html').read_text(encoding='utf-8')
    assert not re.findall(r'(?:src|href)="(?:https?:|//)[^"]*"', text)
    assert '<script' not in text
    assert text.count('<svg') == 4
    assert text.count('src="data:image/jpeg') >= 8


def test_page_in_a_browser(measured: Path, tmp_path: Path) -> None:
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if browser is None:
        pytest.skip('neither chromium nor google-chrome is installed')
    picture = tmp_path / 'page.png'
    subprocess.run(
        [
            browser,
            '--headless',
            '--no-sandbox',
            '--disable-gpu',
            '--window-size=1200,3000',
            f'--screenshot={picture}',
            str(measured / 'page.html'),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    shown = cv2.imread(str(picture))
    # The curves have the colour that the charts give them, and there is text all the way down.
    blue = (np.abs(shown.astype(int) - (0xB0, 0x6C, 0x2B)).max(-1) < 40).sum()
    assert blue > 2000
    assert (shown[2000:] < 120).any(-1).sum() > 500


def test_times_of_the_recording(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--bundle', tiny_bundle, '--json', tmp_path / 'figures.json']
    printed = benchmark_here(capsys, 'bag', recording(tmp_path), *options)
    figures = report(tmp_path)['figures']
    check_accounts(figures['frames'])
    assert figures['frames']['sent'] == 10
    assert figures['skipped'] == 1
    assert 'skipped, as they are not whole: 1' in printed
    # Ten frames, nine intervals of 100 ms, as ros2_benchmark counts.
    assert figures['sent_hz'] == pytest.approx(10 / 0.9, rel=0.1)


def test_too_fast_a_rate_drops_frames_and_the_accounts_close(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ['--bundle', tiny_bundle, '--rate', 1000, '--duration', 1]
    files = ['--json', tmp_path / 'figures.json']
    printed = benchmark_here(capsys, 'bag', recording(tmp_path), *options, *files)
    frames = report(tmp_path)['figures']['frames']
    check_accounts(frames)
    assert frames['sent'] > 100
    assert 0 < frames['masks'] < frames['sent']
    dropped = f'{frames["dropped"]} of {frames["sent"]} frames were dropped'
    assert dropped in printed and 'budget     detail: budget' in printed


@pytest.mark.slow  # a whole run of the node; reports of parts are tested with `stages` always
def test_an_interrupted_run_reports_what_was_measured(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from uhr_seg_ros.replay.session import Session

    noted = Session._note_new

    def note(self: Session) -> int:
        if (count := noted(self)) >= 3:
            os.kill(os.getpid(), signal.SIGINT)
        return count

    monkeypatch.setattr(Session, '_note_new', note)
    options = ['--bundle', tiny_bundle, '--rate', '5', '--duration', '600']
    files = ['--json', tmp_path / 'figures.json', '--report', tmp_path / 'page.html']
    code, error = refusal(capsys, 'bag', recording(tmp_path), *options, *files)
    assert code == 130
    assert 'the figures of what was measured: ' in error.splitlines()[-1]
    found = report(tmp_path)
    assert found['interrupted'] is True and found['accuracy'] is None
    frames = found['figures']['frames']
    # Ended long before the 3000 frames of its duration, however busy the machine is.
    assert 3 <= frames['masks'] <= frames['sent'] < 1500
    assert found['figures']['latency_ms']['p50'] > 0
    assert '<html' in (tmp_path / 'page.html').read_text(encoding='utf-8')


@pytest.mark.slow
def test_peak(
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from uhr_seg_ros.benchmark import bag_benchmark

    # The search is that of the command, on shorter trials.
    monkeypatch.setattr(bag_benchmark, 'TRIAL_S', 0.5)
    monkeypatch.setattr(bag_benchmark, 'TRIAL_FRAMES', 5)
    monkeypatch.setattr(bag_benchmark, '_ESTIMATE_S', 1.0)
    monkeypatch.setattr(bag_benchmark, 'PEAK_RUNS', 3)
    monkeypatch.setattr('uhr_seg_ros.benchmark.bag_benchmark.NARROW', 0.5)
    monkeypatch.setattr('uhr_seg_ros.benchmark.bag_benchmark.STEP', 0.2)
    options = bag_benchmark.BagOptions(
        recording(tmp_path), 'peak', parameters={'bundle': str(tiny_bundle)}
    )
    caplog.set_level('INFO', 'uhr_seg_ros')
    with run_progress(bag_benchmark.START) as progress:
        result = bag_benchmark.benchmark_bag(options, tmp_path / 'pictures', progress)
    assert progress.masks > 0
    assert result['peak_hz'] > 0
    kept = [trial for trial in result['trials'] if trial['answered'] >= 0.95]
    assert result['peak_hz'] in [trial['rate_hz'] for trial in kept]
    # Rounded once there, and twice here.
    runs = [text.split()[-2] for text in caplog.messages if text.startswith('run 3 of 3 at ')]
    assert [float(each) for each in runs] == [pytest.approx(result['peak_hz'], abs=0.011)]
    page = bag_page.build(result, sorted((tmp_path / 'pictures').glob('overlays/*.jpg')))
    assert f'Peak: {result["peak_hz"]:.2f} Hz' in page


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['bag', '{tmp}/nothing'], 'no such file: '),
        (['bag', '{bag}', '--topic', '/left'], 'has no images on /left; its image topics: /cam'),
        (
            ['bag', '{bag}', '--rate', '0'],
            "'0' is not a rate: expected realtime, max, peak",
        ),
        (['bag', '{bag}', '--rate', 'fast'], "'fast' is not a rate"),
        (['bag', '{bag}', '--duration', '-3'], "'-3' is not a duration"),
        (['bag', '{bag}', '--bundle', 'none_such'], "no bundle 'none_such'"),
        (['stages', '--report', 'page.html'], 'unrecognized arguments: --report'),
        (['node', '--rate', 'max'], "'max' is not a rate"),
    ],
)
def test_bad_options_end_in_one_line(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with BagWriter(tmp_path / 'bag', topic='/cam') as bag:
        bag.write(paint(STRIPES), 0)
    values = {'tmp': tmp_path, 'bag': tmp_path / 'bag'}
    code, text = refusal(capsys, *(argument.format(**values) for argument in arguments))
    assert code == 2
    assert message in text


def test_frames_that_the_node_rejects_are_no_endless_wait(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    types = get_typestore(Stores.ROS2_HUMBLE)
    kind = 'sensor_msgs/msg/CompressedImage'
    with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection('/cam/compressed', kind, typestore=types)
        for index in range(2):
            stamp = types.types['builtin_interfaces/msg/Time'](sec=index, nanosec=0)
            header = types.types['std_msgs/msg/Header'](stamp=stamp, frame_id='lens')
            data = np.frombuffer(b'no picture', np.uint8)
            message = types.types[kind](header=header, format='jpeg', data=data)
            writer.write(connection, index, types.serialize_cdr(message, kind))
    options = ['--bundle', tiny_bundle, '--rate', 'max']
    code, text = refusal(capsys, 'bag', tmp_path / 'bag', *options)
    assert code == 2
    assert '2 frames were sent and no mask came; the node counts 2 received' in text


def test_comparison(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = report(measured)
    second = copy.deepcopy(first)
    second['figures']['latency_ms']['p50'] = 2 * first['figures']['latency_ms']['p50']
    second['node']['parameters']['threads'] = 1
    second['machine']['cpu'] = 'other'
    second['node']['unheard of'] = 'new'
    figures = paired_figures(first, second)
    assert figures['latency p50, ms'][1] == 2 * figures['latency p50, ms'][0]
    assert differences(first, first) == {}
    assert differences(first, second) == {
        'parameters': ({'threads': 0}, {'threads': 1}),
        'processor': (first['machine']['cpu'], 'other'),
        'node: unheard of': (None, 'new'),
    }
    (tmp_path / 'other.json').write_text(json.dumps(second), encoding='utf-8')
    files = [str(measured / 'figures.json'), str(tmp_path / 'other.json')]
    assert main(['benchmark', '--compare', *files]) == 0
    text = capsys.readouterr().out
    assert '2.000' in text and 'threads 1' in text


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('{"sizes": []}', 'is not a report'),
        ('{"benchmark": "bag"}', "is not a report .*'figures'"),
        ('{"benchmark": "bag", "figures": {"throughput_hz": 1, "sent_hz": []}}', 'not a report'),
        ('{"benchmark": "bag", "figures": []}', 'is not a report'),
        ('{"benchmark": ' + '[' * 5000, 'nested deeper'),
        ('{"benchmark": "bag", "benchmark": "bag"}', 'is there twice'),
    ],
)
def test_comparison_of_something_else(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / 'stages.json').write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_report(tmp_path / 'stages.json')
