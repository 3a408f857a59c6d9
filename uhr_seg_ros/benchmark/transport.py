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

"""How frames cross from one process to another, under several settings of DDS and allocator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
import json
import os
import subprocess
import sys
from threading import Event, Thread
import time
from typing import Any

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from uhr_seg_ros.benchmark.figures import percentiles
from uhr_seg_ros.benchmark.stages import benchmark_image
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.core.interruption import signals_held
from uhr_seg_ros.core.memory import tune_malloc
from uhr_seg_ros.core.subprocesses import python_child
from uhr_seg_ros.replay.environment import isolate, PROFILE_VARIABLES
from uhr_seg_ros.ros.messages.images import encode_image

TOPIC = 'transported_image'

_DEPTH = 2
_CONNECT_TIMEOUT_S = 20.0
# What is still under way when the last frame was sent.
_SETTLE_S = 2.0
_POLL_S = 0.001


@dataclass(frozen=True)
class Setting:
    """
    One way to send frames.

    Attributes:
        name: for the table.
        reliability: of both ends, `reliable` or `best_effort`.
        profile: whether the processes use the Fast DDS profile of this package.
        allocator: whether they call `tune_malloc`.

    """

    name: str
    reliability: str
    profile: bool
    allocator: bool


SETTINGS = (
    Setting('best effort, defaults', 'best_effort', profile=False, allocator=False),
    Setting('reliable, defaults', 'reliable', profile=False, allocator=False),
    Setting('best effort, profile', 'best_effort', profile=True, allocator=False),
    Setting('reliable, profile', 'reliable', profile=True, allocator=False),
    Setting('reliable, profile, allocator', 'reliable', profile=True, allocator=True),
)


def measure_transport(
    setting: Setting, size: tuple[int, int], count: int, rate_hz: float
) -> dict[str, Any]:
    """
    Send bgr8 frames from one process to another.

    Args:
        setting: how.
        size: height and width of the frames.
        count: number of frames.
        rate_hz: frames per second.

    Returns:
        `setting`, `sent`, `received`; `latency_ms`: publication to message in hand;
        `receive_ms`: the part of it that the receiving process works.

    Raises:
        ProcessError: a process failed.

    """
    isolate()
    environment = dict(os.environ)
    if not setting.profile:
        for variable in PROFILE_VARIABLES:
            environment.pop(variable, None)
    options = json.dumps([setting.reliability, setting.allocator, *size, count, rate_hz])
    with ExitStack() as stack:
        subscriber, publisher = (
            _start(stack, role, options, environment) for role in ('subscribe', 'publish')
        )
        sent = dict(_outcome(publisher))
        received = _outcome(subscriber)
    return {
        'setting': asdict(setting),
        'sent': len(sent),
        'received': len(received),
        'latency_ms': percentiles((arrival - sent[key]) / 1e6 for key, arrival, _ in received),
        'receive_ms': percentiles(duration / 1e6 for _, _, duration in received),
    }


def _start(
    stack: ExitStack, role: str, options: str, environment: Mapping[str, str]
) -> subprocess.Popen:
    """Start one of the two processes, which ends with the stack at the latest."""
    with signals_held():
        process = subprocess.Popen(
            **python_child('uhr_seg_ros.benchmark.transport', role, options, env=environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.enter_context(process)
        stack.callback(process.kill)
    return process


def _outcome(process: subprocess.Popen) -> list[Any]:
    """Close the input of a process, wait for it, and read what it printed."""
    output, errors = process.communicate()
    if process.returncode:
        last = (errors.strip().splitlines() or [f'exit code {process.returncode}'])[-1]
        msg = f'the measurement of the transport failed: {last}'
        raise ProcessError(msg)
    return json.loads(output)


def _publish(profile: QoSProfile, size: tuple[int, int], count: int, rate_hz: float) -> list[Any]:
    """Send frames; return the number of each and when it was published, ns."""
    node = rclpy.create_node('transport_publisher')
    publisher = node.create_publisher(Image, TOPIC, profile)
    message = encode_image(benchmark_image(size), 'bgr8', Header())
    deadline = time.monotonic() + _CONNECT_TIMEOUT_S
    while not publisher.get_subscription_count():
        if time.monotonic() > deadline:
            msg = f'no subscriber within {_CONNECT_TIMEOUT_S:.0f} s'
            raise ProcessError(msg)
        time.sleep(0.05)
    time.sleep(0.5)  # until the other side has found this one too
    sent = []
    start = time.monotonic()
    for index in range(count):
        time.sleep(max(0.0, start + index / rate_hz - time.monotonic()))
        message.header.stamp.sec = index
        sent.append((index, time.monotonic_ns()))
        publisher.publish(message)
    time.sleep(_SETTLE_S)
    return sent


def _subscribe(profile: QoSProfile) -> list[tuple[int, int, int]]:
    """Receive until the input ends; return number, arrival and time of the take, ns."""
    received: list[tuple[int, int, int]] = []
    node = rclpy.create_node('transport_subscriber')
    subscription = node.create_subscription(Image, TOPIC, received.append, profile)
    ended = Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    Thread(target=wait_for_end, daemon=True).start()
    while not ended.wait(_POLL_S):
        before = time.monotonic_ns()
        with subscription.handle:
            # The call that executors make, without one around it, so that it can be timed.
            taken = subscription.handle.take_message(Image, False)
        if taken is not None:
            now = time.monotonic_ns()
            received.append((taken[0].header.stamp.sec, now, now - before))
    return received


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one of the two roles, and print the times as JSON."""
    role, options = sys.argv[1:] if arguments is None else arguments
    reliability, allocator, height, width, count, rate_hz = json.loads(options)
    if allocator:
        tune_malloc()
    profile = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy[reliability.upper()])
    rclpy.init()
    try:
        if role == 'publish':
            times = _publish(profile, (height, width), count, rate_hz)
        else:
            times = _subscribe(profile)
    except ProcessError as err:
        print(err, file=sys.stderr)
        return 1
    finally:
        rclpy.try_shutdown()
    print(json.dumps(times))
    return 0


if __name__ == '__main__':
    sys.exit(main())
