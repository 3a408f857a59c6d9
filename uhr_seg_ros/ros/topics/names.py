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

from importlib import import_module
from typing import NamedTuple

from rclpy.node import Node

from uhr_seg_ros.core.errors import ConfigError


class Transport(NamedTuple):
    """
    A value of `image_transport`.

    Attributes:
        suffix: what it appends to the topic of a camera.
        package: of its messages.
        message: their class.
        debian: name of the package that installs them, behind that of the distribution.
        is_stream: whether they are packets, which PyAV decodes.
    """

    suffix: str
    package: str
    message: str
    debian: str = ''
    is_stream: bool = False

    @property
    def type_name(self) -> str:
        """Name of its messages, such as `sensor_msgs/msg/Image`."""
        return f'{self.package}/msg/{self.message}'


TRANSPORTS = {
    'raw': Transport('', 'sensor_msgs', 'Image'),
    'compressed': Transport('/compressed', 'sensor_msgs', 'CompressedImage'),
    'ffmpeg': Transport(
        '/ffmpeg',
        'ffmpeg_image_transport_msgs',
        'FFMPEGPacket',
        'ffmpeg-image-transport-msgs',
        is_stream=True,
    ),
    'foxglove': Transport(
        '/foxglove', 'foxglove_msgs', 'CompressedVideo', 'foxglove-msgs', is_stream=True
    ),
}

_SUFFIXES = tuple(each.suffix for each in TRANSPORTS.values() if each.suffix)


def message_class(transport: str) -> type:
    """
    Return the class of the messages of a transport.

    Raises:
        ConfigError: it is not installed.
    """
    kind = TRANSPORTS[transport]
    try:
        found: type = getattr(import_module(f'{kind.package}.msg'), kind.message)
    except (ImportError, AttributeError) as err:
        msg = (
            f'image_transport {transport} takes {kind.type_name}, which is not installed: '
            f'apt install ros-$ROS_DISTRO-{kind.debian}'
        )
        raise ConfigError(msg) from err
    return found


def image_topic(node: Node, prefix: str, transport: str) -> str:
    """Return the resolved topic of a camera's frames; `transport` is one of `TRANSPORTS`."""
    # As image_transport does, the base topic is remapped first and the transport appended; many
    # give the whole name of the compressed topic instead.
    topic = node.resolve_topic_name(f'{prefix}image_raw')
    suffix = TRANSPORTS[transport].suffix
    return topic if topic.endswith(suffix) else node.resolve_topic_name(topic + suffix)


def base_topic(topic: str) -> str:
    """Return a topic without what a transport has appended."""
    suffix = next((each for each in _SUFFIXES if topic.endswith(each)), '')
    return topic.removesuffix(suffix)


def camera_info_topic(node: Node, images: str, name: str) -> str:
    """Return the resolved topic of a calibration: `name` if remapped, else beside the images."""
    resolved = node.resolve_topic_name(name)
    if resolved != node.resolve_topic_name(name, only_expand=True):
        return resolved
    namespace = base_topic(node.resolve_topic_name(images)).rpartition('/')[0]
    return f'{namespace}/camera_info'
