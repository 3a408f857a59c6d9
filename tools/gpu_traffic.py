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

"""How many bytes the operators of a graph move, each for itself."""

from __future__ import annotations

import math

import numpy as np
import onnx

#: These only look at memory in another way.
_VIEWS = frozenset(
    {'Expand', 'Identity', 'Reshape', 'Slice', 'Split', 'Squeeze', 'Transpose', 'Unsqueeze'}
)


def traffic(model: onnx.ModelProto) -> int:
    """
    Count the bytes that a frame moves when nothing is fused: inputs and outputs of every node.

    Args:
        model: with fixed shapes.

    """
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    sizes = {each.name: _bytes(each.data_type, each.dims) for each in typed.initializer}
    for tensor in (*typed.input, *typed.value_info, *typed.output):
        kind = tensor.type.tensor_type
        sizes[tensor.name] = _bytes(kind.elem_type, [side.dim_value for side in kind.shape.dim])
    return sum(
        sizes.get(name, 0)
        for node in typed.node
        if node.op_type not in _VIEWS
        for name in (*node.input, *node.output)
    )


def _bytes(kind: int, shape: list[int]) -> int:
    width = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).itemsize
    return math.prod(shape) * width
