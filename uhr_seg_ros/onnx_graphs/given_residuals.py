# Copyright 2026 uhr_seg_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""
Laplacian residuals that are handed to a graph, instead of computed by it.

Whether a graph computes them is not told by names or operators: what it gives for an image is
compared with what OpenCV gives for it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, TensorProto

from uhr_seg_ros.core.laplacian import luminance_residuals, RESIDUALS
from uhr_seg_ros.onnx_graphs.calibration import ActivationObserver
from uhr_seg_ros.onnx_graphs.graph_view import GraphView, rebuilt

#: Largest difference of residuals of noise with a standard deviation of 1.
TOLERANCE = 1e-5


def given_residuals(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Make the residuals of the luminance an input of a graph that computes them.

    Args:
        model: of one image (1, C, H, W), in fixed shapes, with H and W multiples of 8.

    Returns:
        A model with the input `residuals` beside the image (see `luminance_residuals`), or the
        same model if it computes nothing like that.

    """
    view = GraphView(model)
    (image,) = model.graph.input
    shape = view.shape(image.name)
    residuals = 1, 2, shape[2] // 2, shape[3] // 2
    names = [name for node in view.nodes for name in node.output if view.shape(name) == residuals]
    if not names:
        return model
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    expected = luminance_residuals(noise)
    found = ActivationObserver(model, names).values({image.name: noise})
    same = [name for name in names if np.abs(found[name] - expected).max() <= TOLERANCE]
    if not same:
        return model
    nodes = []
    for original in view.nodes:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        node.input[:] = [RESIDUALS if name == same[0] else name for name in node.input]
        nodes.append(node)
    changed = rebuilt(model, _late(nodes), [])
    changed.graph.input.append(
        helper.make_tensor_value_info(RESIDUALS, TensorProto.FLOAT, residuals)
    )
    return changed


def _late(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """
    Move what reads the residuals to where its result is read.

    ONNX Runtime keeps to the order of the file where it may choose: a map that is made before the
    image is looked at would wait beside the widest ones of all.
    """
    early = [node for node in nodes if RESIDUALS in node.input]
    order = [node for node in nodes if RESIDUALS not in node.input]
    for node in early:
        place = next(at for at, each in enumerate(order) if node.output[0] in each.input)
        order.insert(place, node)
    return order
