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
"""
What topics cost the node that it has no use for: frames that are thrown away, /clock.

    python -m tools.topic_cost [--size 3840x2160] [--seconds 8] [--repeat 3] [--json FILE]

Two nodes take turns, in processes of their own: the node as it is, and one that subscribes in the
way of rclpy, which takes every frame whole and hears /clock by its own executor. Neither segments
more than a frame in 1000 s, so what is left is what it costs to be subscribed. The time of the
processor is that of the whole process, its threads of DDS included, and counts per message that
was sent: on a busy machine the sender cannot keep the rate. Before, frames are taken in this
process: as messages, in their serialized form, and as their headers.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
import os
from pathlib import Path
from statistics import median
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any, NamedTuple

import psutil
import rclpy
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from uhr_seg_ros.benchmark.host import write_results
from uhr_seg_ros.benchmark.stages import benchmark_image
from uhr_seg_ros.cli.arguments import DEFAULT_BUNDLE, parse_count, parse_duration, parse_size
from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.memory import peak_resident_bytes, tune_malloc
from uhr_seg_ros.core.program import guarded
from uhr_seg_ros.replay.environment import isolate
from uhr_seg_ros.replay.node_process import NodeProcess
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.topics.header_only import header_type

#: Module that is run as the node -> what it is.
NODES = {'uhr_seg_ros.ros.node': 'node', 'tools.plain_node': 'as rclpy does'}
ROOT = str(Path(__file__).resolve().parents[1])
START_S = 60.0
IDLE_PERCENT = 5.0


class Load(NamedTuple):
    """What is sent, messages per second."""

    name: str
    frames: float = 0.0
    clock: float = 0.0


LOADS = (
    Load('nothing'),
    Load('frames at 10 Hz', frames=10),
    Load('/clock at 100 Hz', clock=100),
    Load('/clock at 1000 Hz', clock=1000),
)


class Sender:
    """Sends frames of one size, and the time."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._node = rclpy.create_node('topic_cost')
        profile = QoSProfile(depth=2, reliability=ReliabilityPolicy.RELIABLE)
        self.frames: Publisher = self._node.create_publisher(Image, 'image_raw', profile)
        self._clock = self._node.create_publisher(Clock, '/clock', 10)
        header = Header(frame_id='camera')
        self.frame = serialize_message(encode_image(benchmark_image(size), 'bgr8', header))

    def wait_for(self, node: NodeProcess) -> None:
        """Wait until a node subscribes to frames."""
        deadline = time.monotonic() + START_S
        while not self.frames.get_subscription_count():
            if not node.is_running() or time.monotonic() > deadline:
                msg = f'the node does not start:\n{node.last_lines()}'
                raise ProcessError(msg)
            time.sleep(0.05)

    def send(self, load: Load, seconds: float) -> int:
        """Send for some seconds; return how many messages that was."""
        start, rate, sent = time.monotonic(), load.frames or load.clock, 0
        while (now := time.monotonic() - start) < seconds:
            if sent < now * rate:
                sent += 1
                if load.frames:
                    self.frames.publish(self.frame)
                else:
                    message = Clock()
                    message.clock.sec, message.clock.nanosec = int(now), int(now % 1 * 1e9)
                    self._clock.publish(message)
            due = sent / rate if rate else seconds
            time.sleep(max(min(due, seconds) - (time.monotonic() - start), 0.0))
        return sent


def wait_until_idle(node: NodeProcess) -> None:
    """Wait until a node does nothing, once it has segmented its frame."""
    process, deadline = psutil.Process(node.pid), time.monotonic() + START_S
    while process.cpu_percent(0.5) > IDLE_PERCENT:
        if time.monotonic() > deadline:
            msg = f'the node is never idle:\n{node.last_lines()}'
            raise ProcessError(msg)


def measure(sender: Sender, node: NodeProcess, load: Load, seconds: float) -> dict[str, float]:
    """Return `busy_ms`, time of the processor that a node took, per `second`, and `sent`."""
    process = psutil.Process(node.pid)
    start, before = time.monotonic(), sum(process.cpu_times()[:2])
    sent = sender.send(load, seconds)
    took_s = sum(process.cpu_times()[:2]) - before
    return {'busy_ms': 1e3 * took_s / (time.monotonic() - start), 'sent': sent / seconds}


def measure_takes(size: tuple[int, int], count: int = 20) -> dict[str, float]:
    """Return what taking a frame costs the thread that does it, and all others of Python, ms."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    try:
        sender, node = Sender(size), rclpy.create_node('taker')
        profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
        subscription = node.create_subscription(Image, 'image_raw', print, profile)
        ways = {
            'message': (Image, False),
            'raw': (Image, True),
            'header': (header_type(Image), False),
        }
        took: dict[str, list[float]] = {way: [] for way in ways}
        while not sender.frames.get_subscription_count():
            time.sleep(0.05)
        for _ in range(count):
            for way, form in ways.items():
                sender.frames.publish(sender.frame)
                taken = None
                while taken is None:
                    before = time.thread_time()
                    with subscription.handle:
                        taken = subscription.handle.take_message(*form)
                    took[way].append(1e3 * (time.thread_time() - before))
                    if taken is None:
                        took[way].pop()
                        time.sleep(0.001)
        return {way: round(median(each), 2) for way, each in took.items()}
    finally:
        rclpy.try_shutdown()


def measure_node(module: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Start one of the nodes, and measure what each load costs it."""
    with TemporaryDirectory(prefix='uhr_seg_') as folder, ExitStack() as stack:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(rclpy.try_shutdown)
        parameters = {
            'bundle': str(load_bundle(arguments.bundle).path.resolve()),
            'max_rate_hz': 0.001,
            'use_sim_time': True,
        }
        node = stack.enter_context(NodeProcess(parameters, Path(folder), module))
        sender = Sender(arguments.size)
        sender.wait_for(node)
        sender.send(LOADS[1], 2.0)  # the frame that is segmented, and the rhythm of the camera
        wait_until_idle(node)
        found: dict[str, Any] = {
            load.name: measure(sender, node, load, arguments.seconds) for load in LOADS
        }
        return {'loads': found, 'peak_mb': (peak_resident_bytes(node.pid) or 0) >> 20}


def joined(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over the runs of one node: percent of a core, and ms per message."""
    loads = {}
    for load in LOADS:
        each = [run['loads'][load.name] for run in runs]
        rest = [run['loads'][LOADS[0].name]['busy_ms'] for run in runs]
        rate = load.frames or load.clock
        costs = [
            (found['busy_ms'] - idle) / found['sent']
            for found, idle in zip(each, rest, strict=True)
            if found['sent']
        ]
        loads[load.name] = {
            'sent_hz': round(median(found['sent'] for found in each), 1),
            'ms_per_message': round(median(costs), 3) if costs else None,
            # At the full rate, whether the sender kept it or not.
            'core_percent': round(
                0.1 * (median(costs) * rate if costs else median(rest)),
                1,
            ),
        }
    return {'loads': loads, 'peak_mb': median(run['peak_mb'] for run in runs)}


def show(result: dict[str, dict[str, Any]]) -> None:
    """Print a line for each load."""
    own, plain = result.values()
    print(f'{"percent of a core":24}' + ''.join(f'{name:>16}' for name in result) + '   ratio')
    for load in own['loads']:
        now, before = (each['loads'][load]['core_percent'] for each in (own, plain))
        ratio = f'{now / before:8.2f}' if before else ''
        print(f'{load:24}{now:16.1f}{before:16.1f}{ratio}')
    print(f'{"peak memory, MB":24}{own["peak_mb"]:16.0f}{plain["peak_mb"]:16.0f}')


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--bundle', default=DEFAULT_BUNDLE, help='folder or name')
    parser.add_argument('--size', type=parse_size, default=(2160, 3840), metavar='WxH')
    parser.add_argument('--seconds', type=parse_duration, default=8.0, help='of each load')
    parser.add_argument('--repeat', type=parse_count, default=3, metavar='N', help='turns')
    parser.add_argument('--json', type=Path, metavar='FILE', help='for the figures')
    arguments = parser.parse_args()
    return guarded(lambda: compare(arguments), 'topic_cost')


def compare(arguments: argparse.Namespace) -> int:
    """Measure both nodes in turn."""
    os.environ['PYTHONPATH'] = os.pathsep.join([ROOT, os.environ.get('PYTHONPATH', '')])
    isolate()
    tune_malloc()
    takes = measure_takes(arguments.size)
    print(', '.join(f'taken as {way}: {ms:.1f} ms' for way, ms in takes.items()), flush=True)
    runs: dict[str, list[dict[str, Any]]] = {module: [] for module in NODES}
    for _ in range(arguments.repeat):
        for module, found in runs.items():
            found.append(measure_node(module, arguments))
    result = {NODES[module]: joined(found) for module, found in runs.items()}
    show(result)
    if arguments.json:
        write_results(
            arguments.json, {'size': list(arguments.size), 'take_ms': takes, 'nodes': result}
        )
    return 0


if __name__ == '__main__':
    sys.exit(main())
