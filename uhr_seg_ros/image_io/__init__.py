# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Picture files, for every command the same: which are read, and as which pixels."""
