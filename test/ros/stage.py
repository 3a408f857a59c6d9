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

"""The real node on its executor, and beside it a node that plays the camera and watches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
import gc
from threading import Event, Thread
import time
from typing import Any
from weakref import ref

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
import numpy as np
from rcl_interfaces.msg import Log, SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.node import SegmentationNode
from uhr_seg_ros.ros.process import spin, THREADS

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

TIMEOUT_S = 30.0
"""Far more than anything here takes on a busy machine."""


def wait_until(
    condition: Callable[[], Any],
    what: str,
    timeout: float = TIMEOUT_S,
    last: Callable[[], Any] = lambda: '',
    pause: float = 0.01,
) -> Any:
    """
    Return the first true value of `condition`, or fail and show what there is at `last`.

    Looks every `pause` s, and gives up after `timeout` s.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(pause)
    raise AssertionError(f'not within {timeout} s: {what} {last()}')


class Stage:
    """
    Runs the node under test and its surroundings in this process.

    Args:
        context: ROS context of both nodes.
        parameters: of the node under test; a dot in a name may be written as two underscores.
        cli_args: command line of the node under test.

    As a context manager it also demands that the accounts of every camera close: received is the
    sum of all other counters in every report, and nothing is pending at the end.

    """

    def __init__(
        self, context: Context, parameters: Mapping[str, Any], cli_args: list[str] | None = None
    ) -> None:
        overrides = [
            Parameter(name.replace('__', '.'), value=value) for name, value in parameters.items()
        ]
        gc.disable()  # so that what is made from now on stays young, see `_collect`
        self._begin_ns = time.time_ns()
        self.watcher = Node('watcher', context=context, use_global_arguments=False)
        self._clients: dict[str, Client] = {}
        self._statuses: dict[str, DiagnosticStatus] = {}
        #: What `status` and `values` were taken from, since the stage was made.
        self.diagnostics: list[DiagnosticArray] = []
        self._open_accounts: list[dict[str, str]] = []
        self.watcher.create_subscription(DiagnosticArray, '/diagnostics', self._note, 10)
        self._logs = self.collect(Log, '/rosout', LATCHED)
        self.node = SegmentationNode(
            context=context, cli_args=cli_args, parameter_overrides=overrides
        )
        self._executors = [
            MultiThreadedExecutor(THREADS, context=context),
            SingleThreadedExecutor(context=context),
        ]
        self._stop = Event()
        self._threads = []
        for node, executor in zip((self.node, self.watcher), self._executors, strict=True):
            executor.add_node(node)
            self._threads.append(Thread(target=spin, args=(executor, self._stop, []), daemon=True))
            self._threads[-1].start()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        ended = self.node.stop(5.0)
        counts = [self.node._worker.counts(name) for name in self.node._worker.cameras]
        self._stop.set()
        for executor, thread in zip(self._executors, self._threads, strict=True):
            executor.shutdown()
            thread.join(5.0)
        self.node.destroy_node()
        self.watcher.destroy_node()
        self._collect()
        assert not self._open_accounts, self._open_accounts
        if ended:  # else a frame is still inside an engine
            assert not any(each.pending for each in counts), counts

    def _collect(self) -> None:
        """
        Collect the node, which is a circle.

        A lifecycle node lives on in rcl until then, and as long as it does, the next one of its
        name cannot write to /rosout. To search all objects takes a third of a second.
        """
        node = ref(self.node)
        del self.node, self._executors
        gc.collect(0)
        if node() is not None:  # it had grown old
            gc.collect()
        gc.enable()
        assert node() is None, f'the node lives on, for later tests: {gc.get_referrers(node())}'

    def _note(self, array: DiagnosticArray) -> None:
        self.diagnostics.append(array)
        for status in array.status:
            # Those of cameras by their topics alone, too: there is one node here.
            self._statuses[status.name] = status
            self._statuses[status.name.removeprefix(f'{status.hardware_id}: ')] = status
            values = self.values(status.name)
            parts = ('processed', 'dropped', 'rejected', 'pending', 'ignored')
            if int(values['frames_received']) != sum(int(values[f'frames_{p}']) for p in parts):
                self._open_accounts.append(values)

    def camera(
        self, topic: str = 'image_raw', message_type: type = Image, qos: QoSProfile = RELIABLE
    ) -> Publisher:
        """Return a publisher of frames to which the node has subscribed."""
        publisher = self.watcher.create_publisher(message_type, topic, qos)
        wait_until(publisher.get_subscription_count, f'a subscription to {topic}')
        return publisher

    def collect(self, message_type: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """Return a list that grows with every message of a topic."""
        messages: list[Any] = []
        self.watcher.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def outputs(self, *names: str, message_type: type = Image) -> tuple[list[Any], ...]:
        """Return growing lists of outputs, once the node knows of the subscribers."""
        topics = [f'/segmentation/{name}' for name in names]
        collected = tuple(self.collect(message_type, topic) for topic in topics)
        for topic in topics:
            wait_until(lambda topic=topic: self._is_wanted(topic), f'{topic} with a subscriber')
        return collected

    def _is_wanted(self, topic: str) -> bool:
        return any(
            publisher.topic_name == topic and publisher.get_subscription_count()
            for publisher in list(self.node.publishers)
        )

    def log_lines(self) -> list[str]:
        """Return what the node has logged so far."""
        # The node of an earlier test may still hand out what it said.
        return [
            log.msg
            for log in list(self._logs)
            if log.name.startswith('segmentation')
            and log.stamp.sec * 10**9 + log.stamp.nanosec >= self._begin_ns
        ]

    def wait_for_log(self, *parts: str) -> str:
        """Return the first log line that contains all the parts."""

        def find() -> str | None:
            return next((line for line in self.log_lines() if all(p in line for p in parts)), None)

        return wait_until(find, f'a log line with {parts}')

    def values(self, name: str) -> dict[str, str]:
        """Return the newest values of a diagnostic status."""
        status = self._statuses.get(name)
        return {pair.key: pair.value for pair in status.values} if status else {}

    def status(self, name: str) -> DiagnosticStatus:
        """Return the newest status of this name, once there is one."""
        return wait_until(lambda: self._statuses.get(name), f'diagnostics of {name}')

    def received(self, topic: str = '/image_raw') -> int:
        """Return how many frames of a topic have arrived."""
        return int(self.values(topic).get('frames_received', 0))

    def wait_for_count(self, topic: str = '/image_raw', **counts: int) -> dict[str, str]:
        """Return the values of a topic's status once counters have these values."""

        def reached() -> dict[str, str] | None:
            values = self.values(topic)
            wanted = {f'frames_{name}': str(count) for name, count in counts.items()}
            return values if wanted.items() <= values.items() else None

        return wait_until(reached, f'{counts} on {topic}', last=lambda: self.values(topic))

    def call(self, service_type: type, name: str, request: Any, timeout: float = TIMEOUT_S) -> Any:
        """Call a service of the node and return its response."""
        future = self.begin_call(service_type, name, request)
        wait_until(future.done, f'a response of {name}', timeout)
        return future.result()

    def begin_call(self, service_type: type, name: str, request: Any) -> Future:
        """Call a service of the node; its response comes in the future."""
        if name not in self._clients:
            self._clients[name] = self.watcher.create_client(service_type, f'/segmentation/{name}')
        wait_until(self._clients[name].service_is_ready, f'service {name}')
        return self._clients[name].call_async(request)

    def state(self, timeout: float = TIMEOUT_S) -> str:
        """Return the label of the node's lifecycle state, as its service tells it."""
        return self.call(GetState, 'get_state', GetState.Request(), timeout).current_state.label

    def change(self, label: str) -> bool:
        """Ask for a lifecycle transition; return whether it succeeded."""
        future = self.begin_change(label)
        wait_until(future.done, f'the end of {label}')
        return future.result().success

    def begin_change(self, label: str) -> Future:
        """Ask for a lifecycle transition; the response comes in the future."""
        request = ChangeState.Request()
        request.transition.label = label
        return self.begin_call(ChangeState, 'change_state', request)

    def set_parameter(self, name: str, value: Any) -> SetParametersResult:
        """Set a parameter through the node's service."""
        request = SetParameters.Request()
        request.parameters = [Parameter(name, value=value).to_parameter_msg()]
        return self.call(SetParameters, 'set_parameters', request).results[0]

    def wait_for_state(self, label: str) -> None:
        """Wait until the node is in a lifecycle state."""
        wait_until(lambda: self.state() == label, f'state {label}')


def example_mask(height: int = 96, width: int = 160, seed: int = 0) -> np.ndarray:
    """Return a mask (height, width) of upright stripes, 16 px wide."""
    stripes = np.random.default_rng(seed).integers(0, 3, -(-width // 16), np.uint8)
    return np.tile(stripes.repeat(16)[:width], (height, 1))


def frame(image: np.ndarray, stamp: float = 1.0, encoding: str = 'bgr8') -> Image:
    """Return a message with an image, a stamp in s and the frame_id `camera`."""
    header = Header(frame_id='camera')
    header.stamp.sec = int(stamp)
    header.stamp.nanosec = int(stamp % 1 * 1e9)
    return encode_image(image, encoding, header)


def pixels(message: Image) -> np.ndarray:
    """Return a received mono8 or bgr8 image as an array."""
    shape = (message.height, message.width, -1)
    array = np.frombuffer(message.data, np.uint8).reshape(shape)
    return array[..., 0] if message.encoding == 'mono8' else array
