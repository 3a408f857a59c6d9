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

"""One downward camera: the segmentation node with the parameters for a drone, and rviz."""

from __future__ import annotations

from launch import LaunchDescription

from uhr_seg_ros.ros.parameters.launch_node import describe_node
from uhr_seg_ros.ros.parameters.launch_table import LaunchFile


def generate_launch_description() -> LaunchDescription:
    """Describe arguments and processes."""
    file = LaunchFile('drone.launch.py', defaults={'camera_view': 'nadir'}, rviz='drone.rviz')
    return describe_node(file)
