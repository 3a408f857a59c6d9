# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Learning to downsample: deformed sampling and its inverse."""
