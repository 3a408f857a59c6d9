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
Draw what config/drone.rviz shows, where rviz itself cannot run.

    python -m tools.rviz_picture docs/images/rviz.png

The real node gets frames of a generated flight, and the topics of the layout are subscribed to as
its displays do. The picture has their images under the names of the displays; how rviz lays out
its docks on a screen is its own affair.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
import yaml

from tools.small_png import write_small_png
from uhr_seg_ros.core.errors import ProcessError
from uhr_seg_ros.replay.environment import isolate
from uhr_seg_ros.replay.node_process import NodeProcess
from uhr_seg_ros.ros.messages.images import encode_image
from uhr_seg_ros.synthetic.scenes import generate_scene

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = ROOT / 'config/drone.rviz'

#: Height and width of the frames, px; seconds until one is sent again, and until all is given up.
FRAME, AGAIN_S, PATIENCE_S = (1080, 1920), 20.0, 300.0
#: Parameters of the node: on a CPU without the warning that it is one.
NODE = {'backend': 'onnxruntime'}
#: So many masks come before the picture is drawn, so that the diagnostics have figures.
MASKS = 4

#: Of the picture, px.
WIDTH, HEIGHT, LIST, BAR, GAP = 1280, 720, 200, 24, 6
_DARK, _LIGHT, _INK = (48, 48, 48), (62, 62, 62), (230, 230, 230)


def displays(layout: Path = LAYOUT) -> dict[str, dict[str, Any]]:
    """Return the topics of the image displays of a layout: name of the display -> topic."""
    manager = yaml.safe_load(layout.read_text(encoding='utf-8'))['Visualization Manager']
    return {
        each['Name']: each['Topic']
        for each in manager['Displays']
        if each['Class'].endswith('/Image') and each['Enabled']
    }


def collect() -> dict[str, np.ndarray]:
    """
    Let the node segment until every display has an image.

    Returns:
        Name of a display -> (H, W, 3) uint8 BGR.

    Raises:
        ProcessError: the node ended, or not every image came.

    """
    isolate()
    rclpy.init()
    node = rclpy.create_node('rviz_picture')
    seen: dict[str, np.ndarray] = {}
    masks: list[int] = []
    for name, topic in displays().items():
        best_effort = topic['Reliability Policy'] == 'Best Effort'
        kind = QoSReliabilityPolicy.BEST_EFFORT if best_effort else QoSReliabilityPolicy.RELIABLE
        node.create_subscription(
            Image,
            topic['Value'],
            lambda message, name=name: seen.update({name: _pixels(message)}),
            QoSProfile(depth=topic['Depth'], reliability=kind),
        )
    node.create_subscription(Image, 'segmentation/mask', lambda _: masks.append(1), 10)
    camera = node.create_publisher(Image, 'image_raw', 1)
    scene, _ = generate_scene(7, *FRAME)
    frame = encode_image(scene, 'bgr8', Header(frame_id='camera_optical_frame'))
    try:
        with (
            TemporaryDirectory(prefix='uhr_seg_') as folder,
            NodeProcess(NODE, Path(folder)) as run,
        ):
            end, due, answered = time.monotonic() + PATIENCE_S, 0.0, 0
            while len(masks) < MASKS or len(seen) < len(displays()):
                if time.monotonic() > end or not run.is_running():
                    msg = f'images of {", ".join(seen) or "no display"} came:\n{run.last_lines()}'
                    raise ProcessError(msg)
                if time.monotonic() > due or len(masks) > answered:
                    due, answered = time.monotonic() + AGAIN_S, len(masks)
                    frame.header.stamp = node.get_clock().now().to_msg()
                    camera.publish(frame)
                rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return seen


def _pixels(message: Image) -> np.ndarray:
    """Return the pixels of a bgr8 message, which all of these topics have."""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


def compose(images: dict[str, np.ndarray]) -> np.ndarray:
    """Arrange images below their names beside the list of displays: (H, W, 3) uint8 BGR."""
    window = np.full((HEIGHT, WIDTH, 3), _DARK, np.uint8)
    _write(window, 'Displays', 8, BAR)
    for row, name in enumerate(displays()):
        top = BAR * (row + 2)
        cv2.rectangle(window, (10, top - 16), (22, top - 4), _INK, 1)
        cv2.line(window, (12, top - 10), (16, top - 6), (120, 200, 120), 2)
        cv2.line(window, (16, top - 6), (21, top - 15), (120, 200, 120), 2)
        _write(window, name, 32, top)
    width, height = (WIDTH - LIST) // 2 - GAP, HEIGHT // 2 - GAP
    for number, name in enumerate(displays()):
        left, top = LIST + number % 2 * (width + GAP), number // 2 * (height + GAP)
        panel = window[top : top + height, left : left + width]
        panel[:] = 0
        panel[:BAR] = _LIGHT
        _write(panel, name, 8, BAR - 4)
        image = images[name]
        scale = min(width / image.shape[1], (height - BAR) / image.shape[0])
        shape = round(image.shape[1] * scale), round(image.shape[0] * scale)
        small = cv2.resize(image, shape, interpolation=cv2.INTER_AREA)
        y, x = BAR + (height - BAR - shape[1]) // 2, (width - shape[0]) // 2
        panel[y : y + shape[1], x : x + shape[0]] = small
    return window


def _write(picture: np.ndarray, text: str, left: int, bottom: int) -> None:
    cv2.putText(
        picture, text, (left, bottom - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw into a PNG file."""
    parser = argparse.ArgumentParser(description='Draw what config/drone.rviz shows.')
    parser.add_argument('file', type=Path, metavar='FILE')
    file = parser.parse_args(arguments).file
    write_small_png(compose(collect()), file, colors=80)
    return 0


if __name__ == '__main__':
    sys.exit(main())
