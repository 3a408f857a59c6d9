# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Subscriptions that adapt, clocks that jump, and what a topic that is silent tells."""
