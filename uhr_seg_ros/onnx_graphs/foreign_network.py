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

"""ONNX files that others exported: reading one, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import inliner, TensorProto, version_converter

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.core.graph_files import first_outside, MAX_BYTES, NoGraphError
from uhr_seg_ros.core.regular_files import FileFault, read_regular
from uhr_seg_ros.core.text import listed, one_line
from uhr_seg_ros.onnx_graphs.external_data import embedded
from uhr_seg_ros.onnx_graphs.folding import NEWEST_OPSET

#: Opsets of networks that can be wrapped.
OLDEST_OPSET, NEWEST_FOREIGN_OPSET = 11, 21

#: Domains of operators that every runtime has, as files write them.
_STANDARD = ('', 'ai.onnx')

# Operators of newer opsets that the standard itself explains by older ones.
_WRITTEN_OUT = ('Gelu', 'GroupNormalization', 'Mish')

# What is of this domain is not converted; Pad has its axes as its last input since opset 18.
_HIDDEN, _PAD_INPUTS = 'uhr_seg.hidden', 4

#: Length of an axis: a number, a name, or None where the file says nothing.
Length = int | str | None


@dataclass(frozen=True)
class Tensor:
    """
    What a graph says of an input or an output.

    Attributes:
        name: in the graph.
        dtype: as `float32`, `uint8`; what is no tensor is `sequence` or the like.
        shape: lengths of its axes; None where even their number is open.

    """

    name: str
    dtype: str
    shape: tuple[Length, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f'{self.name} of any shape, {self.dtype}'
        lengths = ('?' if length is None else str(length) for length in self.shape)
        return f'{self.name} ({", ".join(lengths)}) {self.dtype}'


def read_network(path: Path) -> onnx.ModelProto:
    """
    Read a network that others exported.

    Tensors that lie in other files are brought inside, functions of the file are written out, and
    shapes are inferred as far as they can be.

    Args:
        path: ONNX file.

    Raises:
        BundleError: it cannot be read, is of an opset that is too old or too new, or has operators
            that no runtime has.

    """
    try:
        content = read_regular(path, MAX_BYTES)
        outside = first_outside(content)
    except FileFault as err:
        msg = f'network {err}'
        raise BundleError(msg) from err
    except NoGraphError as err:
        msg = f'network {path} is no ONNX file ({err}): export it to ONNX, as .onnx'
        raise BundleError(msg) from err
    try:
        model = onnx.load_model_from_string(embedded(path, outside) if outside else content)
        if model.functions:
            model = inliner.inline_local_functions(model)
    except BundleError:
        raise
    except Exception as err:  # of the packages onnx and protobuf, which are not ours to name
        msg = f'network {path} is damaged: {one_line(err, 300)}: export it again'
        raise BundleError(msg) from err
    _check_opset(model, path)
    _check_operators(model, path)
    return model


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network with the shapes of its tensors, as far as they follow from the input."""
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001 - what it says of itself is enough, or it will not run
        return model


def in_common_opset(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """
    Return a network in the opset that every back end reads.

    Returns:
        The same network where it is in it; None where it has what that opset lacks.

    """
    if opset_of(model) == NEWEST_OPSET:
        return model
    try:
        if opset_of(model) > NEWEST_OPSET:
            model = inliner.inline_selected_functions(
                model, [('', name) for name in _WRITTEN_OUT], inline_schema_functions=True
            )
        converted = version_converter.convert_version(_with_hidden(model), NEWEST_OPSET)
        for node in converted.graph.node:
            node.domain = node.domain.removesuffix(_HIDDEN)
        opsets = [each for each in converted.opset_import if each.domain != _HIDDEN]
        del converted.opset_import[:]
        converted.opset_import.extend(opsets)
        converted = onnx.shape_inference.infer_shapes(converted)
        onnx.checker.check_model(converted)
    except Exception:  # noqa: BLE001 - of the package onnx, which has no class for it
        return None
    return converted


def _with_hidden(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network whose operators that mean the same in both opsets are not converted."""
    hidden = onnx.ModelProto()
    hidden.CopyFrom(model)
    if opset_of(model) <= NEWEST_OPSET:
        return hidden
    for node in hidden.graph.node:
        # Neither the axes of Pad nor a last part of Split that is smaller were there before.
        is_pad = node.op_type == 'Pad' and len(node.input) < _PAD_INPUTS
        if is_pad or (node.op_type == 'Split' and len(node.input) == 2):
            node.domain = _HIDDEN
    hidden.opset_import.append(onnx.helper.make_opsetid(_HIDDEN, 1))
    return hidden


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators."""
    return max(
        (each.version for each in model.opset_import if each.domain in _STANDARD), default=1
    )


def inputs_of(model: onnx.ModelProto) -> list[Tensor]:
    """Return the inputs that have to be fed."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [_tensor(each) for each in model.graph.input if each.name not in constants]


def outputs_of(model: onnx.ModelProto) -> list[Tensor]:
    """Return the outputs."""
    return [_tensor(each) for each in model.graph.output]


def parameter_count(model: onnx.ModelProto) -> int:
    """Return the number of values that are stored in a network."""
    total = 0
    for tensor in model.graph.initializer:
        count = 1
        for length in tensor.dims:
            count *= length
        total += count
    return total


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Go through nodes and those of the graphs inside of them, such as branches."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from all_nodes(graph.node)


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.WhichOneof('value')
    if kind != 'tensor_type':
        return Tensor(value.name, (kind or 'nothing').removesuffix('_type'), None)
    of_tensor = value.type.tensor_type
    dtype = TensorProto.DataType.Name(of_tensor.elem_type).lower()
    dtype = {'float': 'float32', 'double': 'float64'}.get(dtype, dtype)
    if not of_tensor.HasField('shape'):
        return Tensor(value.name, dtype, None)
    return Tensor(value.name, dtype, tuple(_length(each) for each in of_tensor.shape.dim))


def _length(axis: onnx.TensorShapeProto.Dimension) -> Length:
    # Some exporters write 0 or -1 for what is open, and inferring shapes makes names up.
    if axis.dim_value > 0:
        return axis.dim_value
    return None if axis.dim_param.startswith('unk__') else axis.dim_param or None


def _check_opset(model: onnx.ModelProto, path: Path) -> None:
    opset = opset_of(model)
    if not OLDEST_OPSET <= opset <= NEWEST_FOREIGN_OPSET:
        msg = (
            f'network {path} is of opset {opset}, expected {OLDEST_OPSET} to '
            f'{NEWEST_FOREIGN_OPSET}: export it with opset {NEWEST_OPSET}, which every back end '
            'reads'
        )
        raise BundleError(msg)


def _check_operators(model: onnx.ModelProto, path: Path) -> None:
    custom = {
        f'{node.domain}.{node.op_type}'
        for node in all_nodes(model.graph.node)
        if node.domain not in _STANDARD
    }
    if custom:
        msg = (
            f'network {path} has operators that are not of ONNX: {listed(sorted(custom))}: export '
            'it without plugins and before any runtime has optimized it'
        )
        raise BundleError(msg)
