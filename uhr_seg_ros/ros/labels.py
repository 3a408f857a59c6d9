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

"""The names of the classes, on a latched topic beside the mask."""

from __future__ import annotations

import json
from typing import Any, TYPE_CHECKING

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import String

from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.ros.topics.qos import latched_qos, output_overrides

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # not among the PyPI wheels
    LabelInfo = None

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time


class LabelTopic:
    """
    The classes on a latched topic, as the vision_msgs convention asks for.

    `<prefix>label_info` (vision_msgs/LabelInfo), or where vision_msgs is absent
    `<prefix>label_info_json` (std_msgs/String) with the same content.

    Args:
        node: owner of the publisher.
        prefix: namespace of the mask, such as `~/` or `~/front/`.
        group: of the publisher's events; None: the node's own.

    Attributes:
        publisher: the message lives as long as it does.

    """

    def __init__(self, node: Node, prefix: str, group: CallbackGroup | None = None) -> None:
        self._node = node
        kind, name = (
            (String, 'label_info_json') if LabelInfo is None else (LabelInfo, 'label_info')
        )
        self.publisher: Publisher[Any] = node.create_publisher(
            kind,
            prefix + name,
            latched_qos(),
            callback_group=group,
            qos_overriding_options=output_overrides(),
        )
        if LabelInfo is None:
            node.get_logger().info(
                'vision_msgs is not installed: class names are on '
                f'{self.publisher.topic_name} as JSON'
            )

    def publish(self, classes: ClassSet, threshold: float) -> None:
        """
        Publish what the ids of the masks from now on mean.

        Args:
            classes: those that are unused are left out.
            threshold: confidence, 0 to 1, below which pixels are unlabeled.

        """
        stamp = self._node.get_clock().now().to_msg()
        if LabelInfo is None:
            content = _content(classes, threshold, stamp)
            self.publisher.publish(String(data=json.dumps(content)))
        else:
            self.publisher.publish(_label_info(classes, threshold, stamp))


def _content(classes: ClassSet, threshold: float, stamp: Time) -> dict[str, Any]:
    """Return the fields of vision_msgs/LabelInfo."""
    return {
        'header': {'stamp': {'sec': stamp.sec, 'nanosec': stamp.nanosec}, 'frame_id': ''},
        'class_map': [
            {'class_id': class_id, 'class_name': name} for name, class_id in classes.ids.items()
        ],
        'threshold': threshold,
    }


def _label_info(classes: ClassSet, threshold: float, stamp: Time) -> Any:
    message = LabelInfo(threshold=threshold)
    message.header.stamp = stamp
    message.class_map = [
        VisionClass(class_id=class_id, class_name=name) for name, class_id in classes.ids.items()
    ]
    return message
