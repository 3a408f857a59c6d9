# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Quality of service: reliable publications, subscriptions that follow their publisher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from uhr_seg_ros.ros.closing import withdraw

# Old frames are of no use here, but a reliable 4K frame arrives in hundreds of fragments: with
# a depth of one, the next frame could throw it out before it is complete.
INPUT_DEPTH = 5
OUTPUT_DEPTH = 2


def output_qos() -> QoSProfile:
    """Return the profile of masks and pictures: reliable, which connects to every subscriber."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=OUTPUT_DEPTH, reliability=ReliabilityPolicy.RELIABLE
    )


def latched_qos() -> QoSProfile:
    """Return the profile of what a late subscriber has to get too."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def output_overrides() -> QoSOverridingOptions:
    """Let parameters `qos_overrides.<topic>.publisher.*` change a publication."""
    return QoSOverridingOptions.with_default_policies()


def matching_reliability(
    publishers: Sequence[TopicEndpointInfo], current: ReliabilityPolicy
) -> ReliabilityPolicy:
    """
    Return the strongest reliability that connects to every publisher.

    A best-effort subscription connects to any publisher but, by Fast DDS defaults, receives no
    frame above half a megabyte; a reliable one never connects to a best-effort publisher.

    Args:
        publishers: what `get_publishers_info_by_topic` found.
        current: kept while nobody publishes.

    """
    if not publishers:
        return current
    offered = [publisher.qos_profile.reliability for publisher in publishers]
    if ReliabilityPolicy.BEST_EFFORT in offered:
        return ReliabilityPolicy.BEST_EFFORT
    return ReliabilityPolicy.RELIABLE


class FollowingSubscription:
    """
    A subscription that takes the reliability its publishers offer.

    Quality of service cannot change on a living subscription, so `follow` replaces it; call that
    now and then. Messages come one after the other, in a callback group of their own: taking a 4K
    frame holds up nothing else of the node.

    Args:
        node: owner.
        message_type: class of the messages.
        topic: relative name, remapped by the node.
        callback: gets each message.
        reliability: `auto` to follow, or `reliable` or `best_effort` to keep one.

    Attributes:
        topic_name: resolved name, which starts with `/`.

    """

    def __init__(
        self,
        node: Node,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        reliability: str = 'auto',
    ) -> None:
        self._node = node
        self._message_type = message_type
        self._topic = topic
        self._callback = callback
        self._follows = reliability == 'auto'
        wanted = 'reliable' if self._follows else reliability
        self._reliability = ReliabilityPolicy[wanted.upper()]
        self._lock = Lock()  # closing comes from another thread than following
        self._subscription: Subscription | None = None
        self.topic_name = node.resolve_topic_name(topic)
        self.follow()
        if self._subscription is None:
            self._subscribe()

    @property
    def reliability(self) -> ReliabilityPolicy:
        """The reliability of the subscription as it is now."""
        return self._reliability

    def follow(self) -> None:
        """Subscribe again if the publishers ask for another reliability."""
        wanted = matching_reliability(self._publishers(), self._reliability)
        with self._lock:
            if not self._follows or wanted == self._reliability:
                return
            was_open = self._subscription is not None
            self._reliability = wanted
            self._close()
            self._subscribe()
        if was_open:
            self._node.get_logger().info(
                f'{self.topic_name}: a publisher offers {wanted.name.lower()}, subscribed again'
            )

    def describe_publishers(self) -> str:
        """Tell who publishes and how, for a warning about frames that do not come."""
        subscribed = f'subscribed {self._reliability.name.lower()}'
        publishers = [
            f'{info.node_namespace.rstrip("/")}/{info.node_name} ('
            f'{info.qos_profile.reliability.name.lower()}, {info.topic_type})'
            for info in self._publishers()
        ]
        return f'publishers: {", ".join(publishers) or "none"}; {subscribed}'

    def close(self) -> None:
        """Unsubscribe for good."""
        with self._lock:
            self._follows = False
            self._close()

    def _publishers(self) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(self._topic)

    def _subscribe(self) -> None:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=INPUT_DEPTH, reliability=self._reliability
        )
        self._subscription = self._node.create_subscription(
            self._message_type,
            self._topic,
            self._callback,
            profile,
            callback_group=MutuallyExclusiveCallbackGroup(),
            qos_overriding_options=QoSOverridingOptions([QoSPolicyKind.DEPTH]),
        )

    def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            withdraw(self._node, subscription)
