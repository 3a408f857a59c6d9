# Copyright 2026 uhr_seg_ros contributors
# SPDX-License-Identifier: Apache-2.0

"""Graphs that compute nonsense: no plausible mask comes of them, whatever the kind of bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import shutil

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='the bundles are made with onnx')
from onnx import helper, numpy_helper, TensorProto  # noqa: E402
from tiny_bundle import edited_model, paint, TINY_CLASSES  # noqa: E402

from uhr_seg_ros.bundle import Bundle, load_bundle  # noqa: E402
from uhr_seg_ros.bundle_writing import write_bundle  # noqa: E402
from uhr_seg_ros.errors import UhrSegError  # noqa: E402
from uhr_seg_ros.graph_files import hash_graph  # noqa: E402
from uhr_seg_ros.segmenter import Segmenter  # noqa: E402
from uhr_seg_ros.strategies.maps import check_logits  # noqa: E402
from uhr_seg_ros.strategies.strategy import Limits  # noqa: E402

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
    with Segmenter(bundle, 'onnxruntime', Limits(tile=128)) as segmenter:
        with pytest.raises(UhrSegError, match='logits that are not finite'):
            segmenter(FRAME.repeat(4, 0))


def test_large_logits_are_right(tmp_path: Path) -> None:
    with Segmenter(one_convolution(tmp_path, 1e37), 'onnxruntime') as segmenter:
        mask = segmenter(np.full((64, 64, 3), 255, np.uint8)).mask
    assert (mask == 2).all()


@pytest.mark.parametrize('shape', [(1, 5, 4, 4), (2, 3, 4, 4), (3, 4, 4), (1, 3, 0, 4)])
def test_logits_of_another_form(tiny_bundle: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(UhrSegError, match=r'logits of shape .*expected \(1, 3, height, width\)'):
        check_logits(load_bundle(tiny_bundle), 'logits', np.zeros(shape, np.float32))


def test_tiles_whose_logits_do_not_divide_them(tmp_path: Path) -> None:
    bundle = one_convolution(tmp_path, 2, stride=3)
    with Segmenter(bundle, 'onnxruntime', Limits(tile=128)) as segmenter:
        with pytest.raises(UhrSegError, match='the logits of a tile of .* px have shape'):
            segmenter(FRAME.repeat(4, 0))


@pytest.fixture
def tiny(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Give a copy of the tiny bundle."""
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
        ('fusion', spoil('score', np.nan), 'fusion and scores give different masks'),
        ('semantic', spoil('score', np.nan), 'tokens that are not finite'),
        ('detail', spoil('to_rgb', np.inf), 'that are not finite'),
        ('fusion', swap, 'fusion and scores give different masks'),
        ('fusion', shift_ids, 'its graph fusion gives ids from 1 to 3 as uint8'),
    ],
)
def test_two_branches(
    tiny: Path, name: str, edit: Callable[[onnx.ModelProto], None], text: str
) -> None:
    change(tiny, name, edit)
    with Segmenter(tiny, 'onnxruntime') as segmenter:
        with pytest.raises(UhrSegError, match=text):
            segmenter(FRAME)
