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

"""Networks that the parser of TensorRT for RTX made of a graph: it needs no GPU."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from uhr_seg_ros.backends.tensorrt.api import describe, TensorRT

#: Layers whose type the file or the constants around them decide.
_UNTYPED = ('CONSTANT', 'SHAPE', 'CAST', 'IDENTITY')
_FLOATS = {'FLOAT', 'HALF'}


def real_rtx() -> TensorRT:
    """Return TensorRT for RTX, or skip."""
    return describe(pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed'))


def real_network(model: onnx.ModelProto) -> tuple[Any, ...]:
    """Parse a graph; returns its strongly typed network, and what has to live as long."""
    real = real_rtx()
    builder = real.make('Builder')
    network = builder.create_network(real.creation_flags())
    parser = real.module.OnnxParser(network, real.log)
    assert parser.parse(model.SerializeToString())
    return network, parser, builder


def layers_of_type(network: Any, kind: str) -> set[str]:
    """Name the layers of a strongly typed network that give or compare numbers of a type."""
    found = set()
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        types = {layer.get_output(0).dtype.name}
        if types.isdisjoint(_FLOATS):
            types = {layer.get_input(place).dtype.name for place in range(layer.num_inputs)}
        if kind in types and layer.type.name not in _UNTYPED:
            found.add(layer.name)
    return found
