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
Masks of whole networks in emulated float16 against float32, with the divisors of real frames.

Linear attention divides by the number of places at stride 16: 8160 at 1080p, 129600 at 8K.

Networks with random weights multiply every error: their attention gives nearly the same at all
places, and the batch norm behind it divides by the little that is left. So what the conversion
changes is compared with what rounding the weights changes that any network in half has.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx', reason='half graphs are made with onnx')

from emulated_half import run_graph, run_half
import onnx
from onnx import numpy_helper

from uhr_seg_ros.core.bundle import load_bundle
from uhr_seg_ros.onnx_graphs.folding import fix_shapes
from uhr_seg_ros.onnx_graphs.precision import round_to_half, summed_axes, to_half
from uhr_seg_ros.pipelines.preprocessing import Preprocessor
from uhr_seg_ros.pipelines.verification import AGREEMENT, verification_frame
from uhr_seg_ros.synthetic.scenes import generate_scene

Arrays = dict[str, np.ndarray]

#: Height and width, multiples of 16.
SIZES = {'1080p': (1088, 1920), '4K': (2160, 3840), '8K': (4320, 7680)}
SMALL = (384, 512)
#: Scenes that batch norms of published networks saw.
SEEN = (0, 1)
PUBLISHED = ('hlrc_inria', 'hlrc_deepglobe', 'hlrc_cityscapes')


class Network:
    """
    The graphs of a network on one frame.

    Args:
        paths: graph name -> file.
        frame: (H, W, 3) uint8 BGR.

    """

    def __init__(self, paths: Mapping[str, Path], frame: np.ndarray) -> None:
        self._paths, self._size = paths, frame.shape[:2]
        # All networks here have mean and deviation of ImageNet.
        planes, low_res = Preprocessor(load_bundle('hlrc_s_aerial')).whole(frame)
        self._inputs = {'image': planes.copy(), 'low_res': low_res.copy()}
        self._tokens: dict[bool | None, Arrays] = {}

    def logits(self, *, flush: bool | None = None, places: int = 0) -> np.ndarray:
        """
        Compute the logits at a quarter of the size.

        Args:
            flush: of `run_half`; None: in float32.
            places: by which linear attention divides in place of its own.

        """
        if flush not in self._tokens:
            self._tokens[flush] = self._run('semantic', self._inputs, flush)
        found = self._tokens[flush] | self._run('detail', self._inputs, flush, places)
        return self._run('quarter', found, flush)['quarter_logits'][0]

    def logits_of_rounded_weights(self) -> np.ndarray:
        """Compute them in float32, of weights and biases that were rounded to half."""
        found = self._inputs
        for name in ('semantic', 'detail', 'quarter'):
            model, feeds = self._fixed(name, found)
            round_weights(model)
            found = found | run_graph(model, feeds)
        return found['quarter_logits'][0]

    def _run(self, name: str, found: Arrays, flush: bool | None, places: int = 0) -> Arrays:
        model, feeds = self._fixed(name, found)
        if places:
            divide_by(model, self._size[0] * self._size[1] // 256, places)
        if flush is None:
            return run_graph(model, feeds)
        return run_half(to_half(model), feeds, flush=flush)

    def _fixed(self, name: str, found: Arrays) -> tuple[onnx.ModelProto, Arrays]:
        content = self._paths[name].read_bytes()
        shapes = shapes_of(onnx.load_model_from_string(content), self._size)
        return fix_shapes(content, shapes, name), {each: found[each] for each in shapes}


def shapes_of(model: onnx.ModelProto, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return the input shapes of a graph for a frame of height and width."""
    names = [
        ('low_height', 'low_width', 4),
        ('height', 'width', 1),
        ('rows', 'columns', 16),
        ('quarter_height', 'quarter_width', 4),
    ]
    sizes = {
        name: length // factor
        for *pair, factor in names
        for name, length in zip(pair, size, strict=True)
    }
    return {
        each.name: tuple(
            sizes.get(dimension.dim_param) or dimension.dim_value
            for dimension in each.type.tensor_type.shape.dim
        )
        for each in model.graph.input
    }


def divide_by(model: onnx.ModelProto, own: int, places: int) -> None:
    """Divide by a number of places other than the model's own."""
    count = 0
    for constant in model.graph.initializer:
        scalar = constant.data_type == onnx.TensorProto.FLOAT and np.prod(constant.dims) == 1
        if scalar and numpy_helper.to_array(constant).item() == own:
            values = np.full(tuple(constant.dims), places, np.float32)
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
            count += 1
    assert count


def round_weights(model: onnx.ModelProto) -> None:
    """Round what convolutions and products have of constants to half, as `to_half` does."""
    places = {
        name: (node.op_type, place)
        for node in model.graph.node
        if node.op_type in ('Conv', 'Gemm', 'MatMul')
        for place, name in enumerate(node.input)
    }
    for constant in model.graph.initializer:
        if constant.name in places and constant.data_type == onnx.TensorProto.FLOAT:
            axes = summed_axes(*places[constant.name])
            half = round_to_half(numpy_helper.to_array(constant), axes)
            constant.CopyFrom(numpy_helper.from_array(half.astype(np.float32), constant.name))


def compare(expected: np.ndarray, found: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Return the share of pixels of the same class, and the largest relative logit error."""
    error = np.abs(found - expected).max() / np.abs(expected).max()
    return float((mask_of(expected, size) == mask_of(found, size)).mean()), float(error)


def mask_of(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge logits and take the arg max."""
    mask, best = np.zeros(size, np.uint8), np.full(size, -np.inf, np.float32)
    for index, plane in enumerate(logits):
        enlarged = cv2.resize(plane, size[::-1])
        mask[enlarged > best] = index
        np.maximum(best, enlarged, out=best)
    return mask


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('name', SIZES)
def test_shipped_model_on_whole_frames(name: str) -> None:
    """Slow: whole frames of up to 33 megapixels on the CPU, 10 GB and minutes for the largest."""
    graphs = load_bundle('hlrc_s_aerial').graphs
    paths = {each: graph.path for each, graph in graphs.items()}
    network = Network(paths, verification_frame(SIZES[name]))
    expected = network.logits()
    for flush in (False, True):
        agreement, error = compare(expected, network.logits(flush=flush), SIZES[name])
        print(f'\n{name} flush={flush}: {agreement:.4%}, {error:.1e}')  # noqa: T201 - for the docs
        assert agreement > AGREEMENT['fp16']


@pytest.fixture(scope='module', params=PUBLISHED)
def published(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Export a published network with random weights."""
    torch = pytest.importorskip('torch', reason='networks are PyTorch')
    from networks_seen import see

    from uhr_seg_ros.export.export import write_graphs
    from uhr_seg_ros.networks.backbones.normalization import normalized
    from uhr_seg_ros.networks.presets import build_network

    torch.manual_seed(0)
    network = build_network(request.param)
    scenes = np.stack([generate_scene(seed, *SMALL)[0] for seed in SEEN])
    see(network, normalized(scenes))
    folder = tmp_path_factory.mktemp(request.param)
    with torch.no_grad():
        write_graphs(network, folder)
    return {path.stem: path for path in folder.glob('*.onnx')}


def check_conversion(
    network: Network, cases: list[tuple[str, bool, int]], size: tuple[int, int]
) -> None:
    """
    Compare the error of the conversion with that of rounding the weights.

    Args:
        network: with random weights.
        cases: name, whether to flush, and by what linear attention divides, see `logits`.
        size: of the frame.

    """
    expected = network.logits()
    # As if training had balanced the classes: with random weights one wins everywhere.
    usual = expected.mean((1, 2), keepdims=True)

    def error(name: str, found: np.ndarray) -> float:
        agreement, _ = compare(expected - usual, found - usual, size)
        rms = float((found - expected).std() / (expected - usual).std())
        print(f'\n{name}: {agreement:.4%}, {rms:.1e}')  # noqa: T201 - for the docs
        return rms

    by_weights = error('weights alone', network.logits_of_rounded_weights())
    for name, flush, places in cases:
        found = network.logits(flush=flush, places=places)
        assert error(f'{name} flush={flush}', found) < 3 * by_weights


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('seen', [False, True])
def test_published_networks(published: dict[str, Path], seen: bool) -> None:
    """
    Slow: 66 million parameters each; a small frame with the divisors of large ones.

    Flushed, as what is too small shows there first, and once not. On a frame that the batch norms
    saw, numbers are as large as in a trained network; on another one they are a thousand times
    that, and hide what is too small, but not what is too large.
    """
    frame = generate_scene(SEEN[0], *SMALL)[0] if seen else verification_frame(SMALL)
    cases = [
        (name, flush, height * width // 256)
        for name, (height, width) in SIZES.items()
        for flush in (True, False)
        if flush or name == '8K'
    ]
    check_conversion(Network(published, frame), cases, SMALL)


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(3600)
def test_published_networks_on_whole_frames(published: dict[str, Path]) -> None:
    """Slow: 1080p, 5 GB and 200 s of CPU for each network; 4K would be four times as much."""
    size = SIZES['1080p']
    network = Network(published, verification_frame(size))
    check_conversion(network, [('1080p', flush, 0) for flush in (False, True)], size)
