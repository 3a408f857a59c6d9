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

"""What messages have in common: their size in memory, and how they name frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo, Image, PointCloud2


_MESSAGE = 4096
"""Bytes that any message has in Python, about."""

_FIELD = 512
"""Bytes that a PointField has in Python, about."""


def message_bytes(message: PointCloud2 | Image | CameraInfo) -> int:
    """Return the bytes of a message, about: its numbers, and what has no limit of its own."""
    size = _MESSAGE + len(message.header.frame_id)
    for name in ('encoding', 'distortion_model'):
        size += len(getattr(message, name, ''))
    for name, itemsize in (('data', 1), ('d', 8)):
        size += itemsize * len(getattr(message, name, ()))
    return size + sum(_FIELD + len(field.name) for field in getattr(message, 'fields', ()))


def plain_frame(frame: str) -> str:
    """Return a frame's name without the slash that ROS 1 put before it; tf2 knows none."""
    return frame.lstrip('/')
