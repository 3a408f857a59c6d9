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

"""
The node as a robot's launch starts it: a frame gives its mask, and SIGINT ends it.

`colcon test` takes the package that colcon has installed, everything else this tree.
"""

from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import sys
from typing import Any

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from stage import example_mask, frame, pixels, RELIABLE, wait_until
from tiny_bundle import paint

if 'launch_pytest.plugin' not in sys.modules:
    pytest.skip('the plug-in launch_pytest is not loaded', allow_module_level=True)
from ament_index_python.packages import get_package_share_directory
from installed_tree import install_tree
import launch
from launch.actions import (
    IncludeLaunchDescription,
    RegisterEventHandler,
    SetLaunchConfiguration,
)
from launch.event_handlers import OnProcessExit
import launch_pytest

#: Codes of the processes that have ended.
ENDED: list[int] = []


@launch_pytest.fixture
def robot(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> launch.LaunchDescription:
    """Include the launch file as that of a robot does."""
    if os.environ.get('COLCON') != '1':
        monkeypatch.setenv('AMENT_PREFIX_PATH', install_tree(tmp_path))
    ENDED.clear()
    file = Path(get_package_share_directory('uhr_seg_ros')) / 'launch/drone.launch.py'
    arguments = {
        'bundle': str(tiny_bundle),
        'backend': 'onnxruntime',
        'namespace': 'robot',
        'image_topic': '/robot/camera/image',
    }
    note = OnProcessExit(on_exit=lambda event, _: ENDED.append(event.returncode))
    return launch.LaunchDescription(
        [
            RegisterEventHandler(note),
            # However busy the machine is, nothing stronger than SIGINT is sent.
            SetLaunchConfiguration('sigterm_timeout', '60'),
            IncludeLaunchDescription(str(file), launch_arguments=arguments.items()),
            launch_pytest.actions.ReadyToTest(),
        ]
    )


@pytest.mark.launch(fixture=robot)
def test_launched_node_masks_a_frame_and_ends(context: Context) -> Iterator[None]:
    masks: list[Any] = []
    mask = example_mask()
    camera = Node('camera', context=context)
    publisher = camera.create_publisher(Image, '/robot/camera/image', RELIABLE)
    camera.create_subscription(Image, '/robot/segmentation/mask', masks.append, RELIABLE)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(camera)

    def has_mask() -> bool:
        publisher.publish(frame(paint(mask)))
        executor.spin_once(timeout_sec=0.2)
        return bool(masks)

    wait_until(has_mask, 'a mask of the launched node')
    assert np.array_equal(pixels(masks[0]), mask)
    executor.shutdown()
    yield  # launch sends SIGINT
    assert ENDED == [0]
