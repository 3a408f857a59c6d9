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

"""Gather the masks of a node of anyone, and look at what is published and listened to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import Image

from uhr_seg_ros.replay.bags import COMPRESSED_IMAGE, IMAGE
from uhr_seg_ros.replay.mask_collector import Form, MaskCollector
from uhr_seg_ros.replay.node_client import describe_dds
from uhr_seg_ros.ros.topics.adaptive_subscription import AdaptiveQosSubscription

# So often it is looked who publishes masks, s.
_LOOK_PERIOD_S = 0.5


class OutsideCollector(MaskCollector):
    """
    Subscribes to masks with the quality of service that their publisher offers.

    Args:
        mask_topic: of `sensor_msgs/msg/Image`.
        output: folder for `masks/`; None: take the times, save nothing.
        name: of its own node.

    """

    def __init__(
        self, mask_topic: str, output: Path | None = None, name: str = 'collector'
    ) -> None:
        self.mask_topic = mask_topic
        super().__init__(name, output)

    def _subscribe(self) -> None:
        self._masks = AdaptiveQosSubscription(self._node, Image, self.mask_topic, self._on_mask)
        self._node.create_timer(_LOOK_PERIOD_S, self._masks.update_qos)

    def publishers(self) -> list[TopicEndpointInfo]:
        """Return who publishes on the topic of masks, of whatever type."""
        return self._masks.publishers()

    def subscribers(self, topic: str) -> list[TopicEndpointInfo]:
        """Return who subscribes to a topic."""
        return self._node.get_subscriptions_info_by_topic(topic)

    def image_topics(self, *, published: bool) -> list[str]:
        """Return the topics of images that others publish, or subscribe to, with their types."""
        ask = (
            self._node.get_publishers_info_by_topic
            if published
            else self._node.get_subscriptions_info_by_topic
        )
        own = self._node.get_name()
        return sorted(
            f'{topic} ({", ".join(types)})'
            for topic, types in self._node.get_topic_names_and_types()
            if {IMAGE, COMPRESSED_IMAGE} & set(types)
            and any(each.node_name != own for each in ask(topic))
        )

    def describe_dds(self, image_topic: str) -> dict[str, Any]:
        """Return how frames and masks travel; see `node_client.describe_dds`."""
        return describe_dds(self._node, image_topic, self.mask_topic)


def mask_forms(forms: Mapping[Form, int]) -> list[dict[str, Any]]:
    """Return `encoding`, `size` (height, width) and `count` of each form, the commonest first."""
    return [
        {'encoding': form.encoding, 'size': [form.height, form.width], 'count': count}
        for form, count in sorted(forms.items(), key=lambda item: -item[1])
    ]
