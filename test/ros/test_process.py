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

"""The executable: how it starts, and that it ends on a signal, whatever it is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
from threading import Thread
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from slow_bundle import make_slow_bundle
from small_disk import SmallDisk
from stage import example_mask, frame, TIMEOUT_S, wait_until
from tiny_bundle import paint

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

SHARED_MEMORY = Path('/dev/shm')


def limit() -> float:
    """Return the time from a signal to the end, s: 2, unless other work crowds the machine."""
    return 10.0 if is_crowded() else 2.0


def is_crowded() -> bool:
    """Tell if work has waited for cores in a fourth of the last seconds, or much of it may."""
    try:
        some = Path('/proc/pressure/cpu').read_text().splitlines()[0]
    except OSError:  # a kernel without, where only what lasts is noticed
        return os.getloadavg()[0] > 2 * (os.cpu_count() or 1)
    return float(some.split('avg10=')[1].split()[0]) > 25


def mapped_by_fast_dds(pid: int | str) -> set[Path]:
    """Return the files in shared memory that a process has mapped."""
    try:
        lines = Path(f'/proc/{pid}/maps').read_text().splitlines()
    except OSError:  # it has ended, or belongs to somebody else
        return set()
    paths = {Path(line.split()[-1]) for line in lines if 'fastdds' in line}
    return {path for path in paths if SHARED_MEMORY in path.parents}


def mapped_by_anybody(but: int = 0) -> set[Path]:
    """Return the files in shared memory that some living process has mapped, but for one."""
    pids = [path.name for path in Path('/proc').iterdir() if path.name.isdigit()]
    return set().union(*(mapped_by_fast_dds(pid) for pid in pids if pid != str(but)))


class Process:
    """The node as a process of its own; its output is collected line by line."""

    def __init__(self, **parameters: Any) -> None:
        command = [sys.executable, '-m', 'uhr_seg_ros.ros.node', '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get('PYTHONPATH')])]
        environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
        self._older = set(SHARED_MEMORY.glob('fastdds*'))
        self.lines: list[str] = []
        self.popen = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Tests may run behind nohup, which children would inherit.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout:
            self.lines.append(line.rstrip())

    def wait_for_line(self, text: str, timeout: float = TIMEOUT_S) -> None:
        what = f'{text!r} in the output'
        wait_until(lambda: any(text in line for line in self.lines), what, timeout)

    def shared_memory(self) -> set[Path]:
        """Return the files of Fast DDS that came with this process."""
        return mapped_by_fast_dds(self.popen.pid) - self._older

    def end(self, number: signal.Signals) -> float:
        """Send a signal, demand a clean end, and return how long it took, s."""
        # Ports are shared: who opens one at any moment until then is the last that can remove it,
        # and may be killed by its test.
        left = {path for path in self.shared_memory() if 'port' not in path.name}
        left -= mapped_by_anybody(but=self.popen.pid)
        start = time.monotonic()
        self.popen.send_signal(number)
        code = self.popen.wait(30)
        duration = time.monotonic() - start
        self._reader.join(10)
        assert code == 0, self.lines
        assert not [line for line in self.lines if 'Traceback' in line], self.lines
        assert not [path for path in left - mapped_by_anybody() if path.exists()]
        return duration


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(**parameters: Any) -> Process:
        processes.append(Process(**parameters))
        return processes[-1]

    yield start
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait()
        process.popen.stdout.close()


@pytest.fixture
def camera(context: Context) -> Iterator[Node]:
    """Return a node on a spinning executor."""
    node = Node('camera', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = Thread(target=executor.spin, daemon=True)
    thread.start()
    yield node
    executor.shutdown()
    thread.join(5.0)
    node.destroy_node()


@pytest.mark.parametrize('number', SIGNALS)
def test_signal_ends_an_idle_node(
    start: Callable[..., Process], tiny_bundle: Path, number: signal.Signals
) -> None:
    process = start(bundle=tiny_bundle)
    process.wait_for_line('is ready')
    assert process.shared_memory() or not SHARED_MEMORY.exists()
    assert process.end(number) < limit()


@pytest.mark.parametrize(
    'number', [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_signal_ends_a_node_that_infers(
    start: Callable[..., Process],
    camera: Node,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    arrays: list[DiagnosticArray] = []
    camera.create_subscription(DiagnosticArray, '/diagnostics', arrays.append, 10)
    publisher = camera.create_publisher(Image, 'image_raw', 10)
    process = start(bundle=make_slow_bundle(tmp_path / 'slow'), threads=1)
    process.wait_for_line('is ready', 4 * TIMEOUT_S)  # a frame warms it up
    wait_until(publisher.get_subscription_count, 'the subscription')
    publisher.publish(frame(paint(example_mask())))

    def is_busy() -> bool:
        values = {
            pair.key: pair.value
            for array in arrays[-1:]
            for status in array.status
            for pair in status.values
        }
        return values.get('frames_pending') == '1'

    wait_until(is_busy, 'a frame in work')
    assert process.end(number) < limit()


def test_signal_ends_a_node_that_loads(
    start: Callable[..., Process], tmp_path: Path, tiny_bundle: Path
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / 'slow'))
    # So many values are taken, and take many seconds.
    with (bundle / 'model.yaml').open('a') as file:
        file.write(f'many: [{"1," * 1_900_000}]\n')
    process = start(bundle=bundle)
    process.wait_for_line('loading bundle')
    assert process.end(signal.SIGINT) < limit()


def test_second_signal_changes_nothing(start: Callable[..., Process], tmp_path: Path) -> None:
    process = start(bundle=tmp_path / 'nowhere')
    process.wait_for_line('cannot be configured')
    process.popen.send_signal(signal.SIGINT)
    process.end(signal.SIGINT)


def test_refused_parameter_is_told_in_one_line(start: Callable[..., Process]) -> None:
    process = start(**{'overlay.alpha': 7.0})
    assert process.popen.wait(30) == 1
    process.wait_for_line('overlay.alpha')
    assert not [line for line in process.lines if 'Traceback' in line]


def test_full_disk_stops_no_frame(
    start: Callable[..., Process],
    camera: Node,
    tiny_bundle: Path,
    small_disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks: list[Image] = []
    camera.create_subscription(Image, '/segmentation/mask', masks.append, 10)
    publisher = camera.create_publisher(Image, 'image_raw', 10)
    small_disk.fill()
    for name in ('ROS_LOG_DIR', 'XDG_CACHE_HOME', 'TMPDIR'):
        monkeypatch.setenv(name, str(small_disk.path))
    process = start(bundle=tiny_bundle)
    process.wait_for_line('is ready')
    wait_until(publisher.get_subscription_count, 'the subscription')
    wait_until(lambda: camera.count_publishers('/segmentation/mask'), 'the publication')
    publisher.publish(frame(paint(example_mask()), 1))
    wait_until(lambda: len(masks) == 1, 'a mask')
    publisher.publish(frame(paint(example_mask()), 2, 'infrared'))
    process.wait_for_line('frame rejected')  # on the terminal, if not in a file
    publisher.publish(frame(paint(example_mask()), 3))
    wait_until(lambda: len(masks) == 2, 'another mask')
    process.end(signal.SIGINT)
