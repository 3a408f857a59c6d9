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
One image in, its mask out, for scripts and behavior trees.

No standard service has an image in its request and one in its response, and a package of Python
alone cannot define one. So there are topics: an answer has the header of its request.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from uhr_seg_ros.core.errors import MessageError
from uhr_seg_ros.core.text import one_line
from uhr_seg_ros.pipelines.segmenter import Segmentation
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.topics.closing import close_all, withdraw
from uhr_seg_ros.ros.topics.status import make_status

IMAGE, MASK, STATUS = '~/segment/image', '~/segment/mask', '~/segment/status'

MAX_WAITING = 8
"""So many images may wait; none is dropped for a newer one, so further ones are refused."""


class SegmentRequests:
    """
    Answers images by their masks, one after the other, between the frames of the cameras.

    For each image there is a status, OK or an error with its reason, and a mask if it is OK.

    Args:
        node: owner of the topics.
        segment: makes the mask of a message; for the worker's thread.
        call: runs a job on the worker.
        on_error: gets why an image was refused.

    """

    def __init__(
        self,
        node: LifecycleNode,
        segment: Callable[[Image | CompressedImage], Segmentation],
        call: Callable[[Callable[[], None]], object],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._node, self._segment, self._call, self._on_error = node, segment, call, on_error
        self._group = MutuallyExclusiveCallbackGroup()
        self._lock = Lock()
        self._waiting = 0
        self._publishers: list[Publisher[Any]] = []
        self._subscriptions: list[Subscription[Any]] = []

    def open_output(self) -> None:
        """Announce the answers."""
        self.close_output()  # what an end that failed has left
        qos = QoSProfile(depth=MAX_WAITING, reliability=ReliabilityPolicy.RELIABLE)
        for kind, topic in ((Image, MASK), (DiagnosticArray, STATUS)):
            # Not of the lifecycle: an image that waits is answered after deactivating, too.
            self._publishers.append(
                self._node.create_publisher(kind, topic, qos, callback_group=self._group)
            )

    def open_input(self) -> None:
        """Subscribe to images, as they are and compressed."""
        self.close_input()
        qos = QoSProfile(depth=MAX_WAITING, reliability=ReliabilityPolicy.RELIABLE)
        for kind, topic in ((Image, IMAGE), (CompressedImage, f'{IMAGE}/compressed')):
            self._subscriptions.append(
                self._node.create_subscription(
                    kind, topic, self._receive, qos, callback_group=self._group
                )
            )

    def close_input(self) -> None:
        """Unsubscribe; what waits is answered all the same."""
        close_all(self._subscriptions, partial(withdraw, self._node))

    def close_output(self) -> None:
        """Withdraw the answers."""
        close_all(self._publishers, partial(withdraw, self._node))

    def _receive(self, message: Image | CompressedImage) -> None:
        with self._lock:
            is_full = self._waiting >= MAX_WAITING
            self._waiting += not is_full
        if is_full:
            text = f'{MAX_WAITING} images wait already: send the next one after an answer'
            self._refuse(message, MessageError(text))
        else:
            self._call(partial(self._serve, message))

    def _serve(self, message: Image | CompressedImage) -> None:
        """Answer an image; on the worker."""
        start = time.monotonic()
        try:
            result = self._segment(message)
            encoding = 'mono8' if result.mask.dtype == np.uint8 else 'mono16'
            answer = encode_image(result.mask, encoding, message.header)
        except Exception as error:  # none may end the worker
            self._refuse(message, error)
            return
        finally:
            with self._lock:
                self._waiting -= 1
        self._publish(MASK, answer)
        height, width = result.mask.shape
        milliseconds = f'{1e3 * (time.monotonic() - start):.3f}'
        values = {'width': str(width), 'height': str(height), 'total_ms': milliseconds}
        self._tell(message, DiagnosticStatus.OK, 'OK', values)

    def _refuse(self, message: Image | CompressedImage, error: Exception) -> None:
        self._on_error(error)
        self._tell(message, DiagnosticStatus.ERROR, one_line(error), {})

    def _tell(
        self, message: Image | CompressedImage, level: bytes, text: str, values: dict[str, str]
    ) -> None:
        name = self._node.get_fully_qualified_name()
        status = make_status(f'{name}/segment', level, text, name, values)
        self._publish(STATUS, DiagnosticArray(header=message.header, status=[status]))

    def _publish(self, topic: str, message: Any) -> None:
        name = self._node.resolve_topic_name(topic)
        for publisher in tuple(self._publishers):
            if publisher.topic_name == name:
                publisher.publish(message)
