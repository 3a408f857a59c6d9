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

"""The clock of a simulation, heard by a node beside the node, and no more often than it helps."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.time_source import CLOCK_TOPIC

from uhr_seg_ros.ros.topics.qos import no_events
from uhr_seg_ros.ros.topics.side_node import SideNode

PAUSE_S = 0.02
"""How old the node's time may get, s: simulators publish it up to a thousand times a second."""


class SimClockNode(Node):
    """
    A node that hears /clock by an executor of its own; a base class, before that of the node.

    With `use_sim_time` rclpy subscribes to /clock on the node, whose executor then wakes for every
    message of it. The subscription that it asks for is made on a `SideNode` instead. Of an rclpy
    that subscribed in another way, nothing would change.
    """

    _sim_clock: SideNode | None = None  # rclpy subscribes while the node is made

    def create_subscription(
        self, msg_type: Any, topic: str, *args: Any, **kwargs: Any
    ) -> Subscription[Any]:
        """Subscribe, to /clock beside the node."""
        if topic != CLOCK_TOPIC:
            return super().create_subscription(msg_type, topic, *args, **kwargs)
        kwargs.setdefault('event_callbacks', no_events())
        self._sim_clock = SideNode(
            self,
            'clock',
            (CLOCK_TOPIC,),
            lambda own: own.create_subscription(msg_type, topic, *args, **kwargs),
            PAUSE_S,
        )
        self._sim_clock.open()
        return self._sim_clock.subscriptions

    def destroy_subscription(self, subscription: Subscription[Any]) -> bool:
        """Unsubscribe, from /clock beside the node."""
        if self._sim_clock is None or subscription is not self._sim_clock.subscriptions:
            return super().destroy_subscription(subscription)
        self._sim_clock.close()
        return True

    def destroy_node(self) -> None:
        """End it with the node."""
        if self._sim_clock is not None:
            self._sim_clock.close()
        super().destroy_node()
