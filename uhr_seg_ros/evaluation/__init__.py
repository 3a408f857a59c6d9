# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Metrics and the evaluation of bundles on data sets; no torch."""
