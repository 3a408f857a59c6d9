# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The ROS 2 side: topics, parameters and lifecycle around the segmenter."""

import os

# A small file can claim to be a picture of gigabytes. OpenCV reads this limit, in pixels, when it
# is first imported; it is that of `decoding.MAX_PIXELS`.
os.environ.setdefault('OPENCV_IO_MAX_IMAGE_PIXELS', str(1 << 28))
