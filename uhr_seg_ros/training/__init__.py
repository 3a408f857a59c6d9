# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Losses, schedule and the training loop, in PyTorch."""
