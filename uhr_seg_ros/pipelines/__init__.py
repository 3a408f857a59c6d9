# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From a frame to a mask: one pipeline per kind of bundle, tiling, verification."""
