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

"""A genuine two-branch bundle of a few kilobytes whose masks can be computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import shutil
from typing import Any

import numpy as np
import pytest
import yaml

from uhr_seg_ros.core.bundle import IMAGENET_MEAN, IMAGENET_STD
from uhr_seg_ros.core.classes import ClassSet
from uhr_seg_ros.export.bundle_writing import write_bundle

try:
    import onnx
    from onnx import helper, numpy_helper, TensorProto
except ModuleNotFoundError:  # rosdep has no key for it: then `KEPT` is all there is
    onnx = None

#: The default one, made before (`python test/support/tiny_bundle.py`).
KEPT = Path(__file__).parents[1] / 'data/tiny_bundle'

#: Pure colours: bands painted with them are exactly the mask, see `make_tiny_bundle`.
TINY_CLASSES = ClassSet(('red', 'green', 'blue'), ((255, 0, 0), (0, 255, 0), (0, 0, 255)))

#: How much the semantic branch counts beside the local one.
TOKEN_WEIGHT = 0.1

#: Memory of the detail branch, MB, that makes its tiles 512 px.
SMALL_MB = 11


def make_tiny_bundle(
    directory: str | Path,
    classes: ClassSet = TINY_CLASSES,
    *,
    name: str = 'tiny',
    detail_bytes_per_pixel: float | None = 40.0,
    sees_whole_tile: bool = False,
    guesses_gain: bool = False,
) -> Path:
    """
    Write a bundle that gives every pixel the class with the nearest colour.

    With s(rgb) the score of a colour (see `scores`), `tokens` is s of the mean colour of the
    16x16 px cell, `affinity` the brightness of the cell in 0..1 and `local` the mean colour
    of every 4x4 px block; the logits are
    bilinear_x4(s(local) + TOKEN_WEIGHT * affinity * tokens).

    An image of straight 4-aligned bands in the pure colours of `TINY_CLASSES` has exactly
    these bands as its mask (where blocks meet at a corner, interpolation rounds the corner).

    Args:
        directory: made if it is not there.
        classes: the colours are the prototypes.
        name: name in model.yaml.
        detail_bytes_per_pixel: what model.yaml says.
        sees_whole_tile: adds the mean colour of the whole input of the detail branch to
            `local`, so that tiles differ from the whole frame.
        guesses_gain: adds the graph `detail_gain`, which takes the score of the first class.

    Returns:
        The folder.

    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    is_default = (
        classes == TINY_CLASSES
        and (name, detail_bytes_per_pixel) == ('tiny', 40.0)
        and not (sees_whole_tile or guesses_gain)
    )
    if onnx is None and is_default:
        return shutil.copytree(KEPT, directory, dirs_exist_ok=True)
    pytest.importorskip('onnx', reason='such a bundle is made with onnx')
    _save(_semantic(classes), directory / 'semantic.onnx')
    _save(_detail(sees_whole_tile), directory / 'detail.onnx')
    _save(_fusion(classes, ['mask']), directory / 'fusion.onnx')
    outputs = ['mask', 'confidence', 'logits']
    _save(_fusion(classes, outputs), directory / 'scores.onnx')
    _save(_fusion(classes, ['quarter_logits']), directory / 'quarter.onnx')
    if guesses_gain:
        _save(_gain(len(classes)), directory / 'detail_gain.onnx')
    write_bundle(
        directory,
        name=name,
        network='tiny',
        kind='two_branch',
        classes=classes,
        detail_bytes_per_pixel=detail_bytes_per_pixel,
        provenance={'weights': 'by hand'},
    )
    return directory


@contextmanager
def edited_model(bundle: Path) -> Iterator[dict[str, Any]]:
    """Return the content of model.yaml and write back what became of it."""
    path = bundle / 'model.yaml'
    content = yaml.safe_load(path.read_text())
    yield content
    path.write_text(yaml.safe_dump(content))


def paint(mask: np.ndarray, classes: ClassSet = TINY_CLASSES) -> np.ndarray:
    """Paint a mask (H, W) as the image (H, W, 3) uint8 BGR that the tiny bundle reads back."""
    return classes.palette_bgr()[mask]


def scores(rgb: np.ndarray, classes: ClassSet = TINY_CLASSES) -> np.ndarray:
    """Return 2 p x - p p for colours (..., 3) in 0..1 and every prototype p: (..., C)."""
    prototypes = np.array(classes.colors, np.float64) / 255
    return 2 * rgb @ prototypes.T - (prototypes**2).sum(1)


def expected_logits(image: np.ndarray, classes: ClassSet = TINY_CLASSES) -> np.ndarray:
    """Compute in numpy what the tiny bundle gives for (H, W, 3) BGR: logits (C, H, W)."""
    height, width = image.shape[:2]
    padding = ((0, -height % 16), (0, -width % 16), (0, 0))
    rgb = np.pad(image, padding, mode='edge')[..., ::-1] / 255.0
    cells = _block_mean(rgb, 16)
    tokens = scores(cells, classes) * cells.mean(-1, keepdims=True)
    quarter = scores(_block_mean(rgb, 4), classes)
    quarter += TOKEN_WEIGHT * tokens.repeat(4, 0).repeat(4, 1)
    full = _upsample(_upsample(quarter, 0), 1)
    return full[:height, :width].transpose(2, 0, 1)


def _block_mean(array: np.ndarray, size: int) -> np.ndarray:
    height, width, channels = array.shape
    blocks = array.reshape(height // size, size, width // size, size, channels)
    return blocks.mean((1, 3))


def _upsample(array: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate linearly by 4 with half-pixel centres, edge values repeated."""
    size = array.shape[axis]
    position = np.clip((np.arange(4 * size) + 0.5) / 4 - 0.5, 0, size - 1)
    lower = np.minimum(position.astype(int), max(size - 2, 0))
    upper = np.minimum(lower + 1, size - 1)
    shape = [1, 1, 1]
    shape[axis] = -1
    weight = (position - lower).reshape(shape)
    return array.take(lower, axis) * (1 - weight) + array.take(upper, axis) * weight


def _semantic(classes: ClassSet) -> onnx.GraphProto:
    nodes = [
        _mean('low_res', 'pooled', 4),
        helper.make_node('Conv', ['pooled', 'to_rgb', 'to_rgb_bias'], ['rgb']),
        helper.make_node('Conv', ['rgb', 'score', 'score_bias'], ['tokens']),
        helper.make_node('Identity', ['tokens'], ['semantic_logits']),
    ]
    count = len(classes)
    return helper.make_graph(
        nodes,
        'semantic',
        [_tensor('low_res', 3, 'h4', 'w4')],
        [_tensor('tokens', count, 'h16', 'w16'), _tensor('semantic_logits', count, 'h16', 'w16')],
        [*_to_rgb(), *_score(classes)],
    )


def _gain(count: int) -> onnx.GraphProto:
    first = np.eye(1, count, dtype=np.float32)[:, :, None, None]
    return helper.make_graph(
        [
            helper.make_node('Max', ['tokens', 'semantic_logits'], ['best']),  # they are equal
            helper.make_node('Conv', ['best', 'first'], ['detail_gain']),
        ],
        'detail_gain',
        [_tensor(name, count, 'h16', 'w16') for name in ('tokens', 'semantic_logits')],
        [_tensor('detail_gain', 1, 'h16', 'w16')],
        [numpy_helper.from_array(first, 'first')],
    )


def _detail(sees_whole_tile: bool) -> onnx.GraphProto:
    blocks = 'blocks' if sees_whole_tile else 'local'
    nodes = [
        _mean('image', 'means', 4),
        helper.make_node('Conv', ['means', 'to_rgb', 'to_rgb_bias'], [blocks]),
        _mean(blocks, 'cells', 4),
        helper.make_node('ReduceMean', ['cells'], ['brightness'], axes=[1], keepdims=1),
        helper.make_node('Transpose', ['brightness'], ['affinity'], perm=[0, 2, 3, 1]),
    ]
    if sees_whole_tile:
        nodes.append(helper.make_node('GlobalAveragePool', [blocks], ['whole']))
        nodes.append(helper.make_node('Add', ['blocks', 'whole'], ['local']))
    return helper.make_graph(
        nodes,
        'detail',
        [_tensor('image', 3, 'h', 'w')],
        [
            helper.make_tensor_value_info('affinity', TensorProto.FLOAT, [1, 'h16', 'w16', 1]),
            _tensor('local', 3, 'h4', 'w4'),
        ],
        _to_rgb(),
    )


def _fusion(classes: ClassSet, outputs: list[str]) -> onnx.GraphProto:
    nodes = [
        helper.make_node('Transpose', ['affinity'], ['brightness'], perm=[0, 3, 1, 2]),
        helper.make_node('Mul', ['tokens', 'brightness'], ['lit']),
        helper.make_node('Mul', ['lit', 'weight'], ['weighted']),
        _enlarge('weighted', 'spread', mode='nearest', nearest_mode='floor'),
        helper.make_node('Conv', ['local', 'score', 'score_bias'], ['local_scores']),
        helper.make_node('Add', ['local_scores', 'spread'], ['quarter_logits']),
    ]
    if 'mask' in outputs:
        nodes += _mask()
    if 'confidence' in outputs:
        nodes += _confidence()
    count = len(classes)
    uint8, size = TensorProto.UINT8, [1, 'h', 'w']
    known = {
        'mask': helper.make_tensor_value_info('mask', uint8, size),
        'confidence': helper.make_tensor_value_info('confidence', uint8, size),
        'logits': _tensor('logits', count, 'h', 'w'),
        'quarter_logits': _tensor('quarter_logits', count, 'h4', 'w4'),
    }
    inputs = [
        _tensor('tokens', count, 'h16', 'w16'),
        helper.make_tensor_value_info('affinity', TensorProto.FLOAT, [1, 'h16', 'w16', 1]),
        _tensor('local', 3, 'h4', 'w4'),
    ]
    constants = [
        _constant('scales', [1, 1, 4, 4]),
        _constant('weight', TOKEN_WEIGHT),
        _constant('most', 255),
        numpy_helper.from_array(np.array([1]), 'class_axis'),
        *_score(classes),
    ]
    return helper.make_graph(nodes, 'fusion', inputs, [known[name] for name in outputs], constants)


def _mask() -> list[onnx.NodeProto]:
    return [
        _enlarge('quarter_logits', 'logits', mode='linear'),
        helper.make_node('ArgMax', ['logits'], ['ids'], axis=1, keepdims=0),
        helper.make_node('Cast', ['ids'], ['mask'], to=TensorProto.UINT8),
    ]


def _confidence() -> list[onnx.NodeProto]:
    """255 times the largest softmax, which is one over the sum of exp(logit - largest)."""
    return [
        helper.make_node('ReduceMax', ['logits'], ['best'], axes=[1], keepdims=1),
        helper.make_node('Sub', ['logits', 'best'], ['below']),
        helper.make_node('Exp', ['below'], ['parts']),
        helper.make_node('ReduceSum', ['parts', 'class_axis'], ['sum'], keepdims=0),
        helper.make_node('Div', ['most', 'sum'], ['share']),
        helper.make_node('Round', ['share'], ['rounded']),
        helper.make_node('Cast', ['rounded'], ['confidence'], to=TensorProto.UINT8),
    ]


def _enlarge(source: str, target: str, **kind: str) -> onnx.NodeProto:
    kind['coordinate_transformation_mode'] = (
        'asymmetric' if kind['mode'] == 'nearest' else 'half_pixel'
    )
    return helper.make_node('Resize', [source, '', 'scales'], [target], **kind)


def _constant(name: str, values: float | list[float]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def _mean(source: str, target: str, size: int) -> onnx.NodeProto:
    sizes = {'kernel_shape': [size, size], 'strides': [size, size]}
    return helper.make_node('AveragePool', [source], [target], **sizes)


def _tensor(name: str, channels: int, height: str, width: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, height, width])


def _to_rgb() -> list[onnx.TensorProto]:
    """Undo the normalisation: a 1x1 convolution to colours in 0..1."""
    std, mean = np.array(IMAGENET_STD) / 255, np.array(IMAGENET_MEAN) / 255
    return _conv('to_rgb', np.diag(std), mean)


def _score(classes: ClassSet) -> list[onnx.TensorProto]:
    bias = scores(np.zeros(3), classes)
    return _conv('score', (scores(np.eye(3), classes) - bias).T, bias)


def _conv(name: str, matrix: np.ndarray, bias: np.ndarray) -> list[onnx.TensorProto]:
    weight = matrix.astype(np.float32)[:, :, None, None]
    return [
        numpy_helper.from_array(weight, name),
        numpy_helper.from_array(bias.astype(np.float32), f'{name}_bias'),
    ]


def _save(graph: onnx.GraphProto, path: Path) -> None:
    opset = helper.make_opsetid('', 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == '__main__':
    make_tiny_bundle(KEPT)
