# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Recordings: read, write, and play to the real node over DDS."""
