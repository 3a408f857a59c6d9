# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Real-time semantic segmentation of ultra-high-resolution camera frames for ROS 2."""

import os

__version__ = '0.1.0'

# OpenCV reads its own limit when it is first imported. Here the header of a picture decides
# (`image_io.limits`, `ros.decoding`), and OpenCV's must not be lower.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(1 << 32))

# ONNX Runtime's wheels have a telemetry client, which would leave a session file in the temporary
# folder and try to report. Nothing leaves the machine, unless its user has decided otherwise.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')
