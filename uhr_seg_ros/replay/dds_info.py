# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""What DDS does with the messages of a replay."""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

from rclpy import get_rmw_implementation_identifier
from rclpy.node import Node

if TYPE_CHECKING:
    from rclpy.topic_endpoint_info import TopicEndpointInfo


def describe_dds(node: Node, inputs: str, outputs: str) -> dict[str, Any]:
    """Return the middleware, and the QoS of a subscription and of a publication of others."""
    return {
        'rmw': get_rmw_implementation_identifier(),
        'image_qos': _qos(node.get_subscriptions_info_by_topic(inputs)),
        'mask_qos': _qos(node.get_publishers_info_by_topic(outputs)),
    }


def _qos(endpoints: list[TopicEndpointInfo]) -> str | None:
    if not endpoints:
        return None
    profile = endpoints[0].qos_profile
    return f'{profile.reliability.name.lower()}, {profile.durability.name.lower()}'
