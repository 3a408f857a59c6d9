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

"""Memory that the maps of a graph take at a time, counted by hand and for the shipped model."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.live_memory import memory_bytes
from uhr_seg_ros.onnx_graphs.precision import to_half

SIDE = 8


def graph_of(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """Make a graph from `image` (1, 4, 8, 8) to `last`, with the weights of its convolutions."""
    weights = {'w4': (4, 4, 1, 1), 'w8': (8, 4, 1, 1), 'w8_4': (4, 8, 1, 1)}
    graph = helper.make_graph(
        list(nodes),
        'made',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 4, SIDE, SIDE])],
        [helper.make_tensor_value_info('last', TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.ones(shape, np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def node(kind: str, inputs: str, output: str) -> onnx.NodeProto:
    """Make a node."""
    return helper.make_node(kind, inputs.split(), [output])


@pytest.mark.parametrize(
    ('nodes', 'channels'),
    [
        # Between two convolutions there is one map, and what acts value by value has none.
        ([node('Conv', 'image w8', 'a'), node('Conv', 'a w8_4', 'last')], 8),
        (
            [
                node('Conv', 'image w8', 'a'),
                node('HardSigmoid', 'a', 'gate'),
                node('Mul', 'a gate', 'b'),
                node('Relu', 'b', 'c'),
                node('Conv', 'c w8_4', 'last'),
            ],
            8,
        ),
        # A residual is kept beside the wide map, and added by the convolution behind that.
        (
            [
                node('Conv', 'image w4', 'a'),
                node('Conv', 'a w8', 'wide'),
                node('Conv', 'wide w8_4', 'narrow'),
                node('Add', 'a narrow', 'sum'),
                node('Conv', 'sum w4', 'last'),
            ],
            4 + 8 + 4,
        ),
        # A view is what it shows; the map stays until the view was read.
        (
            [
                node('Conv', 'image w4', 'a'),
                node('Flatten', 'a', 'view'),
                node('Conv', 'a w8', 'wide'),
                node('ReduceMean', 'wide', 'mean'),
                node('Softmax', 'view', 'soft'),
                node('Add', 'soft mean', 'last'),
            ],
            4 + 8,
        ),
    ],
)
def test_counted_by_hand(nodes: list[onnx.NodeProto], channels: int) -> None:
    model = onnx.shape_inference.infer_shapes(graph_of(*nodes), strict_mode=True)
    maps = memory_bytes(model) - 4 * (4 + 4) * SIDE**2  # without image and `last`
    if any(each.op_type == 'ReduceMean' for each in nodes):
        maps -= 4  # the mean, while the wide map is there
    assert maps == 4 * channels * SIDE**2


def test_of_the_shipped_model() -> None:
    bundle = load_bundle('hlrc_s_aerial')
    graph = bundle.graphs['detail']
    per_pixel = []
    for height, width in ((128, 256), (256, 512)):
        model = fix_shapes(graph.read(), {'image': (1, 3, height, width)}, graph.path)
        pixels = height * width
        per_pixel.append((memory_bytes(model) / pixels, memory_bytes(to_half(model)) / pixels))
    (float32, half), larger = per_pixel
    assert larger == pytest.approx((float32, half), rel=0.02)  # grows with the frame
    assert 0.5 * float32 <= half < 0.8 * float32
    # Measured on a CPU when the bundle was exported.
    assert float32 == pytest.approx(bundle.detail_bytes_per_pixel, rel=0.2)
