# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Running one ONNX graph: one module per runtime behind one registry."""
