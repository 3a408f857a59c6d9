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
"""The node without what `tools.topic_cost` measures: it subscribes as rclpy does."""

from __future__ import annotations

from rclpy.node import Node

from uhr_seg_ros.ros.node import main, SegmentationNode
from uhr_seg_ros.ros.topics import adaptive_subscription

if __name__ == '__main__':
    adaptive_subscription.spare = lambda *_: None
    SegmentationNode.create_subscription = Node.create_subscription  # type: ignore[method-assign]
    main()
