# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Messages to plain arrays and back; nothing here needs rclpy."""
