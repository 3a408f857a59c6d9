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

"""What is found out of networks of others, and the networks that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip('onnx', reason='networks are read with onnx')
from foreign_networks import conv, Step, step, write_foreign
from onnx import helper, TensorProto

from uhr_seg_ros.core.errors import BundleError
from uhr_seg_ros.export.network_input import Said
from uhr_seg_ros.export.network_inspection import inspect_network, Inspection
from uhr_seg_ros.export.network_trial import Trial
from uhr_seg_ros.export.wrapping import normalization_of
from uhr_seg_ros.onnx_graphs.foreign_network import opset_of
from uhr_seg_ros.onnx_graphs.network_adaptation import adapt, Form

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
MASKS = (('out', INT64),)

#: What exporters write around Softmax: height and width change places.
TURNED = step('Transpose', perm=[0, 3, 2, 1])

#: Keeps probabilities away from 0 and 1.
WEAK = step('Mul', np.float32(0.1))


def inspected(path: Path, said: Said, *steps: Step, **options: object) -> Inspection:
    return inspect_network(write_foreign(path / 'n.onnx', *steps, **options), said)


def wrapped(found: Inspection, image: np.ndarray) -> np.ndarray:
    """Return the logits of the wrapped network, (C, h, w)."""
    form = Form('image', 'NCHW', 'float32', 'rgb', None, 'logits', 'NCHW', '', 0)
    return Trial(adapt(found.model, found.form), form, ['logits'], '').run(image)[0][0]


def image_of(height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(1, 3, height, width)).astype(np.float32)


def scores(image: np.ndarray, classes: int = 3) -> np.ndarray:
    """Return what the convolution says, (C, h, w)."""
    rows, columns = image.shape[2] // 4, image.shape[3] // 4
    tiles = image[0].reshape(3, rows, 4, columns, 4)
    return np.einsum('krycx,nkyx->nrc', tiles, conv(classes)[1][0], optimize=True)


@pytest.mark.parametrize('opset', [11, 13, 17, 18, 21])
def test_logits_of_any_opset_come_in_the_one_of_all_back_ends(tmp_path: Path, opset: int) -> None:
    found = inspected(tmp_path, Said(), conv(), opset=opset)
    model = adapt(found.model, found.form)
    assert opset_of(model) == 17
    assert np.allclose(wrapped(found, image_of()), scores(image_of()), atol=1e-4)


@pytest.mark.parametrize(
    ('steps', 'kind'),
    [
        ((conv(), step('Softmax', axis=1)), 'logits'),
        ((conv(), step('Sigmoid')), 'logits'),
        ((conv(), step('Transpose', perm=TO_LAST), step('Softmax', axis=-1)), 'logits'),
        ((conv(), step('Transpose', perm=TO_LAST)), 'logits'),
        ((conv(), TURNED, step('Softmax', axis=3), TURNED), 'logits'),
        ((conv(), step('Squeeze', np.array([0]))), 'logits'),
        ((WEAK, conv(), step('Softmax', axis=1), step('Mul', np.float32(1))), 'probabilities'),
    ],
)
def test_scores_of_every_form_become_logits(
    tmp_path: Path, steps: tuple[Step, ...], kind: str
) -> None:
    found = inspected(tmp_path, Said(classes=3), *steps)
    assert found.form.kind == kind
    weak = 0.1 if WEAK in steps else 1
    differ = wrapped(found, image_of()) - weak * scores(image_of())
    # Probabilities say logits but for a constant.
    assert np.allclose(differ, differ.mean(0), atol=1e-3)


@pytest.mark.parametrize(
    'last',
    [
        step('Gelu'),
        step('Pad', np.zeros(8, np.int64)),
        step('Split', np.array([3]), axis=1),
        step('ReduceMax', np.array([0]), keepdims=1),
    ],
    ids=lambda each: each[0],
)
def test_operators_that_are_newer_than_the_opset_of_all_back_ends(
    tmp_path: Path, last: Step
) -> None:
    found = inspected(tmp_path, Said(), conv(), last, opset=20)
    model = adapt(found.model, found.form)
    assert opset_of(model) == 17
    expected = Trial(found.model, found.form, ['out'], '').run(image_of())[0][0]
    assert np.allclose(wrapped(found, image_of()), expected, atol=1e-4)


@pytest.mark.parametrize(
    'tail', [(), (step('Sigmoid'),), (step('Sigmoid'), step('Mul', np.float32(1)))]
)
def test_one_score_makes_two_classes(tmp_path: Path, tail: tuple[Step, ...]) -> None:
    found = inspected(tmp_path, Said(classes=2), WEAK, conv(1), *tail)
    logits = wrapped(found, image_of())
    assert np.allclose(logits[1] - logits[0], 0.1 * scores(image_of(), 1)[0], atol=1e-3)


@pytest.mark.parametrize('dtype', [INT64, FLOAT, TensorProto.UINT8])
def test_bare_classes(tmp_path: Path, dtype: int) -> None:
    """What was decided without ArgMax has no scores behind it."""
    steps = (conv(1), step('Floor'), step('Clip', np.float32(0), np.float32(2)))
    outputs = (('out', dtype),)
    found = inspected(tmp_path, Said(classes=3), *steps, step('Cast', to=dtype), outputs=outputs)
    assert found.form.kind == 'mask'
    expected = np.floor(scores(image_of(), 1)[0]).clip(0, 2)
    assert np.array_equal(wrapped(found, image_of()).argmax(0), expected)


def test_colors_in_the_other_order_and_pixels_in_the_last_axis(tmp_path: Path) -> None:
    said = Said(channel_order='bgr')
    steps = (step('Transpose', perm=TO_FIRST), conv())
    found = inspected(tmp_path, said, *steps, shape=(1, None, None, None))
    assert found.form.layout == 'NHWC'
    plain = inspected(tmp_path, Said(), conv(), shape=(1, None, None, None))
    assert plain.form.layout == 'NCHW'
    assert np.allclose(wrapped(found, image_of()[:, ::-1]), scores(image_of()), atol=1e-4)


def test_scores_of_no_whole_number_of_px_are_enlarged(tmp_path: Path) -> None:
    """Such as 129 for 513 px."""
    found = inspected(tmp_path, Said(), conv(), shape=(1, 3, 14, 18))
    assert wrapped(found, image_of(14, 18)).shape == (3, 14, 18)
    assert found.stride == 1


@pytest.mark.parametrize(
    ('how', 'side'), [('half_pixel', 3), ('pytorch_half_pixel', 3), ('align_corners', 12)]
)
def test_scores_that_are_enlarged_at_the_end_stay_small(
    tmp_path: Path, how: str, side: int
) -> None:
    """Pipelines enlarge them just so; other ways of it stay, and so does the stride."""
    scales = np.array([1, 1, 4, 4], np.float32)
    options = {'mode': 'linear', 'coordinate_transformation_mode': how}
    resize = step('Resize', np.array([], np.float32), scales, **options)
    found = inspected(tmp_path, Said(classes=3), conv(), resize, step('Softmax', axis=1))
    assert found.stride == 4
    assert found.form.kind == 'logits'
    logits = wrapped(found, image_of())
    assert len(logits[0]) == side
    if side == 3:
        assert np.allclose(logits, scores(image_of()), atol=1e-4)
    # Probabilities are not the softmax of what is enlarged.
    steps = (WEAK, conv(), step('Softmax', axis=1), resize)
    found = inspected(tmp_path, Said(classes=3), *steps)
    assert found.form.kind == 'probabilities'
    assert wrapped(found, image_of()).shape == (3, 12, 20)


def test_tensors_in_other_files_are_brought_inside(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / 'n.onnx', conv())
    options = {'save_as_external_data': True, 'location': 'n.data', 'size_threshold': 0}
    onnx.save(onnx.load(path), path, **options)
    assert (tmp_path / 'n.data').is_file()
    found = inspect_network(path, Said())
    (tmp_path / 'n.data').unlink()
    assert np.allclose(wrapped(found, image_of()), scores(image_of()), atol=1e-4)


@pytest.mark.parametrize(
    ('mean', 'std', 'scale', 'expected'),
    [
        ((0.5, 0.25, 0.0), (0.5, 0.5, 0.5), None, ((127.5, 63.75, 0), (127.5,) * 3)),
        ((120, 110, 100), None, None, ((120, 110, 100), (1,) * 3)),
        (None, None, 0.5, ((0,) * 3, (2,) * 3)),
    ],
)
def test_normalization_as_others_write_it(
    mean: object, std: object, scale: float | None, expected: object
) -> None:
    found = normalization_of(mean, std, scale, 'rgb')
    assert found is not None
    assert np.allclose((found.mean, found.std), expected)
    turned = normalization_of(mean, std, scale, 'bgr')
    assert turned is not None and turned.mean == found.mean[::-1]


def test_normalization_inside_of_the_graph(tmp_path: Path) -> None:
    for constant, std in ((127.5, 1.0), (0.5, 255.0)):
        found = inspected(tmp_path, Said(), step('Sub', np.float32(constant)), conv())
        assert found.normalization is not None
        assert found.normalization.std == (std,) * 3
    assert inspected(tmp_path, Said(), conv()).normalization is None


REFUSED = {
    'bytes with a sign': (dict(dtype=TensorProto.INT8), 'int8, expected pixels of'),
    'whole numbers': (dict(dtype=INT64), 'int64, expected pixels of'),
    'any rank': (dict(shape=None), 'expected four axes'),
    'rank 3': (dict(shape=(3, 'h', 'w')), 'expected four axes'),
    'two images': (dict(shape=(2, 3, 'h', 'w')), '2 images at a time'),
    'infrared': (dict(shape=(1, 4, 'h', 'w')), '4 channels in layout NCHW'),
    'half fixed': (dict(shape=(1, 3, 64, 'w')), 'one of height and width is fixed'),
    'two outputs': (
        dict(outputs=(('out', FLOAT), ('aux', FLOAT))),
        r'2 outputs .*--output-name',
    ),
    'old': (dict(opset=10), 'of opset 10, expected 11 to 21'),
    'new': (dict(opset=22), 'of opset 22, expected 11 to 21'),
    'custom': (dict(domain='mine'), 'not of ONNX: mine.Conv'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_graphs_that_are_refused(tmp_path: Path, name: str) -> None:
    options, text = REFUSED[name]
    with pytest.raises(BundleError, match=text):
        inspected(tmp_path, Said(), conv(), **options)


def test_a_second_input(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / 'n.onnx', conv())
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info('more', FLOAT, [1]))
    onnx.save(model, path)
    with pytest.raises(BundleError, match=r'takes 2 inputs \(.*more'):
        inspect_network(path, Said())


STRINGS = (('out', TensorProto.STRING),)


@pytest.mark.parametrize(
    ('said', 'steps', 'options', 'text'),
    [
        (Said(classes=5), (conv(),), {}, '3 classes, where the list of classes has 5'),
        (Said(classes=3), (conv(1),), {}, 'one score, which makes two classes'),
        (Said(output='x'), (conv(),), {}, "no output 'x', it gives out"),
        (Said(layout='NHWC'), (conv(),), {'shape': (1, 3, 64, 64)}, '64 channels in layout NHWC'),
        (Said(), (step('Identity'),), {'shape': (1, 'a', 'b', 'c')}, 'give --layout'),
        (Said(stride=3), (conv(),), {'shape': (1, 3, 64, 64)}, 'no multiples of --stride 3'),
        (Said(stride=3), (conv(),), {}, 'none that is a multiple of 3 px'),
        (Said(), (conv(), step('Cast', to=INT64)), {'outputs': MASKS}, 'expected classes of'),
        (Said(), (conv(), step('Cast', to=8)), {'outputs': STRINGS}, 'string, expected numbers'),
        (Said(kind='probabilities'), (conv(),), {}, 'no probabilities: give --output-kind'),
        (Said(kind='mask'), (conv(),), {}, 'expected classes of pixels'),
        (Said(), (conv(), step('GlobalAveragePool')), {}, 'expected scores'),
        (Said(), (conv(), step('Flatten')), {}, 'expected scores'),
        (Said(), (conv(), step('Div', np.float32(0))), {}, 'not finite'),
        (
            Said(classes=2),
            (conv(1), step('Ceil'), step('Abs'), step('Cast', to=INT64)),
            {'outputs': MASKS},
            'expected the numbers of classes, 0 to 1',
        ),
        (
            Said(),
            (conv(), step('Reshape', np.array([1, 3, 16, 16]))),
            {},
            'takes any size, but none that is a multiple of',
        ),
    ],
)
def test_networks_that_do_not_fit(
    tmp_path: Path,
    said: Said,
    steps: tuple[Step, ...],
    options: dict[str, object],
    text: str,
) -> None:
    with pytest.raises(BundleError, match=text):
        inspected(tmp_path, said, *steps, **options)


@pytest.mark.parametrize(
    ('content', 'text'),
    [(None, 'No such file'), (b'', 'no ONNX file'), (b'\x08\x08:\x03abc', 'no ONNX|damaged')],
)
def test_files_that_are_no_networks(tmp_path: Path, content: bytes | None, text: str) -> None:
    path = tmp_path / 'n.onnx'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BundleError, match=text):
        inspect_network(path, Said())
