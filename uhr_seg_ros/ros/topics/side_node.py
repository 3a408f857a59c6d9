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

"""A node beside the node, for topics whose messages come hundreds of times a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
import time
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

CLOSE_S = 5.0
"""So long, s, a message that is being taken may hold up closing."""


class SideNode:
    """
    Subscribes to some topics, and ends that; may be used from several threads.

    Each message wakes an executor with all that it waits for, so what comes hundreds of times a
    second has a node of its own, whose executor waits for nothing else. It is called
    `_<node>_<name>`: names that begin so are hidden from lists of nodes.

    Args:
        node: whose names and remappings count.
        name: of what is listened to, such as `tf`.
        topics: absolute, such as `/tf`.
        subscribe: makes the subscriptions on a node, and returns what has to be kept for them.
        pause_s: after each message it looks away for so long, s; for topics of which only the
            newest message counts.

    """

    def __init__(
        self,
        node: Node,
        name: str,
        topics: Sequence[str],
        subscribe: Callable[[Node], Any],
        pause_s: float = 0.0,
    ) -> None:
        self._node, self._name, self._topics = node, name, tuple(topics)
        self._subscribe, self._pause_s = subscribe, pause_s
        self._lock = Lock()
        self._own: Node | None = None
        self._executor: SingleThreadedExecutor | None = None
        self._thread: Thread | None = None
        self._end = Event()
        self._since_s = 0.0
        self.subscriptions: Any = None

    @property
    def age_s(self) -> float:
        """Since when it listens, s; 0 while it does not."""
        return time.monotonic() - self._since_s if self._own is not None else 0.0

    def open(self) -> bool:
        """Begin; return whether it did not listen before."""
        with self._lock:
            if self._own is not None:
                return False
            own = self._make_node()
            try:
                self.subscriptions = self._subscribe(own)
            except Exception:
                own.destroy_node()
                raise
            self._own, self._end = own, Event()
            self._executor = SingleThreadedExecutor(context=self._node.context)
            self._executor.add_node(own)
            self._thread = Thread(
                target=_spin,
                args=(self._executor, self._end, self._pause_s),
                name=f'{self._name}_executor',
                daemon=True,
            )
            self._thread.start()
            self._since_s = time.monotonic()
            return True

    def close(self) -> None:
        """End; does nothing while it does not listen."""
        with self._lock:
            if self._own is None or self._executor is None or self._thread is None:
                return
            self._end.set()
            self._executor.shutdown()
            self._thread.join(CLOSE_S)
            own, self._own, self.subscriptions = self._own, None, None
            own.destroy_node()

    def _make_node(self) -> Node:
        # Neither the arguments of the command line, which may rename the node, nor what tools
        # look for in a node: this one is for its subscriptions.
        remapped = [
            each
            for topic in self._topics
            for each in ('-r', f'{topic}:={self._node.resolve_topic_name(topic)}')
        ]
        return Node(
            f'_{self._node.get_name()}_{self._name}',
            context=self._node.context,
            namespace=self._node.get_namespace(),
            cli_args=['--ros-args', *remapped],
            use_global_arguments=False,
            enable_rosout=False,
            start_parameter_services=False,
            parameter_overrides=[Parameter('start_type_description_service', value=False)],
        )


def _spin(executor: SingleThreadedExecutor, end: Event, pause_s: float) -> None:
    """Spin until that is to end, or the context is shut down."""
    with suppress(ExternalShutdownException):
        while not end.is_set() and executor.context.ok():
            executor.spin_once()
            if pause_s:
                end.wait(pause_s)
