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

"""A fusion that stays in the blocked layout of ONNX Runtime's convolutions on a CPU."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.cpu_rewrites import UnknownGraph
from uhr_seg_ros.onnx_graphs.folding import parse

_WEIGHT = 'pass_on_weight'


def stay_blocked(content: bytes, name: object) -> onnx.ModelProto:
    """
    Pass both terms of the sum with the input `local` through convolutions that change nothing.

    A sum of convolutions stays in their layout, and so do the blocks after it, which add to it:
    one transpose and three reorders of the map are gone. Where a runtime has no layout of its own
    this costs two passes over it.

    Args:
        content: of an ONNX file, the graph `quarter`.
        name: of the file, for errors.

    Raises:
        UnknownGraph: `local` goes elsewhere.
        EngineError: it is no ONNX graph of opset 17 or older.

    """
    model = parse(content, name)
    graph = model.graph
    users = [node for node in graph.node if 'local' in node.input]
    shapes = {
        tensor.name: [each.dim_value for each in tensor.type.tensor_type.shape.dim]
        for tensor in graph.input
    }
    known = len(users) == 1 and users[0].op_type == 'Add' and len(shapes.get('local', ())) == 4
    if not known or not shapes['local'][1]:
        msg = f'graph {name} does not add its input local to something'
        raise UnknownGraph(msg)
    channels = shapes['local'][1]
    ones = np.ones((channels, 1, 1, 1), np.float32)
    graph.initializer.append(numpy_helper.from_array(ones, _WEIGHT))
    convs = [
        helper.make_node(
            'Conv', [each, _WEIGHT], [f'{each}_passed'], f'{each}_passed', group=channels
        )
        for each in users[0].input
    ]
    users[0].input[:] = [conv.output[0] for conv in convs]
    place = list(graph.node).index(users[0])
    nodes = [*graph.node[:place], *convs, *graph.node[place:]]
    del graph.node[:]
    graph.node.extend(nodes)
    return model
