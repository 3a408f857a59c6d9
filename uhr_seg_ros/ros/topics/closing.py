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

"""Closing what may fail at that: every step is taken, and what is left is known."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import Publisher as LifecyclePublisher
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

T = TypeVar('T')


def close_all(things: list[T], close: Callable[[T], object]) -> None:
    """
    Close things in turn and take off the list what is closed.

    What cannot be closed stays on it, for another try, and the others are closed all the same.

    Args:
        things: what is open.
        close: closes one of them; again does no harm.

    Raises:
        Exception: what the last one that failed has raised; those before it are its context.

    """

    def close_one(thing: T) -> None:
        close(thing)
        things.remove(thing)

    with ExitStack() as steps:
        for thing in reversed(things):
            steps.callback(close_one, thing)


def withdraw(node: Node, topic: Publisher[Any] | Subscription[Any]) -> None:
    """
    Destroy a publisher or a subscription of a node.

    If that raises, what lies below is tried before it is passed on: else the successor would be
    the second one of its topic.
    """
    try:
        if isinstance(topic, Subscription):
            node.destroy_subscription(topic)
        elif isinstance(topic, LifecyclePublisher) and isinstance(node, LifecycleNode):
            node.destroy_lifecycle_publisher(topic)
        else:
            node.destroy_publisher(topic)
    except Exception:
        # Not `topic.destroy`: what the node still knows of it would stop the executor.
        with suppress(Exception):
            if isinstance(topic, Subscription):
                Node.destroy_subscription(node, topic)
            else:
                Node.destroy_publisher(node, topic)
        raise
