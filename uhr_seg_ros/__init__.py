# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Real-time semantic segmentation of ultra-high-resolution camera frames for ROS 2."""

__version__ = '0.1.0'
