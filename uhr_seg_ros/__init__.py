# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Real-time semantic segmentation of ultra-high-resolution camera frames for ROS 2."""

import os

__version__ = '0.1.0'

# OpenCV reads its own limit when it is first imported. Here the header of a picture decides
# (`image_io.limits`, `ros.decoding`), and OpenCV's must not be lower.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(1 << 32))
