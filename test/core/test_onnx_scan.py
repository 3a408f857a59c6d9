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

"""Tensors that lie in other files are found wherever an ONNX file can hold tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest

from uhr_seg_ros.core.graph_files import first_outside, NoGraphError, Outside

FOUND = Outside('far', 'weights.bin')


def far(name: str = 'far') -> TensorProto:
    """Return a tensor whose values are in a file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (('offset', '0'), ('location', 'weights.bin')):
        tensor.external_data.add(key=key, value=value)
    return tensor


def near() -> TensorProto:
    return numpy_helper.from_array(np.arange(200, dtype=np.float32), 'near')


def graph(**parts: list) -> onnx.GraphProto:
    value = helper.make_tensor_value_info('x', TensorProto.FLOAT, [2])
    return helper.make_graph(
        parts.get('nodes', []),
        'g',
        [value],
        [value],
        parts.get('tensors', [near()]),
        sparse_initializer=parts.get('sparse', []),
    )


def holding(**attributes: object) -> onnx.NodeProto:
    return helper.make_node('Any', ['x'], ['y'], **attributes)


def model(**parts: list) -> onnx.ModelProto:
    return helper.make_model(graph(**parts))


def in_a_function() -> onnx.ModelProto:
    opset = [helper.make_opsetid('', 17)]
    function = helper.make_function('own', 'F', [], ['y'], [holding(value=far())], opset)
    return helper.make_model(graph(), functions=[function])


def in_a_default_of_a_function() -> onnx.ModelProto:
    found = in_a_function()
    del found.functions[0].node[:]
    found.functions[0].attribute_proto.append(helper.make_attribute('value', far()))
    return found


def in_training(part: str) -> onnx.ModelProto:
    found = model()
    getattr(found.training_info.add(), part).CopyFrom(graph(tensors=[far()]))
    return found


def sparse(values: TensorProto, indices: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[4])


def by_location_only() -> onnx.ModelProto:
    tensor = far()
    del tensor.external_data[:]
    return model(tensors=[tensor])


def by_pairs_only() -> onnx.ModelProto:
    tensor = far()
    tensor.data_location = TensorProto.DEFAULT
    return model(tensors=[tensor])


@pytest.mark.parametrize(
    'make',
    [
        lambda: model(tensors=[near(), far()]),
        lambda: model(sparse=[sparse(far(), near())]),
        lambda: model(sparse=[sparse(near(), far())]),
        lambda: model(nodes=[holding(value=far())]),
        lambda: model(nodes=[holding(values=[near(), far()])]),
        lambda: model(nodes=[holding(value=sparse(far(), near()))]),
        lambda: model(nodes=[holding(values=[sparse(near(), far())])]),
        lambda: model(nodes=[holding(body=graph(tensors=[far()]))]),
        lambda: model(nodes=[holding(a=graph(nodes=[holding(b=[graph(tensors=[far()])])]))]),
        in_a_function,
        in_a_default_of_a_function,
        lambda: in_training('initialization'),
        lambda: in_training('algorithm'),
        by_pairs_only,
    ],
)
def test_finds_what_lies_outside(make: Callable[[], onnx.ModelProto]) -> None:
    assert first_outside(make().SerializeToString()) == FOUND


def test_a_place_that_is_not_told() -> None:
    assert first_outside(by_location_only().SerializeToString()) == Outside('far', '')


def test_what_is_whole() -> None:
    found = model(nodes=[holding(value=near(), body=graph())], sparse=[sparse(near(), near())])
    assert first_outside(found.SerializeToString()) is None


def test_every_cut_and_every_flipped_byte_is_answered() -> None:
    whole = model(nodes=[holding(value=numpy_helper.from_array(np.zeros(3), 'n'))], tensors=[])
    content = whole.SerializeToString()
    cuts = [content[:end] for end in range(len(content))]
    flips = [
        content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]
        for place in range(len(content))
        for mask in (1, 128, 255)
    ]
    refused = 0
    for damaged in (*cuts, *flips):
        try:
            first_outside(damaged)
        except NoGraphError:
            refused += 1
    assert refused > len(content)


def test_a_hidden_tag_is_refused() -> None:
    """Parsers cut a tag to 32 bits, so the same tensor may be written with more of them."""
    tensor = far().SerializeToString()
    # Field 5 of a graph, of kind 2, is the byte 0x2a; here it is 0x2a + 2**32.
    body = bytes([0xAA, 0x80, 0x80, 0x80, 0x10, len(tensor)]) + tensor
    with pytest.raises(NoGraphError):
        first_outside(bytes([0x3A, len(body)]) + body)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'there is no graph in it'),
        (b'no graph at all', 'cut, damaged or no ONNX file'),
        (b'\x20\x00\x00\x00ORTM', "ONNX Runtime's own format"),
        (b'\x08\x08\x12\x05ORTM!' + model().SerializeToString(), "ONNX Runtime's own format"),
        (b'\x08' + b'\xff' * 20, 'cut, damaged'),
        (b'\x3b\x3c', 'cut, damaged'),
        (b'\x38\x01', 'cut, damaged'),
    ],
)
def test_no_graphs(content: bytes, reason: str) -> None:
    with pytest.raises(NoGraphError, match=reason):
        first_outside(content)
