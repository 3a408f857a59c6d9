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

"""Networks of others made to take `image` and to give `logits`, as bundles of kind `single` do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper, TensorProto

from uhr_seg_ros.onnx_graphs.folding import NEWEST_OPSET
from uhr_seg_ros.onnx_graphs.foreign_network import all_nodes, in_common_opset, opset_of

#: What scores a network gives.
LOGITS, PROBABILITIES, MASK = 'logits', 'probabilities', 'mask'

#: Order of the axes of images; of scores without a batch, too.
LAYOUTS = ('NCHW', 'NHWC')

#: Color channels of the input in their order.
CHANNEL_ORDERS = ('rgb', 'bgr')

#: Probabilities are raised to this before their logarithm, which half precision holds.
LEAST_PROBABILITY = 1e-6

#: Score of the class of a mask, where the others have 0: whose softmax says that nothing is known.
MASK_SCORE = 1e-3

# The version of files that came with opset 17.
_IR_VERSION = 8

# Keeps names of the network apart from `image` and `logits`.
_PREFIX = 'network/'

_DTYPES = {
    'float32': TensorProto.FLOAT,
    'float16': TensorProto.FLOAT16,
    'float64': TensorProto.DOUBLE,
    'bfloat16': TensorProto.BFLOAT16,
    'uint8': TensorProto.UINT8,
}

#: Types of pixels that a network may take.
PIXEL_TYPES = tuple(_DTYPES)


@dataclass(frozen=True)
class Form:
    """
    How a network takes images and gives scores.

    Attributes:
        image: name of its input.
        layout: of its input, one of `LAYOUTS`.
        dtype: of its input, one of `PIXEL_TYPES`.
        channel_order: of its input, one of `CHANNEL_ORDERS`.
        size: height and width that it takes, px; None for any.
        scores: name of the tensor with its scores or classes.
        axes: of that tensor, of the letters N, C, H and W.
        kind: `LOGITS`, `PROBABILITIES` or `MASK`.
        classes: how many there are; two where there is one score per pixel.
        is_binary: whether there is one score per pixel, that of the second class.
        is_cast: whether the network casts its pixels to floats first, so that it takes floats too.
        rescaling: factor and offset of each channel, RGB, that bring pixels of 0 to 255 into what
            the network expects, where no bundle can say that; else None.
        fitting: height and width that scores are enlarged to, where no stride divides; else None.

    """

    image: str
    layout: str
    dtype: str
    channel_order: str
    size: tuple[int, int] | None
    scores: str
    axes: str
    kind: str
    classes: int
    is_binary: bool = False
    is_cast: bool = False
    rescaling: tuple[Sequence[float], Sequence[float]] | None = None
    fitting: tuple[int, int] | None = None


def adapt(model: onnx.ModelProto, form: Form) -> onnx.ModelProto:
    """
    Return a network that takes `image` and gives `logits`, in the opset of all back ends.

    Args:
        model: as `read_network` returns it; it stays as it is.
        form: of the network.

    Returns:
        image (1, 3, H, W) float32 RGB -> logits (1, C, h, w) float32; where `in_common_opset`
        returns None, in the opset of the network.

    """
    trimmed = _trimmed(model, form.scores)
    inner = compose.add_prefix(in_common_opset(trimmed) or trimmed, _PREFIX)
    pixels = _Chain('image', 'pixels', opset_of(inner))
    _add_pixels(pixels, form)
    pixels.end(_PREFIX + form.image)
    scores = _Chain(_PREFIX + form.scores, 'scores', opset_of(inner))
    _add_scores(scores, form)
    scores.end('logits')
    sides: tuple[int | str, ...] = form.size or ('height', 'width')
    image = helper.make_tensor_value_info('image', TensorProto.FLOAT, (1, 3, *sides))
    shape = (1, form.classes, 'rows', 'columns')
    logits = helper.make_tensor_value_info('logits', TensorProto.FLOAT, shape)
    graph = helper.make_graph(
        [*pixels.nodes, *inner.graph.node, *scores.nodes],
        'wrapped',
        [image],
        [logits],
        [*inner.graph.initializer, *pixels.constants, *scores.constants],
        sparse_initializer=inner.graph.sparse_initializer,
    )
    wrapped = helper.make_model(graph, opset_imports=[helper.make_opsetid('', pixels.opset)])
    wrapped.ir_version = inner.ir_version
    if pixels.opset <= NEWEST_OPSET:  # as old as that allows: runtimes of robots may be
        wrapped.ir_version = min(inner.ir_version, _IR_VERSION)
    return wrapped


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """
    Return a network with other outputs, such as scores within it.

    Args:
        model: stays as it is.
        names: of tensors that it makes.

    """
    known = {each.name: each for each in (*model.graph.value_info, *model.graph.output)}
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    for name in names:
        value = known.get(name)
        if value is None:
            value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        changed.graph.output.append(value)
    return changed


def _trimmed(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Return a network with one output, and nothing that this does not need."""
    changed = with_outputs(model, [output])
    needed, kept = {output}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed.update(name for each in all_nodes([node]) for name in each.input)
            kept.append(node)
    constants = [each for each in model.graph.initializer if each.name in needed]
    for field, values in (('node', kept[::-1]), ('initializer', constants)):
        changed.graph.ClearField(field)
        getattr(changed.graph, field).extend(values)
    return changed


class _Chain:
    """
    Nodes after one another.

    Args:
        first: tensor that they begin with.
        label: what the names of their tensors begin with.
        opset: of the operators.

    """

    def __init__(self, first: str, label: str, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.opset = opset
        self._last, self._label = first, label

    def add(self, operator: str, *others: np.ndarray | None, **attributes: Any) -> None:
        """Add an operator on the last tensor and constants; None leaves an input out."""
        name = f'{self._label}_{len(self.nodes)}'
        inputs = [self._last]
        for place, other in enumerate(others):
            inputs.append('' if other is None else f'{name}_{place}')
            if other is not None:
                self.constants.append(numpy_helper.from_array(other, inputs[-1]))
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self._last = name

    def unsqueeze(self, axis: int) -> None:
        """Add an axis of length 1."""
        if self.opset < 13:
            self.add('Unsqueeze', axes=[axis])
        else:
            self.add('Unsqueeze', np.array([axis]))

    def end(self, name: str) -> None:
        """Call the last tensor by another name."""
        if not self.nodes:
            self.add('Identity')
        self.nodes[-1].output[0] = name


def _add_pixels(chain: _Chain, form: Form) -> None:
    """Bring (1, 3, H, W) float32 RGB into what the network takes."""
    if form.rescaling is not None:
        chain.add('Mul', _of_channels(form.rescaling[0]))
        chain.add('Add', _of_channels(form.rescaling[1]))
    if form.channel_order == 'bgr':
        chain.add('Gather', np.array([2, 1, 0]), axis=1)
    if form.layout == 'NHWC':
        chain.add('Transpose', perm=[0, 2, 3, 1])
    if form.dtype != 'float32' and not form.is_cast:  # no TensorRT has bytes inside a graph
        chain.add('Cast', to=_DTYPES[form.dtype])


def _add_scores(chain: _Chain, form: Form) -> None:
    """Bring scores or classes into (1, C, h, w) float32 logits."""
    chain.add('Cast', to=TensorProto.FLOAT)
    axes = form.axes
    for letter in 'CN':
        if letter not in axes:
            chain.unsqueeze(0)
            axes = letter + axes
    if axes != 'NCHW':
        chain.add('Transpose', perm=[axes.index(letter) for letter in 'NCHW'])
    if form.kind == MASK:
        chain.add('Equal', _of_channels(range(form.classes)))
        chain.add('Cast', to=TensorProto.FLOAT)
        chain.add('Mul', np.array(MASK_SCORE, np.float32))
    elif form.kind == PROBABILITIES:
        if form.is_binary:
            chain.add('Mul', _of_channels((-1, 1)))
            chain.add('Add', _of_channels((1, 0)))
        chain.add('Max', np.array(LEAST_PROBABILITY, np.float32))
        chain.add('Log')
    elif form.is_binary:  # their difference counts
        chain.add('Mul', _of_channels((-0.5, 0.5)))
    if form.fitting is not None:
        sizes = np.array([1, form.classes, *form.fitting])
        chain.add('Resize', None, None, sizes, mode='linear')


def _of_channels(values: Iterable[float]) -> np.ndarray:
    """Return one value per channel or class, (1, C, 1, 1) float32."""
    return np.array(list(values), np.float32).reshape(1, -1, 1, 1)
