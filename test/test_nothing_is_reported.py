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

"""Nothing leaves the machine: no socket but those of DDS, no file that nobody asked for."""

from __future__ import annotations

from collections.abc import Sequence
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import psutil
import pytest
from tiny_bundle import paint

from uhr_seg_ros.replay.node_process import clean_shared_memory

ROOT = Path(__file__).resolve().parents[1]


class Rooms:
    """Empty folders that a process takes for home, temporary and current folder."""

    def __init__(self, folder: Path) -> None:
        self._folders = {name: folder / name for name in ('home', 'tmp', 'current')}
        for each in self._folders.values():
            each.mkdir()
        self.trace = folder / 'trace'

    def options(self, **environment: str) -> dict[str, object]:
        """Return `cwd` and `env`, in which nothing is that anybody has set."""
        env = {
            'HOME': str(self._folders['home']),
            'TMPDIR': str(self._folders['tmp']),
            'PATH': os.defpath,
            'PYTHONPATH': str(ROOT),
            **environment,
        }
        return {'cwd': self._folders['current'], 'env': env}

    def left(self) -> list[str]:
        """List what was written into them."""
        return [str(file) for each in self._folders.values() for file in each.rglob('*')]

    def run(self, command: Sequence[object]) -> None:
        done = subprocess.run(
            [*map(str, command)],
            **self.options(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def rooms(tmp_path: Path) -> Rooms:
    return Rooms(tmp_path)


def traced(rooms: Rooms, calls: str) -> list[str]:
    """Return what comes before a command to have its calls of the kernel noted."""
    strace = shutil.which('strace')
    if strace is None or subprocess.run([strace, '-o', os.devnull, 'true']).returncode:
        pytest.skip('strace cannot trace here')
    return [strace, '-f', '-e', f'trace={calls}', '-o', str(rooms.trace)]


def calls_of(rooms: Rooms) -> list[str]:
    return [line for line in rooms.trace.read_text().splitlines() if '(' in line]


def test_segmenting_opens_no_socket_and_leaves_no_file(
    rooms: Rooms, tiny_bundle: Path, tmp_path: Path
) -> None:
    image, output = tmp_path / 'image.png', tmp_path / 'out'
    cv2.imwrite(str(image), paint(np.zeros((160, 160), np.uint8)))
    rooms.run(
        [
            *traced(rooms, 'socket'),
            sys.executable,
            '-m',
            'uhr_seg_ros.cli',
            'segment',
            image,
            '--bundle',
            tiny_bundle,
            '--output',
            output,
            '--backend',
            'onnxruntime',
        ]
    )
    written = {path.name for path in output.iterdir() if not path.name.startswith('.')}
    assert written == {'image_mask.png', 'image_overlay.jpg', 'summary.csv'}
    assert not [line for line in calls_of(rooms) if 'socket(' in line]
    assert not rooms.left()


@pytest.mark.parametrize('module', ['onnx_graphs.folding', 'onnx_graphs.calibration'])
def test_nor_does_what_else_imports_onnxruntime(module: str, rooms: Rooms) -> None:
    pytest.importorskip('onnx', reason='the package onnx is not installed')
    rooms.run([sys.executable, '-c', f'import uhr_seg_ros.{module}'])
    assert not rooms.left()


def test_the_node_opens_sockets_of_dds_only(
    rooms: Rooms, tiny_bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip('rclpy', reason='rclpy is not installed')
    from uhr_seg_ros.replay.environment import reserve_domain

    domain, log = reserve_domain(), tmp_path / 'log'
    command = [
        *traced(rooms, 'connect,sendto,sendmsg,sendmmsg'),
        sys.executable,
        '-m',
        'uhr_seg_ros.ros.node',
        '--ros-args',
        '-p',
        f'bundle:={tiny_bundle}',
        '-p',
        'backend:=onnxruntime',
        '-p',
        'threads:=1',
    ]
    options = rooms.options(
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        ROS_LOCALHOST_ONLY='1',
        ROS_LOG_DIR=str(tmp_path / 'ros_log'),
    )
    with (
        log.open('wb') as file,
        subprocess.Popen(command, **options, stdout=file, stderr=subprocess.STDOUT) as process,
    ):
        try:
            deadline = time.monotonic() + 90
            while 'is ready after' not in (text := log.read_text()):
                assert process.poll() is None and time.monotonic() < deadline, text
                time.sleep(0.1)
        finally:
            end_traced(process)
    addressed = ''.join(calls_of(rooms))
    ports = {int(port) for port in re.findall(r'sin6?_port=htons\((\d+)\)', addressed)}
    of_domain = 7400 + 250 * domain
    assert ports and all(of_domain <= port < of_domain + 250 for port in ports)
    assert not rooms.left()


def end_traced(process: subprocess.Popen) -> None:
    """End what strace has started; what it traces may never get SIGTERM."""
    nodes = psutil.Process(process.pid).children()
    for node in nodes:
        node.terminate()
    _, alive = psutil.wait_procs(nodes, 10)
    for each in (*alive, process):
        each.kill()
    if alive:
        clean_shared_memory()


def start(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT,
        env={'PATH': os.defpath, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize(('before', 'after'), [(None, '1'), ('', '1'), ('0', '0'), ('1', '1')])
def test_who_decides(before: str | None, after: str) -> None:
    """The user may have decided otherwise; an empty value decides nothing."""
    given = {} if before is None else {'ORT_DISABLE_TELEMETRY': before}
    code = 'import os, uhr_seg_ros; print(os.environ["ORT_DISABLE_TELEMETRY"])'
    assert start(code, **given).stdout.split() == [after]


# Not the real one, which would report from the machines that run the tests.
IMPORTED_BEFORE = (
    'import sys, types\n'
    'calls = []\n'
    'sys.modules["onnxruntime"] = types.SimpleNamespace(\n'
    '    disable_telemetry_events=lambda: calls.append("disabled"))\n'
    'import uhr_seg_ros\n'
    'print(*calls)\n'
)


def test_onnxruntime_that_was_imported_before_is_told() -> None:
    done = start(IMPORTED_BEFORE)
    assert done.stdout.split() == ['disabled']
    assert 'RuntimeWarning: onnxruntime was imported before uhr_seg_ros' in done.stderr
    assert 'Import uhr_seg_ros first, or set ORT_DISABLE_TELEMETRY=1' in done.stderr
    for decided in ('0', '1'):
        done = start(IMPORTED_BEFORE, ORT_DISABLE_TELEMETRY=decided)
        assert (done.stdout.split(), done.stderr) == ([], '')
