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
A node as most others are: shrink the frame, run a network on it, publish the small mask.

    python -m tools.shrinking_node --ros-args -p bundle:=FOLDER -r image:=/image_raw

A stand-in for them, for `uhr_seg benchmark node --command`: ONNX Runtime, no tiles, no second
branch, no diagnostics. The bundle is one of kind `single` that takes one size, such as
`tools.shrunk_network` makes. The mask, on `mask`, has the size of the network's input.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.ros.messages.images import encode_image, view_image


class ShrinkingNode(Node):
    """Subscribes to `image`, publishes `mask` (mono8) under the header of each image."""

    def __init__(self, **options: Any) -> None:
        super().__init__('shrinking_node', **options)
        bundle = load_bundle(self.declare_parameter('bundle', '').value)
        engine = ort.SessionOptions()
        engine.intra_op_num_threads = self.declare_parameter('threads', 0).value
        path = bundle.graphs['network'].path
        self._session = ort.InferenceSession(path, engine, ['CPUExecutionProvider'])
        self._size = tuple(self._session.get_inputs()[0].shape[2:])
        self._mean, self._std = (np.array(each, np.float32) for each in (bundle.mean, bundle.std))
        self._masks = self.create_publisher(Image, 'mask', 2)
        self.create_subscription(Image, 'image', self._segment, 2)

    def _segment(self, message: Image) -> None:
        mask = self.mask(view_image(message).bgr)
        self._masks.publish(encode_image(mask, 'mono8', message.header))

    def mask(self, frame: np.ndarray) -> np.ndarray:
        """Return the class ids (h, w) uint8 of a frame (H, W, 3) uint8 BGR, shrunk."""
        small = cv2.resize(frame, self._size[::-1], interpolation=cv2.INTER_AREA)
        planes = ((small[..., ::-1] - self._mean) / self._std).transpose(2, 0, 1)[None]
        logits = self._session.run(['logits'], {'image': np.ascontiguousarray(planes)})[0][0]
        large = [cv2.resize(plane, self._size[::-1]) for plane in logits]
        return np.argmax(large, axis=0).astype(np.uint8)


def main() -> None:
    """Run the node until a signal comes."""
    rclpy.init()
    try:
        rclpy.spin(ShrinkingNode())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == '__main__':
    main()
