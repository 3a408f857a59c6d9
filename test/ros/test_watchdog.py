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

"""A process that ends itself when a frame never ends, whatever its engine holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest
from rclpy.context import Context
from rclpy.node import Node
from sensor_msgs.msg import Image
from stage import example_mask, frame, wait_until
from tiny_bundle import paint

from uhr_seg_ros.ros import watchdog as watchdog_module
from uhr_seg_ros.ros.watchdog import GRACE_S, Watchdog
from uhr_seg_ros.ros.worker import InWork

HANGING_NODE = Path(__file__).with_name('hanging_node.py')
LIMIT_S = 1.0


class Hanging:
    """A process with the node, which hangs in its first frame."""

    def __init__(self, directory: Path, bundle: Path, how: str, limit_s: float) -> None:
        self._output = directory / 'output.txt'
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get('PYTHONPATH')])]
        self._sign = directory / 'hang'
        environment = {
            **os.environ,
            'PYTHONPATH': os.pathsep.join(paths),
            'HANGS': how,
            'HANGS_WITH': str(self._sign),
        }
        command = [
            sys.executable,
            str(HANGING_NODE),
            '--ros-args',
            '-p',
            f'bundle:={bundle}',
            '-p',
            'backend:=onnxruntime',
            '-p',
            f'watchdog_timeout:={limit_s}',
        ]
        with self._output.open('w') as output:
            self.popen = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        self.since = 0.0

    @property
    def text(self) -> str:
        return self._output.read_text()

    def hang(self, context: Context) -> None:
        """Send the frame and wait until it hangs."""
        camera = Node('camera', context=context)
        publisher = camera.create_publisher(Image, 'image_raw', 10)
        wait_until(publisher.get_subscription_count, 'the subscription', last=lambda: self.text)
        self._sign.touch()
        publisher.publish(frame(paint(example_mask())))
        wait_until(lambda: 'an engine hangs' in self.text, 'hanging', last=lambda: self.text)
        self.since = time.monotonic()
        camera.destroy_node()

    def wait_for_end(self, timeout: float = 30.0) -> tuple[int, float]:
        """Return the exit code, and how long it took since hanging, s."""
        code = self.popen.wait(timeout)
        return code, time.monotonic() - self.since


@pytest.fixture
def start(tmp_path: Path, tiny_bundle: Path) -> Iterator[Callable[[str, float], Hanging]]:
    processes: list[Hanging] = []

    def start(how: str, limit_s: float) -> Hanging:
        processes.append(Hanging(tmp_path, tiny_bundle, how, limit_s))
        return processes[-1]

    yield start
    for process in processes:
        process.popen.kill()
        process.popen.wait()


def test_process_ends_in_order_where_the_engine_lets_it(
    start: Callable[[str, float], Hanging], context: Context
) -> None:
    process = start('free', LIMIT_S)
    process.hang(context)
    code, seconds = process.wait_for_end()
    assert code == 1
    assert 'one frame has taken' in process.text
    assert 'watchdog_timeout is 1: the process ends with code 1' in process.text
    assert 'hanging_node.py", line' in process.text  # where it hung
    assert seconds > LIMIT_S / 2


def test_process_ends_though_the_engine_holds_the_interpreter(
    start: Callable[[str, float], Hanging], context: Context
) -> None:
    process = start('locked', LIMIT_S)
    process.hang(context)
    code, seconds = process.wait_for_end()
    assert code == 1
    assert 'Timeout (0:00:0' in process.text
    assert 'hanging_node.py", line' in process.text
    assert seconds > LIMIT_S


def test_process_ends_when_the_gpu_is_lost(
    start: Callable[[str, float], Hanging], context: Context
) -> None:
    process = start('lost', 0.0)
    process.hang(context)
    code, _ = process.wait_for_end()
    assert code == 1
    reason = 'the GPU is lost: cuEventSynchronize failed: unspecified launch failure: dmesg'
    assert reason in process.text
    assert 'use the GPU again: the process ends with code 1' in process.text


@pytest.mark.slow
def test_without_a_limit_a_signal_ends_it_and_nothing_else(
    start: Callable[[str, float], Hanging], context: Context
) -> None:
    process = start('free', 0.0)
    process.hang(context)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait_for_end(3 * LIMIT_S)
    process.popen.send_signal(signal.SIGINT)
    assert process.wait_for_end()[0] == 0


class Timer:
    """Stands in for the timer of `faulthandler`, which would end the tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float | None = None
        monkeypatch.setattr(watchdog_module.faulthandler, 'dump_traceback_later', self._start)
        monkeypatch.setattr(watchdog_module.faulthandler, 'cancel_dump_traceback_later', self._end)

    def _start(self, left: float, **_: object) -> None:
        self.left = left

    def _end(self) -> None:
        self.left = None


def test_timer_runs_while_a_frame_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    timer = Timer(monkeypatch)
    limit, sign = [1000.0], [0.0]
    watchdog = Watchdog(lambda: limit[0], lambda: sign[0])
    watchdog.note(InWork('front', time.monotonic()))
    assert timer.left is None  # this process has other things to do
    watchdog.end_process()
    watchdog.note(InWork('front', time.monotonic() - 600))
    assert 0 < timer.left <= 400 + GRACE_S
    assert watchdog.overdue() == ''
    limit[0] = 500.0
    assert watchdog.overdue().startswith('camera front: one frame has taken 600.')
    assert 0 < timer.left < 1
    sign[0] = time.monotonic()  # an engine is built for the frame's size, and goes on
    assert watchdog.overdue() == ''
    assert 400 < timer.left <= 500 + GRACE_S
    watchdog.note(None)
    assert timer.left is None
    assert watchdog.overdue() == ''
