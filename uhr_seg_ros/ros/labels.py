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


def publish_labels(
    node: Node, prefix: str, classes: ClassSet, group: CallbackGroup | None = None
) -> Publisher:
    """
    Publish the classes once, latched, as the vision_msgs convention asks for.

    `<prefix>label_info` (vision_msgs/LabelInfo), or where vision_msgs is absent
    `<prefix>label_info_json` (std_msgs/String) with the same content.

    Args:
        node: owner of the publisher.
        prefix: namespace of the mask, such as `~/` or `~/front/`.
        classes: position is the id in the mask.
        group: of the publisher's events; None: the node's own.

    Returns:
        The publisher; the message lives as long as it does.

    """
    stamp = node.get_clock().now().to_msg()
    if LabelInfo is not None:
        return _publish(node, f'{prefix}label_info', _label_info(classes, stamp), group)
    message = String(data=json.dumps(_content(classes, stamp)))
    publisher = _publish(node, f'{prefix}label_info_json', message, group)
    node.get_logger().info(
        f'vision_msgs is not installed: class names are on {publisher.topic_name} as JSON'
    )
    return publisher


def _publish(node: Node, topic: str, message: Any, group: CallbackGroup | None) -> Publisher:
    publisher = node.create_publisher(
        type(message),
        topic,
        latched_qos(),
        callback_group=group,
        qos_overriding_options=output_overrides(),
    )
    try:
        publisher.publish(message)
    except Exception:
        node.destroy_publisher(publisher)
        raise
    return publisher


def _content(classes: ClassSet, stamp: Time) -> dict[str, Any]:
    """Return the fields of vision_msgs/LabelInfo."""
    return {
        'header': {'stamp': {'sec': stamp.sec, 'nanosec': stamp.nanosec}, 'frame_id': ''},
        'class_map': [
            {'class_id': class_id, 'class_name': name}
            for class_id, name in enumerate(classes.names)
        ],
        'threshold': 0.0,
    }


def _label_info(classes: ClassSet, stamp: Time) -> Any:
    message = LabelInfo()
    message.header.stamp = stamp
    message.class_map = [
        VisionClass(class_id=class_id, class_name=name)
        for class_id, name in enumerate(classes.names)
    ]
    return message
