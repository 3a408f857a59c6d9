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

"""Networks as others export them, of one or two nodes each, made with onnx alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto

#: A step of a network: operator, constants beside its input, attributes.
Step = tuple[str, tuple[np.ndarray, ...], dict[str, Any]]


def conv(classes: int = 3, stride: int = 4, channels: int = 3) -> Step:
    """Return a convolution with seeded weights that sees pixels of 0 to 1 well."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(classes, channels, stride, stride)).astype(np.float32)
    weights -= weights.mean((0, 2, 3), keepdims=True)
    return 'Conv', (weights,), {'strides': [stride, stride]}


def step(operator: str, *constants: np.ndarray, **attributes: Any) -> Step:
    """Return any other step."""
    return operator, constants, attributes


def write_foreign(
    path: Path,
    *steps: Step,
    shape: tuple[int | str | None, ...] | None = (1, 3, 'h', 'w'),
    dtype: int = TensorProto.FLOAT,
    opset: int = 17,
    outputs: tuple[tuple[str, int], ...] = (('out', TensorProto.FLOAT),),
    domain: str = '',
) -> Path:
    """
    Write a chain of steps; outputs beyond the first one are copies of it.

    Args:
        path: the file.
        steps: in their order.
        shape: of the input.
        dtype: of the input, ONNX type.
        opset: of the operators.
        outputs: names and ONNX types.
        domain: of the last operator.

    """
    last, nodes, constants = 'pixels', [], []
    for place, (operator, values, attributes) in enumerate(steps):
        names = [f'c{place}_{number}' for number in range(len(values))]
        constants += map(numpy_helper.from_array, map(np.asarray, values), names)
        made = outputs[0][0] if place == len(steps) - 1 else f't{place}'
        where = domain if place == len(steps) - 1 else ''
        nodes.append(
            helper.make_node(operator, [last, *names], [made], domain=where, **attributes)
        )
        last = made
    for name, _ in outputs[1:]:
        nodes.append(helper.make_node('Identity', [last], [name]))
    graph = helper.make_graph(
        nodes,
        'foreign',
        [helper.make_tensor_value_info('pixels', dtype, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
        constants,
    )
    opsets = [helper.make_opsetid('', opset)] + [helper.make_opsetid(domain, 1)] * bool(domain)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path
