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
Graphs rewritten for ONNX Runtime on a CPU: fewer copies and reorders, and pieces of any size.

The files of a bundle stay as they are. What is rewritten here is exact in real arithmetic; sums
may run in another order. The result takes every height and width that the graph itself takes.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uhr_seg_ros.onnx_graphs.folding import fix_shapes, parse, replace_nodes
from uhr_seg_ros.onnx_graphs.gpu_rewrites import (
    drop_identities,
    pooled_means_to_convolutions,
)
from uhr_seg_ros.onnx_graphs.graph_view import attributes, GraphView, rebuilt
from uhr_seg_ros.onnx_graphs.late_resizes import late_resizes

#: Heights and widths by which a graph is looked at, px: multiples of every `input.multiple`, and
#: not alike, so that rows and columns are told apart.
PROBE, SECOND_PROBE = (192, 320), (320, 448)


class UnknownGraph(ValueError):
    """A graph is not of the kind that is rewritten here: it runs as it is."""


def rewrite_for_cpu(content: bytes, name: object) -> onnx.ModelProto:
    """
    Read a graph of one image and rewrite it for a CPU: same inputs, outputs and results.

    Args:
        content: of an ONNX file with one input (1, channels, H, W).
        name: of the file, for errors.

    Raises:
        UnknownGraph: it takes something else, or depends on the size in a way not known here.
        EngineError: it is no ONNX graph of opset 17 or older.

    """
    first, second = (any_size(_rewritten(content, name, size)) for size in (PROBE, SECOND_PROBE))
    # What depends on the size, and was folded at one, would differ.
    if first.graph != second.graph:
        msg = f'graph {name} depends on the size of its image'
        raise UnknownGraph(msg)
    return first


def _rewritten(content: bytes, name: object, size: tuple[int, int]) -> onnx.ModelProto:
    """Rewrite a graph for frames of one size."""
    inputs = parse(content, name).graph.input
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 4:
        msg = f'graph {name} does not take one image'
        raise UnknownGraph(msg)
    channels = inputs[0].type.tensor_type.shape.dim[1].dim_value
    model = fix_shapes(content, {inputs[0].name: (1, channels, *size)}, name)
    steps = (
        drop_identities,
        pooled_means_to_convolutions,
        plain_products,
        parted_attention,
        joined_fields,
        late_resizes,
    )
    for step in steps:
        model = step(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def plain_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Write `Reshape`, `Gemm`, `Reshape` back as the product with a bias that it was."""
    view = GraphView(model)
    nodes = []
    for node in view.nodes:
        product = view.makers.get(node.input[0]) if node.op_type == 'Reshape' else None
        flat = view.makers.get(product.input[0]) if _is_plain_gemm(product) else None
        if flat is None or flat.op_type != 'Reshape' or len(view.shape(node.output[0])) != 4:
            nodes.append(node)
            continue
        between = f'{node.output[0]}_product'
        nodes += [
            helper.make_node('MatMul', [flat.input[0], product.input[1]], [between], between),
            helper.make_node('Add', [between, product.input[2]], [node.output[0]], node.name),
        ]
    return rebuilt(model, nodes, [])


def _is_plain_gemm(node: onnx.NodeProto | None) -> bool:
    if node is None or node.op_type != 'Gemm' or len(node.input) != 3:
        return False
    plain = {'alpha': 1.0, 'beta': 1.0, 'transA': 0, 'transB': 0}
    return all(attributes(node).get(name, value) == value for name, value in plain.items())


def parted_attention(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Compute query, key and value of linear attention by kernels of their own.

    One map of all three would be reordered and split, which is a copy of it each. Keys are not
    divided by the number of positions, which cancels in the quotient.
    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    replaced: dict[str, list[onnx.NodeProto]] = {}
    renamed: dict[str, str] = {}
    for split in view.nodes:
        if split.op_type != 'Split' or len(split.output) != 3:
            continue
        chain = _attention_inputs(view, split)
        if chain is None:
            continue
        replaced[split.output[0]] = _parts(view, split, chain, constants)
        for scaled in view.nodes:
            if scaled.op_type == 'Div' and _is_scaled_key(view, scaled, split.output[1]):
                renamed[scaled.output[0]] = scaled.input[0]
                factor = view.values(scaled.input[1])
                _unscale(view, scaled, factor, replaced, constants)
    if not replaced:
        return model
    nodes = []
    for node in view.nodes:
        for each in replaced.get(node.output[0], [node]):
            changed = onnx.NodeProto.FromString(each.SerializeToString())
            for index, name in enumerate(changed.input):
                changed.input[index] = renamed.get(name, name)
            nodes.append(changed)
    return rebuilt(model, nodes, constants)


def _attention_inputs(view: GraphView, split: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Return the convolutions before a split into query, key and value: qkv and its aggregate."""
    reshape = view.makers.get(split.input[0])
    concat = view.makers.get(reshape.input[0]) if reshape is not None else None
    if concat is None or concat.op_type != 'Concat' or len(concat.input) != 2:
        return None
    plain, mixed = (view.makers.get(name) for name in concat.input)
    if mixed is None or mixed.op_type != 'Conv':
        return None
    spread = view.makers.get(mixed.input[0])
    chain = [plain, spread, mixed]
    if any(each is None or each.op_type != 'Conv' or len(each.input) != 2 for each in chain):
        return None
    channels = view.shape(plain.output[0])[1]
    dimension = view.shape(split.output[0])[2]
    groups = [attributes(each).get('group', 1) for each in chain]
    if groups != [1, channels, channels // dimension] or spread.input[0] != plain.output[0]:
        return None
    same = {view.shape(name)[2] for name in split.output} == {dimension}
    weights = all(view.values(each.input[1]) is not None for each in chain)
    return chain if same and weights and not channels % (3 * dimension) else None


def _parts(
    view: GraphView,
    split: onnx.NodeProto,
    chain: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
) -> list[onnx.NodeProto]:
    """Return the nodes that make the outputs of a split without it."""
    shape = view.shape(split.output[0])
    dimension = shape[2]
    channels = np.arange(view.shape(chain[0].output[0])[1]).reshape(-1, 3, dimension)
    nodes = []
    for part, result in enumerate(split.output):
        source = chain[0].input[0]
        made = []
        for place, conv in enumerate(chain):
            weight, out = f'{result}_weight_{place}', f'{result}_conv_{place}'
            kernel = view.values(conv.input[1])[channels[:, part].ravel()]
            constants.append(numpy_helper.from_array(kernel, weight))
            copy = onnx.NodeProto.FromString(conv.SerializeToString())
            copy.name, copy.input[:], copy.output[:] = out, [source, weight], [out]
            for each in copy.attribute:
                if each.name == 'group' and each.i > 1:
                    each.i //= 3
            nodes.append(copy)
            made.append(out)
            source = out
        constants.append(numpy_helper.from_array(np.array(shape), f'{result}_shape'))
        both = f'{result}_both'
        nodes.append(helper.make_node('Concat', [made[0], made[2]], [both], both, axis=1))
        nodes.append(helper.make_node('Reshape', [both, f'{result}_shape'], [result], result))
    return nodes


def _is_scaled_key(view: GraphView, node: onnx.NodeProto, key: str) -> bool:
    factor = view.values(node.input[1])
    maker = view.makers.get(node.input[0])
    return factor is not None and factor.size == 1 and maker is not None and key in maker.input


def _unscale(
    view: GraphView,
    scaled: onnx.NodeProto,
    factor: np.ndarray,
    replaced: dict[str, list[onnx.NodeProto]],
    constants: list[onnx.TensorProto],
) -> None:
    """Multiply what keeps the quotient finite by what keys are no longer divided by."""
    reach = {scaled.output[0]}
    for node in view.nodes:
        if not reach & set(node.input):
            continue
        if node.op_type == 'Add' and (small := view.values(node.input[1])) is not None:
            name = f'{node.output[0]}_epsilon'
            # Their product was rounded twice; it is the same at every size.
            epsilon = np.array(float(f'{(small * factor).item():.5g}'), np.float32)
            constants.append(numpy_helper.from_array(epsilon.reshape(small.shape), name))
            changed = onnx.NodeProto.FromString(node.SerializeToString())
            changed.input[1] = name
            replaced[node.output[0]] = [changed]
            return
        if node.op_type in ('ReduceSum', 'Transpose') or (
            node.op_type == 'MatMul' and node.input[0] in reach
        ):
            reach.update(node.output)


def joined_fields(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Write depthwise convolutions of slices, concatenated and normed, as one of the largest kernel.

    Its zeros cost less than the copies of the slices.
    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    nodes = []
    for norm in view.nodes:
        joined = _joined(view, norm) if norm.op_type == 'BatchNormalization' else None
        if joined is None:
            nodes.append(norm)
            continue
        source, kernel, bias = joined
        names = [f'{norm.output[0]}_kernel', f'{norm.output[0]}_bias']
        constants += [
            numpy_helper.from_array(values.astype(np.float32), name)
            for values, name in zip((kernel, bias), names, strict=True)
        ]
        size = kernel.shape[2]
        nodes.append(
            helper.make_node(
                'Conv',
                [source, *names],
                [norm.output[0]],
                norm.name,
                kernel_shape=[size, size],
                pads=[size // 2] * 4,
                group=len(kernel),
            )
        )
    return rebuilt(model, nodes, constants) if constants else model


def _joined(view: GraphView, norm: onnx.NodeProto) -> tuple[str, np.ndarray, np.ndarray] | None:
    """Return source, kernel and bias of one convolution for a norm of concatenated ones."""
    concat = view.makers.get(norm.input[0])
    if concat is None or concat.op_type != 'Concat' or attributes(concat)['axis'] != 1:
        return None
    kernels, biases, sources, place = [], [], set(), 0
    for name in concat.input:
        conv = view.makers.get(name)
        if conv is None or not _is_same_depthwise(view, conv):
            return None
        part = view.makers.get(conv.input[0])
        while part is not None and part.op_type in ('QuantizeLinear', 'DequantizeLinear'):
            part = view.makers.get(part.input[0])
        if part is None or part.op_type != 'Slice':
            return None
        starts, axes = view.values(part.input[1]), view.values(part.input[3])
        if starts is None or axes is None or [*starts, *axes] != [place, 1]:
            return None
        sources.add(_before_pairs(view, part.input[0]))
        kernels.append(view.values(conv.input[1]))
        biases.append(view.values(conv.input[2]))
        place += len(kernels[-1])
    source = part.input[0]
    if len(sources) != 1 or view.shape(source)[1] != place:
        return None
    size = max(each.shape[2] for each in kernels)
    wide = [
        np.pad(each, [(0, 0), (0, 0), *[((size - each.shape[2]) // 2,) * 2] * 2])
        for each in kernels
    ]
    weight, shift, mean, variance = (view.values(name) for name in norm.input[1:])
    scale = weight / np.sqrt(variance + attributes(norm).get('epsilon', 1e-5))
    kernel = np.concatenate(wide) * scale[:, None, None, None]
    return source, kernel, (np.concatenate(biases) - mean) * scale + shift


def _before_pairs(view: GraphView, name: str) -> str:
    """Return the tensor before a dequantization, of which there may be copies."""
    maker = view.makers.get(name)
    return maker.input[0] if maker is not None and maker.op_type == 'DequantizeLinear' else name


def _is_same_depthwise(view: GraphView, node: onnx.NodeProto) -> bool:
    if node.op_type != 'Conv' or len(node.input) != 3:
        return False
    details, kernel = attributes(node), view.values(node.input[1])
    if kernel is None or view.values(node.input[2]) is None:
        return False
    size = kernel.shape[2]
    return (
        details.get('group') == len(kernel) == view.shape(node.input[0])[1]
        and kernel.shape[2:] == (size, size)
        and list(details.get('pads', ())) == [size // 2] * 4
        and set(details.get('strides', [1])) == set(details.get('dilations', [1])) == {1}
    )


def any_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """
    Free a graph of fixed shapes of its height and width.

    Raises:
        UnknownGraph: a node has the size in a form that is not known here.

    """
    view = GraphView(model)
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []
    for original in view.nodes:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        if node.op_type == 'Resize':
            before, after = view.shape(node.input[0]), view.shape(node.output[0])
            scales = np.array([new / old for new, old in zip(after, before, strict=True)])
            constants.append(numpy_helper.from_array(scales.astype('f4'), f'{node.output[0]}_by'))
            node.input[:] = [node.input[0], '', f'{node.output[0]}_by']
        elif node.op_type == 'Reshape':
            nodes += _free_reshape(view, node, constants)
        nodes.append(node)
    result = replace_nodes(rebuilt(model, nodes, constants), nodes)
    for place, tensor in enumerate((*result.graph.input, *result.graph.output)):
        if place < len(result.graph.input):
            for axis, name in ((2, 'height'), (3, 'width')):
                tensor.type.tensor_type.shape.dim[axis].dim_param = name
        else:
            tensor.type.tensor_type.ClearField('shape')
    return result


def _free_reshape(
    view: GraphView, node: onnx.NodeProto, constants: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    """Write the shape of a reshape between maps and rows of positions for any size."""
    before, after = view.shape(node.input[0]), view.shape(node.output[0])
    name = f'{node.output[0]}_free'
    if len(before) == len(after) == 4 and after[3] == before[2] * before[3]:
        constants.append(numpy_helper.from_array(np.array([*after[:3], -1]), name))
        node.input[1] = name
        return []
    if len(before) != 4 or len(after) != 4 or before[3] != after[2] * after[3]:
        msg = f'reshape {node.name} from {before} to {after}'
        raise UnknownGraph(msg)
    known = _map_before(view, node.input[0], after[2:])
    constants.append(numpy_helper.from_array(np.array(after[:2]), f'{name}_channels'))
    sizes = [f'{name}_channels', f'{name}_size']
    node.input[1] = name
    return [
        helper.make_node('Shape', [known], [sizes[1]], sizes[1], start=2),
        helper.make_node('Concat', sizes, [name], name, axis=0),
    ]


def _map_before(view: GraphView, name: str, size: tuple[int, ...]) -> str:
    """Return a map of some height and width that a tensor was computed from."""
    waiting = [name]
    for tensor in waiting:
        if len(view.shape(tensor)) == 4 and view.shape(tensor)[2:] == size:
            return tensor
        if tensor in view.makers:
            waiting += [each for each in view.makers[tensor].input if each not in view.constants]
    msg = f'no map of {size} before {name}'
    raise UnknownGraph(msg)
