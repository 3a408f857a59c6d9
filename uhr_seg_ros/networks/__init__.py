# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""
The networks of HLRC, one file per published block, in PyTorch.

Only the workshop (training, conversion, export) imports this package; a robot runs the exported
graphs. Source: Li et al., "Playing to the Strengths of High- and Low-Resolution Cues for
Ultra-high Resolution Image Segmentation", IEEE RA-L 2025.
"""
