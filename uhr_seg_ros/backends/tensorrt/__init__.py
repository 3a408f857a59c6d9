# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""TensorRT and CUDA: building, caching and running engines."""
