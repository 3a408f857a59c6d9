# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

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
