# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Int8: which graphs are quantized, how they are calibrated, what it costs in accuracy."""
