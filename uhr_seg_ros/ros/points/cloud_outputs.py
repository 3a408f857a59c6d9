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

"""What is published of a labeled cloud: a row of `CLOUD_OUTPUTS` is a topic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import Publisher as LifecyclePublisher
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image, PointCloud2

from uhr_seg_ros.core.classes import UNLABELED
from uhr_seg_ros.ros.messages.cloud import encode_cloud
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.ros.points.cloud_projection import LabeledCloud
from uhr_seg_ros.ros.topics.closing import close_all, withdraw
from uhr_seg_ros.ros.topics.qos import output_overrides, output_qos

M = TypeVar('M')


@dataclass(frozen=True)
class CloudOutputSpec(Generic[M]):
    """One topic below the camera's: its name, the type of its messages, and what makes them."""

    name: str
    type: type[M]
    encode: Callable[[LabeledCloud], M]


def _points(cloud: LabeledCloud) -> PointCloud2:
    return encode_cloud(cloud.labeled, cloud.header, *cloud.shape)


def _aligned(name: str, unseen: int) -> Callable[[LabeledCloud], Image]:
    """Return what makes a picture with a pixel for each point, whichever the cloud keeps."""

    def encode(cloud: LabeledCloud) -> Image:
        values = getattr(cloud.labeled, name)
        picture = cloud.labeled.spread(values, unseen, cloud.shape)
        return encode_image(picture, 'mono8', cloud.header)

    return encode


CLOUD_OUTPUTS: tuple[CloudOutputSpec[Any], ...] = (
    CloudOutputSpec('points', PointCloud2, _points),
    CloudOutputSpec('mask_aligned', Image, _aligned('label', UNLABELED)),
    CloudOutputSpec('confidence_aligned', Image, _aligned('confidence', 0)),
)
"""Every topic of a camera that has a message for each labeled cloud, under the cloud's header."""


class CloudOutputs:
    """
    The publications of the labeled clouds of one camera, each for its subscribers only.

    Args:
        node: owner of the publishers.
        prefix: `front/` for the camera `front`, empty for the one without a name.

    """

    def __init__(self, node: LifecycleNode, prefix: str) -> None:
        self._node = node
        self._group = MutuallyExclusiveCallbackGroup()
        self._open: list[Publisher[Any]] = []
        self._topics: list[tuple[CloudOutputSpec[Any], LifecyclePublisher[Any]]] = []
        try:
            for spec in CLOUD_OUTPUTS:
                self._topics.append((spec, self._publisher(spec, f'~/{prefix}{spec.name}')))
        except Exception:  # such as an override of a QoS that does not exist
            self.close()
            raise

    @property
    def is_wanted(self) -> bool:
        """Whether someone subscribes to any of them."""
        return any(publisher.get_subscription_count() for _, publisher in self._topics)

    def publish(self, cloud: LabeledCloud) -> None:
        """Publish what became of a cloud."""
        for spec, publisher in self._topics:
            if publisher.get_subscription_count():
                publisher.publish(spec.encode(cloud))

    def close(self) -> None:
        """Withdraw the topics; what fails at that is tried again by the next call."""
        close_all(self._open, partial(withdraw, self._node))

    def _publisher(self, spec: CloudOutputSpec[Any], topic: str) -> LifecyclePublisher[Any]:
        publisher: LifecyclePublisher[Any] = self._node.create_lifecycle_publisher(
            spec.type,
            topic,
            output_qos(),
            callback_group=self._group,
            qos_overriding_options=output_overrides(),
        )
        self._open.append(publisher)
        return publisher
