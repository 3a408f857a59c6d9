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

"""Graphs that compute nonsense: no plausible mask comes of them, whatever the kind of bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='the bundles are made with onnx')
from onnx import helper, numpy_helper, TensorProto
from tiny_bundle import edited_model, paint, TINY_CLASSES

from uhr_seg_ros.core.bundle import Bundle, Patches
from uhr_seg_ros.core.errors import EngineError, UhrSegError
from uhr_seg_ros.core.graph_files import hash_graph
from uhr_seg_ros.export.bundle_writing import write_bundle
from uhr_seg_ros.pipelines.pipeline import TilingOptions
from uhr_seg_ros.pipelines.segmenter import Segmenter

FRAME = paint(np.repeat(np.arange(3, dtype=np.uint8), 32)[None].repeat(64, 0))


def one_convolution(
    folder: Path,
    value: float,
    kind: str = 'single',
    stride: int = 1,
) -> Bundle:
    """Write a bundle of one convolution, all weights of the last class the same."""
    weights = np.ones((3, 3, 1, 1), np.float32)
    weights[-1] = value
    size = [64, 96] if kind == 'uniform' else ['h', 'w']
    graph = helper.make_graph(
        [helper.make_node('Conv', ['image', 'weights'], ['logits'], strides=[stride, stride])],
        'network',
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info('logits', TensorProto.FLOAT, [1, 3, 'a', 'b'])],
        [numpy_helper.from_array(weights, 'weights')],
    )
    folder.mkdir(exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    onnx.save(model, folder / 'network.onnx')
    return write_bundle(
        folder, name='one', network='one', kind=kind, classes=TINY_CLASSES, low_res_factor=1
    )


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('kind', ['single', 'uniform'])
def test_logits_that_are_not_finite(tmp_path: Path, kind: str, value: float) -> None:
    with Segmenter(one_convolution(tmp_path, value, kind), 'onnxruntime') as segmenter:
        for asked in ({}, {'confidence': True}, {'logits': True}):
            with pytest.raises(UhrSegError, match='logits that are not finite'):
                segmenter(FRAME, **asked)


def test_logits_that_are_not_finite_in_a_tile(tmp_path: Path) -> None:
    bundle = one_convolution(tmp_path, np.nan)
    with Segmenter(bundle, 'onnxruntime', TilingOptions(tile=128)) as segmenter:
        with pytest.raises(UhrSegError, match='logits that are not finite'):
            segmenter(FRAME.repeat(4, 0))


def test_large_logits_are_right(tmp_path: Path) -> None:
    with Segmenter(one_convolution(tmp_path, 1e37), 'onnxruntime') as segmenter:
        mask = segmenter(np.full((64, 64, 3), 255, np.uint8)).mask
    assert (mask == 2).all()


def test_tiles_whose_logits_do_not_divide_them(tmp_path: Path) -> None:
    bundle = one_convolution(tmp_path, 2, stride=3)
    with Segmenter(bundle, 'onnxruntime', TilingOptions(tile=128)) as segmenter:
        with pytest.raises(UhrSegError, match='the logits of a tile of .* px have shape'):
            segmenter(FRAME.repeat(4, 0))


Nodes = list[onnx.NodeProto]
FLOAT = TensorProto.FLOAT


def save(
    path: Path, nodes: Nodes, inputs: dict[str, list], outputs: dict[str, list], **more: np.ndarray
) -> None:
    """Write a graph of float32 tensors; its constants are the further arguments."""
    infos = [
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in each.items()]
        for each in (inputs, outputs)
    ]
    constants = [numpy_helper.from_array(values, name) for name, values in more.items()]
    graph = helper.make_graph(nodes, path.stem, *infos, constants)
    opset = helper.make_opsetid('', 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def write_deformed(folder: Path) -> None:
    """Write graphs that sample a frame evenly and take its colors for probabilities."""
    places = [np.linspace(-0.9, 0.9, count, dtype=np.float32) for count in (48, 32)]
    even = np.stack(np.meshgrid(*places), -1)[None]
    save(
        folder / 'saliency.onnx',
        [
            helper.make_node('ReduceMean', ['image'], ['mean'], keepdims=0),
            helper.make_node('Mul', ['mean', 'zero'], ['nothing']),
            helper.make_node('Add', ['even', 'nothing'], ['grid']),
        ],
        {'image': [1, 3, 16, 24]},
        {'grid': [1, 32, 48, 2]},
        even=even,
        zero=np.zeros((), np.float32),
    )
    softmax = [helper.make_node('Softmax', ['image'], ['probabilities'], axis=1)]
    sizes = [1, 3, 32, 48]
    save(folder / 'segment.onnx', softmax, {'image': sizes}, {'probabilities': sizes})


def write_patches(folder: Path) -> None:
    """Write graphs that add to a patch what is around it."""
    pool = [helper.make_node('AveragePool', ['image'], ['medium'], kernel_shape=[1, 1])]
    sizes = ['n', 3, 32, 32]
    save(folder / 'medium.onnx', pool, {'image': sizes}, {'medium': sizes})
    add = [helper.make_node('Add', ['image', 'medium'], ['logits'])]
    save(folder / 'patch.onnx', add, {'image': sizes, 'medium': sizes}, {'logits': sizes})


@pytest.fixture(scope='module')
def whole(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a bundle of every kind that works."""
    folder = tmp_path_factory.mktemp('whole')
    found = {'two_branch': Path(tiny_bundle)}
    for kind in ('single', 'uniform', 'deformed', 'patches'):
        path = found[kind] = folder / kind
        path.mkdir()
        more = {}
        if kind == 'deformed':
            write_deformed(path)
        elif kind == 'patches':
            write_patches(path)
            more['patches'] = Patches(32, {'medium': 2})
        else:
            one_convolution(path, 2, kind)
        write_bundle(
            path,
            name=kind,
            network='one',
            kind=kind,
            classes=TINY_CLASSES,
            low_res_factor=1,
            **more,
        )
    for path in found.values():
        with Segmenter(path, 'onnxruntime', input_size=(64, 96)) as segmenter:
            assert segmenter(FRAME, confidence=True).mask.shape == (64, 96)
    return found


def node(kind: str, **attributes: object) -> Callable[[str], tuple[Nodes, int]]:
    """Return what puts one node before an output; inputs that are no tensor are constants."""
    constants = attributes.pop('constants', ())
    to = attributes.get('to', TensorProto.INT64 if kind == 'ArgMax' else FLOAT)

    def make(name: str) -> tuple[Nodes, int]:
        names = [f'constant_{index}' for index in range(len(constants))]
        before = [
            helper.make_node('Constant', [], [each], value=numpy_helper.from_array(value))
            for each, value in zip(names, constants, strict=True)
        ]
        twice = ['before'] * (2 if kind == 'Concat' else 1)
        return [*before, helper.make_node(kind, [*twice, *names], [name], **attributes)], to

    return make


#: How an output is spoilt. None of it is declared but the type.
CASES = {
    'nan': node('Mul', constants=[np.float32(np.nan)]),
    'infinity': node('Mul', constants=[np.float32(np.inf)]),
    'three axes': node('Squeeze', constants=[np.array([0])]),
    'five axes': node('Unsqueeze', constants=[np.array([0])]),
    'no axes': node('ReduceSum', keepdims=0),
    'two of a batch': node('Concat', axis=0),
    'no rows': node('Slice', constants=[np.array([0]), np.array([0]), np.array([1])]),
    'int64': node('Cast', to=TensorProto.INT64),
    'float16': node('Cast', to=TensorProto.FLOAT16),
    'float64': node('Cast', to=TensorProto.DOUBLE),
    'text': node('Cast', to=TensorProto.STRING),
    'ids': node('ArgMax', axis=1),
    'twice the classes': node('Concat', axis=1),
    'swapped': node('Transpose', perm=[0, 1, 3, 2]),
    'last axis first': node('Transpose', perm=[0, 3, 1, 2]),
}

#: Kind, graph and output, and what is right, or another graph would refuse, in such an output.
OUTPUTS = [
    ('single', 'network', 'logits', ()),
    ('uniform', 'network', 'logits', ()),
    ('deformed', 'saliency', 'grid', ('twice the classes',)),
    ('deformed', 'segment', 'probabilities', ()),
    ('patches', 'patch', 'logits', ('swapped',)),  # patches are square
    ('patches', 'medium', 'medium', CASES.keys() - {'nan', 'infinity', 'no rows', 'int64'}),
    ('two_branch', 'semantic', 'tokens', ('twice the classes',)),
    ('two_branch', 'detail', 'local', ('twice the classes',)),
    ('two_branch', 'detail', 'affinity', ('last axis first', 'swapped')),
    ('two_branch', 'scores', 'logits', ()),
]


def spoilt(case: str, name: str) -> Callable[[onnx.ModelProto], None]:
    """Put a node before an output, of which the file then says the type alone."""

    def edit(model: onnx.ModelProto) -> None:
        for each in model.graph.node:
            for names in (each.input, each.output):
                names[:] = ['before' if other == name else other for other in names]
        nodes, type_number = CASES[case](name)
        model.graph.node.extend(nodes)
        for each in model.graph.output:
            if each.name == name:
                each.CopyFrom(helper.make_tensor_value_info(name, type_number, None))

    return edit


@pytest.mark.parametrize(
    ('kind', 'graph', 'name', 'case'),
    [(*output, case) for *output, right in OUTPUTS for case in CASES if case not in right],
)
def test_no_kind_takes_what_is_no_output_of_it(
    whole: dict[str, Path],
    tmp_path: Path,
    kind: str,
    graph: str,
    name: str,
    case: str,
) -> None:
    folder = Path(shutil.copytree(whole[kind], tmp_path / 'spoilt'))
    change(folder, graph, spoilt(case, name))
    with pytest.raises(UhrSegError) as caught:  # when it is opened, not at the first frame
        Segmenter(folder, 'onnxruntime', input_size=(64, 96))
    text = str(caught.value)
    assert graph in text and name in text and str(folder) in text
    if case in ('nan', 'infinity'):
        assert 'not finite' in text
    else:
        assert 'expected' in text or 'swapped' in text


def test_more_classes_than_a_graph_tells_of(whole: dict[str, Path], tmp_path: Path) -> None:
    for kind, graphs in {'uniform': ['network'], 'patches': ['patch']}.items():
        folder = Path(shutil.copytree(whole[kind], tmp_path / kind))
        with edited_model(folder) as content:
            content['classes'].pop()
        with pytest.raises(EngineError, match=f'graph {graphs[0]} .* names 2 classes'):
            Segmenter(folder, 'onnxruntime')


@pytest.fixture
def tiny(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / 'tiny'))


def change(folder: Path, name: str, edit: Callable[[onnx.ModelProto], None]) -> None:
    """Change a graph of a bundle, and its hash."""
    path = folder / f'{name}.onnx'
    model = onnx.load(path)
    edit(model)
    onnx.save(model, path)
    with edited_model(folder) as content:
        content['graphs'][name]['sha256'] = hash_graph(path)


def spoil(tensor: str, value: float) -> Callable[[onnx.ModelProto], None]:
    """Fill a constant with a value."""

    def edit(model: onnx.ModelProto) -> None:
        for each in model.graph.initializer:
            if each.name == tensor:
                values = np.full(each.dims, value, np.float32)
                each.CopyFrom(numpy_helper.from_array(values, tensor))

    return edit


def swap(model: onnx.ModelProto) -> None:
    """Turn the order of the classes round."""
    for each in model.graph.initializer:
        if each.name in ('score', 'score_bias'):
            values = numpy_helper.to_array(each)[::-1].copy()
            each.CopyFrom(numpy_helper.from_array(values, each.name))


def shift_ids(model: onnx.ModelProto) -> None:
    """Add one to every id of the mask."""
    for node in model.graph.node:
        node.output[:] = ['before' if name == 'mask' else name for name in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.array(1, np.uint8), 'one'))
    model.graph.node.append(helper.make_node('Add', ['before', 'one'], ['mask']))


@pytest.mark.parametrize(
    ('name', 'edit', 'text'),
    [
        ('scores', spoil('score', np.nan), 'logits that are not finite'),
        ('quarter', spoil('score', np.nan), 'quarter_logits that are not finite'),
        ('semantic', spoil('score', np.nan), 'tokens that are not finite'),
        ('detail', spoil('to_rgb', np.inf), 'that are not finite'),
        ('quarter', swap, 'quarter and scores give different masks'),
        ('scores', shift_ids, 'its graph scores gives ids from 1 to 3 as uint8'),
    ],
)
def test_two_branches(
    tiny: Path, name: str, edit: Callable[[onnx.ModelProto], None], text: str
) -> None:
    change(tiny, name, edit)
    with Segmenter(tiny, 'onnxruntime') as segmenter:
        with pytest.raises(UhrSegError, match=text):
            segmenter(FRAME)
