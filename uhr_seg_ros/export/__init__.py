# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From networks to bundles: graphs, export, checkpoints and pretrained weights."""
