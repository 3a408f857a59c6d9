# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Closing what may fail at that: every step is taken, and what is left is known."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TypeVar

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


def withdraw(node: LifecycleNode, topic: Publisher | Subscription) -> None:
    """
    Destroy a publisher or a subscription of a node.

    If that raises, what lies below is tried before it is passed on: else the successor would be
    the second one of its topic.
    """
    if isinstance(topic, Subscription):
        usual, below = node.destroy_subscription, Node.destroy_subscription
    elif isinstance(topic, LifecyclePublisher):
        usual, below = node.destroy_lifecycle_publisher, Node.destroy_publisher
    else:
        usual, below = node.destroy_publisher, Node.destroy_publisher
    try:
        usual(topic)
    except Exception:
        # Not `topic.destroy`: what the node still knows of it would stop the executor.
        with suppress(Exception):
            below(node, topic)
        raise
