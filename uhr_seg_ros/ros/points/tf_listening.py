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

"""Listening to /tf while somebody wants what it tells, on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
import time
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

CLOSE_S = 5.0
"""So long, s, a transform that is being taken may hold up closing."""


class TfListening:
    """
    Subscribes to /tf and /tf_static, and ends that; may be used from several threads.

    Transforms come hundreds of times a second, and each of them would wake the executor of the
    node with all that it waits for. So they have a node of their own, `<node>_tf`, with an
    executor that waits for nothing else.

    Args:
        node: whose names and remappings count.
        subscribe: makes the subscriptions on a node, and returns what has to be kept for them.

    """

    def __init__(self, node: Node, subscribe: Callable[[Node], Any]) -> None:
        self._node, self._subscribe = node, subscribe
        self._lock = Lock()
        self._listener: Node | None = None
        self._subscriptions: Any = None
        self._executor: SingleThreadedExecutor | None = None
        self._thread: Thread | None = None
        self._since_s = 0.0

    @property
    def age_s(self) -> float:
        """Since when it listens, s; 0 while it does not."""
        return time.monotonic() - self._since_s if self._listener is not None else 0.0

    def open(self) -> bool:
        """Begin; return whether it did not listen before."""
        with self._lock:
            if self._listener is not None:
                return False
            listener = self._make_node()
            try:
                self._subscriptions = self._subscribe(listener)
            except Exception:
                listener.destroy_node()
                raise
            self._listener = listener
            self._executor = SingleThreadedExecutor(context=self._node.context)
            self._executor.add_node(self._listener)
            self._thread = Thread(
                target=_spin, args=(self._executor,), name='transforms', daemon=True
            )
            self._thread.start()
            self._since_s = time.monotonic()
            return True

    def close(self) -> None:
        """End; does nothing while it does not listen."""
        with self._lock:
            if self._listener is None or self._executor is None or self._thread is None:
                return
            self._executor.shutdown()
            self._thread.join(CLOSE_S)
            listener, self._listener, self._subscriptions = self._listener, None, None
            listener.destroy_node()

    def _make_node(self) -> Node:
        # Neither the arguments of the command line, which may rename the node, nor what tools
        # look for in a node: this one is for two subscriptions.
        remapped = [
            each
            for topic in ('/tf', '/tf_static')
            for each in ('-r', f'{topic}:={self._node.resolve_topic_name(topic)}')
        ]
        return Node(
            f'{self._node.get_name()}_tf',
            context=self._node.context,
            namespace=self._node.get_namespace(),
            cli_args=['--ros-args', *remapped],
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter('start_type_description_service', value=False)],
        )


def _spin(executor: SingleThreadedExecutor) -> None:
    """Spin until the executor, or the context, is shut down."""
    with suppress(ExternalShutdownException):
        executor.spin()
