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

"""The topics of a camera, as they are remapped."""

from __future__ import annotations

from rclpy.node import Node

SUFFIX = '/compressed'
"""What image_transport appends to a topic for its compressed form."""


def image_topic(node: Node, prefix: str, transport: str) -> str:
    """Return the resolved topic of a camera's frames; `transport` is raw or compressed."""
    # As image_transport does, the base topic is remapped first and the transport appended; many
    # give the whole name of the compressed topic instead.
    topic = node.resolve_topic_name(f'{prefix}image_raw')
    if transport == 'raw' or topic.endswith(SUFFIX):
        return topic
    return node.resolve_topic_name(topic + SUFFIX)


def camera_info_topic(node: Node, images: str, name: str) -> str:
    """Return the resolved topic of a calibration: `name` if remapped, else beside the images."""
    resolved = node.resolve_topic_name(name)
    if resolved != node.resolve_topic_name(name, only_expand=True):
        return resolved
    namespace = node.resolve_topic_name(images).removesuffix(SUFFIX).rpartition('/')[0]
    return f'{namespace}/camera_info'
