# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""The ROS 2 side: topics, parameters and lifecycle around the segmenter."""
