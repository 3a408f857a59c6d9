# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""From pixels to points: camera models, transforms, visibility and labelled points."""
