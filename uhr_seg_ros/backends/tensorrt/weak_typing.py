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

"""The types of an ONNX file as constraints on the layers of a weakly typed network."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

#: Layers whose type the constants around them, or the file itself, decide.
_UNTYPED_LAYERS = ('CONSTANT', 'SHAPE', 'QUANTIZE', 'DEQUANTIZE', 'CAST', 'IDENTITY')
#: With Q/DQ around them, these run in int8 and must not be held in float32.
_QUANTIZED_LAYERS = ('CONVOLUTION', 'ACTIVATION')
_FLOATS = ('FLOAT', 'HALF')


def constrain_types(
    trt: Any, network: Any, config: Any, precision: str, float32_tensors: Collection[str]
) -> None:
    """
    Allow float16, and int8 if that is wanted, except in layers that are to compute in float32.

    Args:
        trt: the module of TensorRT.
        network: parsed from the ONNX file.
        config: of the build; its flags are set.
        precision: `fp32`, `fp16` or `int8`, as the file was converted.
        float32_tensors: names of the tensors that are float32 in the file.

    """
    if precision == 'fp32':
        return
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    free: tuple[str, ...] = _UNTYPED_LAYERS
    if precision == 'int8':
        config.set_flag(trt.BuilderFlag.INT8)
        free += _QUANTIZED_LAYERS
    for layer in float32_layers(network, float32_tensors, free):
        layer.precision = trt.DataType.FLOAT
        if layer.get_output(0).dtype.name in _FLOATS:
            layer.set_output_type(0, trt.DataType.FLOAT)


def float32_layers(
    network: Any, float32_tensors: Collection[str], free: Collection[str] = _UNTYPED_LAYERS
) -> list[Any]:
    """
    Choose the layers that compute in float32.

    The parser names tensors as the file does, but makes several layers of some nodes: a softmax
    over channels is one layer and a transposition behind it, which has the name. A tensor
    without a name of the file has the type of the layers that read it. Comparisons give truth
    values; what they compare counts.

    Args:
        network: parsed from the ONNX file, layers in the order of computation.
        float32_tensors: names of the tensors that are float32 in the file.
        free: types of layers that are left as they are.

    """
    chosen: list[Any] = []
    read_as_float32: set[str] = set()
    read_otherwise: set[str] = set()
    for index in reversed(range(network.num_layers)):
        layer = network.get_layer(index)
        result = layer.get_output(0)
        tensors = [layer.get_input(place) for place in range(layer.num_inputs)]
        inputs = {tensor.name for tensor in tensors if tensor is not None}
        if result.dtype.name in _FLOATS:
            is_needed = result.name in read_as_float32 and result.name not in read_otherwise
            is_float32 = result.name in float32_tensors or is_needed
        else:
            is_float32 = not inputs.isdisjoint(float32_tensors)
        if is_float32 and layer.type.name not in free:
            chosen.append(layer)
            read_as_float32 |= inputs
        else:
            read_otherwise |= inputs
    return chosen
